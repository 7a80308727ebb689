package manager

import (
	"encoding/binary"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/sys"
	"github.com/go-multiproc/multiproc/internal/wire"
)

// A poller serves sessions whose clients speak through a socket, all of them by one goroutine: it asks the kernel which sockets
// have something, reads those, does what it has read, and writes the replies, as servers with one thread do. If each session's own goroutine did that, every
// message would wake a goroutine, and most of them a thread, which costs more than all the rest of a request.
//
// A session's own goroutine sleeps meanwhile. It gets the session back when something would block the poller (a client that does not
// read its replies, a message so large that it comes in pieces), when the connection has ended, and when somebody recalls it. Each session
// has one read in a round, so one that floods the server does not keep the others waiting. Requests that wait for others have goroutines in any
// case. TLS connections have no descriptor that carries their bytes, and stay with their own goroutines.
//
// While one session is the only one that has something, round after round, the poller receives from that one at once, without asking first who is ready, and
// asks only every now and then: after 16 tries or 20 µs, so that others who come wait no longer than for a few requests more. That takes a seventh off
// a call of a client that has the server to itself. (An epoll entry's callback remains in the sender's way, but makes a tenth of what asking does.)
//
// When nothing is ready the poller looks again for some microseconds (wire.Spinner), if a CPU can be spared and that was not in vain just before; then it parks in Go's poller, in
// which an epoll descriptor stands like any other. So a quiet server does nothing at all, and has no thread for it. A blocking epoll_wait
// was tried in between, for both sides: where the CPUs sleep, waking one of them is what costs, 10 to 15 µs on a virtual machine, whatever the thread is blocked in.
type poller struct {
	server *server
	fd     int // epoll
	file   *os.File
	raw    syscall.RawConn
	bell   int // eventfd: somebody is recalled, or it is the end
	ended  chan struct{}

	mu       sync.Mutex
	slots    []*session
	free     []int32
	recalled []*session
	closing  bool

	// The goroutine's.
	events  []unix.EpollEvent
	n       int // of events
	ready   []*session
	ask     func(fd uintptr) bool // lookAll, for raw
	err     error                 // of lookAll
	try     func() bool           // look, for spinner
	spinner wire.Spinner

	// Likewise, of the session that is alone.
	last   *session  // the only one that was ready in the last round; nil if there were several
	rounds int       // for which that has been so
	alone  *session  // the same, after aloneRounds; nil otherwise
	tries  int       // to receive from alone since the kernel was asked who is ready
	asked  time.Time // when that was
	came   bool      // look has received from alone
	failed error     // or could not, for this reason
}

const (
	pollEvents = 128 // in one round
	bellSlot   = -1

	// A session is alone after so many rounds in which no other was ready, and the kernel is asked for others after so many tries to receive from it or
	// so much time.
	aloneRounds = 8
	aloneTries  = 16
	aloneTime   = 20 * time.Microsecond
)

// polled is the part of a session that a poller has to do with.
type polled struct {
	back chan struct{} // receives once when the session's goroutine has the session back
	err  error         // what ended the connection; to be read after that

	slot int32 // under poller.mu: its place in slots, plus 1; 0 = the session is with its goroutine
}

func newPoller(sv *server) (_ *poller, err error) {
	p := &poller{server: sv, ended: make(chan struct{}), events: make([]unix.EpollEvent, pollEvents)}
	if p.fd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err = unix.SetNonblock(p.fd, true); err != nil { // for package os, which registers only what says that it does not block
		unix.Close(p.fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p.file = os.NewFile(uintptr(p.fd), "epoll")
	defer func() {
		if err != nil {
			p.file.Close()
		}
	}()
	if p.raw, err = p.file.SyscallConn(); err != nil {
		return nil, err
	}
	if p.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	if err = unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, p.bell, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: bellSlot}); err != nil {
		unix.Close(p.bell)
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	p.ask = func(uintptr) bool { return p.lookAll() }
	p.try = p.look
	p.spinner.Persistent = true
	go p.run()
	return p, nil
}

// close ends the poller, which has no sessions any more.
func (p *poller) close() {
	p.mu.Lock()
	p.closing = true
	p.ringLocked()
	p.mu.Unlock()
	<-p.ended
	p.file.Close()
	unix.Close(p.bell)
}

func (p *poller) ringLocked() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	unix.Write(p.bell, one[:])
}

// poll serves s until its goroutine, which calls it after it has done all that there was, is to have it back; or reports that it cannot.
func (p *poller) poll(s *session) bool {
	if s.polled.back == nil {
		s.polled.back = make(chan struct{}, 1)
	}
	if !p.add(s) {
		return false
	}
	<-s.polled.back
	return true
}

func (p *poller) add(s *session) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.recalled.Load() || p.closing {
		return false
	}
	var slot int32
	if n := len(p.free); n > 0 {
		slot = p.free[n-1]
		p.free = p.free[:n-1]
		p.slots[slot] = s
	} else {
		slot = int32(len(p.slots))
		p.slots = append(p.slots, s)
	}
	s.polled.slot = slot + 1
	err := s.stream.socket.control(func(fd int) error {
		return unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: slot})
	})
	if err != nil { // the user's limit of watches, or of memory
		p.dropLocked(s)
	}
	return err == nil
}

func (p *poller) dropLocked(s *session) {
	slot := s.polled.slot - 1
	s.polled.slot = 0
	p.slots[slot] = nil
	p.free = append(p.free, slot)
}

// recall has s given back to its goroutine, soon. It does not wait for that.
func (p *poller) recall(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.polled.slot > 0 {
		p.recalled = append(p.recalled, s)
		p.ringLocked()
	}
}

// giveBackLocked gives s back to its goroutine.
func (p *poller) giveBackLocked(s *session) {
	if s.polled.slot == 0 {
		return
	}
	if s == p.alone || s == p.last {
		p.setAlone(nil)
	}
	// If the descriptor is closed already, the kernel has taken it out.
	s.stream.socket.control(func(fd int) error { return unix.EpollCtl(p.fd, unix.EPOLL_CTL_DEL, fd, nil) })
	p.dropLocked(s)
	s.polled.back <- struct{}{}
}

func (p *poller) giveBack(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.giveBackLocked(s)
}

func (p *poller) run() {
	defer close(p.ended)
	together := p.server.options.Path != ""
	for {
		if p.wait() != nil {
			p.giveUp()
			return
		}
		if p.came {
			p.serveAlone()
			continue
		}
		if !p.collect() {
			return
		}
		if !together {
			for _, s := range p.ready {
				if !s.servePolled(s.stream.tryFill(false)) || !s.tryFlush() {
					p.giveBack(s)
				}
			}
			continue
		}
		// What all of them have done is kept before the first reply.
		for i, s := range p.ready {
			if !s.servePolled(s.stream.tryFill(false)) {
				p.giveBack(s)
				p.ready[i] = nil
			}
		}
		for _, s := range p.ready {
			if s != nil && !s.tryFlush() {
				p.giveBack(s)
			}
		}
	}
}

// serveAlone does what look has received.
func (p *poller) serveAlone() {
	s := p.alone
	if !s.servePolled(true, p.failed) || !s.tryFlush() {
		p.giveBack(s)
		return
	}
	if time.Since(p.asked) > aloneTime {
		p.tries = aloneTries
	}
}

// setAlone says which session was the only one that was ready in a round; nil is none.
func (p *poller) setAlone(s *session) {
	if s != p.last || s == nil {
		p.last, p.rounds, p.alone = s, 0, nil
		return
	}
	if p.rounds++; p.rounds >= aloneRounds {
		p.alone = s
	}
}

// giveUp gives all sessions back, and takes no more. They are served by their own goroutines from then on. Nobody can cause it but the kernel.
func (p *poller) giveUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closing = true
	for _, s := range p.slots {
		if s != nil {
			p.giveBackLocked(s)
		}
	}
}

// collect finds the sessions that are ready, after it has given back those that were recalled. It reports false at the end.
func (p *poller) collect() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.ready)
	p.ready = p.ready[:0]
	for _, e := range p.events[:p.n] {
		if e.Fd != bellSlot {
			continue
		}
		var count [8]byte
		unix.Read(p.bell, count[:])
		for _, s := range p.recalled {
			p.giveBackLocked(s)
		}
		clear(p.recalled)
		p.recalled = p.recalled[:0]
		if p.closing {
			return false
		}
	}
	for _, e := range p.events[:p.n] {
		// A slot may have changed hands since the kernel said that. Then its new session is looked at in vain.
		if e.Fd != bellSlot && p.slots[e.Fd] != nil {
			p.ready = append(p.ready, p.slots[e.Fd])
		}
	}
	if len(p.ready) == 1 {
		p.setAlone(p.ready[0])
	} else {
		p.setAlone(nil)
	}
	return true
}

// wait waits until something is ready, or came.
func (p *poller) wait() error {
	p.came = false
	if p.look() {
		return p.err
	}
	if p.spinner.Spin(p.try) {
		p.spinner.Done()
		return p.err
	}
	defer p.spinner.Done()
	p.setAlone(nil)
	if err := p.raw.Read(p.ask); err != nil {
		return err
	}
	return p.err
}

// look receives from the session that is alone, or asks who is ready, and reports whether there is something or it failed.
func (p *poller) look() bool {
	if p.alone == nil || p.tries >= aloneTries {
		return p.lookAll()
	}
	p.tries++
	p.came, p.failed = p.alone.stream.tryFill(false)
	return p.came
}

// lookAll asks what is ready, and reports whether there is something or it failed.
func (p *poller) lookAll() bool {
	n, err := sys.EpollNow(p.fd, p.events)
	if p.n = n; err != 0 {
		p.err = err
	}
	if p.tries = 0; p.alone != nil {
		p.asked = time.Now()
	}
	return n > 0 || err != 0
}

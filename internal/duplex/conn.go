package duplex

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/crash"
)

// A Conn is one side of a conversation. One goroutine at a time may read, and one write; the rest is safe for concurrent use.
type Conn struct {
	memory *Memory
	socket *net.UnixConn
	raw    syscall.RawConn

	users atomic.Int64 // goroutines in the memory; closedUsers more once Close was called

	in      *consumer
	spinner spinner
	inReady func() bool

	out        *producer
	outSpinner spinner
	outRoom    func() bool

	chime func(fd uintptr) bool

	// Who sleeps. One of them listens to the socket, for all.
	mu          sync.Mutex
	listening   bool
	interrupted bool          // the listener was woken by a deadline, which it has to take back
	heard       chan struct{} // closed when the listener heard something; nil if nobody waits for that
	end         error         // of the socket: io.EOF, or what it broke with
	nudged      bool
	readStop    atomic.Bool
	writeStop   atomic.Bool
}

// closedUsers is more than goroutines there will ever be.
const closedUsers = math.MaxInt64 / 2

// New makes a Conn of memory that both processes have mapped, and of the socket between them, on which nothing but bells may come from
// now on. It owns both.
func New(m *Memory, s *net.UnixConn, r Role) (*Conn, error) {
	raw, err := s.SyscallConn()
	if err != nil {
		m.Close()
		return nil, err
	}
	m.closeFile()
	c := &Conn{memory: m, socket: s, raw: raw}
	c.in, c.out = m.ends(r)
	c.inReady, c.outRoom = c.in.ready, c.out.room
	c.chime = func(fd uintptr) bool {
		// If there is no room for it there are bells enough that the peer has not heard.
		unix.Write(int(fd), []byte{1})
		return true
	}
	return c, nil
}

// enter keeps the memory mapped until leave, or reports that it is too late.
func (c *Conn) enter() bool {
	if c.users.Add(1) > 0 {
		return true
	}
	c.leave()
	return false
}

func (c *Conn) leave() {
	if c.users.Add(-1) == -closedUsers {
		c.release()
	}
}

// release unmaps the memory, once. After Close, goroutines that come too late may take the count away from the number
// that says that nobody is there and back to it.
func (c *Conn) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.memory.all != nil {
		c.memory.unmap()
	}
}

// Close closes the socket, and wakes whoever is blocked with net.ErrClosed. It is safe to call twice.
func (c *Conn) Close() error {
	for {
		n := c.users.Load()
		if n < 0 {
			return nil
		}
		if c.users.CompareAndSwap(n, n-closedUsers) {
			break
		}
	}
	err := c.socket.Close()
	c.mu.Lock()
	if c.end == nil {
		c.end = net.ErrClosed
	}
	c.wakeLocked()
	c.mu.Unlock()
	if c.users.Load() == -closedUsers {
		c.release()
	}
	return err
}

func (c *Conn) ring() {
	crash.At("duplex-bell")
	c.raw.Write(c.chime)
}

// Receive reads what there is, at most len(b) bytes. If there is nothing it tries on for a while (spin), and then waits until there is something
// (park), or else reports that it was not ok. 0 bytes and no error is the end of the stream. After StopReading it fails
// with os.ErrDeadlineExceeded, as a socket does whose deadline has passed.
func (c *Conn) Receive(b []byte, spin, park bool) (n int, ok bool, err error) {
	if !c.enter() {
		return 0, true, net.ErrClosed
	}
	defer c.leave()
	for ended := false; ; {
		if c.readStop.Load() {
			return 0, true, os.ErrDeadlineExceeded
		}
		n, bell, err := c.in.read(b)
		if bell {
			c.ring()
		}
		if n > 0 || err != nil || ended {
			return n, true, err
		}
		if spin {
			spin = false
			if c.spinner.spin(c.inReady) {
				continue
			}
		}
		if !park {
			return 0, false, nil
		}
		err = c.wait(c.in.sleep, &c.readStop)
		if errors.Is(err, io.EOF) {
			ended = true // and there was nothing more: see wait
		} else if err != nil {
			return 0, true, err
		}
	}
}

// TryWrite writes as much of b as there is room for, and returns how much that was.
func (c *Conn) TryWrite(b []byte) (int, error) {
	if !c.enter() {
		return 0, net.ErrClosed
	}
	defer c.leave()
	n, bell, err := c.out.write(b)
	if bell {
		c.ring()
	}
	return n, err
}

// Write writes all of b, and waits for room. If the peer is gone the error is syscall.EPIPE, as it is on a socket. After StopWriting
// it fails with os.ErrDeadlineExceeded instead of waiting.
func (c *Conn) Write(b []byte) (n int, err error) {
	if !c.enter() {
		return 0, net.ErrClosed
	}
	defer c.leave()
	for {
		m, bell, err := c.out.write(b[n:])
		if bell {
			c.ring()
		}
		n += m
		if n == len(b) || err != nil {
			return n, err
		}
		if m > 0 {
			continue
		}
		if c.outSpinner.spin(c.outRoom) {
			continue
		}
		if err := c.wait(c.out.stall, &c.writeStop); errors.Is(err, io.EOF) {
			return n, os.NewSyscallError("write", syscall.EPIPE)
		} else if err != nil {
			return n, err
		}
	}
}

// Watch keeps the memory mapped until Unwatch, so that Ready and Doze may be called; it reports false after Close.
func (c *Conn) Watch() bool { return c.enter() }

// Unwatch ends Watch.
func (c *Conn) Unwatch() { c.leave() }

// Ready reports whether there is something to read. It is to be called between Watch and Unwatch.
func (c *Conn) Ready() bool { return c.in.ready() }

// Doze asks the peer to ring when it has written, and reports true if it has done so already. It is to be called between Watch and Unwatch.
func (c *Conn) Doze() bool { return c.in.sleep() }

// Listen waits for the bell, for the end of the socket, StopReading, or Nudge. It reports whether Receive would not wait any more,
// because the stream has ended or stopped. Unlike Receive it does not ask for the bell: somebody else watches the ring meanwhile.
func (c *Conn) Listen() (ended bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.nudged && c.end == nil && !c.readStop.Load() {
		c.hearLocked()
	}
	c.nudged = false
	return c.end != nil || c.readStop.Load()
}

// Nudge makes Listen return, now or when it is called next.
func (c *Conn) Nudge() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nudged = true
	c.stopLocked()
}

// wait sleeps until ready, which is one of the flag-setting methods, reports true, or the socket has ended, or stop.
// What a peer wrote before its end is seen: ready is called once more after that.
func (c *Conn) wait(ready func() bool, stop *atomic.Bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case ready():
			return nil
		case c.end != nil:
			return c.end
		case stop.Load():
			return os.ErrDeadlineExceeded
		}
		c.hearLocked()
	}
}

// hearLocked waits until somebody has heard something.
func (c *Conn) hearLocked() {
	if !c.listening {
		c.listenLocked()
		return
	}
	if c.heard == nil {
		c.heard = make(chan struct{})
	}
	heard := c.heard
	c.mu.Unlock()
	<-heard
	c.mu.Lock()
}

// listenLocked waits for a bell, or the end of the socket, with the lock released, and wakes the others who wait.
func (c *Conn) listenLocked() {
	c.listening = true
	c.mu.Unlock()
	var bells [64]byte // what they say does not matter, nor how many they are
	n, err := c.socket.Read(bells[:])
	c.mu.Lock()
	c.listening = false
	if c.interrupted || errors.Is(err, os.ErrDeadlineExceeded) {
		c.interrupted = false
		c.socket.SetReadDeadline(time.Time{})
	}
	switch {
	case n > 0 || errors.Is(err, os.ErrDeadlineExceeded) || c.end != nil:
	case errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET):
		c.end = io.EOF
	case errors.Is(err, net.ErrClosed):
		c.end = net.ErrClosed
	default:
		c.end = fmt.Errorf("listening for the peer: %w", err)
	}
	c.wakeLocked()
}

func (c *Conn) wakeLocked() {
	if c.heard != nil {
		close(c.heard)
		c.heard = nil
	}
}

// stopLocked makes whoever sleeps look at the flags.
func (c *Conn) stopLocked() {
	if c.listening {
		c.interrupted = true
		c.socket.SetReadDeadline(time.Unix(1, 0))
	}
	c.wakeLocked()
}

// StopReading makes a reader that waits, and those to come, fail with os.ErrDeadlineExceeded, until GoOnReading.
func (c *Conn) StopReading() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readStop.Store(true)
	c.stopLocked()
}

// GoOnReading ends StopReading.
func (c *Conn) GoOnReading() { c.readStop.Store(false) }

// StopWriting makes a writer that waits, and those to come, fail with os.ErrDeadlineExceeded.
func (c *Conn) StopWriting() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writeStop.Store(true)
	c.stopLocked()
}

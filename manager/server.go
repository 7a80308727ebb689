package manager

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/go-multiproc/multiproc/internal/auth"
	"github.com/go-multiproc/multiproc/internal/store"
)

// A server serves one store on one listener.
type server struct {
	listener net.Listener
	options  Options
	unix     bool
	id       [16]byte
	store    *store.Store
	watcher  watcher
	release  func() // gives Options.Path back
	began    time.Time

	stopping chan struct{} // closed by stop
	stop     func(why string)

	mu        sync.Mutex
	pollers   []*poller
	polled    int     // sessions that pollers had so far
	own       *client // to itself: see self
	why       string  // it stops
	sessions  map[*session]struct{}
	strangers []*session     // those who have not introduced themselves, the oldest first
	entered   int            // those who have
	work      sync.WaitGroup // one for each connection
}

// Serve serves objects on l until somebody calls Shutdown, when it returns nil, or until l fails or is closed, when it returns that
// error. It closes l. Everything that was stored is gone with the return, and all connections are closed.
//
// l is a Unix listener, where only this user and root are let in, or a TCP listener, which needs Options.AuthKey. Options.Network and
// Address are not used. What every client gets is one connection and all objects; there are no rights within a server.
func Serve(l net.Listener, o Options) error {
	defer l.Close()
	sv, err := newServer(l, o, tuned)
	if err != nil {
		return err
	}
	return sv.run()
}

func newServer(l net.Listener, o Options, tuned tuning) (*server, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	sv := &server{
		listener: l,
		options:  o,
		unix:     l.Addr().Network() == "unix",
		began:    time.Now(),
		stopping: make(chan struct{}),
		sessions: map[*session]struct{}{},
	}
	if !sv.unix && len(o.AuthKey) == 0 {
		if strings.HasPrefix(l.Addr().Network(), "tcp") {
			return nil, errNoKey
		}
		return nil, fmt.Errorf("manager: a listener of network %q needs Options.AuthKey", l.Addr().Network())
	}
	sv.watcher.server = sv
	var err error
	if sv.store, sv.release, err = openStore(o, tuned); err != nil {
		return nil, err
	}
	rand.Read(sv.id[:])
	var once sync.Once
	sv.stop = func(why string) {
		once.Do(func() {
			sv.mu.Lock()
			sv.why = why
			sv.mu.Unlock()
			close(sv.stopping)
			sv.listener.Close()
		})
	}
	return sv, nil
}

func (sv *server) run() error {
	err := sv.accept()
	sv.stop("it has ended: " + fmt.Sprint(err))
	sv.mu.Lock()
	sessions := make([]*session, 0, len(sv.sessions))
	for s := range sv.sessions {
		sessions = append(sessions, s)
	}
	sv.mu.Unlock()
	why := sv.reason()
	var farewells sync.WaitGroup
	for _, s := range sessions {
		farewells.Go(func() { s.farewell(why) })
	}
	farewells.Wait()
	sv.work.Wait()
	for _, p := range sv.pollers {
		p.close()
	}
	sv.dropSelf()
	err = errors.Join(err, sv.store.Close())
	sv.release()
	return err
}

// reason says why the server ends.
func (sv *server) reason() string {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	return sv.why
}

// accept takes connections until stop, when it returns nil, or until the listener is of no use any more.
func (sv *server) accept() error {
	pause := 5 * time.Millisecond
	for {
		c, err := sv.listener.Accept()
		if err == nil {
			pause = 5 * time.Millisecond
			sv.begin(c)
			continue
		}
		select {
		case <-sv.stopping:
			return nil
		default:
		}
		if !temporary(err) {
			return fmt.Errorf("manager: %w", err)
		}
		// No descriptors or no memory. Those who are connected go on; those who wait have to. Who says nothing makes room, as where there are too many of that kind: a
		// process that may have few descriptors would otherwise be closed to everybody for as long as strangers come.
		sv.mu.Lock()
		sv.displaceLocked()
		sv.mu.Unlock()
		select {
		case <-time.After(pause):
			pause = min(2*pause, time.Second)
		case <-sv.stopping:
			return nil
		}
	}
}

func temporary(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno) && slices.Contains([]syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED,
	}, errno)
}

// begin starts to serve a connection.
func (sv *server) begin(c net.Conn) {
	s := sv.newSession(c)
	sv.mu.Lock()
	defer sv.mu.Unlock()
	select {
	case <-sv.stopping:
		s.cancel()
		c.Close()
		return
	default:
	}
	sv.sessions[s] = struct{}{}
	sv.meetLocked(s)
	sv.work.Go(func() {
		defer func() {
			sv.mu.Lock()
			delete(sv.sessions, s)
			sv.forgetLocked(s)
			if s.entered {
				sv.entered--
			}
			sv.mu.Unlock()
		}()
		s.serve()
	})
}

// choosePoller returns the poller for one more session, or nil if there is none. A poller makes use of one CPU, and its clients of at least as much.
func (sv *server) choosePoller() *poller {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	if len(sv.pollers) < min(max(runtime.GOMAXPROCS(0)/2, 1), maxPollers) {
		if p, err := newPoller(sv); err == nil {
			sv.pollers = append(sv.pollers, p)
			return p
		}
	}
	if len(sv.pollers) == 0 {
		return nil
	}
	sv.polled++
	return sv.pollers[sv.polled%len(sv.pollers)]
}

func (sv *server) newSession(c net.Conn) *session {
	if sv.options.TLS != nil && !sv.unix {
		c = tls.Server(c, sv.options.TLS) // its handshake comes with the first read, under the hello's deadline
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &session{
		server:  sv,
		stream:  newStream(c, helloSize),
		ctx:     ctx,
		cancel:  cancel,
		waiting: map[uint64]context.CancelFunc{},
	}
	s.written.L = &s.mu
	return s
}

// admit finds out who is at the other end, and refuses those who have no business here.
func (sv *server) admit(s *session) error {
	if sv.unix {
		if err := checkPeer(s.stream.conn, sv.options.AllowUIDs); err != nil {
			return err
		}
	}
	if len(sv.options.AuthKey) > 0 {
		if err := authenticate(s.stream, sv.options.AuthKey, auth.Key.Listener); err != nil {
			return err
		}
	}
	b, err := s.stream.readFrame()
	if err != nil {
		return err
	}
	h, err := readClientHello(b)
	if err != nil {
		return err
	}
	if err := sv.enter(s); err != nil {
		return err
	}
	answer := serverHello{version, sv.id[:], uint64(sv.options.maxMessage())}
	if h.lowest > version || h.highest < version {
		answer.version = 0
		err = fmt.Errorf("the peer speaks versions %d to %d of the protocol, this server %d", h.lowest, h.highest, version)
	}
	if werr := s.stream.writeFrame(answer.append(nil)); err == nil {
		err = werr
	}
	s.stream.max = sv.options.maxMessage()
	return err
}

// maxPollers bounds what a server on a large machine takes of it.
const maxPollers = 8

// checkPeer lets this user and root in. The socket's mode does so too, but the directory it is in may be the user's choice.
func checkPeer(c net.Conn, allow []int) error {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return errors.New("the peer's user cannot be found out")
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	var uid int
	var uerr error
	if err := raw.Control(func(fd uintptr) { uid, _, uerr = peerOf(int(fd)) }); err != nil {
		return err
	}
	if uerr != nil {
		return uerr
	}
	if uid != os.Geteuid() && uid != 0 && !slices.Contains(allow, uid) {
		return &failure{codeRefused, fmt.Sprintf("user %d may not connect to the manager of user %d (its Options.AllowUIDs)", uid, os.Geteuid())}
	}
	return nil
}

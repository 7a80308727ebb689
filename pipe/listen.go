package pipe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/waitable"
	"github.com/go-multiproc/multiproc/internal/wire"
)

const (
	// maxReady is how many clients, and how many failures, wait for Accept. More clients wait in the kernel's queue.
	maxReady = 128
	// maxHandshakes is how many clients authenticate at once. When there are as many, those that have taken longer than
	// patience have to go, so that clients that say nothing cannot keep out for long one that does.
	maxHandshakes = 256
	patience      = time.Second
)

// A Listener takes connections, of Dial or of Python's Client. It is safe for use by many goroutines.
//
// Clients are accepted and authenticated as they come, beside each other, whether somebody is in Accept or not: a client that is slow or
// silent holds up nobody else.
type Listener struct {
	socket *os.File // listens
	raw    syscall.RawConn
	addr   net.Addr
	path   string      // of the socket file, absolute; "" on TCP
	file   os.FileInfo // what Listen made there
	auth   *authenticator
	o      Options

	mu         sync.Mutex
	changed    sync.Cond   // results, closed
	results    []result    // for Accept, in order
	clients    int         // in results
	failures   int         // in results
	handshakes []handshake // in progress, the oldest first
	closed     bool

	wakes   waitable.Waiters
	workers sync.WaitGroup
}

// A result is one for Accept.
type result struct {
	conn  *Conn
	err   error
	taken chan struct{} // if not nil, closed when Accept has it
}

type handshake struct {
	w     *wire.Conn
	since time.Time
}

// Listen listens on network "unix", "tcp", "tcp4" or "tcp6". address is a path, which may have any length but whose last element must
// have at most 53 bytes if the whole has more than 107, or host:port, port 0 for a free one.
//
// A socket file is made with mode 0600, and Close removes it. If one is there already it stays: it belongs to another listener, or it
// is left over from one that was killed; the error says which. The caller must Close the Listener: unlike a Conn it is not closed by becoming unreachable.
func Listen(network, address string, o Options) (*Listener, error) {
	l, err := listen(network, address, o)
	if err != nil {
		return nil, fmt.Errorf("pipe: listen %s %s: %w", network, address, err)
	}
	l.workers.Go(l.serve)
	return l, nil
}

func listen(network, address string, o Options) (*Listener, error) {
	target, release, err := resolve(network, address)
	if err != nil {
		return nil, err
	}
	defer release()
	var config net.ListenConfig
	if network == "unix" {
		config.Control = func(_, _ string, raw syscall.RawConn) (err error) {
			if e := raw.Control(func(fd uintptr) { err = protect(fd) }); e != nil {
				return e
			}
			return err
		}
	}
	inner, err := config.Listen(context.Background(), network, target)
	if err != nil {
		if network == "unix" && errors.Is(err, syscall.EADDRINUSE) {
			return nil, explainInUse(address, target)
		}
		if e := (*net.OpError)(nil); errors.As(err, &e) {
			err = e.Err
		}
		return nil, err
	}
	defer inner.Close()
	l := &Listener{addr: inner.Addr(), o: o}
	l.changed.L = &l.mu
	if err := l.take(inner); err != nil {
		return nil, err
	}
	if o.AuthKey != nil {
		l.auth = newAuthenticator(o)
	}
	if u, ok := inner.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // net would not look whose file it is
		l.addr = &net.UnixAddr{Net: network, Name: address}
		if l.path, err = filepath.Abs(address); err == nil {
			l.file, err = os.Lstat(l.path)
		}
		if err != nil {
			l.socket.Close()
			return nil, err
		}
		if l.file.Mode().Perm() != 0o600 {
			if err := os.Chmod(l.path, 0o600); err != nil {
				l.removeFile()
				l.socket.Close()
				return nil, err
			}
		}
	}
	return l, nil
}

// take takes the socket out of a listener of package net. With that one each client would need two descriptors for a moment, its own and ours,
// and be lost if there is one only.
func (l *Listener) take(inner net.Listener) error {
	raw, err := inner.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	fd, err := dup(raw)
	if err != nil {
		return err
	}
	l.socket = os.NewFile(uintptr(fd), "listener") // non-blocking, as net made it
	l.raw, err = l.socket.SyscallConn()
	return err
}

// explainInUse says what stands in the way of a socket file.
func explainInUse(path, target string) error {
	info, err := os.Lstat(path)
	switch {
	case err != nil:
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("there is something else with this name, of mode %v: %w", info.Mode(), syscall.EADDRINUSE)
	default:
		live, err := isLive(target)
		switch {
		case err != nil:
		case live:
			return fmt.Errorf("another listener uses this socket file: %w", syscall.EADDRINUSE)
		default:
			return fmt.Errorf("the socket file is left over from a listener that is gone; remove it and try again: %w", syscall.EADDRINUSE)
		}
	}
	return syscall.EADDRINUSE
}

// serve accepts until the Listener is closed.
func (l *Listener) serve() {
	for l.room() {
		c, err := l.next()
		if err == nil {
			l.admit(c)
			continue
		}
		// Out of descriptors, most likely, and the next try would tell the same. So it waits until somebody has
		// seen the error; Accept's caller knows better than a timer when to go on.
		taken := make(chan struct{})
		if !l.put(result{err: fmt.Errorf("pipe: accept: %w", err), taken: taken}) {
			return
		}
		<-taken
	}
}

// room waits until there is room for another client, and reports false once the Listener is closed.
func (l *Listener) room() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.closed {
		switch {
		case l.clients >= maxReady:
			l.changed.Wait()
		case len(l.handshakes) >= maxHandshakes:
			oldest := l.handshakes[0]
			if age := time.Since(oldest.since); age < patience {
				again := time.AfterFunc(patience-age, l.changed.Broadcast)
				l.changed.Wait()
				again.Stop()
				continue
			}
			oldest.w.Close() // its goroutine reports
			l.handshakes = l.handshakes[1:]
		default:
			return true
		}
	}
	return false
}

// next accepts a client.
func (l *Listener) next() (*Conn, error) {
	var fd int
	var from unix.Sockaddr
	var errno error
	err := l.raw.Read(func(socket uintptr) bool {
		for {
			fd, from, errno = accept(int(socket))
			switch errno {
			case unix.EINTR, unix.ECONNABORTED: // the latter came and went while it was in the queue
				continue
			}
			return errno != unix.EAGAIN
		}
	})
	if err != nil {
		return nil, err
	}
	if errno != nil {
		return nil, os.NewSyscallError("accept", errno)
	}
	local := l.addr
	if l.path == "" {
		tune(fd)
		if sa, err := unix.Getsockname(fd); err == nil { // which of our addresses it came to
			local = address(sa)
		}
	}
	w, err := wire.New(fd)
	if err != nil {
		return nil, err
	}
	c := newConn(w, bothWays, l.o.MaxMessage)
	c.local, c.remote = local, address(from)
	return c, nil
}

// admit begins with a client.
func (l *Listener) admit(c *Conn) {
	if l.auth == nil {
		l.put(result{conn: c})
		return
	}
	l.mu.Lock()
	l.handshakes = append(l.handshakes, handshake{c.w, time.Now()})
	closed := l.closed
	l.mu.Unlock()
	if closed {
		c.Close()
	}
	l.workers.Go(func() { l.authenticate(c) })
}

// authenticate runs the handshake with one client.
func (l *Listener) authenticate(c *Conn) {
	timeout := l.o.HandshakeTimeout
	if timeout <= 0 {
		timeout = defaultHandshakeTimeout
	}
	c.w.SetDeadline(time.Now().Add(timeout))
	err := l.auth.asListener(c.w)
	if err == nil {
		err = c.w.SetDeadline(time.Time{})
	}
	l.mu.Lock()
	l.handshakes = slices.DeleteFunc(l.handshakes, func(h handshake) bool { return h.w == c.w })
	l.changed.Broadcast()
	l.mu.Unlock()
	if err == nil {
		l.put(result{conn: c})
		return
	}
	c.Close()
	if errors.Is(err, fs.ErrClosed) {
		err = fmt.Errorf("%w: the client took more than %v while others were waiting", ErrAuth, patience)
	}
	if name := c.remote.String(); name != "" && name != "@" {
		err = fmt.Errorf("pipe: accept from %s: %w", name, err)
	} else {
		err = fmt.Errorf("pipe: accept: %w", err)
	}
	l.put(result{err: err})
}

// put gives r to Accept, and reports false if the Listener is closed. A failure is forgotten if nobody has asked
// for many before it.
func (l *Listener) put(r result) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		if r.conn != nil {
			r.conn.Close()
		}
		return false
	case r.conn != nil:
		l.clients++
	case l.failures >= maxReady && r.taken == nil:
		return true
	default:
		l.failures++
	}
	l.results = append(l.results, r)
	l.changed.Broadcast()
	l.wakes.Wake()
	return true
}

// Accept returns the next connection. It blocks until there is one, or a failure to report: an error that is ErrAuth if a client did not
// authenticate, which concerns that client only, or what the kernel said when it could not give us a client, such as
// syscall.EMFILE. The Listener goes on after both. After Close the error is fs.ErrClosed.
func (l *Listener) Accept() (*Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.results) == 0 && !l.closed {
		l.changed.Wait()
	}
	if l.closed {
		return nil, fmt.Errorf("pipe: accept: %w", fs.ErrClosed)
	}
	r := l.results[0]
	l.results[0] = result{}
	l.results = l.results[1:]
	if r.conn != nil {
		l.clients--
		l.changed.Broadcast()
	} else {
		l.failures--
	}
	if r.taken != nil {
		close(r.taken)
	}
	return r.conn, r.err
}

// Addr returns the address that clients connect to: a *net.TCPAddr, or a *net.UnixAddr with the path given to Listen.
func (l *Listener) Addr() net.Addr { return l.addr }

// Close stops listening, removes the socket file, closes the connections that nobody has accepted, and wakes all who are in Accept. Accepted
// connections stay. It is safe to call twice; the second call returns nil.
func (l *Listener) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		l.workers.Wait()
		return nil
	}
	l.closed = true
	for _, r := range l.results {
		if r.conn != nil {
			r.conn.Close()
		}
		if r.taken != nil {
			close(r.taken)
		}
	}
	l.results = nil
	for _, h := range l.handshakes {
		h.w.Close()
	}
	l.changed.Broadcast()
	l.mu.Unlock()
	l.wakes.Wake()

	err := l.removeFile() // while the socket still says whose file it is
	if e := l.socket.Close(); err == nil {
		err = e
	}
	l.workers.Wait()
	if err != nil {
		return fmt.Errorf("pipe: close listener: %w", err)
	}
	return nil
}

// removeFile removes the socket file, unless it is gone or another's.
func (l *Listener) removeFile() error {
	if l.path == "" {
		return nil
	}
	info, err := os.Lstat(l.path)
	if err != nil || !os.SameFile(info, l.file) {
		return nil
	}
	if err := os.Remove(l.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Waiter is for Wait: a Listener is ready when Accept would return at once.
func (l *Listener) Waiter() waitable.Source {
	return waitable.Source{
		Ready: func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.closed || len(l.results) > 0
		},
		Notify: l.wakes.Add,
	}
}

// Package wire carries frames over a stream socket: the frames of Python's multiprocessing.connection,
// with descriptors beside them.
//
// A frame is a length in four bytes (signed, big-endian) and that many bytes of payload; a payload above
// 2 GiB - 1 has the length -1, followed by the real one in eight bytes. Descriptors travel as SCM_RIGHTS
// on bytes of the frame that they belong to.
//
// Nothing that arrives is believed: a length may not exceed what the caller allows, and memory is taken as
// payload arrives and not as it is announced. A peer can make a Conn unusable, but not the process.
//
// When the peer dies, what it had sent completely can still be read; then io.EOF follows, or
// io.ErrUnexpectedEOF inside a frame.
//
// Close wakes everybody who is blocked. A Conn that becomes unreachable closes its socket.
package wire

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/waitable"
)

// MaxRights is the number of descriptors that the kernel takes in one message (SCM_MAX_FD).
const MaxRights = 253

// sendBuffer is how many bytes a Unix socket holds for a reader that is behind; the kernel doubles it for its own needs.
const sendBuffer = 1 << 20

// The errors carry no prefix: those who use a Conn say what they were doing.

// ErrProtocol is in the error of a read that met a length that is no length. The stream has lost its frames for good.
var ErrProtocol = errors.New("the peer does not speak in frames")

// ErrTooLarge is in the error of a read that met a frame larger than the reader allows. Nothing of it was read, and
// nothing behind it can be.
var ErrTooLarge = errors.New("frame too large")

// ErrTorn is in the error of every write after one that stopped inside a frame.
var ErrTorn = errors.New("an earlier write stopped inside a frame, so the peer would misread this one")

// ErrMoving is in the error of every operation on a Conn that is on its way to another process.
var ErrMoving = errors.New("this end is being sent to another process")

// ErrBusy is the error of BeginMove while another goroutine reads or writes.
var ErrBusy = errors.New("connection is in use by another goroutine")

var (
	errClosed  = fs.ErrClosed
	errLost    = errors.New("a message is half received and has lost descriptors")
	errBacklog = errors.New("unread messages that came with a connection are malformed")
)

// A Conn reads and writes frames on a socket. It is safe for concurrent use: frames are never mixed.
type Conn struct {
	file   *os.File // owns the descriptor, and ties it to Go's poller
	raw    syscall.RawConn
	rights bool // the socket can carry descriptors
	closed atomic.Bool
	ready  atomic.Bool // a whole frame is in the read-ahead buffer, or reading can only fail
	wakes  waitable.Waiters

	readMu sync.Mutex
	reader reader

	writeMu sync.Mutex
	writer  writer
}

// New makes a Conn of a connected stream socket. It owns fd, also when it fails.
func New(fd int) (*Conn, error) {
	c, err := newConn(fd)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("descriptor %d: %w", fd, err)
	}
	return c, nil
}

func newConn(fd int) (*Conn, error) {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return nil, os.NewSyscallError("getsockopt", err)
	}
	if kind != unix.SOCK_STREAM {
		return nil, fmt.Errorf("is a socket of type %d, not a stream", kind)
	}
	addr, err := unix.Getsockname(fd)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	unix.CloseOnExec(fd)
	// os.NewFile asks the poller to watch a descriptor only if it finds it non-blocking.
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	if err := prepareSocket(fd); err != nil {
		return nil, err
	}
	_, local := addr.(*unix.SockaddrUnix)
	if local {
		// The kernel's own default holds 208 KiB, so that two processes take turns over a message of 1 MiB. With this
		// one such messages flow nearly twice as fast. It takes memory only while messages are in it; where the
		// system's limit (net.core.wmem_max) is less, that is what we get. TCP adapts by itself.
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer)
	}
	c := &Conn{file: os.NewFile(uintptr(fd), "socket"), rights: local}
	if c.raw, err = c.file.SyscallConn(); err != nil {
		return nil, err
	}
	c.reader.init(c)
	c.writer.init(c)
	return c, nil
}

// Pair makes two connected ends (a Unix socketpair).
func Pair() (a, b *Conn, err error) {
	fds, err := socketpair()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	if a, err = New(fds[0]); err != nil {
		unix.Close(fds[1])
		return nil, nil, err
	}
	if b, err = New(fds[1]); err != nil {
		a.Close()
		return nil, nil, err
	}
	return a, b, nil
}

// CarriesRights reports whether descriptors can travel on this Conn: on Unix sockets they can.
func (c *Conn) CarriesRights() bool { return c.rights }

// Close closes the socket and wakes everybody who is blocked in c with an error that is fs.ErrClosed. Descriptors that
// arrived and were not read are closed. It is safe to call twice; the second call returns nil.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	c.ready.Store(true)
	err := c.file.Close() // wakes the blocked, and waits until they have left the descriptor
	c.readMu.Lock()
	c.reader.drop()
	c.ready.Store(true) // again: a reader may have been about to say otherwise
	c.readMu.Unlock()
	c.wakes.Wake()
	return err
}

// Closed reports whether Close was called.
func (c *Conn) Closed() bool { return c.closed.Load() }

// SetDeadline sets both deadlines. Calls that are blocked see it. The zero time is none.
func (c *Conn) SetDeadline(t time.Time) error { return c.closedError(c.file.SetDeadline(t)) }

// SetReadDeadline bounds reads: they fail with os.ErrDeadlineExceeded, and lose nothing: a frame that had
// begun goes on with the next read.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.closedError(c.file.SetReadDeadline(t)) }

// SetWriteDeadline bounds writes: they fail with os.ErrDeadlineExceeded. One that stops inside a frame ends
// the writing side for good (ErrTorn); one that had not begun does no harm.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.closedError(c.file.SetWriteDeadline(t)) }

// Control calls use with the descriptor, which stays open during the call.
func (c *Conn) Control(use func(fd int) error) error {
	var result error
	err := c.raw.Control(func(fd uintptr) { result = use(int(fd)) })
	if err != nil {
		return c.closedError(err)
	}
	return result
}

// Dup returns a descriptor of the same socket, for another process. The caller owns it.
func (c *Conn) Dup() (fd int, err error) {
	err = c.Control(func(own int) error {
		fd, err = unix.FcntlInt(uintptr(own), unix.F_DUPFD_CLOEXEC, 0)
		return os.NewSyscallError("fcntl", err)
	})
	return fd, err
}

// Ready reports whether a read would return at once for a reason that polling the descriptor does not show: a whole frame was
// read ahead, or reading can only fail.
func (c *Conn) Ready() bool { return c.ready.Load() }

// Source says how to wait until a read would find something: a frame, the beginning of one, or the end.
func (c *Conn) Source() waitable.Source {
	return waitable.Source{FD: c.Control, Ready: c.ready.Load, Notify: c.wakes.Add}
}

// closedError gives what the poller says of a closed descriptor the name that callers know.
func (c *Conn) closedError(err error) error {
	if err != nil && c.closed.Load() {
		return fs.ErrClosed
	}
	return err
}

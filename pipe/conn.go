package pipe

import (
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/waitable"
	"github.com/go-multiproc/multiproc/internal/wire"
)

// DefaultMaxMessage is the longest message that a Conn receives, in bytes, unless told otherwise: 1 GiB. Memory is taken as a
// message arrives, so an announcement alone costs nothing.
const DefaultMaxMessage = 1 << 30

// A Conn is one end of a conversation, made by New, NewOneWay, Dial or Listener.Accept, or received from another process. Its zero value
// is for Recv to fill; its methods return an error that is fs.ErrInvalid.
//
// It is safe for use by many goroutines: messages are never mixed, and each goes to one receiver. One end belongs to one process at a
// time: handing it over (in a Send, or as an argument of a process) moves it.
type Conn struct {
	w         *wire.Conn
	direction direction
	max       atomic.Int64
	local     net.Addr
	remote    net.Addr

	pollMu   sync.Mutex
	pollSpin wire.Spinner
}

type direction int

const (
	bothWays direction = iota
	readOnly
	writeOnly
)

// New makes two connected ends. Each sends to the other.
func New() (a, b *Conn, err error) {
	wa, wb, err := wire.Pair()
	if err != nil {
		return nil, nil, fmt.Errorf("pipe: %w", err)
	}
	return newConn(wa, bothWays, 0), newConn(wb, bothWays, 0), nil
}

// NewOneWay makes two connected ends: what is sent on w is received on r. The other operations fail with ErrReadOnly on r and
// ErrWriteOnly on w.
func NewOneWay() (r, w *Conn, err error) {
	wr, ww, err := wire.Pair()
	if err != nil {
		return nil, nil, fmt.Errorf("pipe: %w", err)
	}
	// The kernel is told as well, for those who hold the descriptor and do not know.
	err = wr.Control(func(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) })
	if err != nil {
		wr.Close()
		ww.Close()
		return nil, nil, fmt.Errorf("pipe: shutdown: %w", err)
	}
	return newConn(wr, readOnly, 0), newConn(ww, writeOnly, 0), nil
}

// newConn wraps a wire. max is Options.MaxMessage.
func newConn(w *wire.Conn, d direction, max int) *Conn {
	c := &Conn{w: w, direction: d}
	c.SetMaxMessage(max)
	return c
}

// FromFile makes a Conn of a connected stream socket, such as one that another program has let this one inherit. f may be closed afterwards; the
// socket should be used by nobody else from then on.
func FromFile(f *os.File) (*Conn, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("pipe: %w", err)
	}
	w, err := takeSocket(raw)
	if err != nil {
		return nil, fmt.Errorf("pipe: %s: %w", f.Name(), err)
	}
	return newConn(w, bothWays, 0), nil
}

func (c *Conn) receiving() error {
	switch {
	case c.w == nil:
		return errZero
	case c.direction == writeOnly:
		return ErrWriteOnly
	}
	return nil
}

func (c *Conn) sending() error {
	switch {
	case c.w == nil:
		return errZero
	case c.direction == readOnly:
		return ErrReadOnly
	}
	return nil
}

// Send sends v as one message. It blocks while the buffers between the ends are full, at most until the write deadline; when it returns nil, the
// kernel has the message, which the peer can receive even if this process dies.
//
// What can be sent is what can cross to another process: see the module's documentation. Something that cannot is an error that names
// its path (message.Jobs[3].Mu), and nothing is sent. Pipe ends in v move: they close here once the message is out, and stay as they
// are when Send fails. Other handles stay open here.
//
// After a deadline that came inside the message, every later Send is ErrTorn.
func (c *Conn) Send(v any) error {
	if err := c.sending(); err != nil {
		return err
	}
	if sent, err := c.sendPlain(v); sent {
		return err
	}
	m, err := c.marshal(v)
	if err != nil {
		return fmt.Errorf("pipe: send: %w", err)
	}
	if err := c.w.WriteFrame(m.Data, m.FDs); err != nil {
		m.Drop()
		return public("send", err)
	}
	m.Sent()
	return nil
}

// sendPlain sends v if it is plain data, which needs no more than a buffer.
func (c *Conn) sendPlain(v any) (sent bool, err error) {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	b, ok := handover.AppendPlain((*buf)[:0], v)
	if !ok {
		return false, nil
	}
	if cap(b) <= keepBuffer {
		*buf = b
	}
	return true, public("send", c.w.WriteFrame(b, nil))
}

// SendBytes sends b as one message, which RecvBytes receives, here or in Python (recv_bytes). It may be empty. Otherwise it is like Send.
func (c *Conn) SendBytes(b []byte) error {
	if err := c.sending(); err != nil {
		return err
	}
	return public("send", c.w.WriteFrame(b, nil))
}

// buffers are for messages that are encoded and sent, or decoded, and then forgotten.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// keepBuffer is the largest that is kept for later.
const keepBuffer = 1 << 20

// Recv receives one message into *p. It blocks until there is one, at most until the read deadline, which loses nothing: a
// message that had begun to arrive is received by a later call.
//
// It returns io.EOF, unwrapped, when the peer has closed its end and all its messages were received. A message that is not
// an object, or one that does not fit in *p, is an error; it is gone, and the next can be received. *p is then undefined, and the
// handles that came with it are closed.
func (c *Conn) Recv(p any) error {
	if err := c.receiving(); err != nil {
		return err
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	b, fds, err := c.w.ReadFrameInto(*buf, int(c.max.Load()))
	if err != nil {
		return public("recv", err)
	}
	if cap(b) > cap(*buf) && cap(b) <= keepBuffer {
		*buf = b[:0]
	}
	if _, err := handover.Unmarshal(b, fds, p); err != nil {
		return fmt.Errorf("pipe: recv: %w", err)
	}
	return nil
}

// RecvBytes receives one message as it is, in memory of its own. If it was sent by Send, that is CBOR; handles that came with it are
// closed. Otherwise it is like Recv.
//
// Where many messages of 32 KiB and more come, the garbage collector has a share in what they cost; the memory of up to 16 MiB of them may wait
// for it beyond what GOGC says. RecvBytesInto spares all that.
func (c *Conn) RecvBytes() ([]byte, error) {
	if err := c.receiving(); err != nil {
		return nil, err
	}
	b, fds, err := c.w.ReadFrame(int(c.max.Load()))
	if err != nil {
		return nil, public("recv", err)
	}
	closeAll(fds)
	return b, nil
}

// RecvBytesInto receives one message into b and returns its length. A message longer than b is a *TooShortError, which has it. Otherwise it is
// like RecvBytes.
func (c *Conn) RecvBytesInto(b []byte) (int, error) {
	if err := c.receiving(); err != nil {
		return 0, err
	}
	got, fds, err := c.w.ReadFrameInto(b[:len(b):len(b)], int(c.max.Load()))
	if err != nil {
		return 0, public("recv", err)
	}
	closeAll(fds)
	if len(got) > len(b) {
		return 0, &TooShortError{Message: got, Buffer: len(b)}
	}
	return len(got), nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// SetDeadline sets the read and the write deadline. Calls that are blocked see it, too. The zero time is none. A call that ends by it returns
// an error that is os.ErrDeadlineExceeded.
func (c *Conn) SetDeadline(t time.Time) error {
	if c.w == nil {
		return errZero
	}
	return public("set deadline", c.w.SetDeadline(t))
}

// SetReadDeadline sets the deadline of Recv, RecvBytes and RecvBytesInto. They lose nothing by it. Messages that have arrived
// already may be received after it has passed.
func (c *Conn) SetReadDeadline(t time.Time) error {
	if c.w == nil {
		return errZero
	}
	return public("set deadline", c.w.SetReadDeadline(t))
}

// SetWriteDeadline sets the deadline of Send and SendBytes. If it comes inside a message, nothing more can be sent: see ErrTorn.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	if c.w == nil {
		return errZero
	}
	return public("set deadline", c.w.SetWriteDeadline(t))
}

// SetMaxMessage sets the length in bytes of the longest message that can be received from now on. 0 and less stand for
// DefaultMaxMessage. It travels along when the Conn moves. What is sent is not limited here: the receiver decides.
func (c *Conn) SetMaxMessage(n int) {
	if n <= 0 {
		n = DefaultMaxMessage
	}
	c.max.Store(int64(n))
}

// LocalAddr returns the address of this end, and nil for an end that has none (of New and NewOneWay, or received from another process).
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the address of the other end, and nil where LocalAddr does.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// Close closes this end and wakes all who are blocked in it; they, and all later calls, get an error that is fs.ErrClosed. The
// peer can receive what was sent before. It is safe to call twice; the second call returns nil.
func (c *Conn) Close() error {
	if c.w == nil {
		return nil
	}
	return public("close", c.w.Close())
}

// Waiter is for Wait.
func (c *Conn) Waiter() waitable.Source {
	if err := c.receiving(); err != nil { // ready to say so
		return waitable.Source{Ready: func() bool { return true }}
	}
	return c.w.Source()
}

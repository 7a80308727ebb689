package wire

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// aheadSize is how much one receive takes at a frame's beginning: header and payload of a small
	// message, and small messages behind it, come with one system call.
	aheadSize = 8 << 10

	// trustSize is how much memory an announced length gets before a byte of it has arrived.
	trustSize = 1 << 20
)

// received is what came beside the bytes of one frame.
type received struct {
	fds  []int
	lost bool // the kernel dropped some: no room in the descriptor table
}

func (r *received) drop() {
	for _, fd := range r.fds {
		unix.Close(fd)
	}
	*r = received{}
}

// A reader holds what was received and not yet returned. All of it is guarded by Conn.readMu.
//
// Whose descriptors are they? A receive ends behind a piece of the stream that carries descriptors (the kernel never
// lets one receive span two such pieces, nor go on behind one), and a sender attaches them to bytes of
// their frame. So they belong to the frame that holds the last byte of the receive, although frames without
// any may stand before it in the same receive.
type reader struct {
	conn *Conn
	err  error // sticky: the stream has lost its frames, or is on its way to another process

	ahead      []byte // ahead[start:end] was received and not used; starts with a header unless inFrame
	start, end int

	inFrame bool
	size    int    // of the frame's payload
	part    []byte // of the payload, saved when a read was interrupted

	own      received // for the current or next frame
	tail     received // for the frame that starts at ahead[tailAt]
	tailAt   int
	receiver receiver
}

func (r *reader) init(c *Conn) {
	r.conn = c
	r.receiver.init()
}

// drop forgets everything; for Close.
func (r *reader) drop() {
	r.own.drop()
	r.tail.drop()
	r.ahead, r.part, r.start, r.end, r.inFrame = nil, nil, 0, 0, false
}

// ReadFrame returns the next frame's payload, in memory of its own, and the descriptors that came with it, which the
// caller then owns (they are close-on-exec). A payload of more than max bytes is refused with ErrTooLarge.
//
// At the end of the stream it returns io.EOF; inside a frame io.ErrUnexpectedEOF. A frame whose descriptors did not all
// fit in this process's table (RLIMIT_NOFILE) is an error; the next frame can be read.
func (c *Conn) ReadFrame(max int) (b []byte, fds []int, err error) {
	return c.ReadFrameInto(nil, max)
}

// ReadFrameInto is ReadFrame for a caller who has memory: b is buf[:n] if the payload fits in buf's
// capacity, else it is new.
func (c *Conn) ReadFrameInto(buf []byte, max int) (b []byte, fds []int, err error) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	if c.closed.Load() {
		return nil, nil, fs.ErrClosed
	}
	b, got, err := c.reader.next(buf, max)
	if err == nil {
		c.publishReady()
	} else {
		err = c.closedError(err)
		if c.reader.err != nil {
			c.ready.Store(true)
			c.wakes.Wake()
		}
		return nil, nil, err
	}
	if got.lost {
		n := len(got.fds)
		got.drop()
		return nil, nil, fmt.Errorf("descriptors that came with a message were lost after the first %d: this process's table is full: raise RLIMIT_NOFILE or close some: %w", n, unix.EMFILE)
	}
	return b, got.fds, nil
}

// publishReady tells waiters whether a whole frame stands in the buffer, where no poll can see it.
func (c *Conn) publishReady() {
	r := &c.reader
	if r.start == r.end {
		if c.ready.Load() && !c.closed.Load() {
			c.ready.Store(false)
		}
		return
	}
	n, header, err := parseHeader(r.ahead[r.start:r.end])
	whole := err != nil || header > 0 && n <= r.end-r.start-header
	if !c.closed.Load() {
		c.ready.Store(whole)
	}
	if whole {
		c.wakes.Wake()
	}
}

// next reads one frame.
func (r *reader) next(buf []byte, max int) ([]byte, received, error) {
	if r.err != nil {
		return nil, received{}, r.err
	}
	if !r.inFrame {
		if err := r.header(); err != nil {
			return nil, received{}, err
		}
	}
	if r.size > max {
		r.err = fmt.Errorf("%w: %d bytes announced, %d allowed", ErrTooLarge, r.size, max)
		return nil, received{}, r.err
	}
	b, err := r.payload(buf)
	if err != nil {
		return nil, received{}, err
	}
	r.inFrame, r.part = false, nil
	got := r.own
	r.own = received{}
	if r.tailAt <= r.start || r.start == r.end { // the frame that tail belongs to is the next one now
		r.own, r.tail = r.tail, received{}
	}
	return b, got, nil
}

// header receives until a header stands at r.start, and takes it.
func (r *reader) header() error {
	for {
		size, length, err := parseHeader(r.ahead[r.start:r.end])
		if err != nil {
			r.err = err
			return err
		}
		if length > 0 {
			r.size, r.start, r.inFrame = size, r.start+length, true
			return nil
		}
		if r.start > 0 {
			// A few bytes at most. tail is empty: its frame would have to be this one, and so have become own.
			copy(r.ahead, r.ahead[r.start:r.end])
			r.start, r.end = 0, r.end-r.start
		}
		if len(r.ahead) < aheadSize {
			r.ahead = append(make([]byte, 0, aheadSize), r.ahead[:r.end]...)[:aheadSize]
		}
		n, got, err := r.receive(r.ahead[r.end:])
		if err != nil {
			if r.end > 0 {
				err = inFrameError(err)
			}
			return err
		}
		r.end += n
		r.assign(got)
	}
}

// assign gives descriptors to the frame that holds the last byte received.
func (r *reader) assign(got received) {
	if got.fds == nil && !got.lost {
		return
	}
	at := r.start
	for {
		size, length, err := parseHeader(r.ahead[at:r.end])
		if err != nil || length == 0 || size >= r.end-at-length {
			break
		}
		at += length + size
	}
	if at == r.start {
		r.own.fds = append(r.own.fds, got.fds...)
		r.own.lost = r.own.lost || got.lost
		return
	}
	r.tail, r.tailAt = got, at
}

// payload returns the payload of the frame whose header was taken. When it fails, it saves what it has.
func (r *reader) payload(buf []byte) ([]byte, error) {
	var b []byte
	borrowed := cap(buf) >= r.size && buf != nil
	switch {
	case borrowed:
		b = buf[:0]
		b = append(b, r.part...)
	case r.part != nil:
		b = r.part
	default:
		b = grow(nil, min(r.size, trustSize))
	}
	if n := min(r.size-len(b), r.end-r.start); n > 0 {
		if cap(b)-len(b) < n {
			b = grow(b, r.size)
		}
		b = append(b, r.ahead[r.start:r.start+n]...)
		r.start += n
	}
	if r.start == r.end {
		r.start, r.end = 0, 0
	}
	for len(b) < r.size {
		if len(b) == cap(b) {
			b = grow(b, r.size)
		}
		n, got, err := r.receive(b[len(b):min(cap(b), r.size)])
		if err != nil {
			if borrowed {
				b = slices.Clone(b)
			}
			if b == nil {
				b = []byte{}
			}
			r.part = b
			return nil, inFrameError(err)
		}
		b = b[:len(b)+n]
		r.own.fds = append(r.own.fds, got.fds...)
		r.own.lost = r.own.lost || got.lost
	}
	return b, nil
}

// grow returns b with more capacity: twice as much, but no more than limit.
func grow(b []byte, limit int) []byte {
	n := max(2*cap(b), min(limit, trustSize))
	if n > limit/2 {
		n = limit // without this step the last growth could be nearly a whole copy for a few bytes
	}
	return append(Allocate(n), b...)
}

// inFrameError says that the stream ended where it must not.
func inFrameError(err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	case errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, err)
	}
	return err
}

// receive blocks until some bytes are in b, or an error. At the end of the stream that is io.EOF.
func (r *reader) receive(b []byte) (int, received, error) {
	rc := &r.receiver
	rc.begin(b, r.conn.rights)
	err := r.conn.raw.Read(rc.step)
	n, got, errno := rc.finish()
	switch {
	case err != nil: // deadline, or closed; before anything was received
		return 0, got, err
	case errno != 0:
		return 0, got, syscallError("recvmsg", errno)
	case n == 0:
		got.drop()
		return 0, received{}, io.EOF
	}
	return n, got, nil
}

package wire

import (
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// A writer is the sending side. All of it is guarded by Conn.writeMu.
type writer struct {
	conn   *Conn
	err    error // sticky: the peer has half a frame, or the socket is on its way to another process
	header [longHeader]byte
	sender sender
}

func (w *writer) init(c *Conn) {
	w.conn = c
	w.sender.init()
}

// WriteFrame sends b as one frame, and fds with it. It returns when the kernel has taken all of it, which is
// not to say that the peer has. The descriptors stay the caller's.
func (c *Conn) WriteFrame(b []byte, fds []int) error {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	if c.closed.Load() {
		return fs.ErrClosed
	}
	w := &c.writer
	if w.err != nil {
		return w.err
	}
	if len(fds) > 0 && !c.rights {
		return fmt.Errorf("descriptors travel on Unix sockets only")
	}
	sent, err := w.frame(b, fds)
	if err != nil && sent > 0 {
		w.err = fmt.Errorf("%w: it sent %d of %d bytes: %w", ErrTorn, sent, len(b)+shortHeader, err)
	}
	return c.closedError(err)
}

// frame sends one frame and reports how far it came.
func (w *writer) frame(b []byte, fds []int) (sent int, err error) {
	header := appendHeader(w.header[:0], len(b))
	if batches := (len(fds) + MaxRights - 1) / MaxRights; batches > len(header)+len(b) {
		return 0, fmt.Errorf("%d descriptors need a message of at least %d bytes, this has %d", len(fds), batches, len(header)+len(b))
	}
	// Each batch but the last rides on one byte: the kernel attaches descriptors to the first byte of a send, and the
	// receiver stops behind them, so that it meets them one batch at a time.
	for len(fds) > MaxRights {
		first, rest := header, b
		if len(header) == 0 {
			first, rest = b[:1], b[1:]
			b = rest
		} else {
			first, header = header[:1], header[1:]
		}
		n, err := w.send(first, nil, fds[:MaxRights])
		sent += n
		if err != nil {
			return sent, err
		}
		fds = fds[MaxRights:]
	}
	n, err := w.send(header, b, fds)
	return sent + n, err
}

// send blocks until all of both buffers is sent, or an error.
func (w *writer) send(head, body []byte, fds []int) (sent int, err error) {
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	s := &w.sender
	s.begin(head, body, rights)
	err = w.conn.raw.Write(s.step)
	sent, errno := s.finish()
	if err == nil && errno != 0 {
		err = syscallError("sendmsg", errno)
		switch errno {
		case unix.ETOOMANYREFS:
			err = fmt.Errorf("too many descriptors of this user are in flight, sent and not yet received; their number is bounded by RLIMIT_NOFILE: %w", err)
		case unix.EMSGSIZE, unix.ENOBUFS, unix.ENOMEM:
			err = fmt.Errorf("the kernel has no room for a message of %d bytes: %w", len(head)+len(body), err)
		}
	}
	return sent, err
}

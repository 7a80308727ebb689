package seg

import (
	"syscall"

	"github.com/go-multiproc/multiproc/internal/handover"
)

// A crossing is what travels with a segment's descriptor. What the segment
// holds, the receiver reads from its footer.
type crossing struct {
	Name string
	Raw  bool
}

// HandOver describes the segment to another process.
func (h *Handle) HandOver(e *handover.Encoder) error {
	if h.Closed() {
		return h.ErrClosed()
	}
	// A description of its own, and gone once it was sent: one more reference to
	// the description that holds the token would keep a dead process alive.
	fd, err := h.Reopen()
	if err != nil {
		return err
	}
	e.FD(fd, func() { syscall.Close(fd) })
	return e.Put(crossing{Name: h.name, Raw: h.m.raw})
}

// TakeOver joins a segment that another process handed over, if it holds the
// kind of object with the type of elements. An empty kind takes every segment.
func TakeOver(d *handover.Decoder, kind, typ string) (*Handle, error) {
	fd, err := d.FD()
	if err != nil {
		return nil, err
	}
	var c crossing
	if err := d.Get(&c); err != nil {
		syscall.Close(fd)
		return nil, err
	}
	return Attach(fd, c.Name, kind, typ, c.Raw)
}

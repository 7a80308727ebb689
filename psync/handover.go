package psync

import (
	"fmt"
	"io/fs"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/lock"
	"github.com/go-multiproc/multiproc/internal/seg"
)

// place says where in a segment an object stands.
type place struct {
	Offset int // from the start of the meta area
}

// HandOver describes the Mutex to another process. Packages process and pipe
// call it.
func (m *Mutex) HandOver(e *handover.Encoder) error {
	if m.l == nil {
		return fmt.Errorf("psync: a Mutex that was not made by NewMutex, CreateMutex or OpenMutex: %w", fs.ErrInvalid)
	}
	h := m.l.Handle()
	if err := h.HandOver(e); err != nil {
		return err
	}
	return e.Put(place{Offset: m.l.Offset() - h.Mapping().MetaOffset()})
}

// TakeOver makes the zero Mutex a hold on one that another process handed over.
// Packages process and pipe call it.
func (m *Mutex) TakeOver(d *handover.Decoder) error {
	h, err := seg.TakeOver(d, "", "")
	if err != nil {
		return err
	}
	var at place
	if err := d.Get(&at); err != nil {
		h.Close(nil)
		return err
	}
	if at.Offset < 0 || at.Offset%lock.Size != 0 || at.Offset > len(h.Meta())-lock.Size {
		h.Close(nil)
		return fmt.Errorf("psync: no lock at offset %d of a segment with %d bytes of bookkeeping", at.Offset, len(h.Meta()))
	}
	m.l = lock.At(h, at.Offset)
	return nil
}

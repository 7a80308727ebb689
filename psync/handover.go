package psync

import (
	"fmt"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/lock"
)

// HandOver describes the Mutex to another process. Packages process and pipe
// call it.
func (m *Mutex) HandOver(e *handover.Encoder) error {
	p := m.at
	if m.l != nil && p.h == nil { // see Guard
		p.h, p.off = m.l.Handle(), m.l.Offset()
	}
	return mutexKind.handOver(e, p)
}

// TakeOver makes the zero Mutex a hold on one that another process handed over.
// Packages process and pipe call it.
func (m *Mutex) TakeOver(d *handover.Decoder) error {
	h, c, err := mutexKind.arrive(d)
	if err != nil {
		return err
	}
	if !c.Placed && h.Kind() != mutexKind.segment {
		// The lock of another object, which has no tag.
		if c.Offset < 0 || c.Offset%lock.Size != 0 || c.Offset > len(h.Meta())-lock.Size {
			h.Close(nil)
			return fmt.Errorf("psync: no lock at offset %d of a segment with %d bytes of bookkeeping", c.Offset, len(h.Meta()))
		}
		h.SetObject("psync", mutexKind.name)
		m.l = lock.At(h, c.Offset)
		return nil
	}
	p, err := mutexKind.join(h, c)
	if err != nil {
		return err
	}
	m.stand(p)
	return nil
}

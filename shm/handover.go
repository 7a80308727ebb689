package shm

import (
	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/seg"
)

// HandOver describes the segment to another process. Packages process and pipe
// call it.
func (s *Segment) HandOver(e *handover.Encoder) error { return s.h.HandOver(e) }

// TakeOver makes the zero Segment a hold on a segment that another process
// handed over. Packages process and pipe call it.
func (s *Segment) TakeOver(d *handover.Decoder) (err error) {
	s.h, err = seg.TakeOver(d, kind, "")
	return err
}

package shm

import (
	"fmt"
	"io/fs"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/seg"
)

// HandOver describes the segment to another process. Packages process and pipe
// call it.
func (s *Segment) HandOver(e *handover.Encoder) error {
	if s.h == nil {
		return fmt.Errorf("shm: a Segment that was not made by New, Create, Open, OpenOrCreate or OpenRaw: %w", fs.ErrInvalid)
	}
	return s.h.HandOver(e)
}

// TakeOver makes the zero Segment a hold on a segment that another process
// handed over. Packages process and pipe call it.
func (s *Segment) TakeOver(d *handover.Decoder) error {
	h, err := seg.TakeOver(d, kind, "")
	if err != nil {
		return err
	}
	h.SetObject("shm", "Segment")
	s.h = h
	return nil
}

package cell

import (
	"github.com/go-multiproc/multiproc/internal/guard"
	"github.com/go-multiproc/multiproc/internal/inspect"
	"github.com/go-multiproc/multiproc/internal/lock"
	"github.com/go-multiproc/multiproc/internal/seg"
)

// Inspect describes an object's guard, if it stands in the object's own segment. It is
// an inspect.Describer.
func Inspect(h *seg.Handle) []inspect.Part {
	size := 1
	if n := h.Count(); n > 0 {
		size = len(h.Data()) / n
	}
	p, err := ReadPlan(h.Meta(), len(h.Data()), size, h.Count())
	if err != nil || p.Kind != guard.Own {
		return nil
	}
	if part, ok := lock.Inspect(h, GuardOffset, "guard"); ok {
		return []inspect.Part{part}
	}
	return nil
}

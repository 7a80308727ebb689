package psync

import (
	"github.com/go-multiproc/multiproc/internal/inspect"
	"github.com/go-multiproc/multiproc/internal/lock"
	"github.com/go-multiproc/multiproc/internal/seg"
)

func init() {
	inspect.Register("mutex", func(h *seg.Handle) []inspect.Part {
		if p, ok := lock.Inspect(h, 0, "mutex"); ok {
			return []inspect.Part{p}
		}
		return nil
	})
}

package handover

import (
	"errors"
	"io"
)

// Taken is what arrived with one message and has to be closed by somebody: handles, files, connections. It may be dropped without a call:
// they are then closed by whoever uses them.
type Taken struct {
	closers []io.Closer
}

// Len is the number of things that arrived; one that stands in several places counts once.
func (t *Taken) Len() int { return len(t.closers) }

// Keep takes h out of what Close closes, and reports whether it was there.
func (t *Taken) Keep(h any) bool {
	for i, c := range t.closers {
		if any(c) == h {
			t.closers = append(t.closers[:i], t.closers[i+1:]...)
			return true
		}
	}
	return false
}

// Close closes all handles, files and connections that arrived with the message and were not kept, in reverse order, and returns
// their errors. A second call does nothing.
func (t *Taken) Close() error {
	var errs []error
	for i := len(t.closers) - 1; i >= 0; i-- {
		errs = append(errs, t.closers[i].Close())
	}
	t.closers = nil
	return errors.Join(errs...)
}

package psync

import (
	"fmt"
	"io/fs"

	"github.com/go-multiproc/multiproc/internal/inspect"
	"github.com/go-multiproc/multiproc/internal/seg"
)

// ForceUnlock takes a named lock away from the process that holds it, which need not know: the lock
// of a Mutex, an RMutex, the writer's of an RWMutex, or the guard of a Value or an Array. It is for an operator
// who has looked with shm.Inspect and knows that the holder will not come back: it is stopped, or
// waits for something that never happens.
//
// The lock is abandoned afterwards, as if the holder had died: others get ErrOwnerDied, until
// somebody recovers it. The former holder's Unlock returns ErrLockLost, and every later hold has a larger
// Fence. But nothing keeps it from touching what the lock guards until it finds out: whoever can
// kill it instead should. Permits and read locks can not be taken away; killing their holder
// returns them.
//
// If nobody holds the lock the error is ErrNotHeld, and fs.ErrInvalid if the object has none, or
// is a segment in which several locks are held. A hold that a method of this library has for a moment,
// such as Value.Update, can not be taken away, and the error says so.
func ForceUnlock(name string, opts ...Options) error {
	h, err := seg.Open(name, "", "", options(opts))
	if err != nil {
		return err
	}
	defer h.Close(nil)
	var held []func() error
	locks := 0
	for _, p := range inspect.Describe(h) {
		if p.Lock {
			locks++
		}
		if p.Force != nil {
			held = append(held, p.Force)
		}
	}
	switch {
	case locks == 0:
		return &fs.PathError{Op: "unlock by force", Path: name, Err: fmt.Errorf("a %s has no lock that can be taken away: %w", h.Kind(), fs.ErrInvalid)}
	case len(held) == 0:
		return fmt.Errorf("psync: unlock %s by force: nobody holds it: %w", name, ErrNotHeld)
	case len(held) > 1:
		return &fs.PathError{Op: "unlock by force", Path: name, Err: fmt.Errorf("%d of its locks are held: %w", len(held), fs.ErrInvalid)}
	}
	if err := held[0](); err != nil {
		return fmt.Errorf("psync: unlock %s by force: %w", name, err)
	}
	return nil
}

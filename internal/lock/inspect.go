package lock

import (
	"errors"
	"math"

	"github.com/go-multiproc/multiproc/internal/crash"
	"github.com/go-multiproc/multiproc/internal/inspect"
	"github.com/go-multiproc/multiproc/internal/mem"
	"github.com/go-multiproc/multiproc/internal/seg"
)

// Inspect says who holds the lock at off in the handle's meta area, and where those sleep
// who wait for it. It takes no part; ok is false if there is no room for a lock.
func Inspect(h *seg.Handle, off int, what string) (p inspect.Part, ok bool) {
	if off < 0 || off%Size != 0 || off > len(h.Meta())-Size {
		return inspect.Part{}, false
	}
	m := h.Mapping()
	at := m.MetaOffset() + off
	return InspectAt(m, at, what), true
}

// InspectAt is Inspect for a lock at an offset in the file, which has room for it.
func InspectAt(m *seg.Mapping, at int, what string) inspect.Part {
	w := word(m.Word(at).Load())
	p := inspect.Part{What: what, Lock: true, Words: []int{at}, Abandoned: w.abandoned()}
	n := notesAt(m, at)
	p.HeldSince, p.WaitedSince = n.heldFrom(w), n.waitedFrom(m)
	if w.held() {
		p.Owners = []inspect.Owner{{Token: w.token(), N: 1}}
		p.Force = func() error { return force(m, at, w) }
	}
	return p
}

const lostOffset = 16

// lost reports whether the lock was taken away from this process since it was last asked.
func (m *Mutex) lost() bool {
	at := m.q.m.Word(m.off + lostOffset)
	t := m.own.token()
	return at.Load() == t && at.CompareAndSwap(t, 0)
}

// force takes the lock away from the holder that w says, whether it lives or not: the lock is
// abandoned then, since what it guards is in doubt, and the former holder finds out when it
// unlocks. A section of the library's own is not taken away: it ends within microseconds, unless
// its process is stopped, and there it would go on where it was, later, and destroy what others have done.
func force(m *seg.Mapping, at int, w word) error {
	if w&word(User) == 0 {
		return errSection
	}
	word, lost := m.Word(at), m.Word(at+lostOffset)
	// Said first, so that there is no moment at which the holder could take the loss for a mistake
	// of its own.
	lost.Store(w.token())
	crash.At("force.noted")
	if !word.CompareAndSwap(uint64(w), uint64(w.diedOn().renumbered())) {
		lost.CompareAndSwap(w.token(), 0)
		return errMoved
	}
	crash.At("force.taken")
	mem.Wake(word, math.MaxInt32)
	return nil
}

var (
	errSection = errors.New("it is held for a moment by the library's own code; if that lasts, its process is stopped: continue or kill it")
	errMoved   = errors.New("the lock has changed hands meanwhile; look again who holds it")
)

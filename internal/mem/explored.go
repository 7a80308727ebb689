//go:build multiproc_explore

package mem

import (
	"math"
	"sync/atomic"
	"time"
)

// A Scheduler is told of each step before it is taken, and takes it.
type Scheduler interface {
	Local
	// Word applies op to w and returns what the method of that name returns; for
	// CompareAndSwap 1 or 0.
	Word(op Op, w *Uint64, a, b uint64) uint64
	Wait(w *Uint64, seen uint64, d time.Duration) End
	Wake(w *Uint64, n int) int
	Copy(dst, src []byte)
	Mark(label string, locals []uint64)
	Enter()
	Leave()
}

// Hook is the scheduler; nil: steps are taken on real memory, as in normal builds.
// It changes only while no step is being taken.
var Hook Scheduler

// An Op is an operation on a word.
type Op int

// These are the operations, with a and b as in Scheduler.Word.
const (
	Load           Op = iota
	Store             // a
	Add               // a
	Swap              // a
	And               // a
	Or                // a
	CompareAndSwap    // a: old, b: new
)

// String names op.
func (op Op) String() string {
	return [...]string{"load", "store", "add", "swap", "and", "or", "cas"}[op]
}

// A Uint64 is a 64-bit word in shared memory.
type Uint64 struct{ real atomic.Uint64 }

// Load is atomic.Uint64's.
func (w *Uint64) Load() uint64 {
	if Hook != nil {
		return Hook.Word(Load, w, 0, 0)
	}
	return w.real.Load()
}

// Store is atomic.Uint64's.
func (w *Uint64) Store(v uint64) {
	if Hook != nil {
		Hook.Word(Store, w, v, 0)
		return
	}
	w.real.Store(v)
}

// Add is atomic.Uint64's.
func (w *Uint64) Add(delta uint64) uint64 {
	if Hook != nil {
		return Hook.Word(Add, w, delta, 0)
	}
	return w.real.Add(delta)
}

// Swap is atomic.Uint64's.
func (w *Uint64) Swap(v uint64) uint64 {
	if Hook != nil {
		return Hook.Word(Swap, w, v, 0)
	}
	return w.real.Swap(v)
}

// And is atomic.Uint64's.
func (w *Uint64) And(mask uint64) uint64 {
	if Hook != nil {
		return Hook.Word(And, w, mask, 0)
	}
	return w.real.And(mask)
}

// Or is atomic.Uint64's.
func (w *Uint64) Or(mask uint64) uint64 {
	if Hook != nil {
		return Hook.Word(Or, w, mask, 0)
	}
	return w.real.Or(mask)
}

// CompareAndSwap is atomic.Uint64's.
func (w *Uint64) CompareAndSwap(old, new uint64) bool {
	if Hook != nil {
		return Hook.Word(CompareAndSwap, w, old, new) == 1
	}
	return w.real.CompareAndSwap(old, new)
}

// Wait is as in normal builds.
func Wait(w *Uint64, seen uint64, d time.Duration) End {
	if Hook != nil {
		return Hook.Wait(w, seen, d)
	}
	return futexWait(w, seen, d)
}

// Wake is as in normal builds.
func Wake(w *Uint64, n int) int {
	if Hook != nil {
		return Hook.Wake(w, n)
	}
	return futexWake(w, n)
}

// Copy is as in normal builds, in two steps.
func Copy(dst, src []byte) {
	if Hook != nil {
		Hook.Copy(dst, src)
		return
	}
	copy(dst, src)
}

// Mark says that from here on, what its caller does depends on nothing that it has
// seen before but locals: whoever is at the same label with the same locals can be
// taken for the same.
func Mark(label string, locals ...uint64) {
	if Hook != nil {
		Hook.Mark(label, locals)
	}
}

// WaitGroup is as in normal builds.
func WaitGroup(w *Uint64, seen uint64, d time.Duration, group uint32) End {
	if Hook != nil {
		return Hook.Wait(w, seen, d)
	}
	return futexWaitGroup(w, seen, d, group)
}

// WakeGroup is as in normal builds; to the scheduler, everybody is in the group.
func WakeGroup(w *Uint64, group uint32) {
	if Hook != nil {
		Hook.Wake(w, math.MaxInt32)
		return
	}
	futexWakeGroup(w, group)
}

// Explored tells whether steps may go to a scheduler: then nothing may depend on the
// clock.
const Explored = true

// Enter is as in normal builds.
func Enter() {
	if Hook != nil {
		Hook.Enter()
	}
}

// Leave is as in normal builds.
func Leave() {
	if Hook != nil {
		Hook.Leave()
	}
}

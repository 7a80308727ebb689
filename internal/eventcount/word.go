package eventcount

import (
	"math"

	"github.com/go-multiproc/multiproc/internal/crash"
	"github.com/go-multiproc/multiproc/internal/mem"
)

const (
	waiters  = 1
	oneEvent = 1 << 1
	lowHalf  = 1<<32 - 1
	oneMore  = 1 << 32 // announcement
)

// next is v after one more notification. The count of them must not carry into the
// high half.
func next(v uint64) uint64 { return v&^lowHalf | (v+oneEvent)&lowHalf }

// announce says that somebody is about to sleep, and returns the word to sleep on. The
// caller looks at its condition between the two.
func announce(w *mem.Uint64) uint64 {
	for {
		v := w.Load()
		n := v + oneMore | waiters
		if w.CompareAndSwap(v, n) {
			return n
		}
	}
}

// ring wakes up to n of those who sleep, of whatever process. The caller has changed the
// condition before.
func ring(w *mem.Uint64, n int) {
	v := w.Load()
	for {
		if v&waiters == 0 {
			return
		}
		if w.CompareAndSwap(v, next(v)) {
			break
		}
		v = w.Load()
	}
	crash.At("eventcount.counted")
	if woken := mem.Wake(w, n); woken == 0 || n == math.MaxInt32 {
		// Nobody sleeps any more of those who were announced. One who announced himself
		// meanwhile has changed the word.
		w.CompareAndSwap(next(v), next(v)&^waiters)
	}
}

// jog makes everybody who sleeps on w for the processes of one group look at the
// condition again, and everybody who is about to sleep.
func jog(w *mem.Uint64, group uint32) {
	for v := w.Load(); !w.CompareAndSwap(v, next(v)); v = w.Load() {
	}
	mem.WakeGroup(w, group)
}

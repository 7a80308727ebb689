package lock

import (
	"math"
	"sync/atomic"
)

// giveBack unlocks a word that this process holds, by way of another mapping of
// it, when the process's queue is no longer there.
func giveBack(at *atomic.Uint64) {
	for {
		w := word(at.Load())
		if !at.CompareAndSwap(uint64(w), uint64(w.released())) {
			continue
		}
		if w.abandoned() {
			wake(at, math.MaxInt32)
		} else if w.waiters() {
			wake(at, 1)
		}
		return
	}
}

package lock

import (
	"math"

	"github.com/go-multiproc/multiproc/internal/mem"
)

// giveBack leaves the lock to the other processes when the memory where this
// process had it is gone, by way of another mapping of its word. own is the token
// of what is gone: Quiesce may have left it in the word, and so may somebody who
// took the lock when it was closed already, and found only zeros when he was
// about to give it back. The hungry bit goes too: it may be that of a waiter who
// found only zeros when it wanted to take it back. (Others set theirs again.)
func giveBack(at *mem.Uint64, own word) {
	n := 1
	for {
		w := word(at.Load())
		next := w &^ hungry
		if w.held() && w.token() == own.token() {
			next = next.released()
			if w.abandoned() {
				n = math.MaxInt32
			}
		}
		if next == w || at.CompareAndSwap(uint64(w), uint64(next)) {
			break
		}
	}
	// Somebody is woken whatever the waiters bit says: a goroutine that had got a
	// wake-up, and gave up because of Close, could not pass it on in here any more.
	mem.Wake(at, n)
}

package main

import (
	"fmt"
	"sync/atomic"
	"time"
)

// errCount says that a lock let two in at once.
type errCount struct{ got, want uint64 }

func (e errCount) Error() string { return fmt.Sprintf("counted %d, want %d", e.got, e.want) }

var sink atomic.Uint64

// spin is busy for n steps, each of which needs the one before.
func spin(n int) {
	x := uint64(n)
	for range n {
		x = x*6364136223846793005 + 1442695040888963407
	}
	if x == 1 {
		sink.Store(x)
	}
}

// spinsFor says for how many steps spin is busy for d.
func spinsFor(d time.Duration) int {
	const n = 10_000_000
	best := time.Duration(1 << 62)
	for range 5 {
		began := time.Now()
		spin(n)
		best = min(best, time.Since(began))
	}
	return int(float64(n) * float64(d) / float64(best))
}

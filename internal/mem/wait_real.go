//go:build !multiproc_explore

package mem

import "time"

// Wait sleeps until somebody wakes w's sleepers, at most d, if the low half of w
// is still as in seen. The memory must stay mapped until it returns.
func Wait(w *Uint64, seen uint64, d time.Duration) End { return futexWait(w, seen, d) }

// Wake wakes up to n sleepers, of any process, and returns how many it woke.
func Wake(w *Uint64, n int) int { return futexWake(w, n) }

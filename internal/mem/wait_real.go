//go:build !multiproc_explore

package mem

import "time"

// Wait sleeps until somebody wakes w's sleepers, at most d, if the low half of w
// is still as in seen. The memory must stay mapped until it returns.
func Wait(w *Uint64, seen uint64, d time.Duration) End { return futexWait(w, seen, d) }

// Wake wakes up to n sleepers, of any process, and returns how many it woke.
func Wake(w *Uint64, n int) int { return futexWake(w, n) }

// WaitGroup is Wait as one of a group, a single bit: Wake wakes it as any other,
// WakeGroup only if the bit is its own.
func WaitGroup(w *Uint64, seen uint64, d time.Duration, group uint32) End {
	return futexWaitGroup(w, seen, d, group)
}

// WakeGroup wakes all sleepers of a group. It lets a process wake its own and, as
// there are only 32 bits, few others.
func WakeGroup(w *Uint64, group uint32) { futexWakeGroup(w, group) }

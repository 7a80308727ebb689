//go:build !linux

package mem

import "time"

// No segment can be made on this system, and so there is no word to wait for.
func futexWait(w *Uint64, seen uint64, d time.Duration) End { panic("mem: unsupported system") }

func futexWake(w *Uint64, n int) int { panic("mem: unsupported system") }

func futexWaitGroup(w *Uint64, seen uint64, d time.Duration, group uint32) End {
	panic("mem: unsupported system")
}

func futexWakeGroup(w *Uint64, group uint32) { panic("mem: unsupported system") }

//go:build !linux

package lock

import (
	"sync/atomic"
	"time"
)

// No segment, and so no lock, can be made on this system.
func sleep(w *atomic.Uint64, seen word, d time.Duration) sleepEnd { panic("lock: unsupported system") }

func wake(w *atomic.Uint64, n int) { panic("lock: unsupported system") }

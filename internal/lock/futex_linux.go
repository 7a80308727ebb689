package lock

import (
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-multiproc/multiproc/internal/sys"
)

// sleep waits until somebody wakes w's sleepers, at most d, if w's low half is
// still as in seen.
func sleep(w *atomic.Uint64, seen word, d time.Duration) sleepEnd {
	switch sys.FutexWait(futexWord(w), seen.low(), d) {
	case syscall.ETIMEDOUT:
		return sleepOver
	case syscall.EAGAIN:
		return sleepSkipped
	}
	return sleepWoken
}

// wake wakes up to n sleepers, of any process.
func wake(w *atomic.Uint64, n int) { sys.FutexWake(futexWord(w), n) }

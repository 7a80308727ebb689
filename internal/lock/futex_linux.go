package lock

import (
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-multiproc/multiproc/internal/sys"
)

// sleep waits until somebody wakes w's sleepers, at most d, if w's low half is
// still as in seen. It reports whether it was woken.
func sleep(w *atomic.Uint64, seen word, d time.Duration) (woken bool) {
	return sys.FutexWait(futexWord(w), seen.low(), d) != syscall.ETIMEDOUT
}

// wake wakes up to n sleepers, of any process.
func wake(w *atomic.Uint64, n int) { sys.FutexWake(futexWord(w), n) }

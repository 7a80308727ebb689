package mem

import (
	"syscall"
	"time"
	"unsafe"

	"github.com/go-multiproc/multiproc/internal/sys"
)

// low is the half of w that the kernel looks at.
//
// Safety: the low half comes first on little-endian machines, which are the only
// ones supported.
func low(w *Uint64) *uint32 { return (*uint32)(unsafe.Pointer(w)) }

// futexWait is Wait on real memory.
func futexWait(w *Uint64, seen uint64, d time.Duration) End {
	switch sys.FutexWait(low(w), uint32(seen), d) {
	case syscall.ETIMEDOUT:
		return Over
	case syscall.EAGAIN:
		return Skipped
	}
	return Woken
}

// futexWake is Wake on real memory.
func futexWake(w *Uint64, n int) int { return sys.FutexWake(low(w), n) }

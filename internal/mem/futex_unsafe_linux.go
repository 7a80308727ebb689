package mem

import (
	"math"
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

// futexWaitGroup is WaitGroup on real memory.
func futexWaitGroup(w *Uint64, seen uint64, d time.Duration, group uint32) End {
	switch sys.FutexWaitBitset(low(w), uint32(seen), d, group) {
	case syscall.ETIMEDOUT:
		return Over
	case syscall.EAGAIN:
		return Skipped
	}
	return Woken
}

// futexWakeGroup is WakeGroup on real memory.
func futexWakeGroup(w *Uint64, group uint32) { sys.FutexWakeBitset(low(w), math.MaxInt32, group) }

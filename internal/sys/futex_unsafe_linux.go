package sys

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The futex operations here are the shared ones: FUTEX_PRIVATE_FLAG would key
// the queue by address space, pass every test in one process, and never wake
// another.
const (
	futexWait = 0
	futexWake = 1
)

// FutexWait sleeps while *addr is val, at most d. It returns nil when it was
// woken (which may be spurious), syscall.EAGAIN when *addr was not val,
// syscall.EINTR when a signal came and syscall.ETIMEDOUT after d.
//
// Safety: addr must stay mapped until FutexWait returns.
func FutexWait(addr *uint32, val uint32, d time.Duration) error {
	ts := unix.NsecToTimespec(int64(d))
	// Syscall6 and not RawSyscall6: the runtime has to know that this thread
	// sleeps, so that it can run the other goroutines on another one.
	_, _, e := syscall.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(addr)), futexWait,
		uintptr(val), uintptr(unsafe.Pointer(&ts)), 0, 0)
	if e != 0 {
		return e
	}
	return nil
}

// FutexWake wakes up to n sleepers on addr and returns how many it woke.
//
// Safety: addr must be mapped.
func FutexWake(addr *uint32, n int) int {
	// RawSyscall6: waking never blocks, so the scheduler need not be told.
	r, _, e := syscall.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(addr)), futexWake,
		uintptr(n), 0, 0, 0)
	if e != 0 {
		return 0
	}
	return int(r)
}

package sys

import (
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The futex operations here are the shared ones: FUTEX_PRIVATE_FLAG would key
// the queue by address space, pass every test in one process, and never wake
// another.
const (
	futexWait       = 0
	futexWake       = 1
	futexWaitBitset = 9
	futexWakeBitset = 10
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

// FutexWaitBitset is FutexWait for a sleeper that FutexWakeBitset can pick out by one of
// the bits.
//
// Safety: as for FutexWait.
func FutexWaitBitset(addr *uint32, val uint32, d time.Duration, bits uint32) error {
	// Unlike FUTEX_WAIT, it takes the time when to end, and not for how long to wait.
	ts := unix.NsecToTimespec(int64(monotonic() + d))
	_, _, e := syscall.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(addr)), futexWaitBitset,
		uintptr(val), uintptr(unsafe.Pointer(&ts)), 0, uintptr(bits))
	if e != 0 {
		return e
	}
	return nil
}

// FutexWakeBitset wakes up to n sleepers on addr that have one of the bits in common
// with bits, and returns how many it woke. Sleepers in FutexWait have all of them.
//
// Safety: addr must be mapped.
func FutexWakeBitset(addr *uint32, n int, bits uint32) int {
	r, _, e := syscall.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(addr)), futexWakeBitset,
		uintptr(n), 0, 0, uintptr(bits))
	if e != 0 {
		return 0
	}
	return int(r)
}

// clock ties the runtime's clock, which is the kernel's CLOCK_MONOTONIC and read without a
// system call, to the kernel's count.
var clock struct {
	once  sync.Once
	start time.Time
	base  time.Duration
}

// monotonic is what CLOCK_MONOTONIC shows, or up to a few microseconds more.
func monotonic() time.Duration {
	clock.once.Do(func() {
		clock.start = time.Now()
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
			panic("sys: no CLOCK_MONOTONIC: " + err.Error()) // it has been there since Linux 2.6
		}
		clock.base = time.Duration(ts.Nano())
	})
	return clock.base + time.Since(clock.start)
}

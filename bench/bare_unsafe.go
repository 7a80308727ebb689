package main

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawRead is read(2) without telling Go's scheduler, which is right for a call that cannot
// block, and cheaper.
func rawRead(fd int, buf []byte) (int, error) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)))
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}

// rawWrite is write(2) in the same way.
func rawWrite(fd int, buf []byte) (int, error) {
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)))
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}

// rawFutexWait sleeps while the word is n, at most d, without telling Go's scheduler, which is not right for a call that blocks: it
// holds up the garbage collector. It is the least that a sleep can cost, though.
func rawFutexWait(word *uint32, n uint32, d time.Duration) {
	const futexWait = 0 // between processes
	ts := unix.NsecToTimespec(int64(d))
	unix.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWait, uintptr(n), uintptr(unsafe.Pointer(&ts)), 0, 0)
}

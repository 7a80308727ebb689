package sys

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const is64bit = ^uint(0) >> 63

// siginfoChild is siginfo_t as waitid fills it. Package unix has no names for the fields behind the first three.
type siginfoChild struct {
	signo int32
	errno int32
	code  int32
	_     [is64bit]int32

	pid  int32
	uid  uint32
	stat int32
	_    [128 - (6+is64bit)*4]byte
}

// Values of siginfoChild.code.
const (
	cldExited = 1
	cldKilled = 2
	cldDumped = 3
)

// status is what wait4 would have said.
func (s *siginfoChild) status() syscall.WaitStatus {
	const core = 0x80
	switch s.code {
	case cldExited:
		return syscall.WaitStatus(s.stat << 8)
	case cldDumped:
		return syscall.WaitStatus(s.stat) | core
	default: // cldKilled: nothing else ends a process
		return syscall.WaitStatus(s.stat)
	}
}

// waitidPidfd fills usage too, unless it is nil: the call that package unix has leaves it out.
func waitidPidfd(pidfd int, info *siginfoChild, options int, usage *unix.Rusage) error {
	_, _, errno := unix.Syscall6(unix.SYS_WAITID, unix.P_PIDFD, uintptr(pidfd), uintptr(unsafe.Pointer(info)), uintptr(options), uintptr(unsafe.Pointer(usage)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

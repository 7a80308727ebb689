package sys

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// DefaultSignal gives a signal its default action in this process. Package os/signal can not do that for signals that the Go
// runtime ignores by default, SIGXCPU for one.
func DefaultSignal(sig syscall.Signal) error {
	// struct sigaction in all bytes zero: SIG_DFL is 0. Its size differs between machines, this is enough for all.
	var action [16]uint64
	const sigsetSize = 8
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&action)), 0, sigsetSize, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

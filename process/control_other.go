//go:build !linux

package process

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// controlPair makes the socket between parent and child.
func controlPair() (ours, theirs int, err error) {
	// The lock keeps a fork from happening before the descriptors are close-on-exec.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return -1, -1, os.NewSyscallError("socketpair", err)
	}
	unix.CloseOnExec(fds[0])
	unix.CloseOnExec(fds[1])
	return fds[0], fds[1], nil
}

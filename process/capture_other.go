//go:build !linux

package process

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// fionread asks how much there is to be read.
const fionread = 0x4004667f

// capturePipe returns a pipe whose ends are as each side wants them: this process waits in the poller, and the child's end blocks.
func capturePipe() (r, w *os.File, err error) {
	// The lock keeps a fork from happening before the descriptors are close-on-exec.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	var fds [2]int
	if err := unix.Pipe(fds[:]); err != nil {
		return nil, nil, os.NewSyscallError("pipe", err)
	}
	unix.CloseOnExec(fds[0])
	unix.CloseOnExec(fds[1])
	unix.SetNonblock(fds[0], true)
	return os.NewFile(uintptr(fds[0]), "stderr"), os.NewFile(uintptr(fds[1]), "stderr"), nil
}

package process

import (
	"os"

	"golang.org/x/sys/unix"
)

// fionread asks how much there is to be read.
const fionread = unix.TIOCINQ

// capturePipe returns a pipe whose ends are as each side wants them: this process waits in the poller, and the child's end blocks.
func capturePipe() (r, w *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, os.NewSyscallError("pipe2", err)
	}
	unix.SetNonblock(fds[0], true)
	return os.NewFile(uintptr(fds[0]), "stderr"), os.NewFile(uintptr(fds[1]), "stderr"), nil
}

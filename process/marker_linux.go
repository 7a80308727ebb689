package process

import "golang.org/x/sys/unix"

// fromParent reports whether the socket came from this process's parent: the kernel noted who made it. A parent
// that is dead already has been replaced as such, but then its end of the socket is closed.
func fromParent(fd int) bool {
	maker, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return false
	}
	if int(maker.Pid) == unix.Getppid() { // in a PID namespace of our own both are 0
		return true
	}
	p := []unix.PollFd{{Fd: int32(fd)}}
	n, err := unix.Poll(p, 0)
	return err == nil && n == 1 && p[0].Revents&unix.POLLHUP != 0
}

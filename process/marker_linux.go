package process

import (
	"bytes"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// closingTime is how long the descriptors of a process that is being killed may stay open when its children have got another parent already.
const closingTime = 5 * time.Second

// fromParent reports whether the socket came from this process's parent: the kernel noted who made it. A parent
// that is dead already has been replaced as such, and its end of the socket is closed: or will be, because children are
// given away when the last thread begins to exit, and descriptors are closed when the last one has come that far.
// So who cannot tell waits for that. Only in a program that was started by a child of the maker, there is nothing to wait for: the maker is
// still among its ancestors.
func fromParent(fd int) bool {
	maker, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return false
	}
	parent := unix.Getppid()
	if int(maker.Pid) == parent { // in a PID namespace of our own both are 0
		return true
	}
	if hungUp(fd, 0) {
		return true
	}
	if isAncestor(int(maker.Pid), parent) {
		return false
	}
	return hungUp(fd, closingTime)
}

// hungUp waits so long for the other end of a socket to be closed.
func hungUp(fd int, limit time.Duration) bool {
	for end := time.Now().Add(limit); ; {
		left := max(time.Until(end), 0)
		p := []unix.PollFd{{Fd: int32(fd)}} // nothing that one asks for: not what has come, which may be a job
		n, err := unix.Poll(p, int((left+time.Millisecond-1)/time.Millisecond))
		if err != unix.EINTR {
			return err == nil && n == 1 && p[0].Revents&unix.POLLHUP != 0
		}
	}
}

// isAncestor reports whether a process is pid or has it among its ancestors, as far as /proc tells.
func isAncestor(pid, of int) bool {
	for range 1000 { // those of a process that is ending may change meanwhile, but they come to an end
		if of == pid {
			return true
		}
		if of <= 0 {
			return false
		}
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(of) + "/stat")
		if err != nil {
			return false
		}
		// "pid (name) state ppid …", where the name may hold anything.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) < 2 {
			return false
		}
		if of, err = strconv.Atoi(string(fields[1])); err != nil {
			return false
		}
	}
	return false
}

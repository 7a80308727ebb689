package process

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// blocking returns a file to be a child's standard input or output. Programs expect those to block: if the child runs one
// with its own standard output, that program fails with EAGAIN on one that does not.
//
// But O_NONBLOCK belongs to the open file, not to a descriptor of it, so what is set for the child is set for the
// parent. Package os makes its pipes non-blocking, for the sake of deadlines and of not holding a thread, and Fd
// ends that. So the child gets a pipe that was opened anew. What cannot be opened anew (a socket) becomes
// blocking, as with os/exec.
func blocking(f *os.File) (*os.File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	result := f
	err = raw.Control(func(fd uintptr) {
		flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0)
		if err != nil || flags&unix.O_NONBLOCK == 0 {
			return
		}
		result = nil
		var st unix.Stat_t
		if unix.Fstat(int(fd), &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
			return
		}
		path := fmt.Sprintf("/proc/self/fd/%d", fd)
		// Not blocking at first: a FIFO with a name would wait for its other end.
		n, err := unix.Open(path, flags&unix.O_ACCMODE|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return
		}
		unix.SetNonblock(n, false)
		result = os.NewFile(uintptr(n), f.Name())
	})
	if result == nil && err == nil {
		f.Fd()
		result = f
	}
	return result, closedFile(err)
}

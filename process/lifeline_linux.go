package process

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/wire"
)

// dieWithParent has the kernel kill this process when the parent's end of the control socket closes, which is when the parent
// ends, in whatever way. It reports whether that could be arranged.
//
// This is signal-driven I/O with SIGKILL for its signal: any event on the socket, and the other end's closing is
// one, kills. So nothing may be sent to a child after its job, and the child's own writes must never fill the
// socket. It needs neither the scheduler nor a goroutine, nor a thread, and it works on a process that is stopped.
// PR_SET_PDEATHSIG would do the same, but for the end of the thread that started the child, which in a Go program
// comes at any time.
func dieWithParent(conn *wire.Conn) bool {
	if os.Getpid() == 1 {
		return false // of a PID namespace, and immune to this signal
	}
	err := conn.Control(func(fd int) error {
		// The signal and whom it is for come first, else there would be a moment for a SIGIO.
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETSIG, int(unix.SIGKILL)); err != nil {
			return err
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETOWN, os.Getpid()); err != nil {
			return err
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		if err != nil {
			return err
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags|unix.O_ASYNC); err != nil {
			return err
		}
		// The parent may have ended before.
		p := []unix.PollFd{{Fd: int32(fd)}}
		if n, err := unix.Poll(p, 0); err == nil && n == 1 && p[0].Revents&unix.POLLHUP != 0 {
			endNow()
		}
		return nil
	})
	return err == nil
}

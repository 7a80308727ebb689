package process

import (
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/sys"
)

// A child is a process that was started and not yet collected, in the kernel's terms.
//
// It is known by its pidfd, which polls as readable once the process has ended: a goroutine per child waits in the
// poller, and no thread. Signals go through the pidfd too, so that they never hit a stranger with the same number. Where there
// is no pidfd (before Linux 5.4, or a filter that does not know the calls) package os does what it can.
type child struct {
	pid   int
	order int // among the starts of this process

	pidfd *os.File
	raw   syscall.RawConn

	fallback *os.Process // instead of the two
}

// ourselves is the program that this process runs, even if its file was replaced or deleted meanwhile.
func ourselves() (path string, err error) {
	const link = "/proc/self/exe"
	if _, err := os.Readlink(link); err != nil { // no /proc here
		return os.Executable()
	}
	return link, nil
}

// startChild executes this program. The descriptors in files stay the caller's.
func startChild(attr *syscall.ProcAttr, argv []string) (*child, error) {
	pidfd := -1
	theirs := attr.Sys.PidFD
	attr.Sys.PidFD = &pidfd
	path, err := ourselves()
	if err != nil {
		return nil, err
	}
	pid, _, err := syscall.StartProcess(path, argv, attr)
	if err != nil {
		return nil, &os.PathError{Op: "fork/exec", Path: path, Err: err}
	}
	if theirs != nil {
		*theirs = dupOf(pidfd)
	}
	c := &child{pid: pid}
	if c.watch(pidfd) {
		return c, nil
	}
	if pidfd >= 0 {
		unix.Close(pidfd)
	}
	// The child cannot have been collected by now, so the number is its own.
	if c.fallback, err = os.FindProcess(pid); err != nil {
		unix.Kill(pid, unix.SIGKILL)
		unix.Wait4(pid, nil, 0, nil)
		return nil, err
	}
	return c, nil
}

// dupPidfd returns a pidfd of the child that is the caller's, or -1.
func (c *child) dupPidfd() int {
	fd := -1
	if c.raw != nil {
		c.raw.Control(func(own uintptr) { fd = dupOf(int(own)) })
	}
	return fd
}

func dupOf(fd int) int {
	if fd < 0 {
		return -1
	}
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	return n
}

// pidfdWorks is asked once, with the first child.
var pidfdWorks struct {
	once sync.Once
	yes  bool
}

// watch ties the pidfd to the poller, and reports whether that can be done. It then owns the descriptor.
func (c *child) watch(pidfd int) bool {
	if pidfd < 0 {
		return false
	}
	pidfdWorks.once.Do(func() { pidfdWorks.yes = sys.PidfdWorks(pidfd) })
	if !pidfdWorks.yes {
		return false
	}
	// os.NewFile asks the poller to watch a descriptor only if it finds it non-blocking.
	if err := unix.SetNonblock(pidfd, true); err != nil {
		return false
	}
	f := os.NewFile(uintptr(pidfd), "pidfd")
	raw, err := f.SyscallConn()
	if err != nil {
		return false
	}
	c.pidfd, c.raw = f, raw
	return true
}

// wait blocks until the child has ended, and collects it. An error means that somebody else in this program did,
// so that nobody knows how it ended. cpu is the processor time that it took, and the children that it collected.
func (c *child) wait() (status syscall.WaitStatus, used sys.Usage, err error) {
	if c.fallback != nil {
		return waitFallback(c.fallback)
	}
	pollErr := c.raw.Read(func(fd uintptr) (ended bool) {
		status, used, ended, err = sys.PidfdWait(int(fd))
		return ended || err != nil
	})
	if pollErr != nil { // the poller does not take pidfds
		p, findErr := os.FindProcess(c.pid)
		if findErr != nil {
			return 0, sys.Usage{}, findErr
		}
		return waitFallback(p)
	}
	return status, used, err
}

// signal sends a signal. If the child has been collected that is os.ErrProcessDone.
func (c *child) signal(sig syscall.Signal) error {
	if c.fallback != nil {
		return c.fallback.Signal(sig)
	}
	var err error
	if c.raw.Control(func(fd uintptr) { err = sys.PidfdSignal(int(fd), sig) }) != nil {
		return os.ErrProcessDone
	}
	return err
}

// release gives back what the kernel holds for the child. wait must have returned.
func (c *child) release() {
	if c.pidfd != nil {
		c.pidfd.Close()
	}
}

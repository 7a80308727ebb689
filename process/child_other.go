//go:build !linux

package process

import (
	"os"
	"syscall"

	"github.com/go-multiproc/multiproc/internal/sys"
)

// A child is a process that was started and not yet collected. Each has a thread of its own waiting for it: the
// system has nothing that could be polled.
type child struct {
	pid      int
	order    int // among the starts of this process
	fallback *os.Process
}

// startChild executes this program. The descriptors in files stay the caller's.
func startChild(attr *syscall.ProcAttr, argv []string) (*child, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	pid, _, err := syscall.StartProcess(path, argv, attr)
	if err != nil {
		return nil, &os.PathError{Op: "fork/exec", Path: path, Err: err}
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		syscall.Kill(pid, syscall.SIGKILL)
		syscall.Wait4(pid, nil, 0, nil)
		return nil, err
	}
	return &child{pid: pid, fallback: p}, nil
}

func (c *child) wait() (syscall.WaitStatus, sys.Usage, error) { return waitFallback(c.fallback) }
func (c *child) signal(sig syscall.Signal) error              { return c.fallback.Signal(sig) }
func (c *child) release()                                     {}

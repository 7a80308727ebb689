package process

import (
	"os"
	"syscall"

	"github.com/go-multiproc/multiproc/internal/sys"
)

// waitFallback collects a child by blocking a thread.
func waitFallback(p *os.Process) (status syscall.WaitStatus, used sys.Usage, err error) {
	state, err := p.Wait()
	if err != nil {
		return 0, sys.Usage{}, err
	}
	return state.Sys().(syscall.WaitStatus), sys.Usage{CPU: state.UserTime() + state.SystemTime()}, nil
}

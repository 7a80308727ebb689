package process

import (
	"os"
	"syscall"
)

// waitFallback collects a child by blocking a thread.
func waitFallback(p *os.Process) (syscall.WaitStatus, error) {
	state, err := p.Wait()
	if err != nil {
		return 0, err
	}
	return state.Sys().(syscall.WaitStatus), nil
}

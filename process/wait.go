package process

import (
	"os"
	"syscall"
	"time"
)

// waitFallback collects a child by blocking a thread.
func waitFallback(p *os.Process) (status syscall.WaitStatus, cpu time.Duration, err error) {
	state, err := p.Wait()
	if err != nil {
		return 0, 0, err
	}
	return state.Sys().(syscall.WaitStatus), state.UserTime() + state.SystemTime(), nil
}

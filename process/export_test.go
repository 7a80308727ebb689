//go:build linux

package process

import "slices"

// ReadyPIDs are the children that wait for a job.
func ReadyPIDs() (pids []int) {
	warm.mu.Lock()
	defer warm.mu.Unlock()
	for _, w := range warm.children {
		if w.ready {
			pids = append(pids, w.child.pid)
		}
	}
	return pids
}

// DropReady lets all children go that wait for a job, and returns when they are gone.
func DropReady() {
	warm.mu.Lock()
	all := slices.Clone(warm.children)
	warm.mu.Unlock()
	SetForkServer(ForkServerOptions{Warm: -1})
	for _, w := range all {
		<-w.gone
	}
}

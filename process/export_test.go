//go:build linux

package process

import (
	"os"
	"os/signal"
	"syscall"
	"time"
)

// ClosingTime is how long who cannot tell waits for the maker of its socket to end.
const ClosingTime = closingTime

// ReadEarly reports whether a variable of the environment counts only for who is executed with it.
func ReadEarly(key string) bool { return readEarly(key) }

// IgnoredWhileLooked has a program ignore a signal while it is looked whether that handles it, and reports whether it is ignored afterwards.
func IgnoredWhileLooked(sig syscall.Signal) bool {
	h := handler{sig: sig, on: make(chan os.Signal, 1)}
	signal.Notify(h.on, sig)
	defer signal.Reset(sig)
	newWitness().others(&h)
	signal.Ignore(sig)
	ours := h.resume()
	return signal.Ignored(sig) && h.gone && !ours
}

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

// SignalReady sends a signal to all children that wait for a job, or to the one that is to be used next. None of them gets a job
// meanwhile.
func SignalReady(sig syscall.Signal, all bool) (pids []int) {
	warm.mu.Lock()
	defer warm.mu.Unlock()
	for _, w := range warm.children {
		if w.ready && (all || len(pids) == 0) {
			w.child.signal(sig)
			pids = append(pids, w.child.pid)
		}
	}
	return pids
}

// DropReady lets all children go that wait for a job, and returns when they are gone.
func DropReady() {
	SetForkServer(ForkServerOptions{Warm: -1})
	for {
		warm.mu.Lock()
		busy := warm.filling || warm.nobodys > 0
		warm.mu.Unlock()
		if !busy {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// UsesForkServer reports whether that is the default method.
func UsesForkServer() bool { return defaultMethod() == ForkServer }

// GuardMemory has a guard end this process when more than limit bytes are in use.
func GuardMemory(limit int64) { newMemoryGuard(limit, uint64(limit)).arm() }

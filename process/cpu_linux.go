package process

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

func cpuCount() int {
	// The process's pid is its first thread's: that one's mask is what taskset and cpusets set, whatever
	// a goroutine that is locked to another thread has done to its own.
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(os.Getpid(), &set); err == nil {
		if n := set.Count(); n > 0 {
			return n
		}
	}
	return runtime.NumCPU() // more CPUs than the set has room for, or no permission
}

package pool

import (
	"bytes"
	"fmt"
	"os"
)

// memoryPeak is how much memory a process had resident at most, in bytes; 0 if that is not known.
func memoryPeak(pid int) int64 {
	if pid == 0 {
		return 0
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, b, ok := bytes.Cut(b, []byte("\nVmHWM:"))
	var kib int64
	if ok {
		fmt.Sscan(string(b[:min(len(b), 32)]), &kib)
	}
	return kib << 10
}

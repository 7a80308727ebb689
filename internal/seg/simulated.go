//go:build multiproc_explore

package seg

import "github.com/go-multiproc/multiproc/internal/mem"

// simulated asks the explorer whether a process lives, if it is at work.
func simulated(token uint64) (alive, ok bool) {
	if mem.Hook == nil {
		return false, false
	}
	return mem.Hook.Alive(token), true
}

// Simulate makes what a process with that token would have of a segment whose meta
// area is memory, and whose data is empty. Only the explorer can make use of it.
// memory must be aligned to 8 bytes.
func Simulate(memory []byte, token uint64) *Handle {
	m := &Mapping{
		foot:    &footer{metaSize: int64(len(memory)), fileSize: int64(len(memory)) + footerSize, kind: "simulated"},
		all:     memory,
		token:   token,
		fd:      -1,
		handles: 1,
		region:  &region{},
	}
	return &Handle{m: m}
}

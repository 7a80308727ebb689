//go:build amd64 || arm64

package sys

// Pause tells the processor n times that this is a spin loop: PAUSE on amd64,
// YIELD on arm64. How long one takes differs between processors, from about 10
// to 140 cycles.
func Pause(n uint32)

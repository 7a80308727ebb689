//go:build !amd64 && !arm64

package sys

// Pause does nothing here; a spin loop that calls it merely spins.
func Pause(n uint32) {}

//go:build !race

package process

// raceBuild reports whether the race detector is at work, which takes several times the memory.
const raceBuild = false

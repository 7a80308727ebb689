//go:build !linux

package sys

import "runtime"

// Yield offers the CPU to others.
func Yield() { runtime.Gosched() }

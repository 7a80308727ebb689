//go:build !linux

package process

import "runtime"

func cpuCount() int { return runtime.NumCPU() }

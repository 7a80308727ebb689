//go:build !linux

package pipe_test

import "runtime"

func bareYield() { runtime.Gosched() }

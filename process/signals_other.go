//go:build !linux

package process

import "syscall"

// handledByProgram is not known here. A program that does not end when it is told to is the greater evil.
func handledByProgram(syscall.Signal) bool { return false }

// signalledByTerminal is not known here. A second signal does a child no harm: it has been asked to end already.
func signalledByTerminal(pid int) bool { return false }

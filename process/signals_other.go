//go:build !linux

package process

import (
	"os/signal"
	"syscall"
)

// A witness would find out whether the program itself has asked os/signal for a signal. That is not known here, and a program that
// does not end when it is told to is the greater evil.
type witness struct{}

func newWitness() *witness { return nil }

// others takes h away, and reports whether there is a handler besides it.
func (*witness) others(h *handler) bool {
	signal.Stop(h.on)
	return false
}

// signalledByTerminal is not known here. A second signal does a child no harm: it has been asked to end already.
func signalledByTerminal(pid int) bool { return false }

// resetFully would give a signal its default action where os/signal gives it the runtime's.
func resetFully(syscall.Signal) {}

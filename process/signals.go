package process

import (
	"os"
	"os/signal"
	"syscall"
	"time"
)

// signals is how Main handles SIGINT and SIGTERM.
type signals struct {
	interrupts   chan os.Signal
	terminations chan os.Signal // a channel each, so that one can be given up

	stopping chan struct{} // closed when the program is to die of a signal
}

func handleSignals() *signals {
	s := &signals{
		interrupts:   make(chan os.Signal, 2),
		terminations: make(chan os.Signal, 2),
		stopping:     make(chan struct{}),
	}
	// What is ignored (SIGINT in a script's background job, for one) stays so.
	if !signal.Ignored(syscall.SIGINT) {
		signal.Notify(s.interrupts, syscall.SIGINT)
	}
	if !signal.Ignored(syscall.SIGTERM) {
		signal.Notify(s.terminations, syscall.SIGTERM)
	}
	go s.loop()
	return s
}

func (s *signals) loop() {
	for {
		select {
		case <-s.interrupts:
			s.received(syscall.SIGINT, s.interrupts)
		case <-s.terminations:
			s.received(syscall.SIGTERM, s.terminations)
		}
	}
}

func (s *signals) received(sig syscall.Signal, on chan os.Signal) {
	// For the moment until our handler is back, a further signal kills, which is what a second one is to do anyway.
	signal.Stop(on)
	if handledByProgram(sig) {
		// And so it stays: when the program gives up its handler, the default behaviour is what it wants.
		return
	}
	signal.Notify(on, sig)
	close(s.stopping)
	s.end(sig)
}

// end ends the children, then this process by sig.
func (s *signals) end(sig syscall.Signal) {
	children := family.attached()
	for _, p := range children {
		switch {
		case sig == syscall.SIGTERM:
			p.Terminate()
		case signalledByTerminal(p.child.pid):
			p.startGrace()
		default:
			p.Interrupt()
		}
	}
	for _, p := range children {
		select {
		case <-p.done:
			continue
		case <-s.interrupts:
		case <-s.terminations:
		}
		break
	}
	for _, p := range family.attached() {
		p.Kill()
	}
	dieOf(sig)
}

// dieOf ends this process in the way that the signal would have, had nobody handled it.
func dieOf(sig syscall.Signal) {
	if os.Getpid() != 1 { // the kernel spares the first process of a PID namespace
		signal.Reset(sig)
		syscall.Kill(os.Getpid(), sig)
		time.Sleep(time.Second) // it may be another thread that the signal goes to
	}
	os.Exit(128 + int(sig)) // as a shell reports it
}

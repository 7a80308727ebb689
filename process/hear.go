package process

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// This file is how a child hears signals; signals.go is for the main process.

// A SignalError is the cause of the end of a function's ctx ([context.Cause]) if that was a signal: SIGINT after Interrupt, or Ctrl-C at
// a terminal; SIGTERM after Terminate; SIGXCPU when the child has used up its processor time.
type SignalError struct {
	Signal syscall.Signal // SIGINT, SIGTERM, SIGXCPU
}

func (e *SignalError) Error() string {
	return fmt.Sprintf("process: received signal %d (%v)", int(e.Signal), e.Signal)
}

// stopSignals are the signals that end a function's ctx, a bit for each. SIGTERM does so in any case, and SIGXCPU where there is a limit that it
// can come from.
type stopSignals uint64

// usualStops are those of a process for which nothing else was said.
const usualStops stopSignals = 1 << (syscall.SIGINT - 1)

func (s stopSignals) has(sig syscall.Signal) bool { return s&(1<<(sig-1)) != 0 }

// newStopSignals makes sense of Process.StopSignals.
func newStopSignals(list []os.Signal) (stopSignals, error) {
	if list == nil {
		return usualStops, nil
	}
	var s stopSignals
	for _, sig := range list {
		n, ok := sig.(syscall.Signal)
		switch {
		case !ok || n < 1 || n > 64:
			return 0, fmt.Errorf("StopSignals: %v is no signal of this system", sig)
		case n == syscall.SIGKILL || n == syscall.SIGSTOP:
			return 0, fmt.Errorf("StopSignals: no process can handle %v", n)
		}
		s |= 1 << (n - 1)
	}
	return s, nil
}

// early is how a child hears SIGTERM and SIGINT. It takes two threads, and for each signal four switches between threads: a good part of the time that a
// start takes. So if its job is there already it begins with package initialisation and goes on beside it. If not, it is done one
// after the other, which takes the least of the machine.
var early = listenEarly()

type listener struct {
	functions chan function // once there is one
	listening chan struct{} // closed when those signals are heard that all children hear
	signals   chan os.Signal
	deaf      bool // to SIGINT, from the beginning
	idle      bool // listenIdle asks for them
}

// A function is what a listener has to know of the function that runs.
type function struct {
	cancel context.CancelCauseFunc
	grace  time.Duration // from the end of its processor time to that of the process; below zero there is no end to it
	stop   stopSignals
	heard  chan struct{} // closed when all of them are heard
	usedUp bool          // its processor time is
}

func listenEarly() *listener {
	if control < 0 {
		return nil
	}
	l := &listener{functions: make(chan function, 1), listening: make(chan struct{}), signals: make(chan os.Signal, 4)}
	if l.idle = beginsIdle(control); !l.idle {
		go func() {
			l.ask()
			l.run()
		}()
	}
	return l
}

// listenIdle is for a child that has no job when it begins, before it says that it is ready. Until then it does without: nothing is lost with it.
func (l *listener) listenIdle() {
	if l.idle { // else it could not be seen at the beginning, and this goes on already
		l.ask()
		go l.run()
	}
}

// deliver says how to end the function. It returns a channel that is closed when signals do that.
func (l *listener) deliver(cancel context.CancelCauseFunc, h *jobHeader) (heard <-chan struct{}) {
	f := function{cancel: cancel, grace: h.Grace, stop: h.Stop, heard: make(chan struct{})}
	if h.Limits.CPU > 0 || cpuLimited() {
		f.stop |= 1 << (syscall.SIGXCPU - 1)
	}
	l.functions <- f
	if f.stop == usualStops {
		return l.listening // there is nothing to be done; a child that waited for its job need not wait for this as well
	}
	return f.heard
}

// ask asks for the signals that all children hear.
func (l *listener) ask() {
	signal.Notify(l.signals, syscall.SIGTERM)
	// A background job of a script, or one under nohup: interrupts from the terminal are not meant for it.
	if l.deaf = signal.Ignored(syscall.SIGINT); !l.deaf {
		signal.Notify(l.signals, syscall.SIGINT)
	}
	close(l.listening)
}

func (l *listener) run() {
	var f function
	for f.cancel == nil {
		select {
		case f = <-l.functions:
		case s := <-l.signals:
			select {
			case f = <-l.functions: // it may have been called meanwhile
				f.received(s)
			default:
				if s == syscall.SIGINT && sparesInterrupt() {
					continue
				}
				dieOf(s.(syscall.Signal)) // before there is anything to end in good order
			}
		}
	}
	f.listen(l.signals, l.deaf)
	close(f.heard)
	for s := range l.signals {
		f.received(s)
	}
}

// received ends the function's ctx, and sees to the end of the process if that is all that a signal leaves.
func (f *function) received(s os.Signal) {
	if s == syscall.SIGINT && !f.stop.has(syscall.SIGINT) {
		return // it came before we were deaf to it
	}
	f.cancel(&SignalError{s.(syscall.Signal)})
	// The Go runtime does not die of SIGXCPU by itself, although the kernel sends it each second.
	if s == syscall.SIGXCPU && !f.usedUp && f.grace >= 0 {
		f.usedUp = true
		time.AfterFunc(f.grace, func() { dieOf(syscall.SIGXCPU) })
	}
}

// listen goes from the signals that all children hear to those that this one shall.
func (f *function) listen(signals chan os.Signal, deaf bool) {
	if !deaf && !f.stop.has(syscall.SIGINT) {
		// Ignored, and not merely left unheard: the programs that this process starts inherit that.
		signal.Ignore(syscall.SIGINT)
	}
	for n := syscall.Signal(1); n <= 64; n++ {
		if f.stop.has(n) && n != syscall.SIGINT {
			signal.Notify(signals, n)
		}
	}
}

// cpuLimited reports whether the kernel limits the processor time of this process.
func cpuLimited() bool {
	var r unix.Rlimit
	return unix.Getrlimit(unix.RLIMIT_CPU, &r) == nil && r.Cur != unix.RLIM_INFINITY
}

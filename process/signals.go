package process

import (
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

// signals is how Main handles SIGINT and SIGTERM.
type signals struct {
	interrupts   handler
	terminations handler
	witness      *witness

	looked   atomic.Int64       // when we last did
	starts   chan chan struct{} // a child is about to be: a good time to look around
	stopping chan struct{}      // closed when the program is to die of a signal
	exits    chan chan struct{} // the program is about to: to be answered when all signals that came are dealt with
}

// A handler is ours for one signal. Each has a channel of its own, so that one can be given up.
type handler struct {
	sig    syscall.Signal
	on     chan os.Signal
	others bool // had the program a handler when we last looked?
	gone   bool // we have given up
}

// resume asks for the signal again after it was given up for a moment. If the program has said meanwhile that it ignores it, it is given up
// for good: who asks for a signal makes an end of its being ignored. (Between the two calls there remains an instant; os/signal does not do both in one.)
func (h *handler) resume() (ours bool) {
	if signal.Ignored(h.sig) {
		h.gone = true // the program ignores it, and so shall its children
		return false
	}
	signal.Notify(h.on, h.sig)
	return true
}

func handleSignals() *signals {
	s := &signals{
		interrupts:   handler{sig: syscall.SIGINT},
		terminations: handler{sig: syscall.SIGTERM},
		starts:       make(chan chan struct{}, 1),
		stopping:     make(chan struct{}),
		exits:        make(chan chan struct{}),
	}
	for _, h := range s.handlers() {
		h.on = make(chan os.Signal, 2)
		if signal.Ignored(h.sig) {
			h.gone = true // and it stays ignored, as SIGINT in a script's background job
			continue
		}
		signal.Notify(h.on, h.sig)
	}
	s.witness = newWitness()
	family.tellStarts(s.lookSoon)
	go s.loop()
	return s
}

func (s *signals) handlers() []*handler { return []*handler{&s.interrupts, &s.terminations} }

func (s *signals) loop() {
	// Programs ask for signals when they begin, or begin to serve. So we look around often at first and then ever more
	// seldom, some fifteen times in all: after the last one only when a child is started, and when a signal has arrived, which may
	// be too late (see look). Not while there are children: a signal that comes just then kills a program that does not handle it, which
	// for one without children is what it is to do, but children would not be asked to end.
	const first, last = time.Millisecond, time.Minute
	next := first
	again := time.NewTimer(next)
	defer again.Stop()
	for {
		select {
		case <-again.C:
			if !family.hasAttached() {
				s.look()
			}
			if next *= 2; next < last {
				again.Reset(next)
			}
		case <-s.interrupts.on:
			s.received(&s.interrupts)
		case <-s.terminations.on:
			s.received(&s.terminations)
		case caughtUp := <-s.exits:
			for _, h := range s.handlers() {
				select {
				case <-h.on:
					s.received(h)
				default:
				}
			}
			close(caughtUp)
		case looking := <-s.starts:
			s.look()
			close(looking)
		}
	}
}

// lookSoon has the loop look, if that was not done lately. It returns a channel that is closed then, or nil.
func (s *signals) lookSoon() <-chan struct{} {
	const often = time.Second // enough for us, and for nobody to notice
	now, last := time.Now().UnixNano(), s.looked.Load()
	if now-last < int64(often) || !s.looked.CompareAndSwap(last, now) {
		return nil
	}
	looking := make(chan struct{})
	select {
	case s.starts <- looking:
		return looking
	default:
		return nil
	}
}

// look finds out whether the program has handlers of its own. When a signal has arrived it may be too late to ask: many
// programs give up their handler as soon as it was called, so that a second signal kills them.
func (s *signals) look() {
	for _, h := range s.handlers() {
		if !h.gone && signal.Ignored(h.sig) {
			h.gone = true // the program ignores it, and so shall its children
		}
		if !h.gone {
			h.others = s.witness.others(h)
			h.resume()
		}
	}
}

func (s *signals) received(h *handler) {
	if h.gone {
		// It arrived while we gave up. If it did not go to the program as well, the default behaviour is overdue.
		if h.resume() && !s.witness.others(h) {
			dieOf(h.sig)
		}
		return
	}
	if s.witness.others(h) || h.others {
		// The program handles it, and so it stays: when it gives up its handler, the default behaviour is what it wants.
		h.gone = true
		return
	}
	if !h.resume() {
		return
	}
	close(s.stopping)
	s.end(h.sig)
}

// catchUp returns when signals that were sent to this process until now are dealt with. A Ctrl-C at a terminal goes to children and parent at
// once, and a child that ends of it may well be collected before the parent has heard its own: run returns because of it, and
// whether the program dies of the signal, as a shell wants to see it, must not depend on which thread was faster.
//
// The kernel delivers what is pending in the order of the numbers, and so does os/signal. So we send ourselves a signal with a higher number
// and wait for it. SIGCHLD is one that nobody minds who listens for it: it means that it is worth to look. (SIGURG, which the
// Go runtime uses itself, could be one that it sent before.)
func (s *signals) catchUp() {
	const patience = 100 * time.Millisecond // with a thread that does not get a CPU
	arrived := make(chan os.Signal, 1)
	signal.Notify(arrived, syscall.SIGCHLD)
	defer signal.Stop(arrived)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	if syscall.Kill(os.Getpid(), syscall.SIGCHLD) == nil {
		select {
		case <-arrived:
		case <-timer.C:
		}
	}
	caughtUp := make(chan struct{})
	select {
	case s.exits <- caughtUp:
	case <-s.stopping:
		return
	}
	select {
	case <-caughtUp:
	case <-s.stopping:
	}
}

// end ends the children, then this process by sig.
func (s *signals) end(sig syscall.Signal) {
	children := family.attached()
	for _, p := range children {
		switch {
		case sig == syscall.SIGTERM:
			p.Terminate()
		case !p.settings.deaf && signalledByTerminal(p.child.pid):
			p.startGrace()
		default:
			p.Interrupt()
		}
	}
	for _, p := range children {
		select {
		case <-p.done:
			continue
		case <-s.interrupts.on:
		case <-s.terminations.on:
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
		if sig == syscall.SIGXCPU {
			resetFully(sig)
		}
		syscall.Kill(os.Getpid(), sig)
		time.Sleep(time.Second) // it may be another thread that the signal goes to
	}
	os.Exit(128 + int(sig)) // as a shell reports it
}

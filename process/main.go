package process

import (
	"os"
)

// Main runs the program: run, in the process that the user started, and in a child the registered function that it
// was started for. It does not return. It belongs first in main, before flags are parsed: nobody parses them for a
// child.
//
//	func main() { process.Main(run) }
//
// When run returns, Main waits for the children that still run, except detached ones, then stops those that are
// daemons (Terminate, and the grace period), and exits with run's result as exit code. A child does the same with
// its own children when its function has returned. A program that calls os.Exit, or panics, does not wait: its
// children end with it.
//
// SIGINT and SIGTERM end the program in good order, unless the program handles that signal itself (with os/signal,
// or by ignoring it): the children are asked to end (not on SIGINT from a terminal, which has asked the children
// already), and have their grace periods for it; then, or on a second such signal, the program dies of the signal,
// as its parent expects, and what is left of its children with it. run goes on meanwhile, but its result does not
// count any more.
func Main(run func() int) {
	Init()
	s := handleSignals()
	code := run()
	family.finish(s.stopping, s.catchUp)
	s.exit(code)
}

// Init makes a process that was started as a child do what it was started for, and exit. In any other process it
// returns at once. It is for programs, and libraries' tests, that cannot call [Main]; it belongs first in main or
// TestMain:
//
//	func TestMain(m *testing.M) {
//		process.Init()
//		os.Exit(m.Run())
//	}
//
// Signals are the program's own business then, and its children end when it exits: nobody waits for those that run.
//
// A second call does nothing.
func Init() {
	begun.Store(true)
	if control >= 0 {
		runJob()
	}
	if defaultMethod() == ForkServer {
		warm.warmUp()
	}
}

// exit ends the program, unless a signal is about to.
func (s *signals) exit(code int) {
	s.catchUp()
	select {
	case <-s.stopping:
		select {} // it dies of the signal, any moment
	default:
		if code == 0 {
			leave()
		}
		os.Exit(code)
	}
}

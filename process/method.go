package process

import (
	"fmt"
	"sync"
)

// A Method is a way to start a child. In all of them the child is this program, executed anew: Go cannot fork, for which
// docs/processes.md has the reason. What differs is which state crosses.
type Method int

const (
	// Spawn executes the program anew. The child has what its arguments say, and nothing else of the parent's state.
	Spawn Method = iota + 1

	// Fork is Spawn, and the child's [Inherit] variables begin with the content that the parent's had at Start.
	// Changes on either side stay there.
	Fork

	// ForkServer hands the job to a child that this process keeps ready: executed in advance, its packages initialised. When none is
	// ready, one is executed at once. [Inherit] variables have their initial value in it. [SetForkServer] says how many
	// are kept, [WarmUp] waits for them.
	//
	// Env, Dir, Stdin, Stdout and Stderr mean what they mean in the other methods, and take effect right before the function is called.
	// But package initialisation was before that: it saw the parent's environment, directory and files. Of SysProcAttr the child can take
	// PidFD, Setsid, Setpgid and Pgid; Start refuses the others, and an Env that changes what a process reads only when it
	// begins (GOMAXPROCS, GOGC, GOMEMLIMIT, GODEBUG, GOTRACEBACK, TZ, LD_*).
	//
	// What no field speaks of (umask, resource limits, CPU affinity, cgroup) is the parent's when the child was executed. If the
	// parent's environment, directory, root, output files, user, group, or whether it ignores SIGINT has changed since, the child
	// is not used, but replaced.
	//
	// It is there on Linux only; elsewhere Start returns an error that is [errors.ErrUnsupported].
	ForkServer
)

func (m Method) String() string {
	switch m {
	case 0:
		return "default"
	case Spawn:
		return "spawn"
	case Fork:
		return "fork"
	case ForkServer:
		return "forkserver"
	}
	return fmt.Sprintf("Method(%d)", int(m))
}

func (m Method) valid() bool { return m >= Spawn && m <= ForkServer }

var startMethod struct {
	mu     sync.Mutex
	method Method
	set    bool // by this process's own code, not by its parent's
}

// SetStartMethod sets the method of processes whose Method is zero. Until it is called that is [Spawn], in a child
// the method that was set in its parent. It can be called once, since two parts of a program that disagree about
// it should know; [ForceStartMethod] changes it at any time. Start works with any method at any time, whatever the
// default.
func SetStartMethod(m Method) error {
	startMethod.mu.Lock()
	defer startMethod.mu.Unlock()
	if startMethod.set {
		return fmt.Errorf("process: the start method is already set, to %v; ForceStartMethod changes it", startMethod.method)
	}
	return setStartMethodLocked(m)
}

// ForceStartMethod is [SetStartMethod] that may be called again.
func ForceStartMethod(m Method) error {
	startMethod.mu.Lock()
	defer startMethod.mu.Unlock()
	return setStartMethodLocked(m)
}

func setStartMethodLocked(m Method) error {
	if !m.valid() {
		return fmt.Errorf("process: %v is no start method", m)
	}
	startMethod.method, startMethod.set = m, true
	if m == ForkServer && begun.Load() {
		warm.warmUp()
	}
	return nil
}

// defaultMethod returns what a zero Method stands for.
func defaultMethod() Method {
	startMethod.mu.Lock()
	defer startMethod.mu.Unlock()
	if startMethod.method == 0 {
		return Spawn
	}
	return startMethod.method
}

// inheritStartMethod takes over the parent's default, unless this process has set one already.
func inheritStartMethod(m Method) {
	startMethod.mu.Lock()
	defer startMethod.mu.Unlock()
	if !startMethod.set && m.valid() {
		startMethod.method = m
	}
}

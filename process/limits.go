package process

import (
	"fmt"
	"math"
	"syscall"
	"time"
)

// Limits bound what a child may take of the machine. Zero fields mean the parent's limits; a lower limit that the parent has itself
// stays in force.
//
// They hold from before the child's function runs and before its arguments are decoded, but not yet for package initialisation.
// All but the first half of Memory are the kernel's own (setrlimit), so code in other languages is bound too. Processes that the child
// starts have the same limits, each for itself. A cgroup bounds a child and its descendants together: see docs/processes.md.
//
// Start refuses values that cannot be, with an error that names the field, and on systems other than Linux all that are not
// zero ([errors.ErrUnsupported]).
type Limits struct {
	// Memory is how many bytes the child may have in use, beside what the Go runtime takes for itself.
	//
	// The garbage collector works harder when the heap comes near it (debug.SetMemoryLimit). A child in which what is reachable, stacks
	// included, is beyond it after a collection ends with an error that says so, as if the runtime had found it: exit code
	// 2, nothing deferred runs, [ExitError.MemoryKill] is set. For what no collection sees, C code or an allocation that is far
	// too large, the kernel refuses memory a good deal later (RLIMIT_DATA, at about twice the limit and 64 MiB), of which a Go program dies as
	// well, though not always in a way that can be told from other crashes. Memory that is shared with other processes does not count.
	Memory int64

	// CPU is the processor time of all the child's threads, in whole seconds, rounded up.
	//
	// When it is used up, the ctx of the child's function ends, with a [SignalError] of SIGXCPU as its cause; after the grace period the
	// child ends by that signal. If it takes another grace period of processor time meanwhile (at least a second), the kernel kills it.
	// In both cases [ExitError.CPUKill] is set.
	CPU time.Duration

	// OpenFiles is how many descriptors the child may have; those that it needs itself are among them (fewer than 16).
	// The numbers of new ones are below it.
	OpenFiles int

	// Nice is added to the parent's nice value: 1 to 39 let others go first. Below zero takes a privilege.
	Nice int
}

// minOpenFiles is room for the standard files, for what this package and the Go runtime have open, and for a few.
const minOpenFiles = 16

// check refuses what the kernel would refuse in the child, as far as that can be known here.
func (l Limits) check(attr *syscall.SysProcAttr) error {
	switch {
	case l == Limits{}:
		return nil
	case l.Memory < 0:
		return fmt.Errorf("Limits.Memory is %d, less than nothing", l.Memory)
	case l.CPU < 0:
		return fmt.Errorf("Limits.CPU is %v, less than nothing", l.CPU)
	case l.OpenFiles < 0:
		return fmt.Errorf("Limits.OpenFiles is %d, less than nothing", l.OpenFiles)
	case l.OpenFiles > 0 && l.OpenFiles < minOpenFiles:
		return fmt.Errorf("Limits.OpenFiles is %d, a child needs at least %d", l.OpenFiles, minOpenFiles)
	case l.Nice < -40 || l.Nice > 40:
		return fmt.Errorf("Limits.Nice is %d, it can be from -40 to 40", l.Nice)
	}
	return l.checkSystem(attr)
}

// inherited returns the limits of a child of this process. The kernel hands on its own, so that what is missing is the Go
// runtime's.
func (l Limits) inherited() Limits {
	if l.Memory == 0 {
		if j := currentJob(); j != nil {
			l.Memory = j.header.Limits.Memory
		}
	}
	return l
}

// cpuSeconds are the limits of processor time: at soft the kernel sends SIGXCPU, at hard it kills.
func (l Limits) cpuSeconds(grace time.Duration) (soft, hard uint64) {
	if grace < 0 {
		grace = DefaultGrace
	}
	soft = wholeSeconds(l.CPU)
	return soft, soft + max(1, wholeSeconds(grace))
}

func wholeSeconds(d time.Duration) uint64 {
	s := uint64(d / time.Second)
	if d%time.Second != 0 {
		s++
	}
	return s
}

func (l *Limits) encode(e *encoder) {
	set := *l != Limits{}
	e.flag(set)
	if set {
		e.unsigned(uint64(l.Memory))
		e.unsigned(uint64(l.CPU))
		e.number(l.OpenFiles)
		e.number(l.Nice)
	}
}

func (l *Limits) decode(d *decoder) {
	if !d.flag() {
		return
	}
	memory, cpu := d.unsigned(), d.unsigned()
	if memory > math.MaxInt64 || cpu > math.MaxInt64 {
		d.fail()
		return
	}
	*l = Limits{Memory: int64(memory), CPU: time.Duration(cpu), OpenFiles: d.number(), Nice: d.number()}
	if l.OpenFiles < 0 {
		d.fail()
	}
}

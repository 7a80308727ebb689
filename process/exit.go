package process

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/go-multiproc/multiproc/internal/sys"
)

// An ExitError says how a child ended that did not end well.
type ExitError struct {
	Name   string
	PID    int
	Code   int            // exit code; -1 if a signal ended the child
	Signal syscall.Signal // that ended the child; 0 if none did

	// Err is the text of the error that the function returned, of the value that it or another goroutine panicked with, or of the Go
	// runtime's fatal error; else what else is known of the reason, if anything.
	Err string

	// Stack is of the panic or fatal error, empty if there was none: first of the goroutine that it is about, then of
	// others if the runtime shows them. It may lack its end.
	Stack string

	// Stderr is the last lines of standard error, if they were captured (Process.CaptureStderr): where there is a Stack without the runtime's stacks, behind which what went before them could not be seen.
	Stderr string

	// MemoryKill says that the child ended for want of memory: the system refused it to the Go runtime, under Limits.Memory or another
	// limit of the kind, or the kernel's OOM killer ended a process in its memory cgroup.
	MemoryKill bool

	CPUKill bool // the child went beyond its limit of processor time

	crashed bool // by a fatal error, or by a signal that the runtime turns into one
	silent  bool // neither the function nor the runtime said anything of the end
}

// Error says it in one line, for example
//
//	process: counter-1 (pid 4711) exited with code 1: open x: no such file or directory
//
// or more, if the child's own text has more. If the child did not say how it ended, the last line of standard error is
// added, where that was captured.
func (e *ExitError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "process: %s (pid %d) ", e.Name, e.PID)
	switch {
	case e.crashed:
		b.WriteString("crashed")
	case e.Stack != "":
		b.WriteString("panicked")
	case e.Signal != 0:
		fmt.Fprintf(&b, "was ended by signal %d (%v)", int(e.Signal), e.Signal)
	default:
		fmt.Fprintf(&b, "exited with code %d", e.Code)
	}
	if e.MemoryKill {
		b.WriteString(", beyond its memory limit")
	}
	if e.CPUKill {
		b.WriteString(", beyond its limit of processor time")
	}
	if e.Err != "" {
		b.WriteString(": ")
		b.WriteString(e.Err)
	}
	if last := lastLine(e.Stderr); e.silent && last != "" {
		fmt.Fprintf(&b, "; last on standard error: %s", last)
	}
	return b.String()
}

// Exit codes of a child whose function ended, the same as a Go program's.
const (
	exitOK     = 0
	exitFailed = 1
	exitPanic  = 2
)

// exit is how a child ended, once that is known.
type exit struct {
	code int // -1 if a signal ended it
	err  *ExitError
}

// joinError keeps a nil *ExitError from becoming an error that is not nil.
func (e *exit) joinError() error {
	if e.err == nil {
		return nil
	}
	return e.err
}

// decodeExit puts together what the kernel says of the child's end (or waitErr, why it says nothing), what the
// child said of it (or resultErr), and what the runtime wrote, if it wrote anything (else nil).
//
// The kernel has the last word on code and signal: after its function has ended, a child can still be killed, or the race
// detector change its exit code.
func decodeExit(status syscall.WaitStatus, waitErr error, r result, resultErr error, c *crash) exit {
	if waitErr != nil {
		return exitUncollected(waitErr, r, c)
	}
	e := ExitError{Code: status.ExitStatus(), silent: resultErr != nil && c == nil} // -1 if a signal ended it
	if status.Signaled() {
		e.Signal = status.Signal()
	}
	switch {
	case c != nil && r.Outcome != panicked:
		e.crash(c, r)
	case resultErr == nil:
		e.Err, e.Stack = r.text()
	case e.Signal != 0:
		// Nothing is more usual than a child that is killed before it could say anything.
	case errors.Is(resultErr, syscall.ECONNRESET):
		// The kernel's word for a socket that was closed with something unread in it.
		e.Err = "it ended without taking its job: main has to call process.Main, or process.Init, before it does anything else"
	case !errors.Is(resultErr, io.EOF):
		e.Err = fmt.Sprintf("what it said of its end cannot be read: %v", resultErr)
	case e.Code == exitPanic:
		// With GOTRACEBACK=none, or where the program has taken the crash file away from us.
		e.Err = "its function did not return: it called os.Exit, or the Go runtime ended it, for a reason that only standard error tells"
	case e.Code != 0:
		e.Err = "its function did not return: it called os.Exit, or log.Fatal"
	default:
		// os.Exit(0) is a way to say that all is well.
	}
	if e.Code == 0 && e.Err == "" && !r.Failed {
		return exit{code: 0}
	}
	return exit{code: e.Code, err: &e}
}

// beyondLimits finds out whether it was limits that ended the child.
func (e *exit) beyondLimits(p *Process, c *crash, used sys.Usage) {
	if e.err == nil {
		return
	}
	limits := p.settings.limits
	switch e.err.Signal {
	case syscall.SIGXCPU:
		e.err.CPUKill = true
	case syscall.SIGKILL:
		if p.killed.Load() {
			return
		}
		// The kernel compares with the limit what it has counted in ticks, and says in the end what it has measured, which is less by a
		// few percent, and of a few seconds on a busy machine by more. Nobody else kills just there, beyond the limit that the child was told of.
		soft, hard := limits.cpuSeconds(p.settings.grace)
		if limits.CPU > 0 && used.CPU >= min(time.Duration(hard)*time.Second*7/8, time.Duration(soft)*time.Second) {
			e.err.CPUKill = true
		} else {
			e.err.MemoryKill = p.settings.victims.claim()
		}
	}
	switch {
	case c == nil:
	case c.outOfMemory:
		e.err.MemoryKill = limits.Memory > 0 || memoryLimited()
	case (c.aborted || c.collecting) && limits.Memory > 0 && used.Peak > limits.Memory:
		// C code gives up in this way when it is refused memory: in a program with any, that is how the kernel's limit is met when
		// the Go runtime happens to want a thread just then. The collector of Go 1.26 looks into the table that it did not get.
		e.err.MemoryKill = true
		e.err.Err += fmt.Sprintf(" (out of memory: it had %.1f MiB, Limits.Memory is %.1f MiB)", float64(used.Peak)/(1<<20), float64(limits.Memory)/(1<<20))
	}
}

// crash says that the Go runtime ended the child, possibly after its function.
func (e *ExitError) crash(c *crash, r result) {
	e.Err, _ = r.text()
	if e.Err != "" {
		e.Err += "; then "
	}
	e.Err += c.reason
	e.Stack = c.stack
	e.crashed = !c.panicked
}

// exitUncollected is how a child ended whose status somebody else has taken: what remains is what it said.
func exitUncollected(waitErr error, r result, c *crash) exit {
	e := ExitError{Code: -1}
	switch {
	case c != nil && r.Outcome != panicked:
		e.crash(c, r)
		return exit{code: -1, err: &e}
	case r.Outcome == returned && !r.Failed:
		return exit{code: exitOK}
	case r.Outcome == unknown:
		e.Err = fmt.Sprintf("how it ended is not known, something else in this program has collected it: %v", waitErr)
		return exit{code: -1, err: &e}
	}
	e.Code = r.code()
	e.Err, e.Stack = r.text()
	return exit{code: e.Code, err: &e}
}

// code is the exit code that a child with this result wants.
func (r *result) code() int {
	switch {
	case r.Outcome == panicked:
		return exitPanic
	case r.Failed:
		return exitFailed
	}
	return exitOK
}

// text is what an ExitError shows of a result.
func (r *result) text() (err, stack string) {
	switch r.Outcome {
	case exited:
		return "its function called runtime.Goexit", ""
	case panicked:
		return r.Err, r.Stack
	case refused:
		return "it could not call its function: " + r.Err, ""
	}
	return r.Err, ""
}

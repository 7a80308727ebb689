package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-multiproc/multiproc/internal/waitable"
	"github.com/go-multiproc/multiproc/internal/wire"
)

// Errors of calls that come at the wrong time.
var (
	// ErrNoMain is returned by Start in a program that has called neither Main nor Init: its children would not know that they are
	// children, run main, and start children in turn, for ever.
	ErrNoMain = errors.New("process: main has called neither process.Main nor process.Init, so a child would not know what to do")

	// ErrStarted is returned by the second Start.
	ErrStarted = errors.New("process: already started")

	// ErrNotStarted is returned by what needs a process that was started.
	ErrNotStarted = errors.New("process: not started")
)

// DefaultGrace is what a zero Grace stands for.
const DefaultGrace = 5 * time.Second

// A Process is one run of a registered function in a child process. It comes from [New]; a Process can be started
// once.
//
// The fields are settings, to be made before Start, which reads them; their zero values are the defaults. The methods are safe for
// concurrent use.
//
// A Process belongs to the process that made it: it cannot be passed to another one.
type Process struct {
	// Name is for people: errors, Current in the child, Children. If it is empty, Start sets it: the n-th Process that the
	// program makes is Process-n, the n-th that Process-2 makes is Process-2:n.
	Name string

	// Daemon is for children whose work is of no use once the parent is done: at the parent's normal exit, Main does not wait for
	// a daemon, but stops it.
	Daemon bool

	// Detach lets the child go on when its parent ends in whatever way: it does not notice that the parent is
	// killed, and Main, at the parent's normal exit, leaves it alone (unless it is a Daemon). To survive the end
	// of a terminal session too, set SysProcAttr.Setsid.
	Detach bool

	// Method is how to start. Zero is the default method (see SetStartMethod).
	Method Method

	// Env is the child's environment, "key=value" each; of two for one key the last counts. Nil is the parent's at Start.
	Env []string

	// Dir is the child's working directory. Empty is the parent's at Start.
	Dir string

	// Stdin, Stdout and Stderr are the child's descriptors 0, 1 and 2. They stay the caller's, who may close them after Start.
	// A nil Stdin is /dev/null. A nil Stdout or Stderr is what the parent has in os.Stdout and os.Stderr at Start.
	// They are blocking in the child; of a socket that makes the parent's copy blocking too, as it does with os/exec.
	Stdin, Stdout, Stderr *os.File

	// CaptureStderr keeps the last lines of what the child writes to its standard error (at most 40, and 64 KiB; of a crash without the stacks) for
	// [ExitError.Stderr]. It goes on to Stderr all the same, through this process: the child sees a pipe there and no terminal, a destination
	// that takes nothing holds the child up once the pipe is full, and a program that the child leaves behind cannot write to it
	// any more when this process has ended. Start refuses it together with Detach.
	CaptureStderr bool

	// Log handles the records that the child logs through [LogHandler], with its name and id added as the attributes "process" and
	// "pid". It is called on a goroutine of its own for each child, for one record after the other, and a panic in it is this
	// program's. Join returns when what the child wrote before its end is handled, so that a handler must not wait for that. Nil is none: the child's
	// records are its own business.
	Log slog.Handler

	// SysProcAttr is for everything else that the kernel can do at a process's start: credentials, namespaces, a
	// session of its own. Start does not change it, except that it fills *PidFD if there is one, with a descriptor
	// that the caller owns. Pdeathsig is rarely what one wants: it is tied to the parent's thread, and children
	// end with their parent anyway.
	SysProcAttr *syscall.SysProcAttr

	// Limits bound what the child may take of memory, processor time, descriptors. Zero fields are the parent's limits.
	Limits Limits

	// StopSignals are the signals that end the ctx of the child's function, with a [SignalError] as its cause. SIGTERM always
	// does. Nil is SIGINT. A list without SIGINT, also an empty one, makes the child deaf to it, so that Ctrl-C at a
	// terminal, which goes to the whole family, leaves it to the parent when the child is to end; Interrupt sends
	// SIGTERM then. A child's own children are as deaf as it is.
	StopSignals []os.Signal

	// Grace is the time from Terminate or Interrupt until the child is killed. Zero is DefaultGrace; below zero
	// there is no end to it.
	Grace time.Duration

	entry  *entry
	args   any
	number int // among those that this process made, from 1

	mu       sync.Mutex
	child    *child      // nil until started
	control  *wire.Conn  // our end of its control socket
	crash    int         // its crash file, -1 if there is none
	closed   bool        // by Close
	killer   *time.Timer // the grace period
	settings started     // what Start read of the fields

	capture *capture    // of its standard error, nil if there is none
	logs    *logSink    // of its records, nil if there is none
	killed  atomic.Bool // by this process

	done  chan struct{} // closed when the child has ended and been collected; the following is set before
	exit  exit
	wakes waitable.Waiters
}

// started is what Start read of the fields, so that nobody sees a later change of them.
type started struct {
	name           string
	daemon, detach bool
	grace          time.Duration
	deaf           bool // to SIGINT, as this process was
	limits         Limits
	victims        *victims // of the OOM killer, where the child is
}

// New prepares a run of fn with args in a child process. Nothing happens before Start; args are read then and not later.
//
// What args may contain: plain data, all handles of this module, *os.File, net.Conn and net.Listener, anywhere
// inside. Start refuses what cannot cross, with the path to it. New panics if fn is nil.
func New[A any](fn *Func[A], args A) *Process {
	if fn == nil || fn.entry == nil {
		panic("process: New needs a function from process.Register")
	}
	return &Process{
		entry:  fn.entry,
		args:   args,
		number: family.nextNumber(),
		done:   make(chan struct{}),
	}
}

// Join waits until the child has ended. It returns nil if its function returned nil; an [*ExitError] if it ended in any other way;
// or ctx's error, when ctx ends first. It does not stop the child.
//
// It may be called any number of times, by many goroutines, and gives the same answer to all. It does not wait for the child's own
// children, nor for anybody who still has its standard output or standard error open.
func (p *Process) Join(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p.mu.Lock()
	err := p.usableLocked("join")
	p.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case <-p.done:
		return p.exit.joinError()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// usableLocked returns an error unless p was started and is not closed.
func (p *Process) usableLocked(op string) error {
	switch {
	case p.closed:
		return fmt.Errorf("process: %s of a closed Process: %w", op, fs.ErrClosed)
	case p.child == nil:
		return ErrNotStarted
	}
	return nil
}

// Interrupt asks the child to end, by SIGINT: its function's ctx ends. If it is still there when the grace period is over,
// it is killed. Interrupting a child that has ended does nothing.
func (p *Process) Interrupt() error { return p.stop(syscall.SIGINT) }

// Terminate is [Process.Interrupt] by SIGTERM, which is what service managers send. A child that is still on its
// way to its function ends at once.
//
// A later call does not prolong the grace period that an earlier one began.
func (p *Process) Terminate() error { return p.stop(syscall.SIGTERM) }

func (p *Process) stop(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.usableLocked("stop"); err != nil {
		return err
	}
	if p.ended() {
		return nil
	}
	p.startGraceLocked()
	if sig == syscall.SIGINT && p.settings.deaf {
		sig = syscall.SIGTERM // means the same to the child
	}
	return p.signal(sig)
}

// startGrace begins the grace period of a child that was asked to end.
func (p *Process) startGrace() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.startGraceLocked()
}

func (p *Process) startGraceLocked() {
	if p.killer == nil && p.settings.grace >= 0 && !p.ended() {
		p.killer = time.AfterFunc(p.settings.grace, func() { p.signal(syscall.SIGKILL) })
	}
}

// Kill ends the child at once, by SIGKILL. It does not wait for the end: Join does. Killing a child that has ended does
// nothing.
func (p *Process) Kill() error {
	p.mu.Lock()
	err := p.usableLocked("kill")
	p.mu.Unlock()
	if err != nil {
		return err
	}
	return p.signal(syscall.SIGKILL)
}

// signal sends a signal to the child, if it is still there.
func (p *Process) signal(sig syscall.Signal) error {
	err := p.send(sig)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

func (p *Process) send(sig syscall.Signal) error {
	if sig == syscall.SIGKILL {
		p.killed.Store(true)
	}
	if err := p.child.signal(sig); err != nil {
		return fmt.Errorf("process: signal %s: %w", p.settings.name, err)
	}
	return nil
}

// Signal sends the child a signal: one that its function handles (os/signal), or one of StopSignals. A signal that nothing in the
// child handles does to it what it does to any Go program: SIGHUP ends it, SIGQUIT ends it with a trace, SIGUSR1 does nothing. There is no grace period: for that, use Interrupt
// and Terminate. A child that has ended is [os.ErrProcessDone].
func (p *Process) Signal(sig os.Signal) error {
	s, ok := sig.(syscall.Signal)
	if !ok {
		return fmt.Errorf("process: %v is no signal of this system", sig)
	}
	p.mu.Lock()
	err := p.usableLocked("signal")
	p.mu.Unlock()
	if err != nil {
		return err
	}
	if p.ended() {
		return fmt.Errorf("process: signal %s: %w", p.settings.name, os.ErrProcessDone)
	}
	return p.send(s)
}

// Alive reports whether the child was started and has not ended. It panics after Close.
func (p *Process) Alive() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mustBeOpenLocked()
	return p.child != nil && !p.ended()
}

// PID returns the child's process id, also after it has ended, when the number may be somebody else's. It is 0
// before Start. It panics after Close.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mustBeOpenLocked()
	if p.child == nil {
		return 0
	}
	return p.child.pid
}

// ExitCode returns the child's exit code: 0 if its function returned nil, 1 if it returned an error, 2 if it
// panicked, or what was given to os.Exit. It is -1 if the child was ended by a signal, and as long as it runs or
// was not started. It panics after Close.
func (p *Process) ExitCode() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mustBeOpenLocked()
	if p.child == nil || !p.ended() {
		return -1
	}
	return p.exit.code
}

// Done returns a channel that is closed when the child has ended. Before Start it is the same channel. It panics after Close.
func (p *Process) Done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mustBeOpenLocked()
	return p.done
}

func (p *Process) mustBeOpenLocked() {
	if p.closed {
		panic("process: use of closed Process")
	}
}

// Close says that p is not needed any more. It is an error while the child runs, and p is not closed then: stop it and Join first.
// Closing twice is fine. After Close, methods that return an error return one that is fs.ErrClosed, and the others panic.
//
// There is no need to call it: what a child took of the system is given back when it has ended.
func (p *Process) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed && p.child != nil && !p.ended() {
		return fmt.Errorf("process: close: %s (pid %d) is still running; stop it and Join first", p.settings.name, p.child.pid)
	}
	p.closed = true
	return nil
}

// ended reports whether the child has ended and been collected.
func (p *Process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// String returns the name, and the process id if there is one.
func (p *Process) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.child == nil {
		return p.Name
	}
	return fmt.Sprintf("%s (pid %d)", p.settings.name, p.child.pid)
}

// Waiter tells package pipe how to wait for the end of p along with other things.
func (p *Process) Waiter() waitable.Source {
	return waitable.Source{
		Ready: func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.closed || p.child == nil || p.ended() // of the first two, Join tells
		},
		Notify: p.wakes.Add,
	}
}

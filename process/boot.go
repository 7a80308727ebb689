package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/go-multiproc/multiproc/internal/seg"
	"github.com/go-multiproc/multiproc/internal/wire"
)

// This file is the child's end of its life, start.go the parent's.

// boot is what came over the control socket of this process, if it is a child. It is read when it is first asked
// for, which may be in the initialisation of some package: the parent wrote it before it executed us.
var boot struct {
	once sync.Once
	conn *wire.Conn
	job  *job
	err  error
}

// receiveBoot returns the control socket, and what came over it.
func receiveBoot() (*wire.Conn, *job, error) {
	boot.once.Do(func() {
		if boot.conn, boot.err = wire.New(control); boot.err == nil {
			boot.job, boot.err = receiveJob(boot.conn)
		}
	})
	return boot.conn, boot.job, boot.err
}

// currentJob returns the job of this process, nil if it is no child.
func currentJob() *job {
	if control < 0 {
		return nil
	}
	_, j, _ := receiveBoot()
	return j
}

// runJob does what this process was started for, and exits.
func runJob() {
	conn, j, err := receiveBoot()
	if conn == nil {
		// Nobody can be told, other than whoever reads standard error.
		fmt.Fprintf(os.Stderr, "process: the control socket of this child is of no use: %v\n", err)
		os.Exit(exitFailed)
	}
	if err != nil {
		finish(conn, refusal(err), nil)
	}
	inheritStartMethod(j.header.Default)

	ctx, cancel := context.WithCancelCause(context.Background())
	early.deliver(function{cancel, j.header.Grace})
	if !j.header.Detach && !dieWithParent(conn) {
		go watchParent(conn)
	}

	call, err := prepare(j)
	if err != nil {
		finish(conn, refusal(err), nil)
	}
	<-early.listening
	callAndFinish(ctx, conn, call)
}

// prepare makes a call of a job.
func prepare(j *job) (func(context.Context) error, error) {
	defer j.free()
	if err := j.header.Limits.apply(j.header.Grace); err != nil {
		return nil, err
	}
	e, err := functions.find(j.header.Func)
	if err != nil {
		return nil, err
	}
	if j.header.Info.Method == Fork {
		if err := inherits.restore(j); err != nil {
			return nil, err
		}
	}
	call, err := e.decode(j.data[0], j.takeFDs(0))
	if err != nil {
		return nil, fmt.Errorf("its arguments did not arrive: %w", err)
	}
	return call, nil
}

func refusal(err error) result { return result{Outcome: refused, Failed: true, Err: err.Error()} }

// callAndFinish runs the function, on the main goroutine, which may be tied to the main thread for a reason.
func callAndFinish(ctx context.Context, conn *wire.Conn, call func(context.Context) error) {
	ended := false
	defer func() {
		if ended {
			return
		}
		v := recover()
		if v == nil {
			// In a deferred call the process can still end in good order; without it, the runtime would call the missing
			// main goroutine a deadlock.
			finish(conn, result{Outcome: exited, Failed: true}, ctx)
		}
		_ = tell(conn, result{Outcome: panicked, Failed: true, Err: fmt.Sprint(v), Stack: panicStack(debug.Stack())})
		// As in any Go program: the trace on standard error, exit code 2, and what GOTRACEBACK asks for.
		panic(v)
	}()
	err := call(ctx)
	ended = true
	r := result{Outcome: returned}
	if err != nil {
		r.Failed, r.Err = true, errorText(err)
	}
	finish(conn, r, ctx)
}

// errorText is err.Error(), whatever that does.
func errorText(err error) string { return fmt.Sprintf("%v", err) }

// panicStack cuts what stands above the panic: this package's own calls.
func panicStack(stack []byte) string {
	s := string(stack)
	head, rest, ok := strings.Cut(s, "\n")
	if at := strings.Index(rest, "\npanic("); ok && at >= 0 {
		return head + rest[at:]
	}
	return s
}

// tell sends the result to the parent.
func tell(conn *wire.Conn, r result) error {
	if !controlIsOurs() {
		return errControlLost
	}
	return sendResult(conn, r)
}

// finish says how the function ended, waits for this process's own children as Main does, and exits.
func finish(conn *wire.Conn, r result, ctx context.Context) {
	if err := tell(conn, r); err != nil && r.Failed && !errors.Is(err, syscall.EPIPE) { // which is a parent that is gone
		fmt.Fprintf(os.Stderr, "process: the parent cannot be told how this child ended (%v): %v\n", r.Err, err)
	}
	if ctx != nil {
		// To be asked to end, before or while it waits for them, is to be asked to end them.
		context.AfterFunc(ctx, family.stopAll)
	}
	family.finish(nil)
	if !r.Failed {
		seg.Leave() // a Barrier does not miss it
	}
	os.Exit(r.code())
}

// early is how a child hears SIGTERM and SIGINT. It takes two threads, and with them a good part of the time that a start takes, so it begins with
// package initialisation and goes on beside it.
var early = listenEarly()

type listener struct {
	listening chan struct{} // closed when signals no longer kill
	functions chan function // once there is one
}

// A function is what a listener has to know of the function that runs.
type function struct {
	cancel context.CancelCauseFunc
	grace  time.Duration // from the end of its processor time to that of the process; below zero there is no end to it
}

func listenEarly() *listener {
	if control < 0 {
		return nil
	}
	l := &listener{make(chan struct{}), make(chan function, 1)}
	go l.run()
	return l
}

func (l *listener) deliver(f function) { l.functions <- f }

func (l *listener) run() {
	signals := make(chan os.Signal, 2)
	if signal.Ignored(syscall.SIGINT) {
		// A background job of a script, or one under nohup: interrupts from the terminal are not meant for it.
		signal.Notify(signals, syscall.SIGTERM, syscall.SIGXCPU)
	} else {
		signal.Notify(signals, syscall.SIGTERM, syscall.SIGXCPU, syscall.SIGINT)
	}
	close(l.listening)
	var f function
	for f.cancel == nil {
		select {
		case f = <-l.functions:
		case s := <-signals:
			select {
			case f = <-l.functions: // it may have been called meanwhile
				f.cancel(&SignalError{s.(syscall.Signal)})
			default:
				if s == syscall.SIGINT && isIdle() {
					continue
				}
				dieOf(s.(syscall.Signal)) // before there is anything to end in good order
			}
		}
	}
	usedUp := false
	for s := range signals {
		f.cancel(&SignalError{s.(syscall.Signal)})
		// The Go runtime does not die of SIGXCPU by itself, although the kernel sends it each second.
		if s == syscall.SIGXCPU && !usedUp && f.grace >= 0 {
			usedUp = true
			time.AfterFunc(f.grace, func() { dieOf(syscall.SIGXCPU) })
		}
	}
}

// A SignalError is the cause of the end of a function's ctx ([context.Cause]) if that was a signal: SIGINT after Interrupt, or Ctrl-C at
// a terminal; SIGTERM after Terminate; SIGXCPU when the child has used up its processor time.
type SignalError struct {
	Signal syscall.Signal // SIGINT, SIGTERM, SIGXCPU
}

func (e *SignalError) Error() string {
	return fmt.Sprintf("process: received signal %d (%v)", int(e.Signal), e.Signal)
}

// watchParent ends this process when its parent ends: the kernel closes the parent's end of the control socket
// with it. It is for where dieWithParent cannot be had. On a program that keeps all its CPUs busy it may take the
// scheduler a second to get here.
func watchParent(conn *wire.Conn) {
	for {
		err := conn.Park()
		if !controlIsOurs() {
			return // we shall not know when the parent ends, but that must not be the end of us
		}
		if err == nil {
			_, fds, readErr := conn.ReadFrame(maxFrame)
			closeAll(fds)
			err = readErr
		}
		if err != nil {
			endNow()
		}
	}
}

var errControlLost = errors.New("something in it has closed its control socket")

// endNow ends this process. It does not exit in good order, which may take as long as it likes.
func endNow() {
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
	os.Exit(128 + int(syscall.SIGKILL)) // the first process of a PID namespace is immune to itself
}

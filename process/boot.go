package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"

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
	heard := early.deliver(cancel, &j.header)
	if !j.header.Detach && !dieWithParent(conn) {
		go watchParent(conn)
	}

	call, err := prepare(j)
	if err != nil {
		finish(conn, refusal(err), nil)
	}
	<-heard
	callAndFinish(ctx, conn, call)
}

// prepare makes a call of a job.
func prepare(j *job) (func(context.Context) error, error) {
	defer j.free()
	if err := j.header.Limits.apply(j.header.Grace); err != nil {
		return nil, err
	}
	e, err := functions.Find(j.header.Func)
	if err != nil {
		return nil, err
	}
	if j.header.Info.Method == Fork {
		if err := inherits.restore(j); err != nil {
			return nil, err
		}
	}
	call, err := e.Value(j.data[0], j.takeFDs(0))
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
	family.finish(nil, nil)
	if !r.Failed {
		leave()
	}
	os.Exit(r.code())
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

package pool

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/go-multiproc/multiproc/internal/codec"
	"github.com/go-multiproc/multiproc/internal/registered"
	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/queue"
)

var (
	// ErrClosed is returned for tasks that come after Close or Terminate, and is in the error of those that Terminate has ended.
	ErrClosed = errors.New("pool: closed")

	// ErrCancelled is in the error of a task that was cancelled.
	ErrCancelled = errors.New("pool: task cancelled")

	errOpen = errors.New("pool: Join waits for the end of a pool that was closed: call Close or Terminate first")
)

// A TaskError is the error that a task returned, or what it panicked with.
type TaskError struct {
	Task  string // as Task.Name
	Err   string // text of the error, or of the value that it panicked with
	Stack string // of the panic; empty if there was none

	is []error
}

// Error is the text, with the task's name before it.
func (e *TaskError) Error() string {
	if e.Stack != "" {
		return fmt.Sprintf("pool: task %s panicked: %s", e.Task, e.Err)
	}
	return fmt.Sprintf("pool: task %s: %s", e.Task, e.Err)
}

// Unwrap returns what [RegisterError] knows of the errors that the task's error wraps, so that [errors.Is] finds them.
func (e *TaskError) Unwrap() []error { return e.is }

// A WorkerDiedError says that the worker died that was running a task. If it was killed because the task was cancelled, had gone beyond its time
// limit, or the pool was terminated, the error also is [ErrCancelled], [context.DeadlineExceeded], or [ErrClosed].
type WorkerDiedError struct {
	Task       string // as Task.Name
	PID        int
	Code       int            // exit code; -1 if a signal ended the worker
	Signal     syscall.Signal // that ended it; 0 if none did
	MemoryKill bool           // it ended for want of memory
	Stderr     string         // last lines of its standard error
	Err        string         // what else is known: the text of a panic or fatal error
	Stack      string         // of it

	reason error // why the pool killed it
	exit   *process.ExitError
}

// Error says it in one line, or more if the worker's own text has more.
func (e *WorkerDiedError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "pool: the worker that was running %s died: ", e.Task)
	if e.reason != nil {
		fmt.Fprintf(&b, "%v: ", strings.TrimPrefix(e.reason.Error(), "pool: "))
	}
	b.WriteString(strings.TrimPrefix(e.exit.Error(), "process: "))
	return b.String()
}

// Unwrap returns why the pool killed the worker, if it did, and the worker's [process.ExitError].
func (e *WorkerDiedError) Unwrap() []error {
	if e.reason != nil {
		return []error{e.reason, e.exit}
	}
	return []error{e.exit}
}

func diedRunning(task string, exit *process.ExitError, reason error) *WorkerDiedError {
	return &WorkerDiedError{
		Task: task, PID: exit.PID, Code: exit.Code, Signal: exit.Signal, MemoryKill: exit.MemoryKill,
		Stderr: exit.Stderr, Err: exit.Err, Stack: exit.Stack, reason: reason, exit: exit,
	}
}

// An InitError says that the initialiser of a pool failed, or that its workers cannot start. It fails the pool, once: no further workers are
// started, and all tasks have this error.
//
// One worker is enough that ends by itself before it is ready. One that is killed is replaced; ten such in a row, while no other worker ends a task, are
// too many.
type InitError struct {
	Err string // what the initialiser returned, or how the worker died

	is []error
}

func (e *InitError) Error() string { return "pool: workers cannot start: " + e.Err }

// Unwrap returns the [process.ExitError] of the worker that died; or, if the initialiser returned an error, what [RegisterError] knows of those that it wraps.
func (e *InitError) Unwrap() []error { return e.is }

// fullError is of a submission that has waited for room in vain.
func fullError(limit int, ctx context.Context) error {
	return fmt.Errorf("pool: %d tasks wait, and no more may (Backlog): %w", limit, ctx.Err())
}

// An UnfinishedError says that a wait ended before all that it waited for.
type UnfinishedError struct {
	Unfinished, Of int
	Err            error // why it ended: the error of its ctx
}

func (e *UnfinishedError) Error() string {
	return fmt.Sprintf("pool: %d (of %d) futures unfinished: %v", e.Unfinished, e.Of, e.Err)
}

func (e *UnfinishedError) Unwrap() error { return e.Err }

// RegisterError makes err known, so that [errors.Is] finds it in the error of a task that returned it, or one that wraps it. It is for variables
// of a package, as [Register] is. The k-th registration with a text in the worker is the k-th in the parent.
//
//	var ErrEmpty = pool.RegisterError(errors.New("the file is empty"))
//
// It returns err, and panics if that is nil, or of a type that cannot be compared. Known from the start are the errors of packages context, io, io/fs and os that callers compare with, errors.ErrUnsupported, psync's
// ErrOwnerDied, queue's ErrClosed, [ErrClosed] and [ErrCancelled], and every [syscall.Errno].
func RegisterError(err error) error {
	if err == nil {
		panic("pool: RegisterError needs an error")
	}
	registered.Errors.Add(err)
	return err
}

func init() { registered.Errors.Add(psync.ErrOwnerDied, queue.ErrClosed, ErrClosed, ErrCancelled) }

// A failure is how a task's error travels.
type failure struct {
	Err   string
	Stack string
	Is    []string // keys of sentinels
	Errno []byte   // of a syscall.Errno, if there is one
}

func failureOf(err error, stack string) failure {
	f := failure{Err: fmt.Sprintf("%v", err), Stack: stack}
	f.Is, f.Errno = registered.Errors.Keys(err)
	return f
}

func (f *failure) encode() []byte {
	b, err := codec.Marshal(f)
	if err != nil {
		return nil // texts and bytes are always encoded
	}
	return b
}

// taskError makes the error of what a worker said of it.
func taskError(task string, b []byte) *TaskError {
	var f failure
	if err := codec.Unmarshal(b, &f); err != nil {
		return &TaskError{Task: task, Err: fmt.Sprintf("its error cannot be decoded: %v", err)}
	}
	return f.taskError(task)
}

func (f *failure) taskError(task string) *TaskError {
	e := &TaskError{Task: task, Err: f.Err, Stack: f.Stack}
	e.is = registered.Errors.Find(f.Is, f.Errno)
	return e
}

package pool

import (
	"context"
	"fmt"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"time"

	"github.com/go-multiproc/multiproc/internal/registered"
)

// A Task is a function that workers can run. It comes from [Register] or [RegisterName], and is safe for concurrent use.
type Task[In, Out any] struct {
	entry   *entry
	fn      func(context.Context, In) (Out, error)
	in      form[In]
	out     form[Out]
	options TaskOptions
}

// TaskOptions are settings of single tasks; see [Task.With]. The zero value of a field is the pool's setting, or else no limit.
type TaskOptions struct {
	// Timeout is how long a task may run, from its begin in the worker. Then its ctx ends, and after the pool's grace period its worker is
	// killed. Zero is the pool's TaskTimeout, below zero is no limit.
	Timeout time.Duration

	// Retries is how often a task is run again whose worker died, by whatever cause but the pool's own decision. It is for tasks that may run more than
	// once. Zero is the pool's Retries, below zero is none. A task that returned an error is not run again.
	Retries int

	// Priority decides which of the waiting tasks goes first: the higher one. Tasks of one priority go in the order of their submission. It does not call
	// back those that a worker has been sent already.
	Priority int

	// Chunk is how many elements Map, IMap and their like give a worker at once. Zero is one in IMap, and in Map as many as make four chunks for each worker, or fewer: as many as
	// fit in 32 KiB by the size of their type, arguments and results, which travel fastest, unless the pool has a MaxTasksPerWorker.
	Chunk int

	// Window is how many elements of its input IMap and IMapUnordered read ahead of the result that is next. Zero is 64 chunks for each worker.
	Window int
}

// With returns the same task with other options. They replace all that it had.
func (t *Task[In, Out]) With(o TaskOptions) *Task[In, Out] {
	u := *t
	u.options = o
	return &u
}

// Name returns the name under which the task was registered, or else the function's symbol: of a function literal, whose symbol says little, with its place, "main.init.func1 (main.go:12)".
func (t *Task[In, Out]) Name() string { return t.entry.title }

// Call runs the task's function here and now, as any function.
func (t *Task[In, Out]) Call(ctx context.Context, in In) (Out, error) { return t.fn(ctx, in) }

// Register makes fn known as a task. The worker is the same program, so the natural place is a variable of a package:
//
//	var square = pool.Register(func(ctx context.Context, n int) (int, error) { return n * n, nil })
//
// Parent and worker find it by its symbol, by the types of its argument and result, and by its place among registrations that have these in common,
// as package process finds its functions. Register panics in the same cases: after process.Main or process.Init; if fn is nil; and if fn is a method value.
//
// Both types may be anything that can be passed to another process, handles included: what is not, Submit refuses, with the path to it. A task must
// be ready to be called by many goroutines for the sake of [NewGoroutines]; a worker process runs one at a time.
func Register[In, Out any](fn func(context.Context, In) (Out, error)) *Task[In, Out] {
	return register("", fn)
}

// RegisterName is [Register] under a name that is given rather than found. It panics also if the name is empty or taken.
func RegisterName[In, Out any](name string, fn func(context.Context, In) (Out, error)) *Task[In, Out] {
	if name == "" {
		panic("pool: RegisterName needs a name")
	}
	return register(name, fn)
}

func register[In, Out any](name string, fn func(context.Context, In) (Out, error)) *Task[In, Out] {
	t := &Task[In, Out]{fn: fn, in: formOf[In](), out: formOf[Out](), entry: new(entry)}
	t.entry.call = t.call
	t.entry.Entry = tasks.Register(name, fn, reflect.TypeFor[In](), reflect.TypeFor[Out](), t.entry)
	t.entry.title = t.entry.Name()
	if name == "" && isLiteral(t.entry.title) {
		code := runtime.FuncForPC(reflect.ValueOf(fn).Pointer())
		file, line := code.FileLine(code.Entry())
		t.entry.title = fmt.Sprintf("%s (%s:%d)", t.entry.title, filepath.Base(file), line)
	}
	return t
}

// isLiteral reports whether a symbol is that of a function literal.
func isLiteral(symbol string) bool {
	at := strings.LastIndex(symbol, ".func")
	return at >= 0 && strings.Trim(symbol[at+len(".func"):], "0123456789.") == ""
}

// call is what a worker does with what arrived. It owns fds. keeper is told what arrived beside data.
func (t *Task[In, Out]) call(ctx *taskContext, data []byte, fds []int, many bool, release func(), buf []byte) (*message, error) {
	if many {
		in, arrived, err := t.in.decodeMany(data, fds)
		if err != nil {
			return nil, fmt.Errorf("its arguments did not arrive: %w", err)
		}
		if !t.in.flat {
			release() // numbers are read where they arrived
		}
		ctx.arrived = arrived
		out := t.out.room(buf, len(in))
		for i := range in {
			if out[i], err = t.fn(ctx, in[i]); err != nil {
				return nil, err
			}
			if ctx.over.Load() && i < len(in)-1 {
				return nil, ctx.Err() // nobody waits for the rest
			}
		}
		return t.out.encodeMany(out, "result")
	}
	var in In
	arrived, err := t.in.decode(data, fds, &in)
	if err != nil {
		return nil, fmt.Errorf("its arguments did not arrive: %w", err)
	}
	release()
	ctx.arrived = arrived
	out, err := t.fn(ctx, in)
	if err != nil {
		return nil, err
	}
	return t.out.encode(buf, &out, "result")
}

// An entry is one registration.
type entry struct {
	*registered.Entry[*entry]
	title string // for people
	call  func(ctx *taskContext, data []byte, fds []int, many bool, release func(), buf []byte) (*message, error)
}

// tasks are all registrations.
var tasks = registered.Registry[*entry]{
	Words: registered.Words{Package: "pool", What: "task", Here: "the parent", There: "the worker", Name: "pool.RegisterName"},
	Begun: func() bool { return registered.Begun() }, // which is set later
}

// identities are those of all registrations, in their order.
func identities() []registered.Identity {
	var ids []registered.Identity
	for _, id := range tasks.All() {
		ids = append(ids, id)
	}
	return ids
}

// Keep takes a handle, file or connection that came with the arguments of the task that ctx belongs to out of what is closed when the task returns, and
// reports whether it was there. It is then the task's own program's to close. In a pool of goroutines arguments are the caller's, nothing is closed, and Keep reports false.
func Keep(ctx context.Context, handle any) bool {
	c, ok := ctx.Value(taskKey{}).(*taskContext)
	if !ok {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.arrived != nil && c.arrived.Keep(handle)
}

type taskKey struct{}

package pool

import (
	"context"
	"fmt"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
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

	// Chunk is how many elements Map, IMap and their like give a worker at once. Zero is one in IMap, and in Map as many as make four chunks for each worker.
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
	if fn == nil {
		panic("pool: cannot register a nil function")
	}
	code := runtime.FuncForPC(reflect.ValueOf(fn).Pointer())
	symbol := code.Name()
	if method, ok := strings.CutSuffix(symbol, "-fm"); ok {
		panic("pool: cannot register the method value " + method + ": its receiver does not exist in the worker; register a function that takes the receiver as its argument")
	}
	t := &Task[In, Out]{fn: fn, in: formOf[In](), out: formOf[Out]()}
	t.entry = &entry{id: identity{Name: symbol, In: typeName(reflect.TypeFor[In]()), Out: typeName(reflect.TypeFor[Out]())}, call: t.call}
	t.entry.title = symbol
	if isLiteral(symbol) {
		file, line := code.FileLine(code.Entry())
		t.entry.title = fmt.Sprintf("%s (%s:%d)", symbol, filepath.Base(file), line)
	}
	if name != "" {
		t.entry.id.Name, t.entry.id.Explicit, t.entry.title = name, true, name
	}
	tasks.add(t.entry)
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
		release()
		ctx.arrived = arrived
		out := make([]Out, len(in))
		for i := range in {
			if out[i], err = t.fn(ctx, in[i]); err != nil {
				return nil, err
			}
			if i < len(in)-1 && ctx.Err() != nil {
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
	id    identity // without K and N, which later registrations change
	title string   // for people
	index uint32   // among all
	call  func(ctx *taskContext, data []byte, fds []int, many bool, release func(), buf []byte) (*message, error)
}

// An identity is what parent and worker know a task by.
type identity struct {
	Name     string // symbol, or the name given to RegisterName
	Explicit bool
	In, Out  string // types
	K, N     int    // the K-th, from 1, of N registrations that have all of the above in common
}

func (id identity) String() string {
	kind := "task"
	if id.Explicit {
		kind = "task registered as"
	}
	s := fmt.Sprintf("%s %s(%s) %s", kind, id.Name, id.In, id.Out)
	if id.N > 1 {
		s += fmt.Sprintf(" (%d of %d)", id.K, id.N)
	}
	return s
}

func (id identity) base() identity {
	id.K, id.N = 0, 0
	return id
}

// tasks are all registrations, in their order.
var tasks registry

type registry struct {
	mu      sync.Mutex
	entries []*entry
}

func (r *registry) add(e *entry) {
	if registered.Begun() {
		panic("pool: " + e.id.Name + " is registered after process.Main or process.Init began, where a worker never comes; register it in a package-level variable")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.id.Explicit {
		for _, other := range r.entries {
			if other.id.Explicit && other.id.Name == e.id.Name {
				panic(fmt.Sprintf("pool: two tasks are registered as %q", e.id.Name))
			}
		}
	}
	e.index = uint32(len(r.entries))
	r.entries = append(r.entries, e)
}

// identities are those of all registrations, in their order.
func (r *registry) identities() []identity {
	r.mu.Lock()
	defer r.mu.Unlock()
	count := map[identity]int{}
	ids := make([]identity, len(r.entries))
	for i, e := range r.entries {
		ids[i] = e.id
		count[e.id]++
		ids[i].K = count[e.id]
	}
	for i, e := range r.entries {
		ids[i].N = count[e.id]
	}
	return ids
}

// find returns the registration that the parent calls id.
func (r *registry) find(id identity) (*entry, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found *entry
	n := 0
	for _, e := range r.entries {
		if e.id != id.base() {
			continue
		}
		if n++; n == id.K {
			found = e
		}
	}
	switch {
	case n == 0:
		return nil, fmt.Errorf("the %v is not registered in the worker; register it in a package-level variable, under no condition that differs between parent and worker (a flag, the environment, the time)", id)
	case n != id.N || found == nil:
		return nil, fmt.Errorf("the %v is registered %d times in the worker, so that it is not certain which one is meant; register it the same number of times in both, or give each a name with pool.RegisterName", id, n)
	}
	return found, nil
}

// typeName tells types apart that have the same name in packages of the same name.
func typeName(t reflect.Type) string {
	if t.Name() != "" && t.PkgPath() != "" {
		return t.PkgPath() + "." + t.Name()
	}
	return t.String()
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

package process

import (
	"context"
	"reflect"
	"sync/atomic"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/registered"
)

// A Func is a function that children can run. Its zero value is of no use: get one from [Register] or [RegisterName].
type Func[A any] struct {
	entry *entry
}

// Name returns the name under which the function was registered, or else its symbol, for example "main.init.func1".
func (f *Func[A]) Name() string { return f.entry.Name() }

// Register makes fn known as a function that children can run. Parent and child are the same program, so the
// natural place is a variable of a package:
//
//	var work = process.Register(func(ctx context.Context, j job) error { … })
//
// Parent and child find a function by its symbol, by the type of its argument, and by its place among the
// registrations that have both in common (closures from one factory do). So a registration must not depend on
// anything that differs between parent and child, such as a flag or the environment; the child refuses to run a
// function whose place it can not be sure of. [RegisterName] is for those.
//
// Register panics if it comes after [Main] or [Init], where a child would never get to it; if fn is nil; and if fn
// is a method value: its receiver would stay behind, so pass it as the argument.
func Register[A any](fn func(context.Context, A) error) *Func[A] {
	return register("", fn)
}

// RegisterName is [Register] under a name that is given rather than found. It panics also if the name is empty or taken.
func RegisterName[A any](name string, fn func(context.Context, A) error) *Func[A] {
	if name == "" {
		panic("process: RegisterName needs a name")
	}
	return register(name, fn)
}

func register[A any](name string, fn func(context.Context, A) error) *Func[A] {
	e := functions.Register(name, fn, reflect.TypeFor[A](), nil, func(data []byte, fds []int) (func(context.Context) error, error) {
		var args A
		if _, err := handover.Unmarshal(data, fds, &args); err != nil {
			return nil, err
		}
		return func(ctx context.Context) error { return fn(ctx, args) }, nil
	})
	return &Func[A]{e}
}

// An entry is one registration. Its value makes what arrived into a call, and owns fds.
type entry = registered.Entry[func(data []byte, fds []int) (call func(context.Context) error, err error)]

// functions are all registrations.
var functions = registered.Registry[func(data []byte, fds []int) (func(context.Context) error, error)]{
	Words: registered.Words{Package: "process", What: "function", Here: "the parent", There: "the child", Name: "process.RegisterName"},
	Begun: begun.Load,
}

// begun says that Main or Init was called, which ends the time of registering.
var begun atomic.Bool

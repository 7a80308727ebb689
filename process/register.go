package process

import (
	"context"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"sync"

	"github.com/go-multiproc/multiproc/internal/handover"
)

// A Func is a function that children can run. Its zero value is of no use: get one from [Register] or [RegisterName].
type Func[A any] struct {
	entry *entry
}

// Name returns the name under which the function was registered, or else its symbol, for example "main.init.func1".
func (f *Func[A]) Name() string { return f.entry.id.Name }

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
	if fn == nil {
		panic("process: cannot register a nil function")
	}
	symbol := runtime.FuncForPC(reflect.ValueOf(fn).Pointer()).Name()
	if method, ok := strings.CutSuffix(symbol, "-fm"); ok {
		panic("process: cannot register the method value " + method + ": its receiver does not exist in the child; register a function that takes the receiver as its argument")
	}
	e := &entry{
		id: identity{Name: symbol, Arg: typeName(reflect.TypeFor[A]())},
		decode: func(data []byte, fds []int) (func(context.Context) error, error) {
			var args A
			if _, err := handover.Unmarshal(data, fds, &args); err != nil {
				return nil, err
			}
			return func(ctx context.Context) error { return fn(ctx, args) }, nil
		},
	}
	if name != "" {
		e.id.Name, e.id.Explicit = name, true
	}
	functions.add(e)
	return &Func[A]{e}
}

// An identity is what parent and child know a function by.
type identity struct {
	Name     string // symbol, or the name given to RegisterName
	Explicit bool
	Arg      string // type of the argument
	K, N     int    // the K-th, from 1, of N registrations that have all of the above in common
}

func (id identity) String() string {
	kind := "function"
	if id.Explicit {
		kind = "function registered as"
	}
	s := fmt.Sprintf("%s %s(%s)", kind, id.Name, id.Arg)
	if id.N > 1 {
		s += fmt.Sprintf(" (%d of %d)", id.K, id.N)
	}
	return s
}

// same reports whether two identities differ at most in their places.
func (id identity) same(other identity) bool {
	return id.Name == other.Name && id.Arg == other.Arg && id.Explicit == other.Explicit
}

// An entry is one registration.
type entry struct {
	id identity // without K and N, which later registrations change

	// decode makes what arrived into a call. It owns fds.
	decode func(data []byte, fds []int) (call func(context.Context) error, err error)
}

// functions are all registrations, in their order. Looking one up is a walk: it happens once per child, and a map would
// cost every process of a program that registers many.
var functions registry

type registry struct {
	mu      sync.Mutex
	entries []*entry
	began   bool // Main or Init was called
}

func (r *registry) add(e *entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.began {
		panic("process: " + e.id.Name + " is registered after process.Main or process.Init began, where a child never comes; register it in a package-level variable")
	}
	if e.id.Explicit {
		for _, other := range r.entries {
			if other.id.Explicit && other.id.Name == e.id.Name {
				panic(fmt.Sprintf("process: two functions are registered as %q", e.id.Name))
			}
		}
	}
	r.entries = append(r.entries, e)
}

// begin ends the time of registering.
func (r *registry) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.began = true
}

func (r *registry) hasBegun() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.began
}

// identify returns the whole identity of e.
func (r *registry) identify(e *entry) identity {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := e.id
	for _, other := range r.entries {
		if other.id.same(id) {
			id.N++
		}
		if other == e {
			id.K = id.N
		}
	}
	return id
}

// find returns the registration that the parent calls id. Its errors say what to do, because the program's author reads them.
func (r *registry) find(id identity) (*entry, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found *entry
	n := 0
	for _, e := range r.entries {
		if !e.id.same(id) {
			continue
		}
		if n++; n == id.K {
			found = e
		}
	}
	switch {
	case n == 0:
		return nil, fmt.Errorf("the %v is not registered in the child; register it in a package-level variable, under no condition that differs between parent and child (a flag, the environment, the time)", id)
	case n != id.N || found == nil:
		return nil, fmt.Errorf("the %v is registered %d times in the child, so that it is not certain which one is meant; register it the same number of times in parent and child, or give each a name with process.RegisterName", id, n)
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

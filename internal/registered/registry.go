package registered

import (
	"fmt"
	"iter"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// An Identity is what two processes of one program know a registration by.
type Identity struct {
	Name     string // symbol, or the name that was given
	Explicit bool
	In, Out  string // types
	K, N     int    // the K-th, from 1, of N registrations that have all of the above in common
}

// base is what later registrations do not change.
func (id Identity) base() Identity {
	id.K, id.N = 0, 0
	return id
}

// Words are how a registry speaks of what is registered in it.
type Words struct {
	Package string // "pool"
	What    string // "task"
	Here    string // "the parent"
	There   string // "the worker"
	Name    string // what gives a registration a name of its own: "pool.RegisterName"
}

// String says which registration id is.
func (w Words) String(id Identity) string {
	what := w.What
	if id.Explicit {
		what += " registered as"
	}
	s := fmt.Sprintf("%s %s(%s)", what, id.Name, id.In)
	if id.Out != "" {
		s += " " + id.Out
	}
	if id.N > 1 {
		s += fmt.Sprintf(" (%d of %d)", id.K, id.N)
	}
	return s
}

// An Entry is one registration, and what its package keeps of it.
type Entry[V any] struct {
	Value V
	Index int // among all
	id    Identity
}

// Name is the registration's symbol, or the name that it was given.
func (e *Entry[V]) Name() string { return e.id.Name }

// A Registry is all registrations of one sort, in their order. Looking one up is a walk: it happens once for each that is used, and
// a map would cost every process of a program that registers many.
type Registry[V any] struct {
	Words Words
	Begun func() bool // whether it is too late

	mu      sync.Mutex
	entries []*Entry[V]
}

// Register adds a registration of the function fn. It panics if it is too late, if a name that is given is taken, and for functions that another process
// cannot find.
func (r *Registry[V]) Register(name string, fn any, in, out reflect.Type, v V) *Entry[V] {
	if reflect.ValueOf(fn).IsNil() {
		panic(r.Words.Package + ": cannot register a nil function")
	}
	symbol := runtime.FuncForPC(reflect.ValueOf(fn).Pointer()).Name()
	if method, ok := strings.CutSuffix(symbol, "-fm"); ok {
		panic(fmt.Sprintf("%s: cannot register the method value %s: its receiver does not exist in %s; register a function that takes the receiver as its argument", r.Words.Package, method, r.Words.There))
	}
	e := &Entry[V]{Value: v, id: Identity{Name: symbol, In: TypeName(in)}}
	if out != nil {
		e.id.Out = TypeName(out)
	}
	if name != "" {
		e.id.Name, e.id.Explicit = name, true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.Begun() {
		panic(fmt.Sprintf("%s: %s is registered after process.Main or process.Init began, where %s never comes; register it in a package-level variable", r.Words.Package, e.id.Name, indefinite(r.Words.There)))
	}
	if e.id.Explicit {
		for _, other := range r.entries {
			if other.id.Explicit && other.id.Name == e.id.Name {
				panic(fmt.Sprintf("%s: two %ss are registered as %q", r.Words.Package, r.Words.What, e.id.Name))
			}
		}
	}
	e.Index = len(r.entries)
	r.entries = append(r.entries, e)
	return e
}

func indefinite(what string) string { return "a " + strings.TrimPrefix(what, "the ") }

// Identify returns the whole identity of e.
func (r *Registry[V]) Identify(e *Entry[V]) Identity {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.identifyLocked(e)
}

func (r *Registry[V]) identifyLocked(e *Entry[V]) Identity {
	id := e.id
	for _, other := range r.entries {
		if other.id == e.id {
			id.N++
		}
		if other == e {
			id.K = id.N
		}
	}
	return id
}

// All iterates over all registrations, in their order, with their identities.
func (r *Registry[V]) All() iter.Seq2[*Entry[V], Identity] {
	return func(yield func(*Entry[V], Identity) bool) {
		r.mu.Lock()
		entries := slices.Clone(r.entries)
		r.mu.Unlock()
		all, sofar := map[Identity]int{}, map[Identity]int{}
		for _, e := range entries {
			all[e.id]++
		}
		for _, e := range entries {
			sofar[e.id]++
			id := e.id
			id.K, id.N = sofar[e.id], all[e.id]
			if !yield(e, id) {
				return
			}
		}
	}
}

// Find returns the registration that another process calls id. Its errors say what to do, because the program's author reads them.
func (r *Registry[V]) Find(id Identity) (*Entry[V], error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found *Entry[V]
	n := 0
	for _, e := range r.entries {
		if e.id != id.base() {
			continue
		}
		if n++; n == id.K {
			found = e
		}
	}
	w := r.Words
	switch {
	case n == 0:
		return nil, fmt.Errorf("the %s is not registered in %s; register it in a package-level variable, under no condition that differs between %s and %s (a flag, the environment, the time)",
			w.String(id), w.There, strings.TrimPrefix(w.Here, "the "), strings.TrimPrefix(w.There, "the "))
	case n != id.N || found == nil:
		return nil, fmt.Errorf("the %s is registered %d times in %s, so that it is not certain which one is meant; register it the same number of times in both, or give each a name with %s", w.String(id), n, w.There, w.Name)
	}
	return found, nil
}

// TypeName tells types apart that have the same name in packages of the same name.
func TypeName(t reflect.Type) string {
	if t.Name() != "" && t.PkgPath() != "" {
		return t.PkgPath() + "." + t.Name()
	}
	return t.String()
}

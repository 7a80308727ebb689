package handover

import (
	"context"
	"errors"
	"reflect"
	"strings"
)

// A refusal is why values of a type cannot cross.
type refusal struct {
	what string // "a sync.Mutex"
	why  string // "", or a clause
	hint string // what to do instead, "" if there is nothing to say
	uses bool   // the hint names a handle, which is no help where no handles are allowed
}

func (r *refusal) err(verb string, noHandles bool) error {
	s := r.what + " cannot " + verb
	if r.why != "" {
		s += ": " + r.why
	}
	if r.hint != "" && !(r.uses && noHandles) {
		s += "; " + r.hint
	}
	return errors.New(s)
}

// a puts the article before a type's name.
func a(t reflect.Type) string {
	s := t.String()
	if s != "" && strings.ContainsRune("aeiou", rune(s[0])) {
		return "an " + s
	}
	return "a " + s
}

var syncHints = map[string]string{
	"sync.Mutex":     "use psync.Mutex",
	"sync.RWMutex":   "use psync.RWMutex",
	"sync.Cond":      "use psync.Cond",
	"sync.Once":      "use psync.Once",
	"sync.WaitGroup": "use psync.Barrier, or Join the processes",
	"sync.Map":       "use manager.Dict",
	"sync.Pool":      "let each process have its own",
	"atomic.Bool":    "use value.Value[bool]",
	"atomic.Int32":   "use value.Value[int32]",
	"atomic.Int64":   "use value.Value[int64]",
	"atomic.Uint32":  "use value.Value[uint32]",
	"atomic.Uint64":  "use value.Value[uint64]",
	"atomic.Uintptr": "use value.Value[uint64]",
	"atomic.Value":   "use value.Value",
}

func refuseSync(t reflect.Type) *refusal {
	hint := syncHints[t.String()]
	if hint == "" {
		hint = "use value.Value" // atomic.Pointer[T], and what is yet to come
	}
	return &refusal{what: a(t), hint: hint, uses: t.String() != "sync.Pool"}
}

var contextType = reflect.TypeFor[context.Context]()

func refuseInterface(t reflect.Type) *refusal {
	r := &refusal{what: a(t), hint: "use the concrete type"}
	switch {
	case t.Implements(contextType):
		r.what = "a context.Context"
		r.hint = "the function gets its own"
	case t == reflect.TypeFor[error]():
		r.hint = "use a string, or a concrete type"
	case t.String() == "sync.Locker":
		r.hint = "use *psync.Mutex"
		r.uses = true
	case strings.HasSuffix(t.String(), "psync.Locker"):
		r.hint = "use the concrete type, like *psync.Mutex"
		r.uses = true
	}
	return r
}

// inAny is why values of the type, itself no problem, cannot stand in an any.
func inAny(t reflect.Type, arrives string) *refusal {
	return &refusal{
		what: a(t) + " inside an any",
		why:  "it would arrive as " + arrives,
		hint: "give the field its type",
	}
}

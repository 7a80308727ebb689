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
	kept string // the same where nothing is passed, if that is something else
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

// keepErr is err for a value that is to be kept.
func (r *refusal) keepErr(verb string) error {
	if r.kept == "" {
		return r.err(verb, true)
	}
	own := *r
	own.hint, own.uses = r.kept, false
	return own.err(verb, true)
}

// a puts the article before a type's name.
func a(t reflect.Type) string {
	s := t.String()
	if s != "" && strings.ContainsRune("aeiou", rune(s[0])) {
		return "an " + s
	}
	return "a " + s
}

// syncHint says what to use instead of a type of packages sync and atomic.
func syncHint(t string) string {
	switch t {
	case "sync.Mutex":
		return "use psync.Mutex"
	case "sync.RWMutex":
		return "use psync.RWMutex"
	case "sync.Cond":
		return "use psync.Cond"
	case "sync.Once":
		return "use psync.Once"
	case "sync.WaitGroup":
		return "use psync.Barrier, or Join the processes"
	case "sync.Map":
		return "use manager.Dict"
	case "sync.Pool":
		return "let each process have its own"
	case "atomic.Bool":
		return "use value.Value[bool]"
	case "atomic.Int32":
		return "use value.Value[int32]"
	case "atomic.Int64":
		return "use value.Value[int64]"
	case "atomic.Uint32":
		return "use value.Value[uint32]"
	case "atomic.Uint64", "atomic.Uintptr":
		return "use value.Value[uint64]"
	case "atomic.Value":
		return "use value.Value"
	}
	return "use value.Value" // atomic.Pointer[T], and what is yet to come
}

// leaveOut is what to do with a field of which nothing need be kept.
const leaveOut = "leave it out with the tag `cbor:\"-\"`"

func refuseSync(t reflect.Type) *refusal {
	return &refusal{what: a(t), hint: syncHint(t.String()), uses: t.String() != "sync.Pool", kept: leaveOut}
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

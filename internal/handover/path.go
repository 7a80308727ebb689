package handover

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// An Error says what is wrong with a value and where in it.
type Error struct {
	Path string // like args.Jobs[3].Mu
	Err  error
}

func (e *Error) Error() string { return e.Path + ": " + e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// A pathError collects the path from the inside out while the walk returns: a walk that succeeds pays nothing for it.
type pathError struct {
	steps []string // innermost first
	err   error
}

func (e *pathError) Error() string { return "?" + e.path() + ": " + e.err.Error() }

func (e *pathError) path() string {
	const ends = 8 // of a long path only these many steps at either end are shown
	var b strings.Builder
	for i := len(e.steps) - 1; i >= 0; i-- {
		if len(e.steps) > 2*ends && i == len(e.steps)-1-ends {
			b.WriteString("…")
			i = ends
			continue
		}
		b.WriteString(e.steps[i])
	}
	return b.String()
}

// within adds one step to the path of err.
func within(step string, err error) error {
	pe, ok := err.(*pathError)
	if !ok {
		pe = &pathError{err: err}
	}
	pe.steps = append(pe.steps, step)
	return pe
}

func rooted(root string, err error) error {
	if pe, ok := err.(*pathError); ok {
		return &Error{root + pe.path(), pe.err}
	}
	return &Error{root, err}
}

func indexStep(i int) string { return "[" + strconv.Itoa(i) + "]" }

func keyStep(k reflect.Value) string {
	for k.Kind() == reflect.Interface {
		k = k.Elem()
	}
	const longest = 40 // bytes of a key that are shown
	var s string
	switch {
	case !k.IsValid():
		s = "nil"
	case k.Kind() == reflect.String:
		if s = k.String(); len(s) > longest {
			s = s[:longest] + "…"
		}
		s = strconv.Quote(s)
	default:
		if s = fmt.Sprint(k); len(s) > longest {
			s = s[:longest] + "…"
		}
	}
	return "[" + s + "]"
}

// Package layout says which Go types can live in shared memory, and how their
// bytes lie there.
//
// Shared memory can hold a type when every process that maps it reads the same
// meaning from the same bytes: a fixed size, and no pointers, neither plain ones
// nor those inside strings, slices, maps, interfaces, channels and functions.
// [Of] checks that once per type, with an error that names the offending field,
// and describes the bytes by a canonical text. Two processes may use different
// names for a type: they mean the same when the texts are equal.
//
// The package looks at types only, never at memory that a peer can write.
package layout

import (
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"strconv"
	"sync"
	"unicode/utf8"
)

// ErrType is matched by every error of this package.
var ErrType = errors.New("type cannot live in shared memory")

// A Type describes how the values of a Go type lie in memory. It is immutable.
type Type struct {
	Size  int // bytes, at least 1
	Align int // bytes, as Go requires it

	// Text is the canonical description. Types with equal texts have the same
	// bytes and the same meaning of each: kinds at offsets. Names of types and
	// fields are not part of it, so struct{X float64; Y int32} is equal to any
	// other struct of a float64 and an int32. bool is not uint8, since bytes
	// other than 0 and 1 are no bools; rune is int32 and byte is uint8.
	Text string

	// Bitwise reports that values are equal by == just when their bytes are. It
	// does not hold for floats (NaN, and the two zeros) nor with padding.
	Bitwise bool

	// Padding is the bytes that carry nothing: between fields, behind the last
	// one, and blank fields. Go leaves arbitrary content there, which must not
	// reach other processes, and copies need not keep it.
	Padding []Span
}

// A Span is the bytes from From up to but not including To.
type Span struct{ From, To int }

// An Error says which part of a type cannot live in shared memory and why.
type Error struct {
	Path   string // "Point.Name", "[4]string[]"; the type itself if that is at fault
	Reason string // "a string has no fixed size; use …"
}

func (e *Error) Error() string { return e.Path + ": " + e.Reason }

// Is makes every Error match ErrType, and fs.ErrInvalid for those who do not know that.
func (e *Error) Is(target error) bool { return target == ErrType || target == fs.ErrInvalid }

var cache sync.Map // reflect.Type -> *Type or *Error

// For is Of for the type argument.
func For[T any]() (*Type, error) { return Of(reflect.TypeFor[T]()) }

// Of describes t, or says why t cannot live in shared memory. The answer is
// computed once per type.
func Of(t reflect.Type) (*Type, error) {
	got, ok := cache.Load(t)
	if !ok {
		if lt, err := describe(t); err != nil {
			got, _ = cache.LoadOrStore(t, err)
		} else {
			got, _ = cache.LoadOrStore(t, lt)
		}
	}
	if err, ok := got.(*Error); ok {
		return nil, err
	}
	return got.(*Type), nil
}

func describe(t reflect.Type) (*Type, *Error) {
	if err := check(t, typeName(t)); err != nil {
		return nil, err
	}
	size := int(t.Size())
	if size == 0 {
		return nil, &Error{typeName(t), "it has size zero, so there is nothing to share"}
	}
	items := flatten(t)
	lt := &Type{Size: size, Align: t.Align(), Text: text(items, size), Bitwise: true}
	lt.Padding = padding(items, size, func(it item) {
		if it.kind.float() {
			lt.Bitwise = false
		}
	})
	if len(lt.Padding) > 0 {
		lt.Bitwise = false
	}
	return lt, nil
}

// typeName is the root of the paths in errors.
func typeName(t reflect.Type) string {
	if name := t.Name(); name != "" {
		return name
	}
	// An unnamed struct is written out by String, however long.
	const enough = 60
	name := t.String()
	if len(name) <= enough {
		return name
	}
	cut := enough
	for cut > 0 && !utf8.RuneStart(name[cut]) {
		cut--
	}
	return name[:cut] + "…"
}

// check looks for the first part of t that cannot be shared.
func check(t reflect.Type, path string) *Error {
	if reason := refused(t); reason != "" {
		return &Error{path, reason}
	}
	switch t.Kind() {
	case reflect.Array:
		// Also when the length is 0: such a type is a mistake either way.
		return check(t.Elem(), path+"[]")
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if err := check(f.Type, path+"."+f.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// refused says why t by itself, its elements and fields apart, cannot be shared.
func refused(t reflect.Type) string {
	if why, ok := processLocal[t]; ok {
		return why
	}
	switch t.Kind() {
	case reflect.Bool, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64,
		reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128,
		reflect.Array, reflect.Struct:
		return ""
	case reflect.Int, reflect.Uint:
		if strconv.IntSize != 64 {
			return fmt.Sprintf("an %s has %d bits on this platform and 64 on others; use %[1]s32 or %[1]s64", t.Kind(), strconv.IntSize)
		}
		return ""
	case reflect.Uintptr:
		return "a uintptr is an address, which means nothing in another process; use uint64 for a number"
	case reflect.String:
		return "a string has no fixed size; use an array of bytes, such as [32]byte"
	case reflect.Slice:
		return fmt.Sprintf("a slice has no fixed size; use an array, such as [16]%s", t.Elem())
	case reflect.Map:
		return "a map cannot lie in shared memory; use manager.Dict"
	case reflect.Interface:
		return "an interface has no fixed size; use one concrete type"
	case reflect.Pointer, reflect.UnsafePointer:
		return "a pointer means nothing in another process; use the value itself, or an index"
	case reflect.Chan:
		return "a channel works within one process only; use queue.Queue or pipe.Conn"
	case reflect.Func:
		return "a function exists within one process only"
	}
	return "values of kind " + t.Kind().String() + " cannot be shared"
}

// processLocal are types without pointers that all the same work within one
// process only: the runtime finds their waiters by address. (The numbers of
// sync/atomic are not among them: they work in shared memory as they are.)
var processLocal = map[reflect.Type]string{
	reflect.TypeFor[sync.Mutex]():     "a sync.Mutex works within one process only; use psync.Mutex",
	reflect.TypeFor[sync.RWMutex]():   "a sync.RWMutex works within one process only; use psync.RWMutex",
	reflect.TypeFor[sync.WaitGroup](): "a sync.WaitGroup works within one process only; use psync.Semaphore or psync.Barrier",
	reflect.TypeFor[sync.Once]():      "a sync.Once works within one process only; use psync.Once",
	reflect.TypeFor[sync.Cond]():      "a sync.Cond works within one process only; use psync.Cond",
}

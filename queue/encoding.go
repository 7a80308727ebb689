package queue

import (
	"fmt"
	"reflect"
	"strconv"
	"time"

	"github.com/go-multiproc/multiproc/internal/cell"
	"github.com/go-multiproc/multiproc/internal/codec"
	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/layout"
)

// A face is how the values of a type become messages.
type face int

const (
	raw   face = iota + 1 // []byte: the message itself
	fixed                 // the memory of the value
	cbor                  // one CBOR item
)

// A form is the face of one type.
type form struct {
	face    face
	text    string // what Open compares
	size    int    // fixed: bytes
	padding []layout.Span
	plan    *codec.Plan // cbor: how its values are read; nil: the codec has none
	plain   bool        // cbor: and written, since nothing in them can be refused
}

// formOf never fails: what a message cannot be made of, Put refuses, and says where in
// the value it stands.
func formOf[T any]() form {
	t := reflect.TypeFor[T]()
	if t == reflect.TypeFor[[]byte]() {
		return form{face: raw, text: "bytes"}
	}
	if lt, err := layout.Of(t); err == nil {
		return form{face: fixed, text: lt.Text, size: lt.Size, padding: lt.Padding}
	}
	f := form{face: cbor, text: "cbor " + shape(t, 8), plan: codec.PlanOf(t)}
	f.plain = f.plan != nil && handover.Plain(t)
	return f
}

// shape describes what values of a type look like in CBOR, as far as that is for two
// programs to agree on: the fields of a struct are not, since one program may know more
// of them than another, but its name without the package is, which tells most mistakes.
func shape(t reflect.Type, depth int) string {
	if depth == 0 {
		return "…"
	}
	if t == reflect.TypeFor[time.Time]() {
		return "time"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "bool"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "int"
	case reflect.Float32, reflect.Float64:
		return "float"
	case reflect.String:
		return "text"
	case reflect.Pointer:
		return shape(t.Elem(), depth-1)
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return "bytes"
		}
		return "[]" + shape(t.Elem(), depth-1)
	case reflect.Map:
		return "map[" + shape(t.Key(), depth-1) + "]" + shape(t.Elem(), depth-1)
	case reflect.Struct:
		if t.Name() == "" {
			return "struct"
		}
		return "struct " + t.Name()
	case reflect.Interface:
		return "any"
	}
	return t.Kind().String()
}

// encode appends *v to b, as CBOR. Handles cannot be in it: who takes a message may be
// nobody, and nothing would close them.
func encode[T any](b []byte, f *form, v *T) ([]byte, error) {
	if f.plain {
		b, err := codec.AppendPlanned(b, f.plan, v)
		if err != nil {
			err = fmt.Errorf("queue: %w", err)
		}
		return b, err
	}
	m, err := handover.Marshal(*v, "v", handover.NoHandles("be put in a queue"))
	if err != nil {
		return b, fmt.Errorf("queue: %w", err)
	}
	b = append(b, m.Data...)
	m.Sent()
	return b, nil
}

// decode fills *p with a message.
func decode[T any](f *form, b []byte, p *T) error {
	switch f.face {
	case raw:
		*bytesOf(p) = b
	case fixed:
		if len(b) != f.size {
			return wrongSize(len(b), f.size)
		}
		copy(cell.Bytes(p), b)
	default:
		if err := codec.UnmarshalPlanned(b, f.plan, p); err != nil {
			return fmt.Errorf("queue: the message that was taken cannot be decoded: %w", err)
		}
	}
	return nil
}

func wrongSize(is, want int) error {
	return fmt.Errorf("%w: a message of %s bytes among elements of %d", errDamaged, strconv.Itoa(is), want)
}

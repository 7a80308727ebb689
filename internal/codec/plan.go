package codec

import (
	"bytes"
	"encoding"
	"math/big"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// A kind is what a plan does with a value.
type kind uint8

const (
	foreign kind = iota // the library does it
	boolean
	int8s
	int16s
	int32s
	int64s
	uint8s
	uint16s
	uint32s
	uint64s
	float32s
	float64s
	text
	octets     // a slice of bytes
	octetArray // an array of bytes
	instant    // time.Time
	slice
	numbers // a slice of numbers larger than a byte, or of int8
	array
	pointer
	record // a struct
)

// A Plan writes and reads the values of one type without reflection, at a fraction of what the library takes: the kinds and
// offsets of all that is in them are known once and for all. It writes the very bytes that the library would, but for typed arrays, and reads what
// that writes: what is otherwise in a message, and correct, or in a type, it leaves to the library, which has the last word about what
// is an error, too. So there is one wire form, whoever writes.
//
// Plans do not change once they are published.
type Plan struct {
	kind kind
	pure bool // nothing in it is foreign
	flat bool // there are no pointers in a value

	t      reflect.Type
	size   uintptr
	len    int   // array
	elem   *Plan // slice, numbers, array, pointer
	tag    byte  // numbers: of the typed array
	fields []field
	head   string // record without optional fields: its head on the wire
}

// A field is one that crosses, of a struct or of a struct embedded in it.
type field struct {
	key      string // on the wire, with its head
	offset   uintptr
	plan     *Plan
	optional bool // left out when it is empty
}

var plans sync.Map // reflect.Type to *Plan

// PlanOf returns the plan of a type: nil if the library has to do all of it.
func PlanOf(t reflect.Type) *Plan {
	if p, ok := plans.Load(t); ok {
		return p.(*Plan)
	}
	b := builder{made: map[reflect.Type]*Plan{}}
	p := b.plan(t)
	b.settle()
	if p.kind == foreign || b.refused {
		p = nil // of a type that cannot be written, the library says so
	}
	found, _ := plans.LoadOrStore(t, p)
	return found.(*Plan)
}

// A builder plans a type and all that it is made of, which may be the type itself.
type builder struct {
	made    map[reflect.Type]*Plan
	order   []*Plan
	refused bool
}

func (b *builder) plan(t reflect.Type) *Plan {
	if p, ok := b.made[t]; ok {
		return p
	}
	p := &Plan{t: t, size: t.Size()}
	b.made[t] = p
	b.order = append(b.order, p)
	b.fill(p)
	return p
}

// settle finds out what holds for all that is in a value: it does, unless something in it says otherwise.
func (b *builder) settle() {
	for _, p := range b.order {
		p.pure = p.kind != foreign
		switch p.kind {
		case foreign, text, octets, instant, slice, numbers, pointer:
		default:
			p.flat = true
		}
		if p.kind == record {
			p.flat = !pointers(p.t) // fields that do not cross count as well
		}
	}
	for changed := true; changed; {
		changed = false
		for _, p := range b.order {
			pure, flat := p.pure, p.flat
			if p.elem != nil {
				pure = pure && p.elem.pure
				flat = flat && p.elem.flat
			}
			for _, f := range p.fields {
				pure = pure && f.plan.pure
			}
			if pure != p.pure || flat != p.flat {
				p.pure, p.flat, changed = pure, flat, true
			}
		}
	}
}

// pointers reports whether there may be pointers in a value.
func pointers(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uintptr,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64,
		reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128:
		return false
	case reflect.Array:
		return pointers(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if pointers(t.Field(i).Type) {
				return true
			}
		}
		return false
	}
	return true
}

func (b *builder) fill(p *Plan) {
	t := p.t
	if t == reflect.TypeFor[time.Time]() {
		p.kind = instant
		return
	}
	if known(t) {
		return
	}
	switch t.Kind() {
	case reflect.Bool:
		p.kind = boolean
	case reflect.Int8:
		p.kind = int8s
	case reflect.Int16:
		p.kind = int16s
	case reflect.Int32:
		p.kind = int32s
	case reflect.Int64:
		p.kind = int64s
	case reflect.Int:
		p.kind = int64s
		if p.size == 4 {
			p.kind = int32s
		}
	case reflect.Uint8:
		p.kind = uint8s
	case reflect.Uint16:
		p.kind = uint16s
	case reflect.Uint32:
		p.kind = uint32s
	case reflect.Uint64:
		p.kind = uint64s
	case reflect.Uint:
		p.kind = uint64s
		if p.size == 4 {
			p.kind = uint32s
		}
	case reflect.Float32:
		p.kind = float32s
	case reflect.Float64:
		p.kind = float64s
	case reflect.String:
		p.kind = text
	case reflect.Slice:
		p.kind = slice
		if t.Elem().Kind() == reflect.Uint8 {
			p.kind = octets
			return
		}
		p.elem = b.plan(t.Elem())
		if tag := typedTags[p.elem.kind]; tag != 0 {
			p.kind, p.tag = numbers, tag
		}
	case reflect.Array:
		p.kind, p.len = array, t.Len()
		if t.Elem().Kind() == reflect.Uint8 {
			p.kind = octetArray
			return
		}
		p.elem = b.plan(t.Elem())
	case reflect.Pointer:
		p.kind = pointer
		p.elem = b.plan(t.Elem())
	case reflect.Struct:
		b.fields(t)
		p.kind = record
		if !b.record(p, t, 0) || !distinct(p.fields) {
			p.kind, p.fields = foreign, nil
			return
		}
		p.head = string(appendHead(nil, Map, uint64(len(p.fields))))
		for _, f := range p.fields {
			if f.optional {
				p.head = ""
			}
		}
	case reflect.Map:
		b.plan(t.Key()) // something in it may be refused
		b.plan(t.Elem())
	case reflect.Interface:
	default:
		b.refused = true
	}
}

var methods = []reflect.Type{
	reflect.TypeFor[cbor.Marshaler](), reflect.TypeFor[cbor.Unmarshaler](),
	reflect.TypeFor[encoding.BinaryMarshaler](), reflect.TypeFor[encoding.BinaryUnmarshaler](),
	reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.TextUnmarshaler](),
}

// known reports whether the library treats a type in a way of its own.
func known(t reflect.Type) bool {
	if t == reflect.TypeFor[big.Int]() || t.PkgPath() == reflect.TypeFor[cbor.Tag]().PkgPath() {
		return true
	}
	if k := t.Kind(); k == reflect.Pointer || k == reflect.Interface {
		return false // it looks at what is behind it
	}
	for _, m := range methods {
		if reflect.PointerTo(t).Implements(m) {
			return true
		}
	}
	return false
}

// fields plans what crosses of t, since something in it may be refused.
func (b *builder) fields(t reflect.Type) {
	for i := range t.NumField() {
		if f := t.Field(i); (f.IsExported() || f.Anonymous) && tagOf(f) != "-" {
			b.plan(f.Type)
		}
	}
}

func tagOf(f reflect.StructField) string {
	if tag := f.Tag.Get("cbor"); tag != "" {
		return tag
	}
	return f.Tag.Get("json")
}

// record plans the fields of t, which stands at offset in the struct of p. It reports false where there is more to the struct than
// its fields, one after the other.
func (b *builder) record(p *Plan, t reflect.Type, offset uintptr) bool {
	if f, ok := t.FieldByName("_"); ok && f.Tag.Get("cbor") != "" {
		return false // as an array, perhaps
	}
	for i := range t.NumField() {
		f := t.Field(i)
		inner := f.Type
		for inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		embedded := f.Anonymous && inner.Kind() == reflect.Struct
		if !f.IsExported() && !embedded {
			continue
		}
		tag := tagOf(f)
		if tag == "-" {
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		if embedded && name == "" {
			if f.Type.Kind() == reflect.Pointer || known(inner) || !b.record(p, inner, offset+f.Offset) {
				return false
			}
			continue
		}
		if !f.IsExported() {
			return false
		}
		if name == "" {
			name = f.Name
		}
		x := field{offset: offset + f.Offset, plan: b.plan(f.Type)}
		for o := range strings.SplitSeq(options, ",") {
			switch o {
			case "omitempty":
				x.optional = true
			case "omitzero", "keyasint":
				return false
			}
		}
		switch x.plan.kind {
		case foreign, array, octetArray, record: // what is empty of these is a longer story; a time never is
			if x.optional {
				return false
			}
		case instant:
			x.optional = false
		}
		x.key = string(append(appendHead(nil, Text, uint64(len(name))), name...))
		p.fields = append(p.fields, x)
	}
	return true
}

func distinct(fields []field) bool {
	seen := make(map[string]bool, len(fields))
	for _, f := range fields {
		if seen[f.key] {
			return false
		}
		seen[f.key] = true
	}
	return true
}

// scratch is for items on their way into a slice of their own.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// largestScratch is what of it is kept, in bytes.
const largestScratch = 1 << 20

func (p *Plan) marshal(v any) ([]byte, error) {
	s := scratch.Get().(*[]byte)
	defer scratch.Put(s)
	b, err := p.appendAny((*s)[:0], v)
	if err != nil {
		return nil, err
	}
	if cap(b) > largestScratch {
		return b, nil
	}
	*s = b
	return bytes.Clone(b), nil
}

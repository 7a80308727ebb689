package handover

import (
	"encoding"
	"math/big"
	"reflect"
	"runtime"
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// A class is how the walk treats a type.
type class uint8

const (
	plain      class = iota // a leaf that is the codec's
	scalar                  // a leaf whose methods the codec must not see
	instant                 // time.Time
	pointer                 // and the other kinds that have something in them
	slice                   //
	array                   //
	mapping                 //
	structure               //
	dynamic                 // any
	handle                  // a pointer to one of the toolkit's handles
	descriptor              // a file, connection or listener
	iface                   // an interface with methods: nil, or refused
	refused
)

// A plan is what is known of one type. It does not change once it is published.
type plan struct {
	t     reflect.Type
	class class

	enc     bool // encoding needs the walk: something in it may be a handle, an interface, the value itself, or refused
	dec     bool // decoding does: something in it may be a handle, or a struct that the codec would lose part of
	handles bool // something in it may be a handle or a descriptor
	sized   bool // something in it is a slice, and so perhaps long
	numbers bool // something in it is a slice of numbers, which the codec writes as a typed array
	maps    bool // something in it is a map, or may be
	cycles  bool // a value may contain itself by way of this type
	flat    bool // data that an any may hold, with nothing in it to look at
	direct  bool // a leaf without methods of its own, quicker to write here than to hand over

	elem, key *plan
	fields    []field        // structure
	byName    map[string]int // wire key to index in fields
	toArray   bool           // structure, sent as an array of its fields
	skipsNil  bool           // structure with fields in embedded pointers
	bad       string         // structure: the step to a field for which no value of it can cross, "" if there is none
	why       *refusal       // refused, iface, and structure with bad
}

var plans sync.Map // reflect.Type to *plan

func planOf(t reflect.Type) *plan {
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	b := builder{made: map[reflect.Type]*plan{}}
	p := b.plan(t)
	b.settle()
	for t, p := range b.made {
		plans.LoadOrStore(t, p)
	}
	return p
}

// A builder plans a type and all that it is made of. Types refer to each other in circles, so the flags that depend on other types
// are set in the end, all at once.
type builder struct {
	made  map[reflect.Type]*plan
	order []*plan
	open  map[*plan]bool // being planned: a type met again is part of itself
}

func (b *builder) plan(t reflect.Type) *plan {
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	if p, ok := b.made[t]; ok {
		if b.open[p] {
			p.cycles = true
		}
		return p
	}
	p := &plan{t: t}
	b.made[t] = p
	b.order = append(b.order, p)
	if b.open == nil {
		b.open = map[*plan]bool{}
	}
	b.open[p] = true
	b.fill(p)
	delete(b.open, p)
	return p
}

// settle carries the flags from each type to those that contain it, until nothing changes.
func (b *builder) settle() {
	for changed := true; changed; {
		changed = false
		for _, p := range b.order {
			for q := range p.parts {
				for _, f := range []struct{ to, from *bool }{
					{&p.enc, &q.enc}, {&p.dec, &q.dec}, {&p.handles, &q.handles}, {&p.cycles, &q.cycles}, {&p.sized, &q.sized}, {&p.maps, &q.maps}, {&p.numbers, &q.numbers},
				} {
					if *f.from && !*f.to {
						*f.to, changed = true, true
					}
				}
			}
			if p.cycles && !p.enc {
				p.enc, changed = true, true
			}
			if p.class == mapping && p.elem.numbers && !(p.enc && p.dec) {
				p.enc, p.dec, changed = true, true, true // the codec has the library write maps, and all that is in them
			}
		}
	}
	for _, p := range b.order {
		if p.class == mapping && p.key.handles {
			p.class, p.enc = refused, true
			p.why = &refusal{what: a(p.t), why: "the keys of a map cannot hold handles"}
		}
	}
}

// parts yields the plans of what p's values are made of.
func (p *plan) parts(yield func(*plan) bool) {
	if p.elem != nil && !yield(p.elem) || p.key != nil && !yield(p.key) {
		return
	}
	for _, f := range p.fields {
		if !yield(f.plan) {
			return
		}
	}
}

func (b *builder) fill(p *plan) {
	t := p.t
	refuse := func(r *refusal) { p.class, p.enc, p.why = refused, true, r }

	switch {
	case isHandle(t):
		p.class, p.enc, p.dec, p.handles = handle, true, true, true
		return
	case isDescriptor(t):
		p.class, p.enc, p.dec, p.handles = descriptor, true, true, true
		return
	case t.Kind() == reflect.Struct && (isHandle(reflect.PointerTo(t)) || isDescriptor(reflect.PointerTo(t))):
		refuse(&refusal{what: a(t) + " by value", hint: "use *" + t.String(), uses: true})
		p.handles = true
		return
	case t.Kind() == reflect.Struct && (t.PkgPath() == "sync" || t.PkgPath() == "sync/atomic"):
		refuse(refuseSync(t))
		return
	}

	switch marshals(t) {
	case own:
		switch t {
		case timeType: // the codec writes some times such that the receiver cannot read them, or reads others
			p.class, p.enc, p.flat = instant, true, true
		case bigIntType:
			p.flat = true
		}
		return
	case half:
		p.enc, p.dec = true, true // the codec would use the one half, and miss the other at its other end
	case promoted:
		p.enc, p.dec = true, true // the codec would send the embedded field alone
	}

	switch t.Kind() {
	case reflect.Bool, reflect.String, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		p.flat, p.direct = true, true
		if p.enc {
			p.class = scalar
		}
	case reflect.Uintptr:
		p.class, p.enc, p.dec, p.flat, p.direct = scalar, true, true, true, true // the codec does not know it
	case reflect.Pointer:
		p.class = pointer
		p.elem = b.plan(t.Elem())
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 { // a byte string, whatever the bytes' type
			p.flat, p.direct, p.sized = true, true, t.Kind() == reflect.Slice
			if p.enc {
				p.class = scalar
			}
			return
		}
		p.sized = t.Kind() == reflect.Slice
		p.class = slice
		if t.Kind() == reflect.Array {
			p.class = array
		}
		p.elem = b.plan(t.Elem())
		p.flat = p.elem.flat && !p.elem.enc
		p.numbers = p.class == slice && p.elem.direct && p.elem.t.Kind() >= reflect.Int && p.elem.t.Kind() <= reflect.Float64
	case reflect.Map:
		p.class, p.maps = mapping, true
		switch k := t.Key(); {
		case k.Kind() == reflect.Pointer || k.Kind() == reflect.Chan:
			refuse(&refusal{what: a(t), why: "its keys are addresses, which mean nothing there"})
			return
		case k.Kind() == reflect.Interface && k.NumMethod() > 0:
			refuse(&refusal{what: a(t), why: "its keys are of any type", hint: "use a concrete key type"})
			return
		}
		p.key = b.plan(t.Key())
		p.elem = b.plan(t.Elem())
		p.flat = t.Key().Kind() == reflect.String && p.key.flat && !p.key.enc && p.elem.flat && !p.elem.enc
	case reflect.Struct:
		p.class = structure
		b.structure(p)
	case reflect.Interface:
		p.enc = true
		if t.NumMethod() == 0 {
			p.class, p.cycles, p.maps = dynamic, true, true
			return
		}
		p.class, p.dec, p.why = iface, true, refuseInterface(t)
	case reflect.Complex64, reflect.Complex128:
		refuse(&refusal{what: a(t), hint: "use two floating-point numbers"})
	case reflect.Chan:
		refuse(&refusal{what: a(t), hint: "use queue.Queue or pipe.Conn", uses: true})
	case reflect.Func:
		refuse(&refusal{what: a(t), hint: "register the function and pass what it needs"})
	default: // unsafe.Pointer
		refuse(&refusal{what: a(t), why: "addresses mean nothing there"})
	}
}

// isHandle reports whether t is a pointer to a handle type, and not to a struct that merely embeds one.
func isHandle(t reflect.Type) bool {
	if t.Kind() != reflect.Pointer || !t.Implements(handleType) {
		return false
	}
	s := t.Elem()
	if s.Kind() != reflect.Struct {
		return true
	}
	for i := range s.NumField() {
		f := s.Field(i)
		if !f.Anonymous || f.Type.Kind() == reflect.Interface {
			continue
		}
		ft := f.Type
		if ft.Kind() != reflect.Pointer {
			ft = reflect.PointerTo(ft)
		}
		if ft.Implements(handleType) && (f.IsExported() || !isHandle(ft)) {
			return false
		}
	}
	return true
}

var (
	handleType = reflect.TypeFor[Handle]()
	timeType   = reflect.TypeFor[time.Time]()
	bigIntType = reflect.TypeFor[big.Int]()

	cborMarshaler     = reflect.TypeFor[cbor.Marshaler]()
	cborUnmarshaler   = reflect.TypeFor[cbor.Unmarshaler]()
	binaryMarshaler   = reflect.TypeFor[encoding.BinaryMarshaler]()
	binaryUnmarshaler = reflect.TypeFor[encoding.BinaryUnmarshaler]()
	textMarshaler     = reflect.TypeFor[encoding.TextMarshaler]()
	textUnmarshaler   = reflect.TypeFor[encoding.TextUnmarshaler]()
)

type marshaling uint8

const (
	none     marshaling = iota
	own                 // the type says itself how it is written and read
	half                // it can be written so but not read, or read and not written: for a log or a configuration, probably
	promoted            // an embedded field says how that field is written
)

// marshals says by which methods the codec would write and read values of type t.
func marshals(t reflect.Type) marshaling {
	if t == bigIntType {
		return own // known to the codec
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Interface:
		return none // the codec looks at what is behind it
	}
	// MethodByName with constants: anything more general makes the linker keep every method of every type.
	p := reflect.PointerTo(t)
	var write, read reflect.Type
	var byValue, byPointer, reader reflect.Method
	var inValue bool
	switch { // in the codec's order
	case p.Implements(cborMarshaler):
		write, read = cborMarshaler, cborUnmarshaler
		byPointer, _ = p.MethodByName("MarshalCBOR")
		byValue, inValue = t.MethodByName("MarshalCBOR")
		reader, _ = p.MethodByName("UnmarshalCBOR")
	case p.Implements(binaryMarshaler):
		write, read = binaryMarshaler, binaryUnmarshaler
		byPointer, _ = p.MethodByName("MarshalBinary")
		byValue, inValue = t.MethodByName("MarshalBinary")
		reader, _ = p.MethodByName("UnmarshalBinary")
	case p.Implements(textMarshaler):
		write, read = textMarshaler, textUnmarshaler
		byPointer, _ = p.MethodByName("MarshalText")
		byValue, inValue = t.MethodByName("MarshalText")
		reader, _ = p.MethodByName("UnmarshalText")
	case p.Implements(cborUnmarshaler) || p.Implements(binaryUnmarshaler) || p.Implements(textUnmarshaler):
		return half
	default:
		return none
	}
	if t.Kind() == reflect.Struct && embeds(t, write) && generated(byPointer) && (!inValue || generated(byValue)) {
		return promoted
	}
	if !p.Implements(read) || t.Kind() == reflect.Struct && embeds(t, read) && generated(reader) {
		return half
	}
	return own
}

// embeds reports whether some embedded field of struct type t implements m.
func embeds(t, m reflect.Type) bool {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous && (f.Type.Implements(m) || reflect.PointerTo(f.Type).Implements(m)) {
			return true
		}
	}
	return false
}

// generated reports whether the compiler wrote m: a method promoted from a field. That of a method with a value receiver, called
// through a pointer, is also generated, so that both have to be asked.
func generated(m reflect.Method) bool {
	f := runtime.FuncForPC(m.Func.Pointer())
	if f == nil {
		return false
	}
	file, _ := f.FileLine(f.Entry())
	return file == "<autogenerated>"
}

package handover

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/go-multiproc/multiproc/internal/codec"
)

// maxDepth is how many arrays, maps and structs may stand inside each other: a little less than the codec at the other end accepts,
// since the last levels are its own to write.
const maxDepth = codec.MaxNesting - 535

var (
	errDepth = tooDeep(maxDepth)
	errCycle = errors.New("the value contains itself, which cannot be passed to another process")
	errNil   = errors.New("nil where a handle is needed")
)

// A tooDeep is an error that needs no call of fmt when the program begins.
type tooDeep int

func (most tooDeep) Error() string {
	return fmt.Sprintf("nested more than %d levels deep; use a slice for a list that long", int(most))
}

// An Encoder is where a handle describes itself. It is valid during the call of HandOver that it was given to.
type Encoder struct {
	buf  bytes.Buffer
	msg  *Message
	verb string

	noHandles, noFDs bool
	sorted           bool

	fdsRefused bool            // FD was called though noFDs
	parts      int             // of the description being written
	ids        int             // of handles, so far
	written    map[any]written // the handles
	depth      int
	above      ancestors
}

// written is a handle's description in the buffer.
type written struct{ from, to int }

// Growing a buffer to a message's size costs more than encoding it, so buffers are used again. One larger than largest is not kept: it
// goes out as it is, without a copy.
var encoders = sync.Pool{New: func() any { return new(Encoder) }}

const largest = 8 << 20 // bytes

// finish returns the bytes, and the Encoder for another use.
func (e *Encoder) finish() []byte {
	buf := e.buf
	data := buf.Bytes()
	if buf.Cap() <= largest {
		data = slices.Clone(data)
		buf.Reset()
	} else {
		buf = bytes.Buffer{}
	}
	path := e.above.path[:0]
	if cap(path) > 1024 {
		path = nil
	}
	*e = Encoder{buf: buf, above: ancestors{path: path}}
	encoders.Put(e)
	return data
}

// FD attaches a descriptor. release, which may be nil, is called exactly once: when the message went out or was given up, or at once
// if it cannot take descriptors. Until then fd must stay open; closing it is release's task.
func (e *Encoder) FD(fd int, release func()) {
	e.parts++
	if e.noFDs {
		e.fdsRefused = true
		if release != nil {
			release()
		}
		return
	}
	codec.WriteHead(&e.buf, codec.Uint, uint64(len(e.msg.FDs)))
	e.msg.FDs = append(e.msg.FDs, fd)
	if release != nil {
		e.msg.release = append(e.msg.release, release)
	}
}

// Put adds a value, which may be of any type that Marshal takes.
func (e *Encoder) Put(v any) error {
	e.parts++
	rv := reflect.ValueOf(v)
	if !rv.IsValid() {
		codec.WriteNull(&e.buf)
		return nil
	}
	return e.value(rv, planOf(rv.Type()))
}

// Handle adds a handle that is part of the one being described. It arrives as that one's own, even where the message has it elsewhere too.
func (e *Encoder) Handle(h Handle) error {
	e.parts++
	if v := reflect.ValueOf(h); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return errNil
	}
	_, err := e.describe(h.HandOver)
	return err
}

// OnSent has f called when the message went out, after the descriptors are released.
func (e *Encoder) OnSent(f func()) { e.msg.onSent = append(e.msg.onSent, f) }

// OnDrop has f called when the message did not go out, after the descriptors are released.
func (e *Encoder) OnDrop(f func()) { e.msg.onDrop = append(e.msg.onDrop, f) }

func (e *Encoder) refuse(r *refusal) error { return r.err(e.verb, e.noHandles) }

// value writes v, whose type is p's. v may be read-only: an embedded struct of an unexported type.
func (e *Encoder) value(v reflect.Value, p *plan) error {
	if p.direct {
		e.scalar(v)
		return nil
	}
	if !p.enc && !e.sorts(p) && v.CanInterface() {
		return e.plain(v)
	}
	switch p.class {
	case instant:
		return e.instant(v.Interface().(time.Time))
	case pointer:
		return e.pointer(v, p)
	case slice, array:
		return e.slice(v, p)
	case mapping:
		return e.mapping(v, p)
	case structure:
		return e.structure(v, p)
	case dynamic:
		if v.IsNil() {
			codec.WriteNull(&e.buf)
			return nil
		}
		return e.dynamic(v.Elem())
	case handle:
		return e.handle(v)
	case descriptor:
		return e.descriptor(v)
	case iface:
		if v.IsNil() {
			codec.WriteNull(&e.buf)
			return nil
		}
		return e.refuse(p.why)
	case refused:
		return e.refuse(p.why)
	}
	return e.plain(v)
}

// plain has the codec write v, and all in it.
func (e *Encoder) plain(v reflect.Value) error {
	switch {
	case v.Kind() == reflect.Pointer || v.Kind() == reflect.Map:
	case v.CanAddr():
		v = v.Addr() // the codec looks behind pointers, and this one saves a copy of v
	}
	return codec.Encode(&e.buf, v.Interface())
}

// scalar writes v by its kind, without regard for the methods of its type.
func (e *Encoder) scalar(v reflect.Value) {
	buf := &e.buf
	switch v.Kind() {
	case reflect.Bool:
		codec.WriteBool(buf, v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		codec.WriteInt(buf, v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		codec.WriteHead(buf, codec.Uint, v.Uint())
	case reflect.Float32:
		codec.WriteFloat32(buf, float32(v.Float()))
	case reflect.Float64:
		codec.WriteFloat64(buf, v.Float())
	case reflect.String:
		codec.WriteHead(buf, codec.Text, uint64(v.Len()))
		buf.WriteString(v.String())
	case reflect.Slice:
		if v.IsNil() {
			codec.WriteNull(buf)
			break
		}
		codec.WriteHead(buf, codec.Bytes, uint64(v.Len()))
		buf.Write(v.Bytes())
	case reflect.Array:
		codec.WriteHead(buf, codec.Bytes, uint64(v.Len()))
		if v.CanAddr() {
			buf.Write(v.Bytes())
			break
		}
		for i := range v.Len() {
			buf.WriteByte(byte(v.Index(i).Uint()))
		}
	}
}

// instant writes a time as the codec does, but for those that would not arrive as they are: the zero time, which would be null and so a
// nil in an any; offsets with seconds (Amsterdam until 1937), which RFC 3339 cannot say; and years that it cannot.
func (e *Encoder) instant(t time.Time) error {
	if _, offset := t.Zone(); offset%60 != 0 || offset <= -24*3600 || offset >= 24*3600 {
		t = t.UTC()
	}
	if y := t.Year(); y < 0 || y > 9999 {
		return e.refuse(&refusal{what: fmt.Sprintf("a time.Time in the year %d", y), why: "its text has four digits for that"})
	}
	var b [len("2006-01-02T15:04:05.999999999+07:00")]byte
	s := t.AppendFormat(b[:0], time.RFC3339Nano)
	codec.WriteHead(&e.buf, codec.Tag, 0)
	codec.WriteHead(&e.buf, codec.Text, uint64(len(s)))
	e.buf.Write(s)
	return nil
}

// enter is called on the way into what a pointer, slice, array or map has in it, and leave on the way out. After an error the walk
// ends, and nobody leaves.
func (e *Encoder) enter(v reflect.Value, p *plan) error {
	e.depth++
	if e.depth > maxDepth || len(e.above.path) > 2*maxDepth {
		return errDepth
	}
	if p.cycles && !e.above.push(v) {
		return errCycle
	}
	return nil
}

func (e *Encoder) leave(p *plan) {
	e.depth--
	if p.cycles {
		e.above.pop()
	}
}

func (e *Encoder) pointer(v reflect.Value, p *plan) error {
	if v.IsNil() {
		codec.WriteNull(&e.buf)
		return nil
	}
	e.depth-- // a pointer is nothing on the wire
	if err := e.enter(v, p); err != nil {
		return err
	}
	if err := e.value(v.Elem(), p.elem); err != nil {
		return err
	}
	e.leave(p)
	e.depth++
	return nil
}

func (e *Encoder) slice(v reflect.Value, p *plan) error {
	if p.class == slice && v.IsNil() {
		codec.WriteNull(&e.buf)
		return nil
	}
	if err := e.enter(v, p); err != nil {
		return err
	}
	codec.WriteHead(&e.buf, codec.Array, uint64(v.Len()))
	for i := range v.Len() {
		if err := e.value(v.Index(i), p.elem); err != nil {
			return within(indexStep(i), err)
		}
	}
	e.leave(p)
	return nil
}

func (e *Encoder) mapping(v reflect.Value, p *plan) error {
	if v.IsNil() {
		codec.WriteNull(&e.buf)
		return nil
	}
	if err := e.enter(v, p); err != nil {
		return err
	}
	codec.WriteHead(&e.buf, codec.Map, uint64(v.Len()))
	if e.sorted {
		if err := e.inOrder(v, func(k reflect.Value) error { return e.key(k, p.key) }, func(elem reflect.Value) error { return e.value(elem, p.elem) }); err != nil {
			return err
		}
		e.leave(p)
		return nil
	}
	key, elem := reflect.New(p.key.t).Elem(), reflect.New(p.elem.t).Elem()
	for i := v.MapRange(); i.Next(); {
		key.SetIterKey(i)
		elem.SetIterValue(i)
		if err := e.key(key, p.key); err != nil {
			return within(keyStep(key), err)
		}
		if err := e.value(elem, p.elem); err != nil {
			return within(keyStep(key), err)
		}
	}
	e.leave(p)
	return nil
}

func (e *Encoder) key(k reflect.Value, p *plan) error {
	if p.class != dynamic {
		return e.value(k, p)
	}
	switch k := k.Interface().(type) {
	case string, bool, int64, float64: // what it arrives as is what it was, so that it is found again
		return codec.Encode(&e.buf, k)
	default:
		return e.refuse(&refusal{what: fmt.Sprintf("the key %v", k), why: "a map with keys of any type keeps string, bool, int64 and float64 only"})
	}
}

func (e *Encoder) structure(v reflect.Value, p *plan) error {
	if p.bad != "" {
		return within(p.bad, e.refuse(p.why))
	}
	if e.depth++; e.depth > maxDepth {
		return errDepth
	}
	if p.toArray {
		codec.WriteHead(&e.buf, codec.Array, uint64(len(p.fields)))
	} else {
		n := len(p.fields)
		if p.skipsNil {
			for i := range p.fields {
				if !fieldOf(v, p.fields[i].index).IsValid() {
					n--
				}
			}
		}
		codec.WriteHead(&e.buf, codec.Map, uint64(n))
	}
	for i := range p.fields {
		f := &p.fields[i]
		fv := fieldOf(v, f.index)
		switch {
		case !p.toArray && !fv.IsValid():
			continue
		case !p.toArray:
			e.buf.Write(f.key)
		case !fv.IsValid():
			codec.WriteNull(&e.buf)
			continue
		}
		if err := e.value(fv, f.plan); err != nil {
			return within(f.step, err)
		}
	}
	e.depth--
	return nil
}

// fieldOf returns the field at index, through embedded pointers; the zero Value if one of those is nil.
func fieldOf(v reflect.Value, index []int) reflect.Value {
	for i, n := range index {
		if i > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return reflect.Value{}
			}
			v = v.Elem()
		}
		v = v.Field(n)
	}
	return v
}

// dynamic writes what an any holds. The receiver knows no type for it, so it has to be data that needs none.
func (e *Encoder) dynamic(v reflect.Value) error {
	p := planOf(v.Type())
	if p.direct {
		e.scalar(v)
		return nil
	}
	if p.flat && !p.enc && !e.sorts(p) {
		return e.plain(v)
	}
	switch p.class {
	case instant:
		return e.instant(v.Interface().(time.Time))
	case refused:
		return e.refuse(p.why)
	case handle, descriptor:
		if e.noHandles {
			return e.refuse(&refusal{what: a(p.t)})
		}
		return e.refuse(inAny(p.t, "something else"))
	case plain:
		return e.refuse(inAny(p.t, "the text or bytes that it encodes itself to"))
	case pointer:
		if p.elem.t == bigIntType && !v.IsNil() {
			return e.plain(v)
		}
		switch p.elem.class {
		case refused:
			return e.refuse(p.elem.why)
		case structure:
			if p.t.Implements(contextType) {
				return e.refuse(refuseInterface(contextType))
			}
			return e.refuse(inAny(p.t, "a map[string]any"))
		}
		return e.refuse(inAny(p.t, "what it points to"))
	case structure:
		if p.t.Implements(contextType) {
			return e.refuse(refuseInterface(contextType))
		}
		return e.refuse(inAny(p.t, "a map[string]any"))
	case slice, array:
		if p.class == slice && v.IsNil() {
			codec.WriteNull(&e.buf)
			return nil
		}
		if err := e.enter(v, p); err != nil {
			return err
		}
		codec.WriteHead(&e.buf, codec.Array, uint64(v.Len()))
		for i := range v.Len() {
			if err := e.element(v.Index(i)); err != nil {
				return within(indexStep(i), err)
			}
		}
		e.leave(p)
		return nil
	case mapping:
		if p.key.t.Kind() != reflect.String || !p.key.direct {
			return e.refuse(inAny(p.t, "a map[string]any"))
		}
		if v.IsNil() {
			codec.WriteNull(&e.buf)
			return nil
		}
		if err := e.enter(v, p); err != nil {
			return err
		}
		codec.WriteHead(&e.buf, codec.Map, uint64(v.Len()))
		if e.sorted {
			if err := e.inOrder(v, func(k reflect.Value) error { e.scalar(k); return nil }, e.element); err != nil {
				return err
			}
			e.leave(p)
			return nil
		}
		key, elem := reflect.New(p.key.t).Elem(), reflect.New(p.elem.t).Elem()
		for i := v.MapRange(); i.Next(); {
			key.SetIterKey(i)
			elem.SetIterValue(i)
			e.scalar(key)
			if err := e.element(elem); err != nil {
				return within(keyStep(key), err)
			}
		}
		e.leave(p)
		return nil
	}
	return e.refuse(inAny(p.t, "something else"))
}

// element writes an element of a slice or map that an any holds.
func (e *Encoder) element(v reflect.Value) error {
	if v.Kind() == reflect.Interface {
		if v.IsNil() {
			codec.WriteNull(&e.buf)
			return nil
		}
		v = v.Elem()
	}
	return e.dynamic(v)
}

// handle writes a handle, or a copy of its description where the message has it already.
func (e *Encoder) handle(v reflect.Value) error {
	if v.IsNil() {
		codec.WriteNull(&e.buf)
		return nil
	}
	return e.once(v, v.Interface().(Handle).HandOver)
}

func (e *Encoder) once(v reflect.Value, handOver func(*Encoder) error) error {
	if e.noHandles {
		return e.refuse(&refusal{what: a(v.Type())})
	}
	h := v.Interface()
	if v.Kind() != reflect.Pointer {
		h = new(byte) // a user's own net.Conn, and nothing to tell it by
	}
	if w, ok := e.written[h]; ok {
		e.buf.Write(slices.Clone(e.buf.Bytes()[w.from:w.to]))
		return nil
	}
	id := e.ids
	e.ids++
	w, err := e.describe(func(e *Encoder) error {
		e.parts++
		codec.WriteHead(&e.buf, codec.Uint, uint64(id))
		if err := handOver(e); err != nil {
			return err
		}
		if e.fdsRefused {
			return e.refuse(&refusal{what: a(v.Type()), why: "it needs a file descriptor"})
		}
		return nil
	})
	if err != nil {
		return err
	}
	if e.written == nil {
		e.written = map[any]written{}
	}
	e.written[h] = w
	return nil
}

// describe writes the array of what handOver puts. Its length is known afterwards only, so that its head has a fixed size.
func (e *Encoder) describe(handOver func(*Encoder) error) (w written, err error) {
	if e.depth++; e.depth > maxDepth {
		return w, errDepth
	}
	outer := e.parts
	e.parts = 0
	w.from = e.buf.Len()
	e.buf.Write([]byte{byte(codec.Array)<<5 | 26, 0, 0, 0, 0})
	if err := handOver(e); err != nil {
		return w, err
	}
	binary.BigEndian.PutUint32(e.buf.Bytes()[w.from+1:], uint32(e.parts))
	w.to = e.buf.Len()
	e.parts = outer
	e.depth--
	return w, nil
}

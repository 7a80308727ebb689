package handover

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"sync"
	"syscall"

	"github.com/go-multiproc/multiproc/internal/codec"
)

var (
	errParts     = errors.New("the description of the handle ends early")
	errNotHandle = errors.New("a handle is needed, and something else has come")
)

// A Decoder is where a handle finds its description. It is valid during the call of TakeOver that it was given to.
type Decoder struct {
	data    []byte // what has not been read
	fds     []int
	claimed []bool
	taken   *Taken

	parts   int                      // of the description being read, still to come
	handles map[uint64]reflect.Value // that arrived, by their number
	inner   []io.Closer              // handles that are part of the one being read
	depth   int
}

// FD returns the descriptor that stands here in the description. It is the caller's from now on, also if TakeOver then fails. It may be of
// any kind.
func (d *Decoder) FD() (int, error) {
	h, err := d.part(codec.Uint)
	if err != nil {
		return -1, err
	}
	switch {
	case h.Arg >= uint64(len(d.fds)):
		return -1, fmt.Errorf("descriptor %d of the message is missing: only %d arrived", h.Arg, len(d.fds))
	case d.claimed[h.Arg]:
		return -1, fmt.Errorf("descriptor %d of the message is claimed twice", h.Arg)
	}
	d.claimed[h.Arg] = true
	return d.fds[h.Arg], nil
}

// part reads the head of the description's next part, which has to be of type m.
func (d *Decoder) part(m codec.Major) (codec.Head, error) {
	if d.parts == 0 {
		return codec.Head{}, errParts
	}
	h, err := codec.ReadHead(d.data)
	if err != nil {
		return h, err
	}
	if h.Major != m || h.Indefinite {
		return h, fmt.Errorf("%s where %s is needed", h.Major, m)
	}
	d.data = d.data[h.Size:]
	d.parts--
	return h, nil
}

// Get replaces *p by the value that stands here in the description. What arrives in it (it may contain handles) is the message's.
func (d *Decoder) Get(p any) error {
	if d.parts == 0 {
		return errParts
	}
	d.parts--
	return d.target(p)
}

// Handle fills the zero handle h with the one that stands here in the description. It is the caller's to close, but if TakeOver fails it
// is closed for it.
func (d *Decoder) Handle(h Handle) error {
	if d.parts == 0 {
		return errParts
	}
	d.parts--
	if err := d.describe(h.TakeOver); err != nil {
		return err
	}
	if c, ok := h.(io.Closer); ok {
		d.inner = append(d.inner, c)
	}
	return nil
}

func (d *Decoder) closeUnclaimed() {
	for i, fd := range d.fds {
		if !d.claimed[i] {
			syscall.Close(fd)
		}
	}
}

// message reads all of the message into *p.
func (d *Decoder) message(p any) error {
	rest, err := codec.Skip(d.data)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return fmt.Errorf("%d bytes after the end of the message", len(rest))
	}
	return d.target(p)
}

func (d *Decoder) target(p any) error {
	v := reflect.ValueOf(p)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return fmt.Errorf("handover: decoding needs a pointer that is not nil, not %T", p)
	}
	v = v.Elem()
	v.SetZero()
	if err := d.value(v, planOf(v.Type())); err != nil {
		v.SetZero() // nobody should find a handle in it that is closed
		return err
	}
	return nil
}

// null skips a null, and reports whether one was there.
func (d *Decoder) null() bool {
	if !codec.IsNull(d.data) {
		return false
	}
	d.data = d.data[1:]
	return true
}

// head reads the head of an item that has to be of type m and definite.
func (d *Decoder) head(m codec.Major, t reflect.Type) (codec.Head, error) {
	h, err := codec.ReadHead(d.data)
	if err != nil {
		return h, err
	}
	if h.Major != m || h.Indefinite {
		return h, fmt.Errorf("%s cannot be read into %s", h.Major, a(t))
	}
	d.data = d.data[h.Size:]
	return h, nil
}

func (d *Decoder) skip() (err error) {
	d.data, err = codec.Skip(d.data)
	return err
}

// value fills v, which is zero and whose type is p's. v may be impossible to set as a whole: an embedded struct of an unexported type.
func (d *Decoder) value(v reflect.Value, p *plan) (err error) {
	if !p.dec && v.CanInterface() {
		d.data, err = codec.UnmarshalFirst(d.data, v.Addr().Interface())
		return err
	}
	if d.null() {
		return nil
	}
	if d.depth++; d.depth > codec.MaxNesting {
		return errDepth
	}
	switch p.class {
	case scalar:
		err = d.scalar(v)
	case pointer:
		v.Set(reflect.New(p.elem.t))
		err = d.value(v.Elem(), p.elem)
	case slice:
		err = d.slice(v, p)
	case array:
		err = d.array(v, p)
	case mapping:
		err = d.mapping(v, p)
	case structure:
		if p.toArray {
			err = d.fromArray(v, p)
		} else {
			err = d.structure(v, p)
		}
	case handle:
		err = d.handle(v, p)
	case descriptor:
		err = d.descriptor(v, p)
	case iface, refused:
		err = fmt.Errorf("a value has come for it, but %s cannot be received", a(p.t))
	default:
		d.data, err = codec.UnmarshalFirst(d.data, v.Addr().Interface())
	}
	d.depth--
	return err
}

var basic = sync.OnceValue(func() map[reflect.Kind]reflect.Type {
	return map[reflect.Kind]reflect.Type{
		reflect.Bool: reflect.TypeFor[bool](), reflect.String: reflect.TypeFor[string](),
		reflect.Float32: reflect.TypeFor[float32](), reflect.Float64: reflect.TypeFor[float64](),
		reflect.Int: reflect.TypeFor[int](), reflect.Int8: reflect.TypeFor[int8](), reflect.Int16: reflect.TypeFor[int16](),
		reflect.Int32: reflect.TypeFor[int32](), reflect.Int64: reflect.TypeFor[int64](),
		reflect.Uint: reflect.TypeFor[uint](), reflect.Uint8: reflect.TypeFor[uint8](), reflect.Uint16: reflect.TypeFor[uint16](),
		reflect.Uint32: reflect.TypeFor[uint32](), reflect.Uint64: reflect.TypeFor[uint64](), reflect.Uintptr: reflect.TypeFor[uint](),
	}
})

// scalar reads v by its kind, without regard for the methods of its type.
func (d *Decoder) scalar(v reflect.Value) (err error) {
	if t, ok := basic()[v.Kind()]; ok {
		b := reflect.New(t)
		if d.data, err = codec.UnmarshalFirst(d.data, b.Interface()); err != nil {
			return err
		}
		v.Set(b.Elem().Convert(v.Type()))
		return nil
	}
	var b []byte
	if d.data, err = codec.UnmarshalFirst(d.data, &b); err != nil {
		return err
	}
	if v.Kind() == reflect.Slice {
		v.SetBytes(b)
		return nil
	}
	for i := range min(len(b), v.Len()) {
		v.Index(i).SetUint(uint64(b[i]))
	}
	return nil
}

func (d *Decoder) slice(v reflect.Value, p *plan) error {
	if codec.IsTyped(d.data) {
		return d.expanded(v, p)
	}
	h, err := d.head(codec.Array, p.t)
	if err != nil {
		return err
	}
	// The message may claim any length; memory grows with what it has.
	const atOnce = 64 << 10
	v.Set(reflect.MakeSlice(p.t, 0, int(min(h.Arg, 1+atOnce/uint64(1+p.elem.t.Size())))))
	for i := range int(h.Arg) {
		v.Grow(1)
		v.SetLen(i + 1)
		if err := d.value(v.Index(i), p.elem); err != nil {
			return within(indexStep(i), err)
		}
	}
	return nil
}

// expanded reads a typed array into what is filled element by element.
func (d *Decoder) expanded(v reflect.Value, p *plan) error {
	item, rest, err := codec.Expand(d.data)
	if err != nil {
		return err
	}
	d.data = item
	err = d.value(v, p)
	d.data = rest
	return err
}

func (d *Decoder) array(v reflect.Value, p *plan) error {
	if codec.IsTyped(d.data) {
		return d.expanded(v, p)
	}
	h, err := d.head(codec.Array, p.t)
	if err != nil {
		return err
	}
	for i := range int(h.Arg) {
		if i >= v.Len() {
			err = d.skip()
		} else {
			err = d.value(v.Index(i), p.elem)
		}
		if err != nil {
			return within(indexStep(i), err)
		}
	}
	return nil
}

func (d *Decoder) mapping(v reflect.Value, p *plan) error {
	h, err := d.head(codec.Map, p.t)
	if err != nil {
		return err
	}
	v.Set(reflect.MakeMap(p.t))
	key, elem := reflect.New(p.key.t).Elem(), reflect.New(p.elem.t).Elem()
	for range h.Arg {
		key.SetZero()
		elem.SetZero()
		if err := d.value(key, p.key); err != nil {
			return err
		}
		if !key.Comparable() {
			return fmt.Errorf("a key that cannot be one")
		}
		if err := d.value(elem, p.elem); err != nil {
			return within(keyStep(key), err)
		}
		v.SetMapIndex(key, elem)
	}
	return nil
}

func (d *Decoder) structure(v reflect.Value, p *plan) error {
	h, err := d.head(codec.Map, p.t)
	if err != nil {
		return err
	}
	for range h.Arg {
		f, err := d.key(p)
		if err != nil {
			return err
		}
		if f == nil {
			if err := d.skip(); err != nil {
				return err
			}
			continue
		}
		if err := d.field(v, f); err != nil {
			return within(f.step, err)
		}
	}
	return nil
}

// key reads the name of a field; nil is one that the struct does not have.
func (d *Decoder) key(p *plan) (*field, error) {
	rest, err := codec.Skip(d.data)
	if err != nil {
		return nil, err
	}
	key := d.data[:len(d.data)-len(rest)]
	d.data = rest
	i, ok := p.byName[string(key)]
	if !ok {
		// Another program may have written the head longer than necessary.
		if h, err := codec.ReadHead(key); err == nil && h.Major == codec.Text && !h.Indefinite {
			var b bytes.Buffer
			codec.WriteHead(&b, codec.Text, h.Arg)
			b.Write(key[h.Size:])
			i, ok = p.byName[b.String()]
		}
	}
	if !ok {
		return nil, nil
	}
	return &p.fields[i], nil
}

// field fills field f of v, and the embedded pointers on the way to it.
func (d *Decoder) field(v reflect.Value, f *field) error {
	for i, n := range f.index {
		if i > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(n)
	}
	if v.CanSet() {
		v.SetZero() // the message may name a field twice
	}
	return d.value(v, f.plan)
}

func (d *Decoder) fromArray(v reflect.Value, p *plan) error {
	h, err := d.head(codec.Array, p.t)
	if err != nil {
		return err
	}
	for i := range int(h.Arg) {
		if i >= len(p.fields) || codec.IsNull(d.data) {
			err = d.skip()
		} else {
			err = d.field(v, &p.fields[i])
		}
		if err != nil {
			return within(indexStep(i), err)
		}
	}
	return nil
}

func (d *Decoder) handle(v reflect.Value, p *plan) error {
	return d.once(v, func(d *Decoder) (reflect.Value, error) {
		h := reflect.New(p.t.Elem())
		return h, h.Interface().(Handle).TakeOver(d)
	})
}

// once reads a description into v, or takes the handle that was made of it earlier in the message.
func (d *Decoder) once(v reflect.Value, takeOver func(*Decoder) (reflect.Value, error)) error {
	var known reflect.Value
	err := d.describe(func(d *Decoder) error {
		id, err := d.part(codec.Uint)
		if err != nil {
			return err
		}
		if h, ok := d.handles[id.Arg]; ok {
			known = h
			return nil
		}
		h, err := takeOver(d)
		if err != nil {
			return err
		}
		if d.handles == nil {
			d.handles = map[uint64]reflect.Value{}
		}
		d.handles[id.Arg] = h
		if c, ok := h.Interface().(io.Closer); ok {
			d.taken.closers = append(d.taken.closers, c)
		}
		known = h
		return nil
	})
	if err != nil {
		return err
	}
	if !known.Type().AssignableTo(v.Type()) {
		return fmt.Errorf("%s has come, which is not %s", a(known.Type()), a(v.Type()))
	}
	v.Set(known)
	return nil
}

// describe reads an array of parts; those that takeOver leaves are a newer program's.
func (d *Decoder) describe(takeOver func(*Decoder) error) error {
	h, err := codec.ReadHead(d.data)
	if err != nil {
		return err
	}
	if h.Major != codec.Array || h.Indefinite {
		return errNotHandle
	}
	if d.depth++; d.depth > codec.MaxNesting {
		return errDepth
	}
	d.data = d.data[h.Size:]
	parts, inner := d.parts, d.inner
	d.parts, d.inner = int(h.Arg), nil
	err = takeOver(d)
	if err != nil {
		for _, c := range d.inner {
			c.Close()
		}
	}
	for ; err == nil && d.parts > 0; d.parts-- {
		err = d.skip()
	}
	d.parts, d.inner = parts, inner
	d.depth--
	return err
}

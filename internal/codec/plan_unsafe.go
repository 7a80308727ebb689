package codec

import (
	"bytes"
	"encoding/binary"
	"math"
	"reflect"
	"sync"
	"time"
	"unsafe"
)

// Safety: at points to a value of type p.t throughout this file: a variable of that type, or an element or field of one, at the
// offset that package reflect gives for it.

// AppendPlanned is Append of *v. p is the plan of T, which has one.
func AppendPlanned[T any](b []byte, p *Plan, v *T) ([]byte, error) {
	at := noEscape(unsafe.Pointer(v))
	if !p.pure {
		w := new(T) // a variable of its own keeps v off the heap
		*w = *v
		at = unsafe.Pointer(w)
	}
	out, err := p.append(b, at)
	if err != nil {
		return b, err
	}
	return out, nil
}

// UnmarshalPlanned is Unmarshal into *v. p is the plan of T, or nil if it has none.
func UnmarshalPlanned[T any](b []byte, p *Plan, v *T) error {
	if p != nil && p.pure {
		var zero T
		*v = zero
		if rest, ok := p.read(b, noEscape(unsafe.Pointer(v)), 0, 0); ok && len(rest) == 0 {
			return nil
		}
	}
	w := new(T) // as above
	err := Unmarshal(b, w)
	*v = *w
	return err
}

// noEscape hides p from the compiler, which takes it that what is passed to a function that calls itself may be kept, and has the
// variable that p points to on the heap.
//
// Safety: the functions below keep at nowhere but in their own variables, which move with the stack, unless they call the library:
// then there is no noEscape.
func noEscape(p unsafe.Pointer) unsafe.Pointer {
	x := uintptr(p)
	return *(*unsafe.Pointer)(unsafe.Pointer(&x))
}

// dataOf returns where the value is that v holds, of p's type or a pointer to it; nil for a nil pointer.
func (p *Plan) dataOf(v any) unsafe.Pointer {
	rv := reflect.ValueOf(v)
	if rv.Type() != p.t {
		return rv.UnsafePointer()
	}
	if p.size == unsafe.Sizeof(uintptr(0)) || p.size == 0 {
		// It may be that the interface has it in itself.
		c := reflect.New(p.t)
		c.Elem().Set(rv)
		return c.UnsafePointer()
	}
	// Safety: an interface is two words; of a type that is not as large as a pointer, the second is the address of a value
	// that nobody writes to.
	return (*[2]unsafe.Pointer)(unsafe.Pointer(&v))[1]
}

// appendAny appends the value that v holds, of p's type or a pointer to it.
func (p *Plan) appendAny(b []byte, v any) ([]byte, error) {
	at := p.dataOf(v)
	if at == nil {
		return append(b, null), nil
	}
	return p.append(b, at)
}

// words is the memory of a slice.
type words struct {
	data     unsafe.Pointer
	len, cap int
}

// nothing is where values of no size are.
var nothing uint64

func (p *Plan) append(b []byte, at unsafe.Pointer) ([]byte, error) {
	switch p.kind {
	case boolean:
		return appendBool(b, *(*bool)(at)), nil
	case int8s:
		return appendInt(b, int64(*(*int8)(at))), nil
	case int16s:
		return appendInt(b, int64(*(*int16)(at))), nil
	case int32s:
		return appendInt(b, int64(*(*int32)(at))), nil
	case int64s:
		return appendInt(b, *(*int64)(at)), nil
	case uint8s:
		return appendHead(b, Uint, uint64(*(*uint8)(at))), nil
	case uint16s:
		return appendHead(b, Uint, uint64(*(*uint16)(at))), nil
	case uint32s:
		return appendHead(b, Uint, uint64(*(*uint32)(at))), nil
	case uint64s:
		return appendHead(b, Uint, *(*uint64)(at)), nil
	case float32s:
		return binary.BigEndian.AppendUint32(append(b, float32Head), *(*uint32)(at)), nil
	case float64s:
		return binary.BigEndian.AppendUint64(append(b, float64Head), *(*uint64)(at)), nil
	case text:
		s := *(*string)(at)
		return append(appendHead(b, Text, uint64(len(s))), s...), nil
	case octets:
		s := *(*[]byte)(at)
		if s == nil {
			return append(b, null), nil
		}
		return append(appendHead(b, Bytes, uint64(len(s))), s...), nil
	case octetArray:
		s := unsafe.Slice((*byte)(at), p.len)
		return append(appendHead(b, Bytes, uint64(len(s))), s...), nil
	case instant:
		t := *(*time.Time)(at)
		if t.IsZero() {
			return append(b, null), nil
		}
		if y := t.Year(); y < 0 || y > 9999 {
			return appendForeign(b, t)
		}
		var a [len("2006-01-02T15:04:05.999999999+07:00")]byte
		s := t.AppendFormat(a[:0], time.RFC3339Nano)
		return append(appendHead(append(b, timeTag), Text, uint64(len(s))), s...), nil
	case slice:
		s := *(*words)(at)
		if s.data == nil {
			return append(b, null), nil
		}
		return p.elem.appendAll(appendHead(b, Array, uint64(s.len)), s.data, s.len)
	case numbers:
		s := *(*words)(at)
		if s.data == nil {
			return append(b, null), nil
		}
		if s.len < typedFrom {
			return p.elem.appendAll(appendHead(b, Array, uint64(s.len)), s.data, s.len)
		}
		size := s.len * int(p.elem.size)
		b = appendHead(append(b, shortTag, p.tag), Bytes, uint64(size))
		return appendLittle(b, unsafe.Slice((*byte)(s.data), size), int(p.elem.size)), nil
	case array:
		return p.elem.appendAll(appendHead(b, Array, uint64(p.len)), at, p.len)
	case pointer:
		to := *(*unsafe.Pointer)(at)
		if to == nil {
			return append(b, null), nil
		}
		return p.elem.append(b, to)
	case record:
		return p.appendRecord(b, at)
	}
	return appendForeign(b, reflect.NewAt(p.t, at).Interface())
}

// appendAll appends n values that stand one after the other.
func (p *Plan) appendAll(b []byte, at unsafe.Pointer, n int) (_ []byte, err error) {
	switch p.kind {
	case int64s:
		for _, v := range unsafe.Slice((*int64)(at), n) {
			b = appendInt(b, v)
		}
	case text:
		for _, s := range unsafe.Slice((*string)(at), n) {
			b = append(appendHead(b, Text, uint64(len(s))), s...)
		}
	default:
		for i := range n {
			if b, err = p.append(b, unsafe.Add(at, uintptr(i)*p.size)); err != nil {
				return b, err
			}
		}
	}
	return b, nil
}

func (p *Plan) appendRecord(b []byte, at unsafe.Pointer) (_ []byte, err error) {
	if p.head != "" {
		b = append(b, p.head...)
	} else {
		n := len(p.fields)
		for i := range p.fields {
			if p.fields[i].absent(at) {
				n--
			}
		}
		b = appendHead(b, Map, uint64(n))
	}
	for i := range p.fields {
		f := &p.fields[i]
		if f.absent(at) {
			continue
		}
		b = append(b, f.key...)
		if b, err = f.plan.append(b, unsafe.Add(at, f.offset)); err != nil {
			return b, err
		}
	}
	return b, nil
}

// absent reports whether a field of the struct at at is left out.
func (f *field) absent(at unsafe.Pointer) bool {
	if !f.optional {
		return false
	}
	at = unsafe.Add(at, f.offset)
	switch f.plan.kind {
	case boolean, int8s, uint8s:
		return *(*uint8)(at) == 0
	case int16s, uint16s:
		return *(*uint16)(at) == 0
	case int32s, uint32s:
		return *(*uint32)(at) == 0
	case int64s, uint64s:
		return *(*uint64)(at) == 0
	case float32s:
		return *(*float32)(at) == 0
	case float64s:
		return *(*float64)(at) == 0
	case text:
		return len(*(*string)(at)) == 0
	case octets, slice, numbers:
		return (*words)(at).len == 0
	case pointer:
		return *(*unsafe.Pointer)(at) == nil
	}
	return false
}

var foreigners = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// appendForeign has the library write v.
func appendForeign(b []byte, v any) ([]byte, error) {
	buf := foreigners.Get().(*bytes.Buffer)
	buf.Reset()
	err := enc().MarshalToBuffer(v, buf)
	b = append(b, buf.Bytes()...)
	if buf.Cap() <= largestScratch {
		foreigners.Put(buf)
	}
	return b, err
}

// deepest is how far read goes down: what is nested deeper, in types that contain themselves, is the library's.
const deepest = 1000

// read reads an item into the zero value at at, and returns what follows it. It reports false where it does not know what to do: then
// it may have written to the value, and to new memory behind it. It allocates as many elements as there is message for, since
// after is how many bytes must follow the item at least, according to the heads read so far.
func (p *Plan) read(b []byte, at unsafe.Pointer, after, depth int) (_ []byte, ok bool) {
	var n uint64
	switch p.kind {
	case boolean:
		if len(b) == 0 || b[0] != falseItem && b[0] != trueItem {
			return b, false
		}
		*(*bool)(at) = b[0] == trueItem
		return b[1:], true
	case int8s:
		i, b, ok := readInt(b)
		*(*int8)(at) = int8(i)
		return b, ok && int64(int8(i)) == i
	case int16s:
		i, b, ok := readInt(b)
		*(*int16)(at) = int16(i)
		return b, ok && int64(int16(i)) == i
	case int32s:
		i, b, ok := readInt(b)
		*(*int32)(at) = int32(i)
		return b, ok && int64(int32(i)) == i
	case int64s:
		i, b, ok := readInt(b)
		*(*int64)(at) = i
		return b, ok
	case uint8s:
		n, b, ok = readArg(b, Uint)
		*(*uint8)(at) = uint8(n)
		return b, ok && n <= math.MaxUint8
	case uint16s:
		n, b, ok = readArg(b, Uint)
		*(*uint16)(at) = uint16(n)
		return b, ok && n <= math.MaxUint16
	case uint32s:
		n, b, ok = readArg(b, Uint)
		*(*uint32)(at) = uint32(n)
		return b, ok && n <= math.MaxUint32
	case uint64s:
		n, b, ok = readArg(b, Uint)
		*(*uint64)(at) = n
		return b, ok
	case float32s:
		if len(b) < 5 || b[0] != float32Head {
			return b, false
		}
		*(*uint32)(at) = binary.BigEndian.Uint32(b[1:])
		return b[5:], true
	case float64s:
		if len(b) < 9 || b[0] != float64Head {
			return b, false
		}
		*(*uint64)(at) = binary.BigEndian.Uint64(b[1:])
		return b[9:], true
	case text:
		s, b, ok := readString(b, Text)
		*(*string)(at) = string(s)
		return b, ok
	case octets:
		if len(b) > 0 && b[0] == null {
			return b[1:], true
		}
		s, b, ok := readString(b, Bytes)
		if ok {
			// Not append, which leaves an empty slice nil.
			o := make([]byte, len(s))
			copy(o, s)
			*(*[]byte)(at) = o
		}
		return b, ok
	case octetArray:
		s, b, ok := readString(b, Bytes)
		if !ok || len(s) != p.len {
			return b, false
		}
		copy(unsafe.Slice((*byte)(at), p.len), s)
		return b, true
	case instant:
		if len(b) > 0 && b[0] == null {
			return b[1:], true
		}
		if len(b) == 0 || b[0] != timeTag {
			return b, false
		}
		s, b, ok := readString(b[1:], Text)
		if !ok {
			return b, false
		}
		// Safety: only an error would keep the string, and that is not kept.
		t, err := time.Parse(time.RFC3339, unsafe.String(unsafe.SliceData(s), len(s)))
		*(*time.Time)(at) = t
		return b, err == nil
	case numbers, slice:
		if len(b) > 0 && b[0] == null {
			return b[1:], true
		}
		if p.kind == numbers && len(b) > 2 && b[0] == shortTag && b[1] == p.tag {
			o, b, ok := readString(b[2:], Bytes)
			if !ok || len(o)%int(p.elem.size) != 0 {
				return b, false
			}
			n := len(o) / int(p.elem.size)
			s := words{p.elem.alloc(p.t, n), n, n}
			*(*words)(at) = s
			if n > 0 {
				copyLittle(unsafe.Slice((*byte)(s.data), len(o)), o, int(p.elem.size))
			}
			return b, true
		}
		n, b, ok = readArg(b, Array)
		if !ok || depth > deepest || n > uint64(len(b)) || int(n)+after > len(b) {
			return b, false
		}
		s := words{p.elem.alloc(p.t, int(n)), int(n), int(n)}
		*(*words)(at) = s
		return p.elem.readAll(b, s.data, int(n), after, depth+1)
	case array:
		n, b, ok = readArg(b, Array)
		if !ok || depth > deepest || n != uint64(p.len) || p.len+after > len(b) {
			return b, false
		}
		return p.elem.readAll(b, at, p.len, after, depth+1)
	case pointer:
		if IsNull(b) {
			return b[1:], true
		}
		if len(b) == 0 || depth > deepest || b[0] >= longTag && b[0]>>5 == byte(Tag) {
			return b, false // there are tags that nil may have
		}
		to := reflect.New(p.elem.t).UnsafePointer()
		*(*unsafe.Pointer)(at) = to
		return p.elem.read(b, to, after, depth+1)
	case record:
		return p.readRecord(b, at, after, depth)
	}
	rest, err := libraryFirst(b, reflect.NewAt(p.t, at).Interface())
	return rest, err == nil
}

// alloc returns memory for n elements of slices of type t.
func (p *Plan) alloc(t reflect.Type, n int) unsafe.Pointer {
	size := uintptr(n) * p.size
	switch {
	case size == 0:
		return unsafe.Pointer(&nothing)
	case p.flat:
		// The garbage collector does not look into what has no pointers, so that any type of such will do that is aligned as
		// strictly. It saves what package reflect allocates for itself.
		return unsafe.Pointer(unsafe.SliceData(make([]uint64, (size+7)/8)))
	case p.kind == text:
		return unsafe.Pointer(unsafe.SliceData(make([]string, n)))
	}
	return reflect.MakeSlice(t, n, n).UnsafePointer()
}

// readAll reads n items into the values that stand one after the other.
func (p *Plan) readAll(b []byte, at unsafe.Pointer, n, after, depth int) (_ []byte, ok bool) {
	switch p.kind {
	case int64s:
		s := unsafe.Slice((*int64)(at), n)
		for i := range s {
			if s[i], b, ok = readInt(b); !ok {
				return b, false
			}
		}
	default:
		for i := range n {
			if b, ok = p.read(b, unsafe.Add(at, uintptr(i)*p.size), after+n-1-i, depth); !ok {
				return b, false
			}
		}
	}
	return b, true
}

// readRecord expects the fields in the order in which we write them, and none but these.
func (p *Plan) readRecord(b []byte, at unsafe.Pointer, after, depth int) (_ []byte, ok bool) {
	n, b, ok := readArg(b, Map)
	if !ok || depth > deepest || n > uint64(len(p.fields)) || 2*int(n)+after > len(b) {
		return b, false
	}
	next := 0
	for left := int(n); left > 0; left-- {
		var f *field
		for {
			if next == len(p.fields) {
				return b, false
			}
			f = &p.fields[next]
			next++
			if len(b) >= len(f.key) && string(b[:len(f.key)]) == f.key {
				break
			}
		}
		if b, ok = f.plan.read(b[len(f.key):], unsafe.Add(at, f.offset), after+2*(left-1), depth+1); !ok {
			return b, false
		}
	}
	return b, true
}

package manager

import (
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"

	"github.com/go-multiproc/multiproc/internal/codec"
	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/store"
)

// An encoded value is what a container stores: the bytes, and which objects they mention.
type encoded struct {
	data  []byte
	refs  []store.ID
	holds []*remote // on the mentioned objects
}

// addValue adds a value to a request; in errors it is called root, or root[i] if i is not negative. What it mentions is in
// holds, which must be released once the request is queued: then every release of a reference is behind it.
func addValue[V any](c *client, cl *call, v V, root string, i int) (holds []*remote, err error) {
	if b, ok := appendSimple(cl.out, v); ok {
		cl.out = b
		cl.items++
		return nil, nil
	}
	if i >= 0 {
		root = indexed(root, i)
	}
	e, err := encodeValue(c, v, root)
	if err == nil {
		cl.value(e)
	}
	return e.holds, err
}

func releaseAll(holds []*remote) {
	for _, r := range holds {
		r.release()
	}
}

// encodeValue encodes a value for objects of client c.
func encodeValue[V any](c *client, v V, root string) (encoded, error) {
	if !holdsHandles(reflect.TypeFor[V]()) {
		m, err := handover.Marshal(v, root, handover.NoHandles(storedVerb))
		if err != nil {
			return encoded{}, fmt.Errorf("manager: %w", err)
		}
		return encoded{data: m.Data}, nil
	}
	var sending encoded
	box := &valueBox[V]{v, &inValue{client: c, sending: &sending}}
	m, err := handover.Marshal(box, root, handover.NoDescriptors(storedVerb))
	if err != nil {
		releaseAll(sending.holds)
		return encoded{}, fmt.Errorf("manager: %w", err)
	}
	sending.data = m.Data[len(boxHead):]
	return sending, nil
}

// storedVerb says what cannot be done with what is refused.
const storedVerb = "be stored in a manager's object"

// decodeValue decodes what a reply says of a value. It takes the references over.
func decodeValue[V any](c *client, data []byte, refs []store.ID) (v V, err error) {
	if len(refs) == 0 && decodeSimple(data, &v) {
		return v, nil
	}
	if v, err = decodeIn[V](&inValue{client: c}, data, refs); err != nil {
		var zero V
		return zero, fmt.Errorf("manager: what is stored is no %v: %w", reflect.TypeFor[V](), err)
	}
	return v, nil
}

// decodeIn decodes a value in which handles have to know what in says. It takes the references over.
func decodeIn[V any](in *inValue, data []byte, refs []store.ID) (v V, err error) {
	c := in.client
	arrived := make(map[store.ID]*remote, len(refs))
	for _, id := range refs {
		if r := arrived[id]; r != nil {
			c.adopt(id, 1)
			r.release()
			continue
		}
		arrived[id] = c.adopt(id, 1)
	}
	defer func() {
		for _, r := range arrived {
			r.release() // those that became handles have holds of their own
		}
	}()
	if holdsHandles(reflect.TypeFor[V]()) {
		in.arrived = arrived
		return openBox[V](in, data)
	}
	if handover.Plain(reflect.TypeFor[V]()) {
		err = codec.Unmarshal(data, &v)
	} else { // package codec alone would lose what JSON would not have
		_, err = handover.Unmarshal(data, nil, &v)
	}
	return v, err
}

// decodeSimple decodes what appendSimple wrote. What it does not know it leaves to package codec.
func decodeSimple[V any](data []byte, v *V) bool {
	r := itemReader{b: data}
	switch p := any(v).(type) {
	case *string:
		*p = r.text()
	case *int:
		*p = int(r.int())
	case *int64:
		*p = r.int()
	case *uint64:
		*p = r.uint()
	case *bool:
		*p = r.bool()
	default:
		return false
	}
	r.end()
	return r.err == nil
}

// A valueBox is a value on its way into or out of a container, with what the handles in it have to know. It is itself a handle to
// package handover, because that is what gets at the encoder of one message.
type valueBox[V any] struct {
	value V
	in    *inValue
}

// boxHead is what the description of a box begins with: an array of two parts, of which the first is the box's number in
// the message. It is cut off what is stored.
const boxHead = "\x9a\x00\x00\x00\x02\x00"

// inValue is what handles inside a value have to know.
type inValue struct {
	client  *client
	sending *encoded             // collects what is mentioned
	arrived map[store.ID]*remote // what the reply mentions
	handles []*handle            // that were written, or made
}

var (
	inValues sync.Map      // of an encoder or decoder at work
	opening  sync.Map      // of a box that is about to be opened, by its number
	boxes    atomic.Uint64 // counts those
)

func (b *valueBox[V]) HandOver(e *handover.Encoder) error {
	inValues.Store(e, b.in)
	defer inValues.Delete(e)
	return e.Put(b.value)
}

// openBox decodes a value. The box that is opened is one that the decoder makes, so it is told by number where it belongs.
func openBox[V any](in *inValue, data []byte) (v V, err error) {
	n := boxes.Add(1)
	opening.Store(n, in)
	defer opening.Delete(n)
	b := append(make([]byte, 0, len(boxHead)+9+len(data)), boxHead...)
	b[4] = 3
	b = append(appendUint(b, n), data...)
	var box *valueBox[V]
	if _, err := handover.Unmarshal(b, nil, &box); err != nil {
		return v, err
	}
	return box.value, nil
}

func (b *valueBox[V]) TakeOver(d *handover.Decoder) error {
	var n uint64
	if err := d.Get(&n); err != nil {
		return err
	}
	in, ok := opening.Load(n)
	if !ok {
		return errors.New("not a message")
	}
	inValues.Store(d, in)
	defer inValues.Delete(d)
	return d.Get(&b.value)
}

// handleTypes are what holdsHandles said, by type.
var handleTypes sync.Map

// holdsHandles reports whether values of type t may contain handles.
func holdsHandles(t reflect.Type) bool {
	if holds, ok := handleTypes.Load(t); ok {
		return holds.(bool)
	}
	holds := mayHold(t, map[reflect.Type]bool{})
	handleTypes.Store(t, holds)
	return holds
}

func mayHold(t reflect.Type, seen map[reflect.Type]bool) bool {
	if seen[t] {
		return false
	}
	seen[t] = true
	if t.Implements(reflect.TypeFor[handover.Handle]()) {
		return true
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return mayHold(t.Elem(), seen)
	case reflect.Map:
		return mayHold(t.Key(), seen) || mayHold(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			if mayHold(t.Field(i).Type, seen) {
				return true
			}
		}
	}
	return false
}

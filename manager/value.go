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
	holds []*remote // keep the mentioned objects until the request is queued
}

func (v *encoded) release() {
	for _, r := range v.holds {
		r.release()
	}
	v.holds = nil
}

// encodeValue encodes a value for objects of client c. The caller must release it once the request is queued, behind
// which every release then comes.
func encodeValue[V any](c *client, buf []byte, v V, root string) (encoded, error) {
	// The usual values without reflection; the bytes are those of the codec.
	switch v := any(v).(type) {
	case string:
		return encoded{data: appendText(buf, v)}, nil
	case int:
		return encoded{data: appendInt(buf, int64(v))}, nil
	case int64:
		return encoded{data: appendInt(buf, v)}, nil
	case uint64:
		return encoded{data: appendUint(buf, v)}, nil
	case bool:
		return encoded{data: appendBool(buf, v)}, nil
	}
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
		sending.release()
		return encoded{}, fmt.Errorf("manager: %w", err)
	}
	sending.data = m.Data[len(boxHead):]
	return sending, nil
}

// storedVerb says what cannot be done with what is refused.
const storedVerb = "be stored in a manager's object"

// decodeValue decodes what a reply says of a value. It takes the references over.
func decodeValue[V any](c *client, data []byte, refs []store.ID) (v V, err error) {
	arrived := make(map[store.ID]*remote, len(refs))
	for _, id := range refs {
		if r := arrived[id]; r != nil {
			c.adopt(id, 1)
			r.release()
			continue
		}
		arrived[id] = c.adopt(id, 1)
	}
	if holdsHandles(reflect.TypeFor[V]()) {
		v, err = openBox[V](&inValue{client: c, arrived: arrived}, data)
	} else {
		err = decodePlain(data, &v)
	}
	for _, r := range arrived {
		r.release() // those that became handles have holds of their own
	}
	if err != nil {
		var zero V
		return zero, fmt.Errorf("manager: what is stored is no %v: %w", reflect.TypeFor[V](), err)
	}
	return v, nil
}

func decodePlain[V any](data []byte, v *V) error {
	r := itemReader{b: data}
	switch p := any(v).(type) {
	case *string:
		*p = r.text()
	case *int:
		*p = int(r.int())
	case *int64:
		*p = r.int()
	case *bool:
		*p = r.bool()
	default:
		return codec.Unmarshal(data, v)
	}
	if r.end(); r.err == nil {
		return nil
	}
	return codec.Unmarshal(data, v) // null for one, and for the error's words
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

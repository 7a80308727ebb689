package manager

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/registered"
	"github.com/go-multiproc/multiproc/internal/store"
)

// ErrUndone is in the error of a call of a [Type.Durable] type's method whose changes could not be kept: the object is what it was before the call. The error has the
// reason, too, which is ErrJournal, ErrLimit or ErrTooLarge, or that something in the object cannot be encoded; and what the method returned, if that was an error.
var ErrUndone = errors.New("manager: what the method changed is undone")

func init() { registered.Errors.Add(ErrUndone, ErrJournal, ErrLimit, ErrTooLarge) }

// Durable makes what objects of the type have in them part of what the server keeps, as it does with a container's values: with Options.Path an object that has a name, or that one
// with a name mentions, has after a kill -9 of the server all that calls changed which have returned (see [Sync]); Options.MaxMemory counts it. Durable is called where the type is
// registered, and returns t:
//
//	type counter struct{ N int }
//
//	var counters = manager.Register[counter]("counter", nil).Durable()
//
// After each call of a method, also one that returned an error or panicked, and before its caller hears of it, the object is encoded as a container's value would be; if that gives other bytes than before, they
// are kept. What cannot be kept is undone: the object is again what it was before the call, and the caller gets [ErrUndone] with the reason. What the method did to other objects stands. So whatever
// a caller learns of an object, it is kept. What new made is kept before the object's first method begins.
//
// All of an object is encoded at each call, and written when it has changed: so it should be small, up to some kilobytes. What is large goes into a container, to which the object may have a handle. Handles
// to objects of the same server keep these alive, and come back with them. They are good until the method returns; the next call gets others, so that the object is decoded anew each time.
//
// A [Method.Concurrent] method of a durable type has a copy of its own of what was kept last: it needs no lock, it sees no call that is not over, and what it changes in its copy is lost.
//
// What is not encoded, like fields tagged `cbor:"-"` or the identity of two pointers to one thing, does not last: an object is decoded at the first call after the server began, and after each one that was undone. Then
// such fields are zero. If T has changed since the object was kept, a field that is new is zero and one that is gone is dropped with the next change; a type with the methods
// MarshalBinary and UnmarshalBinary sees to that itself. If what is kept cannot be decoded any more, calls fail with ErrType, and it stays as it is, for a program that can.
//
// It panics after process.Main or process.Init, and if T can never be encoded: because of unexported fields, channels, locks, handles that are not the manager's. An any in it may hold
// what an any in an argument may.
func (t *Type[T]) Durable() *Type[T] {
	if registered.Begun() {
		panic("manager: Type.Durable of " + t.own.name + " after process.Main or process.Init began")
	}
	t.own.durable = newDurable[T](t.own.name)
	return t
}

func newDurable[T any](name string) *durable {
	t := reflect.TypeFor[T]()
	root := t.Name()
	if root == "" {
		root = name
	}
	if err := handover.Check(t, root, keptVerb, checkKept); err != nil {
		panic(fmt.Sprintf("manager: type %q cannot be Durable: %v", name, err))
	}
	return &durable{
		handles: holdsHandles(t),
		encode:  func(c *client, object any) (encoded, []*handle, error) { return encodeState(c, object.(*T), root) },
		decode:  decodeState[T],
	}
}

// keptVerb says what cannot be done with what is refused.
const keptVerb = "be kept"

// checkKept says why handles of a type cannot be kept.
func checkKept(t reflect.Type) error {
	if _, ok := reflect.Zero(t).Interface().(interface{ layout() string }); ok {
		return nil
	}
	return fmt.Errorf("a %v cannot %s; handles to the manager's objects can", t, keptVerb)
}

// A durable is what is known of a type of which the objects' state is kept.
type durable struct {
	handles bool // there may be some in it
	// encode encodes an object, and says which handles it has found.
	encode func(c *client, object any) (encoded, []*handle, error)
	// decode makes an object, and says which handles it has made. It takes the references over.
	decode func(c *client, v store.Value) (object any, made []*handle, err error)
}

// encodeState encodes an object's state. The same state has the same bytes.
func encodeState[T any](c *client, object *T, root string) (encoded, []*handle, error) {
	if !holdsHandles(reflect.TypeFor[T]()) {
		m, err := handover.Marshal(object, root, handover.NoHandles(keptVerb), handover.Sorted())
		if err != nil {
			return encoded{}, nil, err
		}
		return encoded{data: m.Data}, nil, nil
	}
	in := &inValue{client: c, sending: new(encoded)}
	m, err := handover.Marshal(&valueBox[*T]{object, in}, root, handover.NoDescriptors(keptVerb), handover.Sorted())
	if err != nil {
		releaseAll(in.sending.holds)
		return encoded{}, nil, err
	}
	in.sending.data = m.Data[len(boxHead):]
	return *in.sending, in.handles, nil
}

func decodeState[T any](c *client, v store.Value) (any, []*handle, error) {
	in := &inValue{client: c}
	object, err := decodeIn[T](in, []byte(v.Data), v.Refs)
	return &object, in.handles, err
}

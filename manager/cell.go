package manager

import (
	"context"
	"reflect"
	"runtime"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/store"
)

// A Value is one value on the server, of any type, shared by everybody who has a handle to it. What values may be, and what holds for calls and handles, is said at Dict.
//
// One of fixed size, shared between processes of one machine, is a thousand times faster in package value.
type Value[T any] struct {
	_ noCopy
	h handle
}

func (*Value[T]) layout() string { return valueLayout[T]() }

func (*Value[T]) elements() (store.Kind, []reflect.Type) {
	return store.KindValue, []reflect.Type{reflect.TypeFor[T]()}
}

func valueLayout[T any]() string { return describe(reflect.TypeFor[*Value[T]]()) }

// NewValue makes a value. It lives until the last handle in the last process is gone, and no container mentions it.
func NewValue[T any](m *Manager, v T) (*Value[T], error) {
	made := new(Value[T])
	if err := create(m, made, &made.h, store.KindValue, valueLayout[T]()); err != nil {
		return nil, err
	}
	return made, made.begin(v)
}

// OpenValue returns the value of that name, and makes it, with v in it, if there is none; see OpenDict.
func OpenValue[T any](m *Manager, name string, v T) (*Value[T], error) {
	made := new(Value[T])
	if err := open(m, made, &made.h, name, store.KindValue, valueLayout[T]()); err != nil {
		return nil, err
	}
	return made, made.begin(v)
}

// begin sets the value if nobody has.
func (v *Value[T]) begin(first T) error {
	ctx, cancel := answerSoon()
	defer cancel()
	_, _, err := v.put(ctx, opValueGetOrSet, first)
	if err != nil {
		v.Close()
	}
	return err
}

// Close lets go of this handle; other handles are not touched. Calls after it fail with fs.ErrClosed. It is safe to call twice.
func (v *Value[T]) Close() error { return v.h.close() }

// HandOver describes v to another process. It is for the packages of this module.
func (v *Value[T]) HandOver(e *handover.Encoder) error {
	return v.h.handOver(e, store.KindValue, valueLayout[T]())
}

// TakeOver makes the zero Value v what another process described. It is for the packages of this module.
func (v *Value[T]) TakeOver(d *handover.Decoder) error {
	return takeOver(v, &v.h, d, store.KindValue, valueLayout[T]())
}

// Get returns what it is. It never waits.
func (v *Value[T]) Get(ctx context.Context) (now T, err error) {
	r, cl, err := v.h.begin("Value", opValueGet)
	if err != nil {
		return now, err
	}
	defer runtime.KeepAlive(v)
	rep, err := r.do(ctx, cl)
	if err != nil {
		return now, err
	}
	defer cl.free()
	now, _, err = readOptional[T](r.client, &rep)
	return now, err
}

// Set makes it another one.
func (v *Value[T]) Set(ctx context.Context, to T) error {
	r, cl, err := v.h.begin("Value", opValueSet)
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(v)
	if err := r.mayChange(store.CellKey); err != nil {
		cl.free()
		return err
	}
	holds, err := addValue(r.client, cl, to, "value", -1)
	if err != nil {
		cl.free()
		return err
	}
	defer releaseAll(holds)
	return r.doNothingElse(ctx, cl)
}

// Swap makes it another one, and returns what it was.
func (v *Value[T]) Swap(ctx context.Context, to T) (old T, err error) {
	old, _, err = v.put(ctx, opValueSwap, to)
	return old, err
}

// put sends a value and receives one or none.
func (v *Value[T]) put(ctx context.Context, op uint64, to T) (old T, ok bool, err error) {
	r, cl, err := v.h.begin("Value", op)
	if err != nil {
		return old, false, err
	}
	defer runtime.KeepAlive(v)
	if err := r.mayChange(store.CellKey); err != nil {
		cl.free()
		return old, false, err
	}
	holds, err := addValue(r.client, cl, to, "value", -1)
	if err != nil {
		cl.free()
		return old, false, err
	}
	defer releaseAll(holds)
	rep, err := r.do(ctx, cl)
	if err != nil {
		return old, false, err
	}
	defer cl.free()
	return readOptional[T](r.client, &rep)
}

// CompareAndSwap makes it wanted if it is expected, and reports whether it was. How values are compared is said at Place.CompareAndSwap.
func (v *Value[T]) CompareAndSwap(ctx context.Context, expected, wanted T) (swapped bool, err error) {
	return v.At().CompareAndSwap(ctx, expected, wanted)
}

// Update makes it what f makes of it, and returns that. It is atomic, and f runs once, in this process: nobody else can change the value from the moment at which it was read for f until Update returns.
// Others who want to wait; reading is possible all the time, and yields the old value.
//
// If f returns an error, Update returns that error and nothing changes. The same holds if f panics, if ctx ends before f returns, and if the process dies.
// Changing the value itself from within f is ErrDeadlock.
func (v *Value[T]) Update(ctx context.Context, f func(v T) (T, error)) (T, error) {
	r, cl, err := v.h.begin("Value", opValueLease)
	if err != nil {
		var zero T
		return zero, err
	}
	defer runtime.KeepAlive(v)
	return update(ctx, r, cl, store.CellKey, func(v T, _ bool) (T, error) { return f(v) })
}

// At returns the place of the value, for Add, and through which parts of it can be got at.
func (v *Value[T]) At() Place[T] { return Place[T]{h: &v.h, what: "Value"} }

// Copy returns a new Value that is what v is at one moment. It is made on the server: nothing travels. It has no name.
func (v *Value[T]) Copy(ctx context.Context) (*Value[T], error) {
	to := new(Value[T])
	if err := copyObject(ctx, &v.h, "Value", to, &to.h); err != nil {
		return nil, err
	}
	runtime.KeepAlive(v)
	return to, nil
}

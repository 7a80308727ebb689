package manager

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"

	"github.com/go-multiproc/multiproc/internal/codec"
	"github.com/go-multiproc/multiproc/internal/document"
	"github.com/go-multiproc/multiproc/value"
)

// A Place is one value in an object, or a part of one: what a dict has under a key, a list at an index, a Value altogether (their methods At,
// and NamespaceAt), and what stands inside of that (Within). It names the place and holds nothing: whatever is there is looked up by each call, on the server, and nothing else travels.
//
//	hits := manager.Within[int](users.At("ada"), "Visits", "/index", -1) // users["ada"].Visits["/index"][-1]
//	n, err := manager.Add(ctx, hits, 1)
//
// Every call is one round trip, and atomic. Calls that change something in a dict wait while somebody is in Update with that key.
//
// Places are values: they can be copied, and used by any number of goroutines. They do not cross to other processes.
type Place[T any] struct {
	h    *handle // part of the object, which it thereby keeps
	what string  // is the object
	key  []byte  // the item, of a dict
	at   int64   // of a list
	said rune    // 'k' a key, 'i' an index, 0 neither
	path [][]byte
	err  error // of making it
}

// Within returns the place inside another one to which steps lead, one after the other: the key in a map, the name of a field in a struct (as it travels: the one in its cbor
// tag, if it has one), the index in a slice or array, where a negative one counts from the end. T is what stands there. Plain values only: a value that contains handles
// cannot be looked into; get it, and use the handle.
//
// The server reads such a value from its beginning, and writes it anew when a part is changed: a large one that is changed often is better split.
func Within[T, Outer any](p Place[Outer], steps ...any) Place[T] {
	in := Place[T]{h: p.h, what: p.what, key: p.key, at: p.at, said: p.said, err: p.err}
	in.path = append(append(make([][]byte, 0, len(p.path)+len(steps)), p.path...), make([][]byte, len(steps))...)
	for i, step := range steps {
		b, err := codec.MarshalKey(step)
		if err != nil && in.err == nil {
			in.err = fmt.Errorf("manager: step %d of a path: %w", len(p.path)+i+1, err)
		}
		in.path[len(p.path)+i] = b
	}
	return in
}

// begin begins a call on the place.
func (p Place[T]) begin(op uint64) (*remote, *call, error) {
	if p.err != nil {
		return nil, nil, p.err
	}
	if p.h == nil {
		return nil, nil, errors.New("manager: use of a zero Place: make one with the method At of an object")
	}
	r, cl, err := p.h.begin(p.what, op)
	if err != nil {
		return nil, nil, err
	}
	if op != opPlaceGet && p.said != 'i' {
		if err := r.mayChange(p.key); err != nil {
			cl.free()
			return nil, nil, err
		}
	}
	switch p.said {
	case 'k':
		cl.raw(p.key)
	case 'i':
		cl.int(p.at)
	default:
		cl.null()
	}
	return r, cl, nil
}

// steps adds the path.
func (p Place[T]) steps(cl *call) *call {
	for _, step := range p.path {
		cl.bytes(step)
	}
	return cl
}

// Get returns what is there; ok is false if a key is missing on the way. It never waits. An index that a list or array does not have is ErrRange.
func (p Place[T]) Get(ctx context.Context) (v T, ok bool, err error) {
	r, cl, err := p.begin(opPlaceGet)
	if err != nil {
		return v, false, err
	}
	defer runtime.KeepAlive(p.h)
	rep, err := r.do(ctx, p.steps(cl))
	if err != nil {
		return v, false, err
	}
	defer cl.free()
	return readOptional[T](r.client, &rep)
}

// Set puts v there. Maps that are missing on the way, or nil, are made; slices are not. A time to live of the key goes on.
func (p Place[T]) Set(ctx context.Context, v T) error {
	r, cl, err := p.begin(opPlaceSet)
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(p.h)
	holds, err := addValue(r.client, cl, v, "value", -1)
	if err != nil {
		cl.free()
		return err
	}
	defer releaseAll(holds)
	return r.doNothingElse(ctx, p.steps(cl))
}

// Delete removes what is there, key or index included, and reports whether it was there. Elements behind it move up. What an array has, of the server or in a
// value, cannot be deleted.
func (p Place[T]) Delete(ctx context.Context) (existed bool, err error) {
	r, cl, err := p.begin(opPlaceDelete)
	if err != nil {
		return false, err
	}
	defer runtime.KeepAlive(p.h)
	return r.doBool(ctx, p.steps(cl))
}

// CompareAndSwap puts wanted there if expected is there, and reports whether it was.
//
// Values are compared as they are stored: two are equal if their encodings say the same, whatever the order in which the keys of their maps stand. So a nil
// slice is not equal to an empty one, 1 not to 1.0, and NaN is equal to itself.
func (p Place[T]) CompareAndSwap(ctx context.Context, expected, wanted T) (swapped bool, err error) {
	return p.swap(ctx, func(c *client, cl *call) ([]*remote, error) {
		holds, err := addValue(c, cl, expected, "expected", -1)
		if err != nil {
			return holds, err
		}
		more, err := addValue(c, cl, wanted, "wanted", -1)
		return append(holds, more...), err
	})
}

// SetIfAbsent puts v there if nothing is, and reports whether it did.
func (p Place[T]) SetIfAbsent(ctx context.Context, v T) (set bool, err error) {
	return p.swap(ctx, func(c *client, cl *call) ([]*remote, error) {
		return addValue(c, cl.null(), v, "value", -1)
	})
}

// CompareAndDelete removes what is there if it is expected, and reports whether it was. Values are compared as CompareAndSwap does.
func (p Place[T]) CompareAndDelete(ctx context.Context, expected T) (deleted bool, err error) {
	return p.swap(ctx, func(c *client, cl *call) ([]*remote, error) {
		holds, err := addValue(c, cl, expected, "expected", -1)
		cl.null()
		return holds, err
	})
}

// swap compares and swaps; values adds what is expected and what is wanted.
func (p Place[T]) swap(ctx context.Context, values func(c *client, cl *call) ([]*remote, error)) (bool, error) {
	r, cl, err := p.begin(opCompareAndSwap)
	if err != nil {
		return false, err
	}
	defer runtime.KeepAlive(p.h)
	holds, err := values(r.client, cl)
	defer releaseAll(holds)
	if err != nil {
		cl.free()
		return false, err
	}
	return r.doBool(ctx, p.steps(cl))
}

// Update puts there what f makes of what is there (ok is false if nothing is), and returns it. If somebody else changes it meanwhile, f is called again, with what it is then: it
// must do nothing else than compute. If f returns an error, Update returns that error and nothing changes.
//
// Nobody waits, and nobody is kept waiting. Where f is expensive, or does something that must be done once, use Update of a Dict.
func (p Place[T]) Update(ctx context.Context, f func(v T, ok bool) (T, error)) (T, error) {
	var zero T
	for {
		v, raw, ok, err := p.read(ctx)
		if err != nil {
			return zero, err
		}
		if v, err = f(v, ok); err != nil {
			return zero, err
		}
		swapped, err := p.swap(ctx, func(c *client, cl *call) ([]*remote, error) {
			if ok {
				cl.bytes(raw)
			} else {
				cl.null()
			}
			return addValue(c, cl, v, "value", -1)
		})
		if swapped || err != nil {
			return v, err
		}
	}
}

// read returns what is there, and how it is encoded.
func (p Place[T]) read(ctx context.Context) (v T, raw []byte, ok bool, err error) {
	r, cl, err := p.begin(opPlaceGet)
	if err != nil {
		return v, nil, false, err
	}
	defer runtime.KeepAlive(p.h)
	rep, err := r.do(ctx, p.steps(cl))
	if err != nil {
		return v, nil, false, err
	}
	defer cl.free()
	if rep.null() {
		return v, nil, false, rep.close()
	}
	data, refs := rep.value()
	if err := rep.close(); err != nil {
		return v, nil, false, err
	}
	raw = append(raw, data...)
	v, err = decodeValue[T](r.client, data, refs)
	return v, raw, err == nil, err
}

// Add adds delta to the number at p, in one step on the server, and returns the sum. What is missing counts as 0. A sum that T does not have is ErrOverflow, and so is
// one of floating-point numbers that is infinite although both are finite; nothing is changed then. What is there and is no number, or not an integer where T is one, is ErrType.
func Add[T value.Number](ctx context.Context, p Place[T], delta T) (T, error) {
	return add(ctx, p, delta, false)
}

// Sub subtracts delta from the number at p, as Add adds it. An unsigned number does not get below 0: that is ErrOverflow.
func Sub[T value.Number](ctx context.Context, p Place[T], delta T) (T, error) {
	return add(ctx, p, delta, true)
}

func add[T value.Number](ctx context.Context, p Place[T], delta T, negate bool) (sum T, err error) {
	r, cl, err := p.begin(opPlaceAdd)
	if err != nil {
		return sum, err
	}
	defer runtime.KeepAlive(p.h)
	t, item := numberItem(delta, negate)
	rep, err := r.do(ctx, p.steps(cl.uint(uint64(t)).bytes(item)))
	if err != nil {
		return sum, err
	}
	defer cl.free()
	if sum, err = readValue[T](r.client, &rep); err != nil {
		return sum, err
	}
	return sum, rep.close()
}

// numberItem returns the type and the encoding of a number, or of its negative.
func numberItem[T value.Number](v T, negate bool) (document.NumberType, []byte) {
	n := reflect.ValueOf(v)
	switch n.Kind() {
	case reflect.Float32, reflect.Float64:
		f := n.Float()
		if negate {
			f = -f
		}
		b, err := codec.Marshal(f)
		if err != nil {
			panic("manager: " + err.Error()) // numbers have encodings
		}
		if n.Kind() == reflect.Float32 {
			return document.Float32, b
		}
		return document.Float64, b
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		t := map[int]document.NumberType{8: document.Uint8, 16: document.Uint16, 32: document.Uint32, 64: document.Uint64}[n.Type().Bits()]
		u := n.Uint()
		if negate && u > 0 {
			return t, appendHead(nil, codec.Nint, u-1)
		}
		return t, appendUint(nil, u)
	}
	t := map[int]document.NumberType{8: document.Int8, 16: document.Int16, 32: document.Int32, 64: document.Int64}[n.Type().Bits()]
	i := n.Int()
	if !negate {
		return t, appendInt(nil, i)
	}
	if i < 0 { // whose negative may be larger than any
		return t, appendUint(nil, uint64(-i))
	}
	return t, appendInt(nil, -i)
}

// Append appends values to the slice at p, in one step on the server, and returns how many it then has. A slice that is missing or nil is made.
func Append[S ~[]E, E any](ctx context.Context, p Place[S], v ...E) (n int, err error) {
	r, cl, err := p.begin(opPlaceAppend)
	if err != nil {
		return 0, err
	}
	defer runtime.KeepAlive(p.h)
	if v == nil {
		v = []E{}
	}
	e, err := encodeValue(r.client, S(v), "v")
	defer releaseAll(e.holds)
	switch {
	case err != nil:
	case len(e.refs) > 0:
		err = fmt.Errorf("%w: values with handles cannot become part of another value; use a List", ErrType)
	case reflect.TypeFor[E]().Kind() == reflect.Uint8:
		err = fmt.Errorf("%w: a %v is stored as one byte string, to which nothing can be appended", ErrType, reflect.TypeFor[S]())
	}
	if err != nil {
		cl.free()
		return 0, err
	}
	return r.doInt(ctx, p.steps(cl.bytes(e.data)))
}

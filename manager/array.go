package manager

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"reflect"
	"runtime"
	"slices"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/store"
)

// An Array is a sequence of values of a length that never changes, on the server, shared by everybody who has a handle to it. It begins with the zero value everywhere,
// and takes memory for what was ever set only; Stats and Options.MaxMemory count all of it.
//
// Its calls are those of a List, and what is said there of indexes, values and handles holds here; those that would change the length are missing.
type Array[T any] struct {
	_ noCopy
	h handle
}

func (*Array[T]) layout() string { return arrayLayout[T]() }

func (*Array[T]) elements() (store.Kind, []reflect.Type) {
	return store.KindArray, []reflect.Type{reflect.TypeFor[T]()}
}

func arrayLayout[T any]() string { return describe(reflect.TypeFor[*Array[T]]()) }

// NewArray makes an array of n values, at most 2²⁸. It lives until the last handle in the last process is gone, and no container mentions it.
func NewArray[T any](m *Manager, n int) (*Array[T], error) {
	if err := checkLength(n); err != nil {
		return nil, err
	}
	a := new(Array[T])
	cl := newCall(opCreate).uint(uint64(store.KindArray)).text(arrayLayout[T]()).uint(uint64(n))
	if err := build(m, a, &a.h, addFirst[T](cl)); err != nil {
		return nil, err
	}
	return a, nil
}

// OpenArray returns the array of that name, and makes it, with n values, if there is none; see OpenDict. One that is there must have n values; an n of 0 is for one
// that exists, whatever its length: if there is none, the error is ErrNotFound.
func OpenArray[T any](m *Manager, name string, n int) (*Array[T], error) {
	if err := checkLength(n); err != nil {
		return nil, err
	}
	a := new(Array[T])
	cl := newCall(opOpen).text(name).uint(uint64(store.KindArray)).text(arrayLayout[T]()).bool(n > 0).uint(uint64(n)) // 0: it must exist
	if err := build(m, a, &a.h, addFirst[T](cl)); err != nil {
		return nil, err
	}
	return a, nil
}

// addFirst adds to a request that may make an array what its values are at first: the zero value of T. The server compares and sorts encodings, and what is null is not equal
// to 0. A zero value that is null on the way (a nil slice, a handle) needs not be said, one that cannot be encoded is left
// to the call that tries to, and one that is too large, of a struct with hundreds of fields, is null.
func addFirst[T any](cl *call) *call {
	var zero T
	if e, err := encodeValue(nil, zero, "value"); err == nil && !bytes.Equal(e.data, []byte{itemNull}) && len(e.data) <= store.MaxFirst {
		return cl.bytes(e.data)
	}
	return cl
}

func checkLength(n int) error {
	if n < 0 || n > store.MaxArray {
		return fmt.Errorf("manager: an Array of %d values: it can have 0 to %d", n, store.MaxArray)
	}
	return nil
}

// Close lets go of this handle; other handles are not touched. Calls after it fail with fs.ErrClosed. It is safe to call twice.
func (a *Array[T]) Close() error { return a.h.close() }

// HandOver describes a to another process. It is for the packages of this module.
func (a *Array[T]) HandOver(e *handover.Encoder) error {
	return a.h.handOver(e, store.KindArray, arrayLayout[T]())
}

// TakeOver makes the zero Array a what another process described. It is for the packages of this module.
func (a *Array[T]) TakeOver(d *handover.Decoder) error {
	return takeOver(a, &a.h, d, store.KindArray, arrayLayout[T]())
}

func (a *Array[T]) sequence() sequence[T] { return sequence[T]{&a.h, &arrayOps} }

// Len returns the number of values.
func (a *Array[T]) Len(ctx context.Context) (int, error) { return a.sequence().length(ctx) }

// Get returns the value at i.
func (a *Array[T]) Get(ctx context.Context, i int) (T, error) {
	return a.sequence().one(ctx, opArrayGet, i)
}

// Set replaces the value at i.
func (a *Array[T]) Set(ctx context.Context, i int, v T) error {
	return a.sequence().put(ctx, opArraySet, i, v)
}

// Slice returns the values from i up to before j, as they are at one moment. What lies outside the array is left out; End stands for its end.
func (a *Array[T]) Slice(ctx context.Context, i, j int) ([]T, error) {
	return a.sequence().values(ctx, i, j)
}

// SetSlice replaces the values from i up to before j by v, which must be as many, at one moment. What lies outside the array is left out.
func (a *Array[T]) SetSlice(ctx context.Context, i, j int, v ...T) error {
	_, err := a.sequence().splice(ctx, i, j, v)
	return err
}

// Fill replaces all values by v, at one moment.
func (a *Array[T]) Fill(ctx context.Context, v T) error {
	return a.sequence().send(ctx, opArrayFill, func(*call) {}, []T{v}, func(ctx context.Context, r *remote, cl *call) error { return r.doNothingElse(ctx, cl) })
}

// Index returns the index of the first value that equals v, -1 if there is none. How values are compared is said at Place.CompareAndSwap.
func (a *Array[T]) Index(ctx context.Context, v T) (int, error) {
	return a.sequence().index(ctx, v, 0, End)
}

// IndexIn returns the index of the first value that equals v from i up to before j, -1 if there is none.
func (a *Array[T]) IndexIn(ctx context.Context, v T, i, j int) (int, error) {
	return a.sequence().index(ctx, v, i, j)
}

// Contains reports whether there is a value that equals v.
func (a *Array[T]) Contains(ctx context.Context, v T) (bool, error) {
	i, err := a.Index(ctx, v)
	return i >= 0, err
}

// Count returns how many values equal v.
func (a *Array[T]) Count(ctx context.Context, v T) (int, error) { return a.sequence().count(ctx, v) }

// Reverse reverses the order.
func (a *Array[T]) Reverse(ctx context.Context) error {
	return a.sequence().simple(ctx, opArrayReverse, nil)
}

// Sort sorts the values on the server, in the order of List.Sort.
func (a *Array[T]) Sort(ctx context.Context) error { return a.sequence().sort(ctx, false) }

// SortDescending sorts the other way round.
func (a *Array[T]) SortDescending(ctx context.Context) error { return a.sequence().sort(ctx, true) }

// SortFunc sorts the values as compare says, in this process, and puts them back at one moment; see List.UpdateAll.
func (a *Array[T]) SortFunc(ctx context.Context, compare func(a, b T) int) error {
	return a.UpdateAll(ctx, func(v []T) error {
		slices.SortStableFunc(v, compare)
		return nil
	})
}

// CompareAndSwap replaces the value at i by wanted if it is expected, and reports whether it was. How values are compared is said at Place.CompareAndSwap.
func (a *Array[T]) CompareAndSwap(ctx context.Context, i int, expected, wanted T) (swapped bool, err error) {
	return a.At(i).CompareAndSwap(ctx, expected, wanted)
}

// Update replaces the value at i by what f makes of it, and returns that; see List.Update.
func (a *Array[T]) Update(ctx context.Context, i int, f func(v T) (T, error)) (T, error) {
	return a.sequence().updateOne(ctx, i, f)
}

// UpdateAll replaces all values by what f changes them to; see List.UpdateAll.
func (a *Array[T]) UpdateAll(ctx context.Context, f func(v []T) error) error {
	return a.sequence().rewrite(ctx, func(v []T) ([]T, error) { return v, f(v) })
}

// At returns the place of the value at i, through which parts of it can be got at.
func (a *Array[T]) At(i int) Place[T] { return a.sequence().at(i) }

// Copy returns a new array with the same values, as they are at one moment. It is made on the server: nothing travels. It has no name.
func (a *Array[T]) Copy(ctx context.Context) (*Array[T], error) {
	to := new(Array[T])
	if err := copyObject(ctx, &a.h, "Array", to, &to.h); err != nil {
		return nil, err
	}
	runtime.KeepAlive(a)
	return to, nil
}

// Snapshot returns all the values as they are at one moment.
func (a *Array[T]) Snapshot(ctx context.Context) ([]T, error) {
	return a.sequence().values(ctx, 0, End)
}

// Each calls f for every value, with its index, and returns the error that f or the reading ended with. It sees the array as it was at the beginning, whatever is
// changed meanwhile. f may use a.
func (a *Array[T]) Each(ctx context.Context, f func(i int, v T) error) error {
	return a.sequence().each(ctx, 0, End, f)
}

// All iterates over the values, with their indexes, as Each does. If ctx ends or the server is down the iteration ends early, and silently: an iterator has no place for an
// error. Where that matters, use Each or Snapshot.
func (a *Array[T]) All(ctx context.Context) iter.Seq2[int, T] { return a.sequence().all(ctx) }

// Watch begins to watch the array; see Watch.
func (a *Array[T]) Watch(ctx context.Context) (*Watch[ListChange], error) {
	return watchSequence(ctx, &a.h, "Array")
}

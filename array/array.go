package array

import (
	"context"
	"fmt"
	"io/fs"
	"iter"
	"sync/atomic"

	"github.com/go-multiproc/multiproc/internal/cell"
	"github.com/go-multiproc/multiproc/internal/guard"
	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/inspect"
	"github.com/go-multiproc/multiproc/internal/lock"
	"github.com/go-multiproc/multiproc/internal/seg"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/shm"
	"github.com/go-multiproc/multiproc/value"
)

func init() { inspect.Register(kind.Name, cell.Inspect) }

var kind = cell.Kind{
	Name: "array",
	Type: "Array",
	Wrap: func(l *lock.Mutex) guard.Locker { return psync.Guard(l) },
}

// Options say where a named Array is and what guards it, as for a Value. The zero
// value is the default: /dev/shm, mode 0600, a guard in the Array's own memory.
type Options = value.Options

func options(opts []Options) (seg.Options, psync.Locker) {
	if len(opts) == 0 {
		return seg.Options{}, nil
	}
	o := opts[0]
	return seg.Options{Dir: o.Dir, Mode: o.Mode, AnyOwner: o.AnyOwner}, o.Guard
}

// An Array is a number of T in shared memory, as this process has it. It is safe
// for use by goroutines and processes, through its pointer; it must not be copied.
// Indices count from 0, and one that is out of range panics as a slice's does.
//
// A *Array can stand anywhere in the arguments of a child process and in what is
// sent through a pipe. It takes its guard along.
//
// After Close, methods that return an error return one that is fs.ErrClosed, and
// the others panic, but for Name and Mutex. The zero Array can not be used: all its
// methods but Close panic.
type Array[T any] struct {
	elems  []T          // the memory
	obj    *cell.Object // immutable; nil in a zero Array
	closed atomic.Bool
}

// New makes an anonymous Array of n zero elements, to be passed to child
// processes. n may be 0. The error says which part of T cannot be shared, or is
// shm.ErrNoSpace.
func New[T any](n int) (*Array[T], error) { return newArray[T](n, true, nil) }

// NewRaw makes an anonymous Array without a guard: Mutex returns nil, and Do and
// Snapshot exclude nobody. All else is as with New: accesses to single elements
// are atomic.
func NewRaw[T any](n int) (*Array[T], error) { return newArray[T](n, false, nil) }

// Of makes an anonymous Array with the given elements.
func Of[T any](v ...T) (*Array[T], error) {
	return newArray[T](len(v), true, func(data []byte) { copy(data, cell.BytesOf(v)) })
}

func newArray[T any](n int, guarded bool, c cell.Content) (*Array[T], error) {
	lt, err := cell.Layout[T](kind)
	if err != nil {
		return nil, err
	}
	return new(Array[T]).init(kind.New(lt, n, guarded, c))
}

// Create makes a named Array of n zero elements, which stays until Remove. Nobody
// can see it before it is complete. If the name exists, the error is fs.ErrExist.
// A name is one plain file name of at most 250 bytes.
func Create[T any](name string, n int, opts ...Options) (*Array[T], error) {
	lt, err := cell.Layout[T](kind)
	if err != nil {
		return nil, err
	}
	o, g := options(opts)
	return new(Array[T]).init(kind.Create(name, o, g, lt, n, nil))
}

// Open joins an Array that Create made, here or in another process, of whatever
// length. T must have the same layout as there, whatever its name: the error is
// shm.ErrType if it has not, and shm.ErrFormat if the file is no Array that this
// version can use.
func Open[T any](name string, opts ...Options) (*Array[T], error) {
	lt, err := cell.Layout[T](kind)
	if err != nil {
		return nil, err
	}
	o, g := options(opts)
	return new(Array[T]).init(kind.Open(name, o, g, lt))
}

// Over makes an Array of n elements that are anywhere in a segment, from byte
// offset on: in one of shm.New with a layout of your own, or in one of
// shm.OpenRaw that a program in another language made. It keeps a hold of its own
// on the segment. Over[T](s, 0, s.Size()/size) takes all of it.
//
// offset must be a multiple of T's size if that is 1, 2, 4 or 8, since accesses
// are atomic then as everywhere, and else of T's alignment. Elements of other
// sizes have no shadow copy in such a segment: other processes can see them half
// written. There is no guard either; use a psync.Mutex. The error is fs.ErrInvalid if there
// is no place for the elements, or says which part of T cannot be shared.
func Over[T any](s *shm.Segment, offset, n int) (*Array[T], error) {
	lt, err := cell.Layout[T](kind)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, fmt.Errorf("array: %d elements in a nil segment: %w", n, fs.ErrInvalid)
	}
	return new(Array[T]).init(kind.Over(seg.FromSegment(s), lt, offset, n))
}

// Remove deletes the name of an Array. Processes that have it open keep it. If
// there is no such name, the error is fs.ErrNotExist.
func Remove(name string, opts ...Options) error {
	o, _ := options(opts)
	return seg.Remove(name, kind.Name, o)
}

// init puts the typed face of the zero a on an object.
func (a *Array[T]) init(o *cell.Object, err error) (*Array[T], error) {
	if err != nil {
		return nil, err
	}
	a.obj, a.elems = o, cell.Elements[T](o.Data, o.Count)
	return a, nil
}

// Len is the number of elements. It never changes.
func (a *Array[T]) Len() int {
	a.object()
	a.use()
	return len(a.elems)
}

// Name is the name that the Array was created or opened with; "" if none.
func (a *Array[T]) Name() string { return a.object().Handle.Name() }

// All loads one element after the other, with its index. It takes no lock: each
// element is whole, and others may change while the loop runs.
func (a *Array[T]) All() iter.Seq2[int, T] {
	return func(yield func(int, T) bool) {
		a.object()
		a.use()
		for i := range a.elems {
			if !yield(i, a.Load(i)) {
				return
			}
		}
	}
}

// Slice is the memory itself: what is written to it, everybody sees. Nothing
// synchronises that; use Do, or lock Mutex, or let one process at a time have
// its part. The slice reads zeros after Close, or after a became unreachable;
// using it never faults.
func (a *Array[T]) Slice() []T {
	a.use()
	a.obj.Handle.DataForUser()
	return a.elems
}

// Snapshot returns a copy of all elements, made under the guard, so that it shows
// no change of Do half done. Each element is whole also if others Store
// meanwhile. Without a guard (NewRaw, Over) it excludes nobody.
//
// It waits for the guard as long as ctx allows; a free one is taken without a
// look at ctx. The error is psync.ErrOwnerDied if the guard is abandoned, ctx's
// own, or what else the guard returns.
func (a *Array[T]) Snapshot(ctx context.Context) ([]T, error) {
	all := make([]T, len(a.elems))
	// Who dies while reading leaves nothing half done.
	err := a.under(ctx, lock.Scoped, func() error {
		a.copyTo(all)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// Do calls f with the memory itself, under the guard, and returns f's error. f
// must not lock the guard nor close a, and not keep the slice. A process that
// dies in f leaves the guard abandoned; if f panics, the guard is given back and
// the panic goes on. Without a guard (NewRaw, Over) it excludes nobody.
//
// It waits for the guard as long as ctx allows; a free one is taken without a
// look at ctx. The error is psync.ErrOwnerDied if the guard is abandoned, ctx's
// own, or what else the guard returns; f was not called then, unless the error
// is psync.ErrLockLost.
func (a *Array[T]) Do(ctx context.Context, f func([]T) error) error {
	return a.under(ctx, lock.UserScoped, func() error {
		a.obj.Handle.DataForUser()
		return f(a.elems)
	})
}

// under calls f under the guard.
func (a *Array[T]) under(ctx context.Context, mode lock.Mode, f func() error) error {
	if err := a.object().Guard.Acquire(ctx, mode); err != nil {
		return kind.Explain(err)
	}
	done := false
	defer func() {
		if !done { // f panicked or called runtime.Goexit
			_ = a.obj.Guard.Release()
		}
	}()
	err := f()
	done = true
	if e := a.obj.Guard.Release(); e != nil && err == nil {
		err = kind.Explain(e)
	}
	return err
}

// Mutex is the guard, for when the Array guards something else too. Load, Store,
// Swap, CompareAndSwap and Add do not take it; Do and Snapshot do. It is nil for
// an Array made by NewRaw or Over. Closing it does nothing.
func (a *Array[T]) Mutex() psync.Locker {
	if g := a.object().Guard; g.User != nil {
		return g.User
	}
	return nil
}

// Close ends this process's hold on the Array. It waits for calls of Do and
// Snapshot in progress; calls that wait for the guard return. It returns
// psync.ErrHeld, and closes nothing, while this process holds the guard by
// Mutex().Lock. A guard from Options stays open. Calling Close again does nothing.
// The function given to Do must not call it.
func (a *Array[T]) Close() error {
	if a.obj == nil || a.closed.Load() {
		return nil
	}
	return a.obj.Guard.Close(func() { a.closed.Store(true) })
}

// use panics after Close.
func (a *Array[T]) use() {
	if a.closed.Load() {
		misuse()
	}
}

func misuse() { panic("array: use of closed Array") }

// object is what an Array that was made stands for.
func (a *Array[T]) object() *cell.Object {
	if a.obj == nil {
		panic("array: use of an Array that was not made by New, NewRaw, Of, Create, Open or Over")
	}
	return a.obj
}

// HandOver describes the Array to another process. Packages process and pipe call
// it.
func (a *Array[T]) HandOver(e *handover.Encoder) error {
	switch {
	case a.obj == nil:
		return fmt.Errorf("array: an Array that was not made by New, Create, Open or Over: %w", fs.ErrInvalid)
	case a.closed.Load():
		return kind.Closed()
	}
	return a.obj.HandOver(e)
}

// TakeOver makes the zero Array a hold on one that another process handed over.
// Packages process and pipe call it.
func (a *Array[T]) TakeOver(d *handover.Decoder) error {
	lt, err := cell.Layout[T](kind)
	if err != nil {
		return err
	}
	_, err = a.init(kind.TakeOver(d, lt))
	return err
}

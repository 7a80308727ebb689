package manager

import (
	"context"
	"iter"
	"reflect"
	"runtime"
	"slices"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/store"
)

// A List is a sequence on the server, shared by everybody who has a handle to it.
//
// An index counts from 0, or, negative, from the end, as in Python: -1 is the last value. One that the list does not have is
// ErrRange. Since others may change the list between two calls, an index is good for one call only.
//
// What values may be, and what holds for calls and handles, is said at Dict. Calls on a List never wait for another
// client. Taking from the front costs as little as from the end, and inserting in the middle moves a few hundred values at
// most, so that a List serves as a simple queue; one that blocks and survives its takers is package queue's.
type List[T any] struct {
	_ noCopy
	h handle
}

func (*List[T]) layout() string { return listLayout[T]() }

func (*List[T]) elements() (store.Kind, []reflect.Type) {
	return store.KindList, []reflect.Type{reflect.TypeFor[T]()}
}

func listLayout[T any]() string { return describe(reflect.TypeFor[*List[T]]()) }

// NewList makes an empty list. It lives until the last handle in the last process is gone, and no container mentions it.
func NewList[T any](m *Manager) (*List[T], error) {
	l := new(List[T])
	if err := create(m, l, &l.h, store.KindList, listLayout[T]()); err != nil {
		return nil, err
	}
	return l, nil
}

// OpenList returns the list of that name, and makes it if there is none; see OpenDict.
func OpenList[T any](m *Manager, name string) (*List[T], error) {
	l := new(List[T])
	if err := open(m, l, &l.h, name, store.KindList, listLayout[T]()); err != nil {
		return nil, err
	}
	return l, nil
}

// Close lets go of this handle; other handles are not touched. Calls after it fail with fs.ErrClosed. It is safe to call twice.
func (l *List[T]) Close() error { return l.h.close() }

// HandOver describes l to another process. It is for the packages of this module.
func (l *List[T]) HandOver(e *handover.Encoder) error {
	return l.h.handOver(e, store.KindList, listLayout[T]())
}

// TakeOver makes the zero List l what another process described. It is for the packages of this module.
func (l *List[T]) TakeOver(d *handover.Decoder) error {
	return takeOver(l, &l.h, d, store.KindList, listLayout[T]())
}

func (l *List[T]) sequence() sequence[T] { return sequence[T]{&l.h, &listOps} }

// Len returns the number of values.
func (l *List[T]) Len(ctx context.Context) (int, error) { return l.sequence().length(ctx) }

// Append adds the values at the end, in one round trip: nobody else's come between them.
func (l *List[T]) Append(ctx context.Context, v ...T) error {
	if len(v) == 0 {
		return ctx.Err()
	}
	return l.sequence().send(ctx, opListAppend, func(*call) {}, v, func(ctx context.Context, r *remote, cl *call) error { return r.doNothingElse(ctx, cl) })
}

// AppendFrom adds the values of another list of the same manager at the end, as they are at one moment, and on the server: nothing travels.
func (l *List[T]) AppendFrom(ctx context.Context, other *List[T]) error {
	r, cl, err := l.h.begin("List", opListExtend)
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(l)
	defer runtime.KeepAlive(other)
	if err := addObject(cl, r, &other.h, "List"); err != nil {
		cl.free()
		return err
	}
	return r.doNothingElse(ctx, cl)
}

// Get returns the value at i.
func (l *List[T]) Get(ctx context.Context, i int) (T, error) {
	return l.sequence().one(ctx, opListGet, i)
}

// Pop takes the value at i out and returns it: 0 is the first, -1 the last. Of an empty list it is ErrRange.
//
// If ctx ends while the call is under way, the value may be taken out and lost.
func (l *List[T]) Pop(ctx context.Context, i int) (T, error) {
	return l.sequence().one(ctx, opListPop, i)
}

// Set replaces the value at i.
func (l *List[T]) Set(ctx context.Context, i int, v T) error {
	return l.sequence().put(ctx, opListSet, i, v)
}

// Insert puts v before the value at i. An i that is the length appends; -1 inserts before the last value.
func (l *List[T]) Insert(ctx context.Context, i int, v T) error {
	return l.sequence().put(ctx, opListInsert, i, v)
}

// Delete removes the value at i.
func (l *List[T]) Delete(ctx context.Context, i int) error {
	_, err := l.At(i).Delete(ctx)
	return err
}

// Slice returns the values from i up to before j, as they are at one moment. As in Python, what lies outside the list is left out; End stands for its end.
func (l *List[T]) Slice(ctx context.Context, i, j int) ([]T, error) {
	return l.sequence().values(ctx, i, j)
}

// SetSlice replaces the values from i up to before j by v, which may be more or fewer, at one moment. As in Python, what lies outside the list is left out: with i and j
// both End it appends.
func (l *List[T]) SetSlice(ctx context.Context, i, j int, v ...T) error {
	_, err := l.sequence().splice(ctx, i, j, v)
	return err
}

// DeleteSlice removes the values from i up to before j, at one moment, and returns how many there were. What lies outside the list is left out.
func (l *List[T]) DeleteSlice(ctx context.Context, i, j int) (removed int, err error) {
	return l.sequence().splice(ctx, i, j, nil)
}

// Clear removes everything.
func (l *List[T]) Clear(ctx context.Context) error {
	return l.sequence().simple(ctx, opListClear, nil)
}

// Index returns the index of the first value that equals v, -1 if there is none. How values are compared is said at Place.CompareAndSwap.
func (l *List[T]) Index(ctx context.Context, v T) (int, error) {
	return l.sequence().index(ctx, v, 0, End)
}

// IndexIn returns the index of the first value that equals v from i up to before j, -1 if there is none.
func (l *List[T]) IndexIn(ctx context.Context, v T, i, j int) (int, error) {
	return l.sequence().index(ctx, v, i, j)
}

// Contains reports whether there is a value that equals v.
func (l *List[T]) Contains(ctx context.Context, v T) (bool, error) {
	i, err := l.Index(ctx, v)
	return i >= 0, err
}

// Count returns how many values equal v.
func (l *List[T]) Count(ctx context.Context, v T) (int, error) { return l.sequence().count(ctx, v) }

// Remove removes the first value that equals v, and reports whether there is one.
func (l *List[T]) Remove(ctx context.Context, v T) (existed bool, err error) {
	err = l.sequence().send(ctx, opListRemove, func(*call) {}, []T{v}, func(ctx context.Context, r *remote, cl *call) error {
		existed, err = r.doBool(ctx, cl)
		return err
	})
	return existed, err
}

// Reverse reverses the order.
func (l *List[T]) Reverse(ctx context.Context) error {
	return l.sequence().simple(ctx, opListReverse, nil)
}

// Sort sorts the values on the server, at one moment: false before true, numbers by value (NaN first, as with cmp.Compare), strings byte by byte as Go compares them, byte strings likewise, times as
// instants, and what is nil before all these. Values that are equal keep their order. Others, structs and slices, are put in some order in which equal ones stand together; for one that means
// something use SortFunc.
func (l *List[T]) Sort(ctx context.Context) error { return l.sequence().sort(ctx, false) }

// SortDescending sorts the other way round. Values that are equal keep their order.
func (l *List[T]) SortDescending(ctx context.Context) error { return l.sequence().sort(ctx, true) }

// SortFunc sorts the values as compare says, in this process, and puts them back at one moment; see UpdateAll. Values that compare as 0 keep their order.
func (l *List[T]) SortFunc(ctx context.Context, compare func(a, b T) int) error {
	return l.UpdateAll(ctx, func(v []T) ([]T, error) {
		slices.SortStableFunc(v, compare)
		return v, nil
	})
}

// CompareAndSwap replaces the value at i by wanted if it is expected, and reports whether it was. How values are compared is said at Place.CompareAndSwap.
func (l *List[T]) CompareAndSwap(ctx context.Context, i int, expected, wanted T) (swapped bool, err error) {
	return l.At(i).CompareAndSwap(ctx, expected, wanted)
}

// Update replaces the value at i by what f makes of it, and returns that. If somebody changes it meanwhile, or puts another one at i, f is called again with what is there then: it must do nothing
// else than compute. If f returns an error, Update returns that error and nothing changes.
func (l *List[T]) Update(ctx context.Context, i int, f func(v T) (T, error)) (T, error) {
	return l.sequence().updateOne(ctx, i, f)
}

// UpdateAll replaces all values by what f makes of them, which may be more or fewer. If somebody changes the list meanwhile, f is called again, with what it is then: it must do nothing
// else than compute, and where others change the list all the time that may go on until ctx ends. If f returns an error, UpdateAll returns that error and nothing changes.
// All values travel both ways, in one message on the way back.
func (l *List[T]) UpdateAll(ctx context.Context, f func(v []T) ([]T, error)) error {
	return l.sequence().rewrite(ctx, f)
}

// At returns the place of the value at i, through which parts of it can be got at.
func (l *List[T]) At(i int) Place[T] { return l.sequence().at(i) }

// Copy returns a new list with the same values, as they are at one moment. It is made on the server: nothing travels. It has no name.
func (l *List[T]) Copy(ctx context.Context) (*List[T], error) {
	to := new(List[T])
	if err := copyObject(ctx, &l.h, "List", to, &to.h); err != nil {
		return nil, err
	}
	runtime.KeepAlive(l)
	return to, nil
}

// Snapshot returns all the values as they are at one moment.
func (l *List[T]) Snapshot(ctx context.Context) ([]T, error) {
	return l.sequence().values(ctx, 0, End)
}

// Each calls f for every value, with its index, and returns the error that f or the reading ended with. It sees the list as it
// was at the beginning, whatever is changed meanwhile. f may use l.
func (l *List[T]) Each(ctx context.Context, f func(i int, v T) error) error {
	return l.sequence().each(ctx, 0, End, f)
}

// All iterates over the values, with their indexes, as Each does. If ctx ends or the server is down the iteration ends early, and
// silently: an iterator has no place for an error. Where that matters, use Each or Snapshot.
func (l *List[T]) All(ctx context.Context) iter.Seq2[int, T] { return l.sequence().all(ctx) }

// Watch begins to watch the list; see Watch.
func (l *List[T]) Watch(ctx context.Context) (*Watch[ListChange], error) {
	return watchSequence(ctx, &l.h, "List")
}

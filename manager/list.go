package manager

import (
	"context"
	"errors"
	"iter"
	"reflect"
	"runtime"

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

func listLayout[T any]() string { return "list[" + describe(reflect.TypeFor[T]()) + "]" }

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

func (l *List[T]) begin(op uint64) (*remote, *call, error) { return l.h.begin("List", op) }

// Len returns the number of values.
func (l *List[T]) Len(ctx context.Context) (int, error) {
	r, cl, err := l.begin(opListLen)
	if err != nil {
		return 0, err
	}
	defer runtime.KeepAlive(l)
	return r.doInt(ctx, cl)
}

// Append adds the values at the end, in one round trip: nobody else's come between them.
func (l *List[T]) Append(ctx context.Context, v ...T) error {
	r, cl, err := l.begin(opListAppend)
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(l)
	if len(v) == 0 {
		cl.free()
		return ctx.Err()
	}
	var holds []*remote
	defer func() { releaseAll(holds) }()
	for i, v := range v {
		more, err := addValue(r.client, cl, v, "v", i)
		if err != nil {
			cl.free()
			return err
		}
		holds = append(holds, more...)
	}
	return r.doNothingElse(ctx, cl)
}

// Get returns the value at i.
func (l *List[T]) Get(ctx context.Context, i int) (T, error) { return l.one(ctx, opListGet, i) }

// Pop takes the value at i out and returns it: 0 is the first, -1 the last. Of an empty list it is ErrRange.
//
// If ctx ends while the call is under way, the value may be taken out and lost.
func (l *List[T]) Pop(ctx context.Context, i int) (T, error) { return l.one(ctx, opListPop, i) }

func (l *List[T]) one(ctx context.Context, op uint64, i int) (v T, err error) {
	r, cl, err := l.begin(op)
	if err != nil {
		return v, err
	}
	defer runtime.KeepAlive(l)
	rep, err := r.do(ctx, cl.int(int64(i)))
	if err != nil {
		return v, err
	}
	defer cl.free()
	if v, err = readValue[T](r.client, &rep); err != nil {
		return v, err
	}
	return v, rep.close()
}

// Set replaces the value at i.
func (l *List[T]) Set(ctx context.Context, i int, v T) error { return l.put(ctx, opListSet, i, v) }

// Insert puts v before the value at i. An i that is the length appends; -1 inserts before the last value.
func (l *List[T]) Insert(ctx context.Context, i int, v T) error {
	return l.put(ctx, opListInsert, i, v)
}

func (l *List[T]) put(ctx context.Context, op uint64, i int, v T) error {
	r, cl, err := l.begin(op)
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(l)
	holds, err := addValue(r.client, cl.int(int64(i)), v, "value", -1)
	if err != nil {
		cl.free()
		return err
	}
	defer releaseAll(holds)
	return r.doNothingElse(ctx, cl)
}

// Snapshot returns all the values as they are at one moment.
func (l *List[T]) Snapshot(ctx context.Context) ([]T, error) {
	values := []T{}
	err := l.Each(ctx, func(_ int, v T) error {
		values = append(values, v)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return values, nil
}

// Each calls f for every value, with its index, and returns the error that f or the reading ended with. It sees the list as it
// was at the beginning, whatever is changed meanwhile. f may use l.
func (l *List[T]) Each(ctx context.Context, f func(i int, v T) error) error {
	defer runtime.KeepAlive(l)
	i := 0
	return snapshot(ctx, &l.h, "List", opListSnapshot, 1, func(c *client, rep *reply) error {
		v, err := readValue[T](c, rep)
		if err == nil {
			err = f(i, v)
		}
		i++
		return err
	})
}

// All iterates over the values, with their indexes, as Each does. If ctx ends or the server is down the iteration ends early, and
// silently: an iterator has no place for an error. Where that matters, use Each or Snapshot.
func (l *List[T]) All(ctx context.Context) iter.Seq2[int, T] {
	return func(yield func(int, T) bool) {
		l.Each(ctx, func(i int, v T) error {
			if !yield(i, v) {
				return errStop
			}
			return nil
		})
	}
}

// errStop ends Each when the loop over All has ended.
var errStop = errors.New("manager: iteration stopped")

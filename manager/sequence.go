package manager

import (
	"context"
	"errors"
	"iter"
	"math"
	"runtime"
)

// End stands for the end of a list or array in the methods that take a range of indexes: l.Slice(ctx, 3, manager.End).
const End = math.MaxInt

// A sequence is what a List and an Array have in common.
type sequence[T any] struct {
	h   *handle
	ops *sequenceOps
}

// sequenceOps are the numbers of the operations of one kind.
type sequenceOps struct {
	what                                                                                 string
	len, get, set, snapshot, slice, splice, find, count, reverse, sort, version, replace uint64
}

var listOps = sequenceOps{
	what: "List", len: opListLen, get: opListGet, set: opListSet, snapshot: opListSnapshot, slice: opListSlice, splice: opListSplice, find: opListFind,
	count: opListCount, reverse: opListReverse, sort: opListSort, version: opListVersion, replace: opListReplace,
}

var arrayOps = sequenceOps{
	what: "Array", len: opArrayLen, get: opArrayGet, set: opArraySet, snapshot: opArraySnapshot, slice: opArraySlice, splice: opArraySplice, find: opArrayFind,
	count: opArrayCount, reverse: opArrayReverse, sort: opArraySort, version: opArrayVersion, replace: opArrayReplace,
}

func (s sequence[T]) begin(op uint64) (*remote, *call, error) { return s.h.begin(s.ops.what, op) }

func (s sequence[T]) length(ctx context.Context) (int, error) {
	r, cl, err := s.begin(s.ops.len)
	if err != nil {
		return 0, err
	}
	defer runtime.KeepAlive(s.h)
	return r.doInt(ctx, cl)
}

// one is a call with an index and a value as reply.
func (s sequence[T]) one(ctx context.Context, op uint64, i int) (v T, err error) {
	r, cl, err := s.begin(op)
	if err != nil {
		return v, err
	}
	defer runtime.KeepAlive(s.h)
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

// put is a call with an index and a value.
func (s sequence[T]) put(ctx context.Context, op uint64, i int, v T) error {
	r, cl, err := s.begin(op)
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(s.h)
	holds, err := addValue(r.client, cl.int(int64(i)), v, "value", -1)
	if err != nil {
		cl.free()
		return err
	}
	defer releaseAll(holds)
	return r.doNothingElse(ctx, cl)
}

func (s sequence[T]) at(i int) Place[T] {
	return Place[T]{h: s.h, what: s.ops.what, at: int64(i), said: 'i'}
}

// each calls f for every value from i up to before j, with its index, as they are at the beginning.
func (s sequence[T]) each(ctx context.Context, i, j int, f func(i int, v T) error) error {
	defer runtime.KeepAlive(s.h)
	r, cl, err := s.begin(s.ops.slice)
	if err != nil {
		return err
	}
	n := 0
	return pages(ctx, r, cl.int(int64(i)).int(int64(j)), 1, func(c *client, rep *reply) error {
		v, err := readValue[T](c, rep)
		if err == nil {
			err = f(n, v)
		}
		n++
		return err
	})
}

func (s sequence[T]) all(ctx context.Context) iter.Seq2[int, T] {
	return func(yield func(int, T) bool) {
		s.each(ctx, 0, End, func(i int, v T) error {
			if !yield(i, v) {
				return errStop
			}
			return nil
		})
	}
}

func (s sequence[T]) values(ctx context.Context, i, j int) ([]T, error) {
	values := []T{}
	err := s.each(ctx, i, j, func(_ int, v T) error {
		values = append(values, v)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return values, nil
}

// send is a call with values at the end.
func (s sequence[T]) send(ctx context.Context, op uint64, args func(cl *call), v []T, done func(ctx context.Context, r *remote, cl *call) error) error {
	r, cl, err := s.begin(op)
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(s.h)
	args(cl)
	var holds []*remote
	defer func() { releaseAll(holds) }()
	for i, v := range v {
		more, err := addValue(r.client, cl, v, "v", i)
		holds = append(holds, more...)
		if err != nil {
			cl.free()
			return err
		}
	}
	return done(ctx, r, cl)
}

func (s sequence[T]) splice(ctx context.Context, i, j int, v []T) (removed int, err error) {
	err = s.send(ctx, s.ops.splice, func(cl *call) { cl.int(int64(i)).int(int64(j)) }, v, func(ctx context.Context, r *remote, cl *call) error {
		removed, err = r.doInt(ctx, cl)
		return err
	})
	return removed, err
}

// index returns the index of the first value that equals v from i up to before j, -1 if there is none.
func (s sequence[T]) index(ctx context.Context, v T, i, j int) (at int, err error) {
	at = -1
	err = s.send(ctx, s.ops.find, func(cl *call) { cl.int(int64(i)).int(int64(j)) }, []T{v}, func(ctx context.Context, r *remote, cl *call) error {
		rep, err := r.do(ctx, cl)
		if err != nil {
			return err
		}
		defer cl.free()
		if !rep.null() {
			at = int(rep.uint())
		}
		return rep.close()
	})
	return at, err
}

func (s sequence[T]) count(ctx context.Context, v T) (n int, err error) {
	err = s.send(ctx, s.ops.count, func(*call) {}, []T{v}, func(ctx context.Context, r *remote, cl *call) error {
		n, err = r.doInt(ctx, cl)
		return err
	})
	return n, err
}

func (s sequence[T]) simple(ctx context.Context, op uint64, args func(cl *call)) error {
	r, cl, err := s.begin(op)
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(s.h)
	if args != nil {
		args(cl)
	}
	return r.doNothingElse(ctx, cl)
}

func (s sequence[T]) sort(ctx context.Context, descending bool) error {
	return s.simple(ctx, s.ops.sort, func(cl *call) { cl.bool(descending) })
}

// rewrite replaces all values by what f makes of them, again and again until nobody has changed anything meanwhile.
func (s sequence[T]) rewrite(ctx context.Context, f func(v []T) ([]T, error)) error {
	for {
		r, cl, err := s.begin(s.ops.version)
		if err != nil {
			return err
		}
		rep, err := r.do(ctx, cl)
		if err != nil {
			return err
		}
		version := rep.uint()
		err = rep.close()
		cl.free()
		if err != nil {
			return err
		}
		v, err := s.values(ctx, 0, End)
		if err != nil {
			return err
		}
		if v, err = f(v); err != nil {
			return err
		}
		replaced := false
		err = s.send(ctx, s.ops.replace, func(cl *call) { cl.uint(version) }, v, func(ctx context.Context, r *remote, cl *call) error {
			replaced, err = r.doBool(ctx, cl)
			return err
		})
		if replaced || err != nil {
			return err
		}
	}
}

// updateOne is Place.Update, for a place that exists.
func (s sequence[T]) updateOne(ctx context.Context, i int, f func(v T) (T, error)) (T, error) {
	return s.at(i).Update(ctx, func(v T, _ bool) (T, error) { return f(v) })
}

// errStop ends Each when the loop over All has ended.
var errStop = errors.New("manager: iteration stopped")

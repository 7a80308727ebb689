package manager

import (
	"context"
	"fmt"
	"iter"
	"reflect"
	"runtime"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/store"
)

// A Set is a set on the server, shared by everybody who has a handle to it. It keeps the order in which its elements first came.
//
// Elements are what the keys of a Dict are, and equal as those are. Every call is one round trip, and atomic; operations with other sets are done on the server, and see all
// sets at one moment. Calls on a Set never wait for another client.
//
// A *Set is safe for concurrent use. It crosses to other processes in arguments and messages, and can be put into containers of the same manager. An unreachable one closes itself.
type Set[T comparable] struct {
	_ noCopy
	h handle
}

func (*Set[T]) layout() string { return setLayout[T]() }

func (*Set[T]) elements() (store.Kind, []reflect.Type) {
	return store.KindSet, []reflect.Type{reflect.TypeFor[T]()}
}

func setLayout[T comparable]() string { return describe(reflect.TypeFor[*Set[T]]()) }

// NewSet makes an empty set. It lives until the last handle in the last process is gone, and no container mentions it. T may be what K of NewDict may be.
func NewSet[T comparable](m *Manager) (*Set[T], error) {
	if err := checkKey(reflect.TypeFor[T](), "an element of a Set"); err != nil {
		return nil, err
	}
	s := new(Set[T])
	if err := create(m, s, &s.h, store.KindSet, setLayout[T]()); err != nil {
		return nil, err
	}
	return s, nil
}

// OpenSet returns the set of that name, and makes it if there is none; see OpenDict.
func OpenSet[T comparable](m *Manager, name string) (*Set[T], error) {
	if err := checkKey(reflect.TypeFor[T](), "an element of a Set"); err != nil {
		return nil, err
	}
	s := new(Set[T])
	if err := open(m, s, &s.h, name, store.KindSet, setLayout[T]()); err != nil {
		return nil, err
	}
	return s, nil
}

// Close lets go of this handle; other handles are not touched. Calls after it fail with fs.ErrClosed. It is safe to call twice.
func (s *Set[T]) Close() error { return s.h.close() }

// HandOver describes s to another process. It is for the packages of this module.
func (s *Set[T]) HandOver(e *handover.Encoder) error {
	return s.h.handOver(e, store.KindSet, setLayout[T]())
}

// TakeOver makes the zero Set s what another process described. It is for the packages of this module.
func (s *Set[T]) TakeOver(d *handover.Decoder) error {
	return takeOver(s, &s.h, d, store.KindSet, setLayout[T]())
}

// with begins a call with elements.
func (s *Set[T]) with(op uint64, elements []T) (*remote, *call, error) {
	r, cl, err := s.h.begin("Set", op)
	if err != nil {
		return nil, nil, err
	}
	if err := addKeys(cl, elements); err != nil {
		cl.free()
		return nil, nil, err
	}
	return r, cl, nil
}

// Len returns the number of elements.
func (s *Set[T]) Len(ctx context.Context) (int, error) {
	r, cl, err := s.with(opSetLen, nil)
	if err != nil {
		return 0, err
	}
	defer runtime.KeepAlive(s)
	return r.doInt(ctx, cl)
}

// Add adds elements, at one moment, and returns how many were not there.
func (s *Set[T]) Add(ctx context.Context, v ...T) (added int, err error) {
	r, cl, err := s.with(opSetAdd, v)
	if err != nil {
		return 0, err
	}
	defer runtime.KeepAlive(s)
	return r.doInt(ctx, cl)
}

// Discard removes elements, at one moment, and returns how many were there.
func (s *Set[T]) Discard(ctx context.Context, v ...T) (removed int, err error) {
	r, cl, err := s.with(opSetRemove, v)
	if err != nil {
		return 0, err
	}
	defer runtime.KeepAlive(s)
	return r.doInt(ctx, cl)
}

// Remove removes an element that must be there: if not, the error is ErrNotFound.
func (s *Set[T]) Remove(ctx context.Context, v T) error {
	n, err := s.Discard(ctx, v)
	if n == 0 && err == nil {
		err = fmt.Errorf("%w: %v is not in the set", ErrNotFound, v)
	}
	return err
}

// Contains reports whether all these elements are in the set, at one moment.
func (s *Set[T]) Contains(ctx context.Context, v ...T) (bool, error) {
	r, cl, err := s.with(opSetContains, v)
	if err != nil {
		return false, err
	}
	defer runtime.KeepAlive(s)
	rep, err := r.do(ctx, cl)
	if err != nil {
		return false, err
	}
	defer cl.free()
	all := true
	for range v {
		all = rep.bool() && all
	}
	return all, rep.close()
}

// Pop removes the element that came last and returns it; ok is false if the set is empty.
//
// If ctx ends while the call is under way, the element may be removed and lost.
func (s *Set[T]) Pop(ctx context.Context) (v T, ok bool, err error) {
	r, cl, err := s.with(opSetPopNewest, nil)
	if err != nil {
		return v, false, err
	}
	defer runtime.KeepAlive(s)
	rep, err := r.do(ctx, cl)
	if err != nil {
		return v, false, err
	}
	defer cl.free()
	if rep.null() {
		return v, false, rep.close()
	}
	if v, err = readKey[T](&rep); err == nil {
		err = rep.close()
	}
	return v, err == nil, err
}

// Clear removes everything.
func (s *Set[T]) Clear(ctx context.Context) error {
	r, cl, err := s.with(opSetClear, nil)
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(s)
	return r.doNothingElse(ctx, cl)
}

// Union returns a new set of what is in any of these sets.
func (s *Set[T]) Union(ctx context.Context, others ...*Set[T]) (*Set[T], error) {
	return s.combined(ctx, store.Union, others)
}

// Intersection returns a new set of what is in all of these sets.
func (s *Set[T]) Intersection(ctx context.Context, others ...*Set[T]) (*Set[T], error) {
	return s.combined(ctx, store.Intersection, others)
}

// Difference returns a new set of what is in s and in none of the others.
func (s *Set[T]) Difference(ctx context.Context, others ...*Set[T]) (*Set[T], error) {
	return s.combined(ctx, store.Difference, others)
}

// SymmetricDifference returns a new set of what is in either s or other.
func (s *Set[T]) SymmetricDifference(ctx context.Context, other *Set[T]) (*Set[T], error) {
	return s.combined(ctx, store.SymmetricDifference, []*Set[T]{other})
}

// UnionUpdate adds to s what is in any of the others.
func (s *Set[T]) UnionUpdate(ctx context.Context, others ...*Set[T]) error {
	return s.combine(ctx, store.Union, others)
}

// IntersectionUpdate removes from s what is not in all of the others.
func (s *Set[T]) IntersectionUpdate(ctx context.Context, others ...*Set[T]) error {
	return s.combine(ctx, store.Intersection, others)
}

// DifferenceUpdate removes from s what is in any of the others.
func (s *Set[T]) DifferenceUpdate(ctx context.Context, others ...*Set[T]) error {
	return s.combine(ctx, store.Difference, others)
}

// SymmetricDifferenceUpdate removes from s what is also in other, and adds what is only there.
func (s *Set[T]) SymmetricDifferenceUpdate(ctx context.Context, other *Set[T]) error {
	return s.combine(ctx, store.SymmetricDifference, []*Set[T]{other})
}

// combination begins an operation with other sets, which are to be kept alive until its end.
func (s *Set[T]) combination(op uint64, a store.Algebra, others []*Set[T]) (*remote, *call, error) {
	r, cl, err := s.h.begin("Set", op)
	if err != nil {
		return nil, nil, err
	}
	cl.uint(uint64(a))
	for _, o := range others {
		if err := addObject(cl, r, &o.h, "Set"); err != nil {
			cl.free()
			return nil, nil, err
		}
	}
	return r, cl, nil
}

func (s *Set[T]) combine(ctx context.Context, a store.Algebra, others []*Set[T]) error {
	r, cl, err := s.combination(opSetCombine, a, others)
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(s)
	defer keepAlive(others)
	return r.doNothingElse(ctx, cl)
}

func (s *Set[T]) combined(ctx context.Context, a store.Algebra, others []*Set[T]) (*Set[T], error) {
	r, cl, err := s.combination(opSetCombined, a, others)
	if err != nil {
		return nil, err
	}
	defer runtime.KeepAlive(s)
	defer keepAlive(others)
	made := new(Set[T])
	if err := r.doMake(ctx, cl, func(o *remote) { attach(made, &made.h, o) }); err != nil {
		return nil, err
	}
	return made, nil
}

// keepAlive is runtime.KeepAlive for each of them.
func keepAlive[T any](all []*T) {
	for _, x := range all {
		runtime.KeepAlive(x)
	}
}

// IsSubset reports whether all of s is in other.
func (s *Set[T]) IsSubset(ctx context.Context, other *Set[T]) (bool, error) {
	return s.relates(ctx, store.Subset, other)
}

// IsSuperset reports whether all of other is in s.
func (s *Set[T]) IsSuperset(ctx context.Context, other *Set[T]) (bool, error) {
	return other.relates(ctx, store.Subset, s)
}

// IsDisjoint reports whether s and other have nothing in common.
func (s *Set[T]) IsDisjoint(ctx context.Context, other *Set[T]) (bool, error) {
	return s.relates(ctx, store.Disjoint, other)
}

// Equal reports whether s and other have the same elements, in whatever order.
func (s *Set[T]) Equal(ctx context.Context, other *Set[T]) (bool, error) {
	return s.relates(ctx, store.Same, other)
}

func (s *Set[T]) relates(ctx context.Context, relation store.Relation, other *Set[T]) (bool, error) {
	r, cl, err := s.h.begin("Set", opSetRelates)
	if err != nil {
		return false, err
	}
	defer runtime.KeepAlive(s)
	defer runtime.KeepAlive(other)
	if err := addObject(cl.uint(uint64(relation)), r, &other.h, "Set"); err != nil {
		cl.free()
		return false, err
	}
	return r.doBool(ctx, cl)
}

// Copy returns a new set with the same elements, as they are at one moment. It is made on the server: nothing travels. It has no name.
func (s *Set[T]) Copy(ctx context.Context) (*Set[T], error) {
	to := new(Set[T])
	if err := copyObject(ctx, &s.h, "Set", to, &to.h); err != nil {
		return nil, err
	}
	runtime.KeepAlive(s)
	return to, nil
}

// Snapshot returns all the elements as they are at one moment, in order.
func (s *Set[T]) Snapshot(ctx context.Context) ([]T, error) {
	elements := []T{}
	defer runtime.KeepAlive(s)
	err := snapshot(ctx, &s.h, "Set", opSetSnapshot, 1, func(_ *client, rep *reply) error {
		v, err := readKey[T](rep)
		elements = append(elements, v)
		return err
	})
	if err != nil {
		return nil, err
	}
	return elements, nil
}

// Each calls f for every element, in order, and returns the error that f or the reading ended with. It reads page by page and holds nothing meanwhile: an
// element that is there all the time is seen exactly once; one that comes or goes meanwhile, once or not at all. f may use s.
func (s *Set[T]) Each(ctx context.Context, f func(v T) error) error {
	defer runtime.KeepAlive(s)
	return eachKey(ctx, &s.h, "Set", opSetPage, f)
}

// All iterates over the elements as Each does. If ctx ends or the server is down the iteration ends early, and silently: an iterator has no place for an error. Where that
// matters, use Each or Snapshot.
func (s *Set[T]) All(ctx context.Context) iter.Seq[T] {
	return func(yield func(T) bool) {
		s.Each(ctx, func(v T) error {
			if !yield(v) {
				return errStop
			}
			return nil
		})
	}
}

package manager

import (
	"context"

	"github.com/go-multiproc/multiproc/internal/store"
)

func (r *request) set() func() (*store.Set, error) {
	id := store.ID(r.uint())
	return func() (*store.Set, error) { return r.store.Set(id) }
}

func (r *request) setLen(context.Context) error {
	set := r.set()
	s, err := found(r, set)
	if err != nil {
		return err
	}
	return r.number(uint64(s.Len()))
}

func (r *request) setAdd(context.Context) error { return r.setChange((*store.Set).Add) }

func (r *request) setRemove(context.Context) error { return r.setChange((*store.Set).Remove) }

func (r *request) setChange(do func(*store.Set, [][]byte) int) error {
	set, keys := r.set(), r.keys()
	s, err := found(r, set)
	if err != nil {
		return err
	}
	return r.number(uint64(do(s, keys)))
}

func (r *request) setContains(context.Context) error {
	set, keys := r.set(), r.keys()
	s, err := found(r, set)
	if err != nil {
		return err
	}
	p := r.newLongReply(r.id, len(keys))
	for _, in := range s.Contains(keys) {
		p.bool(in)
	}
	p.send()
	return nil
}

func (r *request) setPopNewest(context.Context) error {
	set := r.set()
	s, err := found(r, set)
	if err != nil {
		return err
	}
	key, ok := s.PopNewest()
	p := r.newReply(r.id)
	if ok {
		p.key(key)
	} else {
		p.null()
	}
	p.send()
	return nil
}

func (r *request) setClear(context.Context) error {
	set := r.set()
	s, err := found(r, set)
	if err != nil {
		return err
	}
	s.Clear()
	return r.done()
}

func (r *request) setPage(context.Context) error {
	set, from := r.set(), store.Cursor(r.uint())
	s, err := found(r, set)
	if err != nil {
		return err
	}
	var next store.Cursor
	entries, size, end, _ := gather(func(f func(string, store.Value) bool) (end bool, err error) {
		next, end = s.Page(from, f)
		return end, nil
	})
	if end {
		next = 0
	}
	p := r.newLongReply(r.id, size)
	p.uint(uint64(next))
	for _, e := range entries {
		p.key(e.key)
	}
	p.send()
	return nil
}

func (r *request) setSnapshot(context.Context) error {
	set := r.set()
	s, err := found(r, set)
	if err != nil {
		return err
	}
	return r.firstPage(s.Snapshot())
}

// combination reads an operation on sets.
func (r *request) combination() (set store.ID, a store.Algebra, others func() ([]*store.Set, error)) {
	set, a = store.ID(r.uint()), store.Algebra(r.uint())
	ids := make([]store.ID, 0, min(max(r.items-2, 0), len(r.b)))
	for range cap(ids) {
		ids = append(ids, store.ID(r.uint()))
	}
	return set, a, func() ([]*store.Set, error) {
		others := make([]*store.Set, len(ids))
		for i, id := range ids {
			var err error
			if others[i], err = r.store.Set(id); err != nil {
				return nil, err
			}
		}
		return others, nil
	}
}

// longOnSets is long for all of some sets.
func (r *request) longOnSets(ctx context.Context, set store.ID, others []*store.Set, do func() error) error {
	s, err := r.store.Set(set)
	if err != nil {
		return err
	}
	n := int64(s.Len())
	for _, o := range others {
		if n += int64(o.Len()); n > longWork {
			break
		}
	}
	return long(ctx, n, 0, do)
}

func (r *request) setCombine(ctx context.Context) error {
	set, a, others := r.combination()
	if !r.ok() {
		return nil
	}
	s, err := r.store.Set(set)
	if err != nil {
		return err
	}
	sets, err := others()
	if err != nil {
		return err
	}
	if err := r.longOnSets(ctx, set, sets, func() error { return s.Combine(a, sets) }); err != nil {
		return err
	}
	return r.done()
}

func (r *request) setCombined(ctx context.Context) error {
	set, a, others := r.combination()
	sets, err := found(r, others)
	if err != nil {
		return err
	}
	var id store.ID
	err = r.longOnSets(ctx, set, sets, func() (err error) { id, err = r.store.Combined(set, a, sets); return err })
	if err != nil {
		return err
	}
	return r.number(uint64(id))
}

func (r *request) setRelates(context.Context) error {
	set, relation, other := r.set(), store.Relation(r.uint()), r.set()
	s, err := found(r, set)
	if err != nil {
		return err
	}
	o, err := other()
	if err != nil {
		return err
	}
	holds, err := s.Relates(relation, o)
	if err != nil {
		return err
	}
	return r.whether(holds)
}

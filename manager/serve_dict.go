package manager

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/go-multiproc/multiproc/internal/store"
)

// dict reads which dict is meant; a namespace or a value, if the operation is one of those.
func (r *request) dict() func() (*store.Dict, error) {
	id := store.ID(r.uint())
	of := r.store.Dict
	switch r.op / 32 * 32 {
	case opNamespaceLen:
		of = r.store.Namespace
	case opValueGet:
		of = r.store.Cell
	}
	return func() (*store.Dict, error) { return of(id) }
}

// entry reads which entry of which dict is meant.
func (r *request) entry() (dict func() (*store.Dict, error), key []byte) {
	dict = r.dict()
	if r.op/32*32 == opValueGet {
		return dict, store.CellKey
	}
	return dict, r.bytes()
}

func (r *request) dictLen(context.Context) error {
	dict := r.dict()
	d, err := found(r, dict)
	if err != nil {
		return err
	}
	return r.number(uint64(d.Len()))
}

func (r *request) dictGet(context.Context) error {
	dict, key := r.entry()
	d, err := found(r, dict)
	if err != nil {
		return err
	}
	v, ok, err := d.Get(r.store, key)
	if err != nil {
		return err
	}
	return r.optional(v, ok)
}

func (r *request) dictSet(ctx context.Context) error {
	dict, key := r.entry()
	v := r.storedValue()
	d, err := found(r, dict)
	if err != nil {
		return err
	}
	if err := d.Set(ctx, r.store, key, v); err != nil {
		return err
	}
	return r.done()
}

func (r *request) dictDelete(ctx context.Context) error {
	dict, key := r.dict(), r.bytes()
	d, err := found(r, dict)
	if err != nil {
		return err
	}
	existed, err := d.Delete(ctx, key)
	if err != nil {
		return err
	}
	return r.whether(existed)
}

func (r *request) dictGetMany(context.Context) error {
	dict, keys := r.dict(), r.keys()
	d, err := found(r, dict)
	if err != nil {
		return err
	}
	values, err := d.GetMany(r.store, keys)
	if err != nil {
		return err
	}
	size := 0
	for _, v := range values {
		if v != nil {
			size += valueSize(*v)
		}
	}
	if limit := r.server.options.maxMessage(); size > limit {
		for _, v := range values {
			if v != nil {
				r.giveBack(v.Refs)
			}
		}
		return &failure{codeTooLarge, fmt.Sprintf("the values of these %d keys have %d bytes, of which one reply can hold %d; ask for fewer", len(keys), size, limit)}
	}
	p := r.newLongReply(r.id, size)
	for _, v := range values {
		if v != nil {
			p.value(*v)
		} else {
			p.null()
		}
	}
	p.send()
	return nil
}

func (r *request) dictSetMany(ctx context.Context) error {
	dict := r.dict()
	if r.items%2 != 1 {
		r.fail("%d keys and values", r.items-1)
		return nil
	}
	pairs := make([]store.Pair, 0, min(max(r.items/2, 0), len(r.b)))
	for range cap(pairs) {
		pairs = append(pairs, store.Pair{Key: r.bytes(), Value: r.storedValue()})
		if r.err != nil {
			return nil
		}
	}
	d, err := found(r, dict)
	if err != nil {
		return err
	}
	if err := d.SetMany(ctx, r.store, pairs); err != nil {
		return err
	}
	return r.done()
}

func (r *request) dictDeleteMany(ctx context.Context) error {
	dict, keys := r.dict(), r.keys()
	d, err := found(r, dict)
	if err != nil {
		return err
	}
	n, err := d.DeleteMany(ctx, keys)
	if err != nil {
		return err
	}
	return r.number(uint64(n))
}

func (r *request) dictPage(context.Context) error { return r.page(true) }

func (r *request) dictKeys(context.Context) error { return r.page(false) }

func (r *request) page(values bool) error {
	dict, from := r.dict(), store.Cursor(r.uint())
	d, err := found(r, dict)
	if err != nil {
		return err
	}
	var next store.Cursor
	entries, size, end, err := gather(func(f func(string, store.Value) bool) (end bool, err error) {
		s := r.store
		if !values {
			s = nil // which takes no references
			all := f
			f = func(key string, _ store.Value) bool { return all(key, store.Value{}) }
		}
		next, end, err = d.Page(s, from, f)
		return end, err
	})
	if err != nil {
		return err
	}
	if end {
		next = 0
	}
	p := r.newLongReply(r.id, size)
	p.uint(uint64(next))
	for _, e := range entries {
		p.key(e.key)
		if values {
			p.value(e.value)
		}
	}
	p.send()
	return nil
}

func (r *request) dictSnapshot(context.Context) error {
	dict := r.dict()
	d, err := found(r, dict)
	if err != nil {
		return err
	}
	return r.firstPage(d.Snapshot())
}

func (r *request) dictLease(ctx context.Context) error {
	dict, key := r.entry()
	d, err := found(r, dict)
	if err != nil {
		return err
	}
	v, ok, err := d.Lease(ctx, r.store, key, r.id)
	if err != nil {
		return err
	}
	return r.optional(v, ok)
}

func (r *request) dictCommit(context.Context) error {
	lease, v := r.uint(), r.storedValue()
	if !r.ok() {
		return nil
	}
	if err := r.store.Commit(lease, v); err != nil {
		return err
	}
	return r.done()
}

func (r *request) dictHas(context.Context) error {
	dict, key := r.entry()
	d, err := found(r, dict)
	if err != nil {
		return err
	}
	return r.whether(d.Has(key))
}

// dictGetOrSet replies with the value that is there, or null if it was set.
func (r *request) dictGetOrSet(ctx context.Context) error {
	dict, key := r.entry()
	v := r.storedValue()
	d, err := found(r, dict)
	if err != nil {
		return err
	}
	if old, ok, err := d.Get(r.store, key); ok || err != nil { // which does not wait
		if err != nil {
			return err
		}
		return r.optional(old, true)
	}
	return r.edit(ctx, d, key, func(_ store.Value, ok bool) (store.Verdict, error) {
		if ok {
			return store.Verdict{Fetch: true}, nil
		}
		return store.Verdict{Do: store.Put, Value: v}, nil
	})
}

// edit edits an entry, and replies with the value that it had, if the verdict asks for that.
func (r *request) edit(ctx context.Context, d *store.Dict, key []byte, f store.Editor) error {
	old, ok, err := d.Edit(ctx, r.store, key, f)
	if err != nil {
		return err
	}
	return r.optional(old, ok)
}

func (r *request) dictSwap(ctx context.Context) error {
	dict, key := r.entry()
	v := r.storedValue()
	d, err := found(r, dict)
	if err != nil {
		return err
	}
	return r.edit(ctx, d, key, func(store.Value, bool) (store.Verdict, error) {
		return store.Verdict{Do: store.Put, Value: v, Fresh: true, Fetch: true}, nil
	})
}

func (r *request) dictPop(ctx context.Context) error {
	dict, key := r.entry()
	d, err := found(r, dict)
	if err != nil {
		return err
	}
	return r.edit(ctx, d, key, func(store.Value, bool) (store.Verdict, error) {
		return store.Verdict{Do: store.Remove, Fetch: true}, nil
	})
}

func (r *request) dictPopNewest(ctx context.Context) error {
	dict := r.dict()
	d, err := found(r, dict)
	if err != nil {
		return err
	}
	key, v, ok, err := d.PopNewest(ctx, r.store)
	if err != nil {
		return err
	}
	p := r.newReply(r.id)
	if ok {
		p.key(key)
		p.value(v)
	}
	p.send()
	return nil
}

func (r *request) dictClear(ctx context.Context) error {
	dict := r.dict()
	d, err := found(r, dict)
	if err != nil {
		return err
	}
	if err := d.Clear(ctx); err != nil {
		return err
	}
	return r.done()
}

func (r *request) dictMerge(ctx context.Context) error {
	dict, other := r.dict(), r.dict()
	d, err := found(r, dict)
	if err != nil {
		return err
	}
	from, err := other()
	if err != nil {
		return err
	}
	if from.Len() > longWork && ctx == store.NoWait {
		return store.ErrBusy // it may have to wait for keys, too
	}
	if err := d.Merge(ctx, from); err != nil {
		return err
	}
	return r.done()
}

// span reads a length of time, in nanoseconds.
func (r *request) span() time.Duration {
	n := r.uint()
	if n > math.MaxInt64 {
		r.fail("a time of %d ns", n)
	}
	return time.Duration(n)
}

func (r *request) dictSetFor(ctx context.Context) error {
	dict, key := r.entry()
	v, ttl := r.storedValue(), r.span()
	d, err := found(r, dict)
	if err != nil {
		return err
	}
	if err := d.SetFor(ctx, r.store, key, v, ttl); err != nil {
		return err
	}
	return r.done()
}

func (r *request) dictExpire(ctx context.Context) error {
	dict, key := r.entry()
	ttl := r.span()
	d, err := found(r, dict)
	if err != nil {
		return err
	}
	ok, err := d.Expire(ctx, key, ttl)
	if err != nil {
		return err
	}
	return r.whether(ok)
}

func (r *request) dictTTL(context.Context) error {
	dict, key := r.entry()
	d, err := found(r, dict)
	if err != nil {
		return err
	}
	left, ok := d.TTL(key)
	p := r.newReply(r.id)
	if ok {
		p.uint(uint64(left))
	} else {
		p.null()
	}
	p.send()
	return nil
}

package manager

import (
	"context"
	"fmt"

	"github.com/go-multiproc/multiproc/internal/store"
)

func (r *request) dict() func() (*store.Dict, error) {
	id := store.ID(r.uint())
	return func() (*store.Dict, error) { return r.store.Dict(id) }
}

func (r *request) dictLen(context.Context) error {
	dict := r.dict()
	if !r.ok() {
		return nil
	}
	d, err := dict()
	if err != nil {
		return err
	}
	return r.number(uint64(d.Len()))
}

func (r *request) dictGet(context.Context) error {
	dict, key := r.dict(), r.bytes()
	if !r.ok() {
		return nil
	}
	d, err := dict()
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
	dict, key, v := r.dict(), r.bytes(), r.storedValue()
	if !r.ok() {
		return nil
	}
	d, err := dict()
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
	if !r.ok() {
		return nil
	}
	d, err := dict()
	if err != nil {
		return err
	}
	existed, err := d.Delete(ctx, key)
	if err != nil {
		return err
	}
	p := r.newReply(r.id)
	p.bool(existed)
	p.send()
	return nil
}

func (r *request) dictGetMany(context.Context) error {
	dict, keys := r.dict(), r.keys()
	if !r.ok() {
		return nil
	}
	d, err := dict()
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
			size += len(v.Data) + 10 + 10*len(v.Refs)
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
	if !r.ok() {
		return nil
	}
	d, err := dict()
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
	if !r.ok() {
		return nil
	}
	d, err := dict()
	if err != nil {
		return err
	}
	n, err := d.DeleteMany(ctx, keys)
	if err != nil {
		return err
	}
	return r.number(uint64(n))
}

func (r *request) dictPage(context.Context) error {
	dict, from := r.dict(), store.Cursor(r.uint())
	if !r.ok() {
		return nil
	}
	d, err := dict()
	if err != nil {
		return err
	}
	var next store.Cursor
	entries, size, end, err := gather(func(f func(string, store.Value) bool) (end bool, err error) {
		next, end, err = d.Page(r.store, from, f)
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
		p.value(e.value)
	}
	p.send()
	return nil
}

func (r *request) dictSnapshot(context.Context) error {
	dict := r.dict()
	if !r.ok() {
		return nil
	}
	d, err := dict()
	if err != nil {
		return err
	}
	return r.firstPage(d.Snapshot())
}

func (r *request) dictLease(ctx context.Context) error {
	dict, key := r.dict(), r.bytes()
	if !r.ok() {
		return nil
	}
	d, err := dict()
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

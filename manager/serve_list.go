package manager

import (
	"context"

	"github.com/go-multiproc/multiproc/internal/store"
)

func (r *request) list() func() (*store.List, error) {
	id := store.ID(r.uint())
	return func() (*store.List, error) { return r.store.List(id) }
}

func (r *request) listLen(context.Context) error {
	list := r.list()
	if !r.ok() {
		return nil
	}
	l, err := list()
	if err != nil {
		return err
	}
	return r.number(uint64(l.Len()))
}

func (r *request) listGet(context.Context) error {
	return r.listOne((*store.List).Get)
}

func (r *request) listPop(context.Context) error {
	return r.listOne((*store.List).Pop)
}

func (r *request) listOne(do func(*store.List, *store.Session, int64) (store.Value, error)) error {
	list, i := r.list(), r.int()
	if !r.ok() {
		return nil
	}
	l, err := list()
	if err != nil {
		return err
	}
	v, err := do(l, r.store, i)
	if err != nil {
		return err
	}
	return r.optional(v, true)
}

func (r *request) listSet(context.Context) error {
	return r.listPut((*store.List).Set)
}

func (r *request) listInsert(context.Context) error {
	return r.listPut((*store.List).Insert)
}

func (r *request) listPut(do func(*store.List, *store.Session, int64, store.Value) error) error {
	list, i, v := r.list(), r.int(), r.storedValue()
	if !r.ok() {
		return nil
	}
	l, err := list()
	if err != nil {
		return err
	}
	if err := do(l, r.store, i, v); err != nil {
		return err
	}
	return r.done()
}

func (r *request) listAppend(context.Context) error {
	list := r.list()
	values := make([]store.Value, 0, min(max(r.items-1, 0), len(r.b)))
	for range cap(values) {
		values = append(values, r.storedValue())
		if r.err != nil {
			return nil
		}
	}
	if !r.ok() {
		return nil
	}
	l, err := list()
	if err != nil {
		return err
	}
	if err := l.Append(r.store, values); err != nil {
		return err
	}
	return r.done()
}

func (r *request) listSnapshot(context.Context) error {
	list := r.list()
	if !r.ok() {
		return nil
	}
	l, err := list()
	if err != nil {
		return err
	}
	return r.firstPage(l.Snapshot())
}

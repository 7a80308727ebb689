package manager

import (
	"context"

	"github.com/go-multiproc/multiproc/internal/store"
)

func (r *request) eventSet(context.Context) error {
	return onObject(r, r.store.Event, func(e *store.Event) error { e.Set(); return nil })
}

func (r *request) eventClear(context.Context) error {
	return onObject(r, r.store.Event, func(e *store.Event) error { e.Clear(); return nil })
}

func (r *request) eventIsSet(context.Context) error {
	id := store.ID(r.uint())
	if !r.ok() {
		return nil
	}
	e, err := r.store.Event(id)
	if err != nil {
		return err
	}
	p := r.newReply(r.id)
	p.bool(e.IsSet())
	p.send()
	return nil
}

func (r *request) eventWait(context.Context) error {
	id := store.ID(r.uint())
	if !r.ok() {
		return nil
	}
	e, err := r.store.Event(id)
	if err != nil {
		return err
	}
	return r.await(func(w *store.Wait) error { return e.Wait(r.store, w) }, nil)
}

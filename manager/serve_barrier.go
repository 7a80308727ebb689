package manager

import (
	"context"

	"github.com/go-multiproc/multiproc/internal/store"
)

func (r *request) barrierWait(context.Context) error {
	id := store.ID(r.uint())
	if !r.ok() {
		return nil
	}
	b, err := r.store.Barrier(id)
	if err != nil {
		return err
	}
	return r.await(func(w *store.Wait) error { return b.Wait(r.store, w) }, func(p *replier, w *store.Wait) { p.uint(w.N) })
}

func (r *request) barrierAbort(context.Context) error {
	return onObject(r, r.store.Barrier, func(b *store.Barrier) error { b.Abort(); return nil })
}

func (r *request) barrierReset(context.Context) error {
	return onObject(r, r.store.Barrier, func(b *store.Barrier) error { b.Reset(); return nil })
}

func (r *request) barrierState(context.Context) error {
	id := store.ID(r.uint())
	if !r.ok() {
		return nil
	}
	b, err := r.store.Barrier(id)
	if err != nil {
		return err
	}
	parties, waiting, broken := b.State()
	p := r.newReply(r.id)
	p.uint(uint64(parties))
	p.uint(uint64(waiting))
	p.bool(broken)
	p.send()
	return nil
}

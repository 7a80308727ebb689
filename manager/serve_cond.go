package manager

import (
	"context"
	"errors"

	"github.com/go-multiproc/multiproc/internal/store"
)

func (r *request) cond() func() (*store.Cond, error) {
	id := store.ID(r.uint())
	return func() (*store.Cond, error) { return r.store.Cond(id) }
}

func (r *request) condWait(context.Context) error {
	cond, hold := r.cond(), r.uint()
	c, err := found(r, cond)
	if err != nil {
		return err
	}
	s := r.session
	// The lock is held again also after a wait that was given up.
	reply := func(p *replier, w *store.Wait) {
		locked(p, w)
		p.bool(w.Err != nil)
	}
	return r.awaitEnd(func(w *store.Wait) error { return c.Wait(r.store, w, hold) }, reply, func(w *store.Wait) {
		if w.N == 0 || w.Err != nil && !errors.Is(w.Err, store.ErrCancelled) {
			s.refuse(w.ID, w.Err)
		} else {
			s.reply(w, reply)
		}
	})
}

func (r *request) condNotify(context.Context) error {
	cond, n := r.cond(), r.uint()
	c, err := found(r, cond)
	if err != nil {
		return err
	}
	return r.number(c.Notify(n))
}

func (r *request) condMutex(context.Context) error {
	cond := r.cond()
	c, err := found(r, cond)
	if err != nil {
		return err
	}
	id, err := c.Mutex(r.store)
	if err != nil {
		return err
	}
	return r.number(uint64(id))
}

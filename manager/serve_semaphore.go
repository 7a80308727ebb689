package manager

import (
	"context"
	"errors"

	"github.com/go-multiproc/multiproc/internal/store"
)

func (r *request) semaphore() func() (*store.Semaphore, error) {
	id := store.ID(r.uint())
	return func() (*store.Semaphore, error) { return r.store.Semaphore(id) }
}

func (r *request) semaphoreAcquire(context.Context) error {
	semaphore := r.semaphore()
	m, err := found(r, semaphore)
	if err != nil {
		return err
	}
	return r.await(func(w *store.Wait) error { return m.Acquire(r.store, w) }, func(p *replier, w *store.Wait) {
		p.bool(m.Counting())
		p.bool(w.Flag)
	})
}

func (r *request) semaphoreTryAcquire(context.Context) error {
	semaphore := r.semaphore()
	m, err := found(r, semaphore)
	if err != nil {
		return err
	}
	got := true
	return r.await(func(w *store.Wait) error {
		err := m.TryAcquire(r.store, w)
		if errors.Is(err, store.ErrBusy) {
			got, err = false, nil
		}
		return err
	}, func(p *replier, _ *store.Wait) {
		p.bool(got)
		p.bool(m.Counting())
	})
}

func (r *request) semaphoreRelease(context.Context) error {
	semaphore, id := r.semaphore(), r.uint()
	if !r.ok() {
		return nil
	}
	m, err := semaphore()
	if err == nil {
		err = m.Release(r.store, id)
	}
	if err != nil {
		return err
	}
	return r.done()
}

func (r *request) semaphoreValue(context.Context) error {
	semaphore := r.semaphore()
	m, err := found(r, semaphore)
	if err != nil {
		return err
	}
	return r.number(m.Value())
}

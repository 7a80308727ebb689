package manager

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-multiproc/multiproc/internal/store"
)

func (r *request) mutex() func() (*store.Mutex, error) {
	id := store.ID(r.uint())
	return func() (*store.Mutex, error) { return r.store.Mutex(id) }
}

// locked adds what a Lock came to.
func locked(p *replier, w *store.Wait) {
	p.uint(w.N)
	p.bool(w.Flag)
}

func (r *request) mutexLock(context.Context) error {
	mutex, mode := r.mutex(), r.uint()
	m, err := found(r, mutex)
	if err != nil {
		return err
	}
	if mode > uint64(store.LockOrRecover) {
		return fmt.Errorf("%w: there is no mode %d of locking", store.ErrInvalid, mode)
	}
	return r.await(func(w *store.Wait) error { return m.Lock(r.store, w, store.LockMode(mode)) }, locked)
}

func (r *request) mutexTryLock(context.Context) error {
	mutex := r.mutex()
	m, err := found(r, mutex)
	if err != nil {
		return err
	}
	return r.await(func(w *store.Wait) error {
		err := m.TryLock(r.store, w)
		if errors.Is(err, store.ErrBusy) {
			err = nil // N is 0
		}
		return err
	}, locked)
}

func (r *request) mutexUnlock(context.Context) error {
	mutex, id, mended := r.mutex(), r.uint(), r.bool()
	if !r.ok() {
		return nil
	}
	m, err := mutex()
	if err == nil {
		err = m.Unlock(r.store, id, mended)
	}
	if err != nil {
		return err
	}
	return r.done()
}

func (r *request) mutexMend(context.Context) error {
	mutex, id := r.mutex(), r.uint()
	if !r.ok() {
		return nil
	}
	m, err := mutex()
	if err == nil {
		err = m.Mend(r.store, id)
	}
	if err != nil {
		return err
	}
	return r.done()
}

func (r *request) mutexForce(context.Context) error {
	return onObject(r, r.store.Mutex, (*store.Mutex).Force)
}

func (r *request) mutexState(context.Context) error {
	mutex := r.mutex()
	m, err := found(r, mutex)
	if err != nil {
		return err
	}
	held, abandoned := m.State()
	p := r.newReply(r.id)
	p.bool(held)
	p.bool(abandoned)
	p.send()
	return nil
}

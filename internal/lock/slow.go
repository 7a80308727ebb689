package lock

import (
	"context"
	"errors"
	"runtime"

	"github.com/go-multiproc/multiproc/internal/crash"
	"github.com/go-multiproc/multiproc/internal/seg"
)

// lockSlow is Lock when the first look did not find the lock free.
func (m *Mutex) lockSlow(ctx context.Context, mode Mode) error {
	err := m.q.wait(ctx, m.h, nil, func(w word, t turn) (verdict, error) {
		switch {
		case w.mayTake(t):
			if m.cas(w, w.takenBy(m.own|word(mode))|t.sticky) {
				return taken, nil
			}
			return again, nil
		case w.abandoned() && !w.held():
			return settled, ErrOwnerDied
		}
		return blocked, nil
	})
	if err != nil {
		runtime.KeepAlive(m) // until a wake-up was passed on
		return err
	}
	return m.acquired()
}

// LockIfFree is TryLock for a user, whom it tells no more than is true: a lock that is free, and kept
// for somebody who has waited for long, is waited for. Either that one takes it, within the time that a
// wake-up takes, or does not, since it was killed, or is stopped: then it is taken for it, after
// the slices of a millisecond to eight that those who wait have, too. (TryLock leaves it
// alone, as sync.Mutex does: for ever, if nobody comes who waits.)
func (m *Mutex) LockIfFree(mode Mode) (bool, error) {
	for {
		ok, err := m.TryLock(mode)
		if w := m.load(); ok || err != nil || w.held() || !w.hungry() {
			runtime.KeepAlive(m)
			return ok, err
		}
		if ok, err = m.awaitKept(mode); ok || err != nil {
			return ok, err
		}
	}
}

// awaitKept takes a lock that is kept for somebody. It reports false when somebody has it.
func (m *Mutex) awaitKept(mode Mode) (bool, error) {
	got := false
	// Like one who waits for a repair, it has nothing to wait for when the lock is held.
	err := m.q.wait(context.Background(), m.h, new(mending), func(w word, t turn) (verdict, error) {
		switch {
		case w.mayTake(t):
			if got = m.cas(w, w.takenBy(m.own|word(mode))|t.sticky); got {
				return taken, nil
			}
			return again, nil
		case w.held():
			return settled, nil
		case w.abandoned():
			return settled, ErrOwnerDied
		}
		return blocked, nil
	})
	if err != nil || !got {
		runtime.KeepAlive(m) // until a wake-up was passed on
		return false, err
	}
	err = m.acquired()
	return err == nil, err
}

// Relock is Lock for a caller who held the lock and wants it back: without a ctx, and
// also when it is abandoned. Then it reports ErrOwnerDied, and the lock is held and stays
// marked, so that Unlock gives it back as abandoned. With any other error, it is not held.
func (m *Mutex) Relock(mode Mode) error {
	marked := false
	err := m.q.wait(context.Background(), m.h, nil, func(w word, t turn) (verdict, error) {
		marked = w.abandoned()
		switch {
		case w.held() || !marked && !w.mayTake(t):
			return blocked, nil
		case m.cas(w, w.takenBy(m.own|word(mode))|t.sticky):
			return taken, nil
		}
		return again, nil
	})
	if err == nil {
		err = m.acquired()
	} else {
		runtime.KeepAlive(m) // until a wake-up was passed on
	}
	if err == nil && marked {
		return ErrOwnerDied
	}
	return err
}

// Abandoned reports whether the lock is abandoned and nobody is repairing it. It finds out
// that a holder died.
func (m *Mutex) Abandoned() bool {
	w := m.load()
	if w.held() && !m.mine(w) && !m.closed() && m.q.bury(w) {
		w = m.load()
	}
	runtime.KeepAlive(m)
	return w.abandoned() && !w.held()
}

// Recover runs repair, which may be nil, under the lock, if the lock is
// abandoned, and gives it back as good as new. It returns nil without running
// repair when the lock is not, or no longer, abandoned. When repair fails,
// panics, or dies with its process, the lock stays abandoned.
func (m *Mutex) Recover(ctx context.Context, repair func() error) error {
	_, err := m.recover(ctx, repair, 0)
	return err
}

// LockOrRecover takes the lock, after repairing it if that is needed.
func (m *Mutex) LockOrRecover(ctx context.Context, mode Mode, repair func() error) error {
	for {
		err := m.Lock(ctx, mode)
		if !errors.Is(err, ErrOwnerDied) {
			return err
		}
		// Somebody else may recover it first.
		if kept, err := m.recover(ctx, repair, mode); kept || err != nil {
			return err
		}
	}
}

// recover is Recover; with a mode, the lock is kept in that mode if it was
// repaired here.
func (m *Mutex) recover(ctx context.Context, repair func() error, keep Mode) (kept bool, err error) {
	var mend mending
	err = m.q.wait(ctx, m.h, &mend, func(w word, t turn) (verdict, error) {
		switch {
		case w.abandoned() && !w.held():
			if m.cas(w, w.takenBy(m.own|scoped)|t.sticky) {
				mend.mine = true
				return taken, nil
			}
			return again, nil
		case w.abandoned():
			return blocked, nil // somebody repairs it, or died over it
		case w.held() && !m.mine(w) && !mend.probed:
			mend.probed = true
			if m.q.bury(w) {
				return again, nil
			}
		}
		return settled, nil
	})
	if err != nil || !mend.mine {
		runtime.KeepAlive(m)
		return false, err
	}
	crash.At("lock.repairing")
	if m.closed() { // as in acquired
		m.q.release(m, word.released)
		return false, m.h.ErrClosed()
	}
	*m.fence++
	m.q.order.Acquire()
	repaired := false
	defer func() { // also when repair panics or calls runtime.Goexit
		switch {
		case !repaired:
			m.q.order.Release()
			m.q.release(m, word.released)
		case keep == 0:
			m.q.order.Release()
			m.q.release(m, func(w word) word { return w.released() &^ abandoned })
		}
	}()
	if repair != nil {
		if err := repair(); err != nil {
			return false, err
		}
	}
	repaired = true
	crash.At("lock.repaired")
	if keep == 0 {
		return false, nil
	}
	for w := m.load(); !m.cas(w, w&^(abandoned|scoped|user)|word(keep)); w = m.load() {
	}
	// It stays held, but those who wait for the repair only have got it.
	m.q.mended()
	return true, nil
}

// Close closes the handle that the lock was made with. It refuses to pull the
// memory away from under a hold of user code in this process, and waits for
// holds that end by themselves.
func (m *Mutex) Close() error { return m.h.Close(m) }

// Refuse implements seg.Quiescer.
func (m *Mutex) Refuse() error {
	if w := m.load(); m.mine(w) && w&scoped == 0 {
		return ErrHeld
	}
	return nil
}

// HandleClosed implements seg.Quiescer.
func (m *Mutex) HandleClosed() {
	m.q.mu.Lock()
	defer m.q.mu.Unlock()
	m.q.wakeAllLocked()
}

// Quiesce implements seg.Quiescer.
func (m *Mutex) Quiesce() (resume func(lock []byte)) {
	_ = m.q.wait(context.Background(), nil, nil, func(w word, t turn) (verdict, error) {
		switch {
		case !w.held():
			if !m.cas(w, w.takenBy(m.own|scoped)|t.sticky) {
				return again, nil
			}
			return taken, nil
		case m.mine(w):
			return blocked, nil
		}
		return settled, nil // another process is inside: then none of us is
	})
	return func(lock []byte) { giveBack(seg.WordOf(lock), m.own) }
}

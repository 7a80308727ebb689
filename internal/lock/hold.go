package lock

import (
	"context"
	"runtime"

	"github.com/go-multiproc/multiproc/internal/mem"
)

// What a lock that is built on this one has to see and do of a hold.

// Become makes this process's hold in one mode one in another. It reports whether
// there is one.
func (m *Mutex) Become(from, to Mode) bool {
	for {
		mem.Mark("lock.become")
		w := m.load()
		if !m.mine(w) || w&(user|scoped) != word(from) {
			return false
		}
		if m.cas(w, w&^(user|scoped)|word(to)) {
			runtime.KeepAlive(m)
			return true
		}
	}
}

// HeldIn reports whether this process holds the lock in that mode.
func (m *Mutex) HeldIn(mode Mode) bool {
	w := m.load()
	runtime.KeepAlive(m)
	return m.mine(w) && w&(user|scoped) == word(mode)
}

// State reports whether anybody holds the lock, and whether it is abandoned.
func (m *Mutex) State() (isHeld, isAbandoned bool) {
	w := m.load()
	runtime.KeepAlive(m)
	return w.held(), w.abandoned()
}

// HeldElsewhere tells the hold that another process has from every other; 0 is none.
func (m *Mutex) HeldElsewhere() (hold uint64) {
	w := m.load()
	runtime.KeepAlive(m)
	if !w.held() || m.mine(w) {
		return 0
	}
	return uint64(w &^ (waiters | abandoned | hungry))
}

// Bury takes the lock from its holder if that one died. It reports whether the state is
// another now.
func (m *Mutex) Bury() bool {
	w := m.load()
	done := w.held() && !m.mine(w) && m.q.bury(w)
	runtime.KeepAlive(m)
	return done
}

// NotHeld is the error for who thought that this process holds the lock: ErrNotHeld,
// ErrLockLost, or one that is fs.ErrClosed.
func (m *Mutex) NotHeld() error { return m.notMine() }

// RecoverAs is Recover, which keeps the lock in the mode if it ran repair itself.
func (m *Mutex) RecoverAs(ctx context.Context, mode Mode, repair func() error) (kept bool, err error) {
	return m.recover(ctx, repair, mode)
}

package lock

import (
	"time"

	"github.com/go-multiproc/multiproc/internal/mem"
	"github.com/go-multiproc/multiproc/internal/seg"
)

// Notes are what sleepers write down for an operator who wants to know since when the lock is held
// and waited for. They write at the end of a slice only: who gets the lock within a
// millisecond has nothing to do with them, and locking nothing at all. Nothing depends on
// them; a reader checks that they speak of what is.
type notes struct {
	hold      *mem.Uint64 // the word of the hold that was seen, but for its flags
	heldSince *mem.Uint64 // when it was first seen, nanoseconds since 1970
	waiter    *mem.Uint64 // token of the process that has waited for longest
	waitSince *mem.Uint64 // since when
}

const (
	holdOffset      = 24
	heldSinceOffset = 32
	waiterOffset    = 40
	waitSinceOffset = 48
)

func notesAt(m *seg.Mapping, at int) *notes {
	return &notes{m.Word(at + holdOffset), m.Word(at + heldSinceOffset), m.Word(at + waiterOffset), m.Word(at + waitSinceOffset)}
}

const flags = held | waiters | abandoned | user | scoped | hungry

// seen writes down that w says that the lock is held, and that somebody here has waited since
// came.
func (n *notes) seen(m *seg.Mapping, w word, came time.Time) {
	if key := uint64(w &^ flags); w.held() && n.hold.Load() != key {
		n.heldSince.Store(uint64(time.Now().UnixNano()))
		n.hold.Store(key)
	}
	since := uint64(came.UnixNano())
	other := n.waiter.Load()
	if other == 0 || other == m.Token() || since < n.waitSince.Load() || !m.Alive(other) {
		n.waitSince.Store(since)
		n.waiter.Store(m.Token())
	}
}

// gone takes back what this process has written down of its waiting.
func (n *notes) gone(m *seg.Mapping) {
	if t := m.Token(); n.waiter.Load() == t {
		n.waiter.CompareAndSwap(t, 0)
	}
}

// heldFrom is when the hold that w says was first seen; zero if it was not.
func (n *notes) heldFrom(w word) time.Time {
	if since := n.heldSince.Load(); w.held() && n.hold.Load() == uint64(w&^flags) {
		return time.Unix(0, int64(since))
	}
	return time.Time{}
}

// waitedFrom is when the longest wait began; zero if it is not known.
func (n *notes) waitedFrom(m *seg.Mapping) time.Time {
	if t := n.waiter.Load(); t != 0 && (t == m.Token() || m.Alive(t)) {
		return time.Unix(0, int64(n.waitSince.Load()))
	}
	return time.Time{}
}

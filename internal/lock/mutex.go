package lock

import (
	"context"
	"errors"
	"runtime"

	"github.com/go-multiproc/multiproc/internal/crash"
	"github.com/go-multiproc/multiproc/internal/mem"
	"github.com/go-multiproc/multiproc/internal/seg"
)

// These are the sentinels that psync exports.
var (
	ErrOwnerDied = errors.New("psync: the lock's holder died; call Recover")
	ErrLockLost  = errors.New("psync: the lock was taken away by an operator")
	ErrNotHeld   = errors.New("psync: this process does not hold the lock")
	ErrHeld      = errors.New("psync: this process holds the lock: unlock it before closing")
)

// Size is the number of bytes that a lock takes: one cache line.
//
//	offset size
//	     0    8  word
//	     8    8  fence: number of holds so far
//	    16   40  zero
//	    56    8  not the lock's: package psync says here what stands in the segment
const Size = 64

const fenceOffset = 8

// A Mode says whose code runs under a hold, which decides what happens when the
// process dies in it, and what Close has to wait for.
type Mode word

const (
	// User is a hold that user code ends. A death in it abandons the lock.
	User = Mode(user)
	// Scoped is a hold that ends when a function of the library returns, and
	// that the next holder can take up at any step.
	Scoped = Mode(scoped)
	// UserScoped is user code called by a function of the library.
	UserScoped = User | Scoped
)

// A Mutex is a lock in a segment, as one handle sees it. It is safe for use by
// goroutines and processes.
type Mutex struct {
	word  *mem.Uint64
	fence *uint64 // written under the lock only
	own   word    // this process's token, in place
	// h keeps the memory where the word is: a handle that is unreachable closes
	// itself. So every method keeps m reachable until after its last access. nil:
	// see Inner.
	h   *seg.Handle
	q   *queue
	off int
}

// At places a lock on the Size bytes at off of the handle's meta area, which
// must be a multiple of Size. Zero bytes are a free lock.
func At(h *seg.Handle, off int) *Mutex {
	m := h.Mapping()
	at := m.MetaOffset() + off
	w := m.Word(at)
	q := m.Local(at, func() any {
		q := newQueue(m, w)
		if !mem.Explored {
			q.notes = notesAt(m, at)
		}
		return q
	}).(*queue)
	return &Mutex{
		word: w, fence: fencePointer(m.Word(at + fenceOffset)),
		own: word(m.Token()) << tokenShift, h: h, q: q, off: at,
	}
}

// Inner is At for a lock that only short sections of an object's own methods
// take, which do not end because the handle is being closed: what is in progress
// then comes to its end. On the zero pages that replace the memory in the end,
// they find a free lock. Close must not be called, and the caller keeps h
// reachable during every call.
func Inner(h *seg.Handle, off int) *Mutex {
	m := At(h, off)
	m.h = nil
	return m
}

func (m *Mutex) closed() bool { return m.h != nil && m.h.Closed() }

func (m *Mutex) load() word { return word(m.word.Load()) }

func (m *Mutex) cas(old, new word) bool { return m.word.CompareAndSwap(uint64(old), uint64(new)) }

// mine reports whether w says that this process holds the lock.
func (m *Mutex) mine(w word) bool { return w.held() && w.token() == m.own.token() }

// Lock takes the lock. A free lock is taken without a look at ctx. When it
// returns an error, the lock is not held: ErrOwnerDied if it is abandoned, ctx's
// error, or one that is fs.ErrClosed.
func (m *Mutex) Lock(ctx context.Context, mode Mode) error {
	w := m.load()
	if w.free() && m.cas(w, w.takenBy(m.own|word(mode))) {
		return m.acquired()
	}
	return m.lockSlow(ctx, mode)
}

// acquired ends every acquisition.
func (m *Mutex) acquired() error {
	crash.At("lock.taken")
	if m.closed() {
		// The handle was closed meanwhile. The word may be in the pages that
		// replaced the segment; whichever it is, it is given back.
		_ = m.Unlock()
		return m.h.ErrClosed()
	}
	*m.fence++
	m.q.order.Acquire()
	runtime.KeepAlive(m)
	return nil
}

// TryLock takes the lock if it is free, without waiting. It finds out that a
// holder died, and reports that as Lock does.
func (m *Mutex) TryLock(mode Mode) (bool, error) {
	for {
		if m.closed() {
			return false, m.h.ErrClosed()
		}
		w := m.load()
		switch {
		case w.free():
			if m.cas(w, w.takenBy(m.own|word(mode))) {
				err := m.acquired()
				return err == nil, err
			}
		case !w.held() && w.abandoned():
			runtime.KeepAlive(m)
			return false, ErrOwnerDied
		case !w.held() || m.mine(w) || !m.q.bury(w): // not held: it is left to a waiter
			runtime.KeepAlive(m)
			return false, nil
		}
	}
}

// Unlock gives the lock back. It returns ErrNotHeld, or ErrLockLost, and does
// nothing, when this process does not hold it. A hold of an abandoned lock that
// was not repaired goes back as abandoned.
func (m *Mutex) Unlock() error {
	w := m.load()
	if !m.mine(w) {
		return m.notMine()
	}
	m.q.order.Release()
	if w&(waiters|abandoned) == 0 && m.cas(w, w.released()) {
		crash.At("lock.released")
		runtime.KeepAlive(m)
		return nil
	}
	if !m.q.release(m, word.released) {
		return m.notMine()
	}
	return nil
}

func (m *Mutex) notMine() error {
	if m.closed() {
		return m.h.ErrClosed()
	}
	if m.lost() {
		return ErrLockLost
	}
	return ErrNotHeld
}

// Fence is the number of the present hold: larger than that of every earlier
// one, in whatever process. It has a meaning only while the lock is held.
func (m *Mutex) Fence() uint64 {
	n := *m.fence
	runtime.KeepAlive(m)
	return n
}

// Held reports whether this process holds the lock.
func (m *Mutex) Held() bool {
	held := m.mine(m.load())
	runtime.KeepAlive(m)
	return held
}

// Offset is where the lock stands in the segment's file.
func (m *Mutex) Offset() int { return m.off }

// Handle is the handle that the lock was made with.
func (m *Mutex) Handle() *seg.Handle { return m.h }

package lock

import (
	"context"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-multiproc/multiproc/internal/crash"
	"github.com/go-multiproc/multiproc/internal/seg"
	"github.com/go-multiproc/multiproc/internal/sys"
)

const (
	// Slices bound what a wake-up that was lost with its waker costs, and how
	// long a death goes unnoticed.
	minSlice = time.Millisecond
	maxSlice = 25 * time.Millisecond

	// maxStreak is how often the lock may go from one goroutine of a process to
	// the next while other processes wait for it.
	maxStreak = 16

	// A spinner looks every spinPause pauses, for at most spinBudget, after which
	// a short critical section would have ended and sleeping is the cheaper way.
	// PAUSE takes from 10 to 140 cycles, so the clock decides, and it is read only
	// after every spinTries looks.
	spinPause  = 2
	spinTries  = 32
	spinBudget = 10 * time.Microsecond
)

var manyCPUs = runtime.NumCPU() > 1

// A queue is the process-local side of one lock: the goroutines of this process
// that wait for it, whichever handle they came by, in order of arrival.
type queue struct {
	raceWord
	m    *seg.Mapping
	word *atomic.Uint64

	spinning atomic.Bool // one goroutine spins at a time

	mu          sync.Mutex // protects what follows
	first, last *waiter
	sleeping    bool // the sleeper runs
	streak      int
}

// A waiter is a goroutine in the queue, or just taken out of it by a wake-up.
type waiter struct {
	ready      chan struct{} // gets one value for each time it is taken out
	queued     bool
	prev, next *waiter
}

func newQueue(m *seg.Mapping, w *atomic.Uint64) *queue {
	return &queue{m: m, word: w}
}

func (q *queue) load() word { return word(q.word.Load()) }

func (q *queue) cas(old, new word) bool { return q.word.CompareAndSwap(uint64(old), uint64(new)) }

// A verdict is what an attempt found.
type verdict int

const (
	settled verdict = iota // done, without taking the lock
	taken                  // done: the lock is held now
	again                  // the word changed under it: try at once
	blocked                // nothing to do until the word changes
)

// An attempt looks at the word and tries to change it as its caller wants. sticky
// is the waiters bit if others may be asleep who count on the caller to wake
// them, for the attempt to put into the word that it makes.
type attempt func(w, sticky word) (verdict, error)

// wait makes attempts until one is settled, ctx ends or the handle h, which may
// be nil, is closed.
func (q *queue) wait(ctx context.Context, h *seg.Handle, try attempt) error {
	if h != nil && h.Closed() {
		return seg.ErrClosed
	}
	for {
		v, err := try(q.load(), 0)
		if v == settled || v == taken {
			return err
		}
		if v == blocked {
			break
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if v, err := q.spin(try); v != blocked {
		return err
	}

	me := &waiter{ready: make(chan struct{}, 1)}
	q.enter(me, false)
	for {
		if h != nil && h.Closed() {
			q.leave(me)
			return seg.ErrClosed
		}
		w := q.load()
		v, err := try(w, waiters)
		switch v {
		case settled:
			q.leave(me)
			return err
		case taken:
			// A wake-up that came meanwhile need not be passed on: the unlock to
			// come does that, thanks to the sticky bit.
			q.remove(me)
			return nil
		case again:
			continue
		}
		// Whoever unlocks has to know of the sleeper. The sleeper itself need
		// not see the bit: setting it changes what the kernel compares.
		if !w.waiters() && !q.cas(w, w|waiters) {
			continue
		}
		crash.At("lock.waiting")
		select {
		case <-me.ready:
			q.enter(me, true) // who has waited longest is first again
		case <-ctx.Done():
			q.leave(me)
			return ctx.Err()
		}
	}
}

// spin tries for some microseconds without queueing up.
func (q *queue) spin(try attempt) (verdict, error) {
	if !manyCPUs || !q.spinning.CompareAndSwap(false, true) {
		return blocked, nil
	}
	defer q.spinning.Store(false)
	for start := time.Now(); time.Since(start) < spinBudget; {
		for range spinTries {
			sys.Pause(spinPause)
			w := q.load()
			if w.held() {
				continue
			}
			if v, err := try(w, 0); v == settled || v == taken {
				return v, err
			}
		}
	}
	return blocked, nil
}

// enter puts w into the queue and sees that the sleeper runs.
func (q *queue) enter(w *waiter, front bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	w.queued = true
	switch {
	case q.first == nil:
		q.first, q.last = w, w
	case front:
		w.next, q.first.prev = q.first, w
		q.first = w
	default:
		w.prev, q.last.next = q.last, w
		q.last = w
	}
	if !q.sleeping {
		q.sleeping = true
		go q.sleep()
	}
}

// unlinkLocked takes w out.
func (q *queue) unlinkLocked(w *waiter) {
	if w.prev == nil {
		q.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		q.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next, w.queued = nil, nil, false
}

// remove takes w out for good. It reports false when a wake-up had done so
// already, which makes it w's to pass on.
func (q *queue) remove(w *waiter) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !w.queued {
		return false
	}
	q.unlinkLocked(w)
	return true
}

// leave is for a waiter that gives up.
func (q *queue) leave(w *waiter) {
	if !q.remove(w) {
		q.passOn()
	}
}

// passOn hands a wake-up that is of no use here to the next.
func (q *queue) passOn() {
	q.mu.Lock()
	local := q.wakeFirstLocked()
	q.mu.Unlock()
	if !local {
		wake(q.word, 1)
	}
}

// wakeFirstLocked wakes the goroutine that has waited longest, if there is one.
func (q *queue) wakeFirstLocked() bool {
	w := q.first
	if w == nil {
		return false
	}
	q.unlinkLocked(w)
	w.ready <- struct{}{} // has room: w was in the queue
	return true
}

func (q *queue) wakeAllLocked() {
	for q.wakeFirstLocked() {
	}
}

// sleep is the sleeper. It ends when nobody waits any more.
func (q *queue) sleep() {
	slice := minSlice
	woken := false
	for {
		w := q.load()
		q.mu.Lock()
		if q.first == nil {
			q.sleeping = false
			q.mu.Unlock()
			if woken && !w.held() {
				wake(q.word, 1)
			}
			return
		}
		if w.free() {
			q.wakeFirstLocked()
		} else if !w.held() {
			q.wakeAllLocked()
		}
		q.mu.Unlock()
		// Sleeping on a word that is free is right: who was just woken takes the
		// lock with the waiters bit set, so that the unlock wakes the sleeper.
		woken = sleep(q.word, w, slice)
		if woken {
			slice = minSlice
			continue
		}
		slice = min(2*slice, maxSlice)
		if w := q.load(); w.held() && w.token() != q.m.Token() {
			q.bury(w)
		}
	}
}

// bury takes the lock from its holder if that one died. It reports whether the
// word is no longer w.
func (q *queue) bury(w word) bool {
	if q.m.Alive(w.token()) {
		return q.load() != w
	}
	// Exactly the word that was asked about: had the holder let go before it
	// died, or somebody else been here first, this fails.
	if q.cas(w, w.diedOn()) {
		crash.At("lock.buried")
		wake(q.word, math.MaxInt32)
	}
	return true
}

// release puts next of the word into it and wakes who is next: here, or, from
// time to time and when nobody waits here, elsewhere.
func (q *queue) release(m *Mutex, next func(word) word) {
	q.mu.Lock()
	var w, n word
	local := false
	for {
		w = q.load()
		if !m.mine(w) {
			q.mu.Unlock()
			return
		}
		n = next(w)
		local = !n.abandoned() && q.first != nil && q.streak < maxStreak
		if local {
			n |= w & waiters // still true: nobody elsewhere is woken
		}
		if q.cas(w, n) {
			break
		}
	}
	crash.At("lock.released")
	switch {
	case n.abandoned():
		q.wakeAllLocked()
		q.streak = 0
		q.mu.Unlock()
		wake(q.word, math.MaxInt32)
	case local:
		q.wakeFirstLocked()
		q.streak++
		q.mu.Unlock()
	default:
		q.streak = 0
		q.mu.Unlock()
		if w.waiters() {
			wake(q.word, 1)
		}
	}
}

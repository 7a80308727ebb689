package lock

import (
	"context"
	"math"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/go-multiproc/multiproc/internal/crash"
	"github.com/go-multiproc/multiproc/internal/detector"
	"github.com/go-multiproc/multiproc/internal/mem"
	"github.com/go-multiproc/multiproc/internal/seg"
	"github.com/go-multiproc/multiproc/internal/sys"
)

// Slices bound what a wake-up that was lost with its waker costs, and how long a
// death goes unnoticed. Nothing else needs them to end: tests make them longer
// than they run.
var (
	minSlice = time.Millisecond
	maxSlice = 25 * time.Millisecond
)

const (
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

// patience is how long a waiter lets newcomers go first. They are served without
// anybody having to wake up, so that it would be slow to be fair always; but some
// leave the lock free for so short that a waiter who was woken comes too late each
// time. Tests have none.
var patience = 5 * time.Millisecond

var manyCPUs = runtime.NumCPU() > 1

// A queue is the process-local side of one lock: the goroutines of this process
// that wait for it, whichever handle they came by, in order of arrival.
type queue struct {
	order detector.Order
	m     *seg.Mapping
	word  *mem.Uint64
	notes *notes // nil: nothing is written down

	spinning atomic.Bool  // one goroutine spins at a time
	starving atomic.Int32 // how many here have lost their patience

	mu          mem.Mutex // protects what follows
	first, last *waiter
	menders     int           // how many in the queue wait for a repair only
	asleep      chan struct{} // closed when the sleeper ends; nil if it does not run
	suspended   bool          // no sleeper may run
	streak      int
}

// A waiter is a goroutine in the queue, or just taken out of it by a wake-up.
type waiter struct {
	ready      chan struct{} // gets one value for each time it is taken out
	mender     bool          // has nothing to wait for when the lock is not abandoned
	queued     bool
	came       time.Time
	prev, next *waiter
}

// A mending is what somebody remembers who repairs a lock, or waits for that.
type mending struct {
	mine   bool // it got the lock
	probed bool // it has seen that the holder lives
}

func (m *mending) flag() uint64 { return mem.Flags(m != nil && m.probed) }

func newQueue(m *seg.Mapping, w *mem.Uint64) *queue {
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

// An attempt looks at the word and tries to change it as its caller wants.
type attempt func(w word, t turn) (verdict, error)

// A turn is what an attempt has to know of its caller.
type turn struct {
	// sticky is the waiters bit if others may be asleep who count on the caller to
	// wake them, for the attempt to put into the word that it makes.
	sticky word
	// due says that the caller was woken, or is starving, and so no newcomer.
	due bool
}

// mayTake reports whether the lock can be taken now, by one whose turn it is so.
func (w word) mayTake(t turn) bool { return w.free() || t.due && w.due() }

// wait makes attempts until one is settled, ctx ends or the handle h, which may
// be nil, is closed. mend is a mender's, whose attempts are settled when the lock is
// not abandoned; nil for others.
func (q *queue) wait(ctx context.Context, h *seg.Handle, mend *mending, try attempt) error {
	if h != nil && h.Closed() {
		return h.ErrClosed()
	}
	for {
		mem.Mark("lock.first", mend.flag())
		v, err := try(q.load(), turn{})
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

	me := &waiter{ready: make(chan struct{}, 1), mender: mend != nil, came: time.Now()}
	q.enter(me, false)
	woken := false // by somebody who counts on it that the word is looked after
	starving := false
	defer func() {
		if starving {
			q.fed()
		}
	}()
	for {
		mem.Mark("lock.wait", mem.Flags(woken, starving), mend.flag())
		if h != nil && h.Closed() {
			q.leave(me, woken)
			return h.ErrClosed()
		}
		w := q.load()
		v, err := try(w, turn{sticky: waiters, due: woken || starving})
		switch v {
		case settled:
			q.leave(me, woken)
			return err
		case taken:
			// A wake-up that came meanwhile need not be passed on: the unlock to
			// come does that, thanks to the sticky bit.
			q.remove(me)
			return nil
		case again:
			continue
		}
		if woken && !starving && mend == nil && mem.Elapsed(me.came, patience) {
			starving = true
			q.starving.Add(1)
		}
		// Whoever unlocks has to know of the sleeper. The sleeper itself need
		// not see the bit: setting it changes what the kernel compares.
		notice := waiters
		if starving {
			notice |= hungry
		}
		if w&notice != notice && !q.cas(w, w|notice) {
			continue
		}
		// With the bit set, the next unlock wakes somebody.
		woken = false
		crash.At("lock.waiting")
		mem.Mark("lock.await", mem.Flags(starving), mend.flag())
		if !mem.Await(me.ready, ctx.Done()) {
			q.leave(me, false)
			return ctx.Err()
		}
		woken = true
		q.enter(me, true) // who has waited longest is first again
	}
}

// spin tries for some microseconds without queueing up.
func (q *queue) spin(try attempt) (verdict, error) {
	if mem.Explored || !manyCPUs || !q.spinning.CompareAndSwap(false, true) {
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
			if v, err := try(w, turn{}); v == settled || v == taken {
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
	if w.mender {
		q.menders++
	}
	q.startSleeperLocked()
}

// startSleeperLocked starts the sleeper if it is needed and may run.
func (q *queue) startSleeperLocked() {
	if q.first == nil || q.asleep != nil || q.suspended {
		return
	}
	q.asleep = make(chan struct{})
	ended := q.asleep
	mem.Go(func() { q.sleep(ended) })
}

// unlinkLocked takes w out.
func (q *queue) unlinkLocked(w *waiter) {
	if w.mender {
		q.menders--
	}
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

// leave is for a waiter that does not want the lock. If it was woken, somebody
// else is woken instead.
func (q *queue) leave(w *waiter, woken bool) {
	if !q.remove(w) || woken {
		q.passOn()
	}
}

// passOn hands a wake-up that is of no use here to the next.
func (q *queue) passOn() {
	q.mu.Lock()
	local := q.wakeFirstLocked()
	q.mu.Unlock()
	if !local {
		mem.Wake(q.word, 1)
	}
}

// wakeFirstLocked wakes the goroutine that has waited longest, if there is one.
func (q *queue) wakeFirstLocked() bool {
	w := q.first
	if w == nil {
		return false
	}
	q.wakeLocked(w)
	return true
}

// wakeLocked takes w, which is in the queue, out and wakes it.
func (q *queue) wakeLocked(w *waiter) {
	q.unlinkLocked(w)
	w.ready <- struct{}{} // has room: w was in the queue
}

func (q *queue) wakeAllLocked() {
	for q.wakeFirstLocked() {
	}
}

// wakeMendersLocked wakes those who wait for a repair.
func (q *queue) wakeMendersLocked() {
	for w := q.first; w != nil && q.menders > 0; {
		next := w.next
		if w.mender {
			q.wakeLocked(w)
		}
		w = next
	}
}

// sleep is the sleeper. It ends when nobody waits any more, or when suspended.
func (q *queue) sleep(ended chan<- struct{}) {
	defer close(ended)
	slice := minSlice
	woken := false
	due := false // woken, or a slice is over: what is free was left to us, or nobody takes it
	for {
		mem.Mark("lock.sleep", mem.Flags(woken, due), uint64(slice))
		w := q.load()
		q.mu.Lock()
		if q.first == nil || q.suspended {
			q.asleep = nil
			if q.notes != nil {
				q.notes.gone(q.m)
			}
			q.mu.Unlock()
			if woken {
				// It may have been meant for somebody elsewhere. Whatever the word
				// says by now: the unlock that it came from has cleared the waiters
				// bit, and who comes next sets it.
				mem.Mark("lock.ended")
				mem.Wake(q.word, 1)
			}
			return
		}
		switch {
		case w.mayTake(turn{due: due || q.starving.Load() > 0}):
			q.wakeFirstLocked()
		case w.due(): // others have waited for longer
		case !w.held():
			q.wakeAllLocked()
		case !w.abandoned():
			q.wakeMendersLocked()
		}
		q.mu.Unlock()
		// Sleeping on a word that is free is right: who was just woken takes the
		// lock with the waiters bit set, so that the unlock wakes the sleeper. But
		// if a newcomer took it in the meantime, without the bit, its unlock would
		// wake nobody: neither here nor, the wake-up being spent, elsewhere.
		if w.held() && !w.waiters() {
			if !q.cas(w, w|waiters) {
				continue
			}
			w |= waiters
		}
		mem.Mark("lock.asleep", uint64(slice))
		end := mem.Wait(q.word, uint64(w), slice)
		// A hungry one that was woken may need some milliseconds for a CPU; one that
		// died never comes.
		woken, due = end == mem.Woken, end == mem.Woken || end == mem.Over && slice >= maxSlice/4
		if end != mem.Over {
			slice = minSlice
			continue
		}
		slice = min(2*slice, maxSlice)
		w = q.load()
		q.note(w)
		if w.held() && w.token() != q.m.Token() {
			q.bury(w)
		}
	}
}

// note writes down for an operator what a slice's end has shown.
func (q *queue) note(w word) {
	if q.notes == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.first != nil && !q.suspended {
		q.notes.seen(q.m, w, q.first.came)
	}
}

// fed is called by one who was starving and has got the lock, or gave up: newcomers
// must not wait for somebody who does not come. The last one here to be fed takes
// back the bit for all, since those who gave up before have left it to him.
func (q *queue) fed() {
	if q.starving.Add(-1) > 0 {
		return
	}
	// It may be another process's bit by now; that one sets it again.
	for w := q.load(); w.hungry(); w = q.load() {
		if q.cas(w, w&^hungry) {
			if !w.held() {
				q.passOn()
			}
			return
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
		mem.Wake(q.word, math.MaxInt32)
	}
	return true
}

// mended tells those who wait for a repair that it was done.
func (q *queue) mended() {
	q.mu.Lock()
	q.wakeMendersLocked()
	q.mu.Unlock()
	mem.Wake(q.word, math.MaxInt32)
}

// Suspend implements seg.Waiter.
func (q *queue) Suspend() {
	q.mu.Lock()
	q.suspended = true
	ended := q.asleep
	q.mu.Unlock()
	if ended == nil {
		return
	}
	// If the sleeper is about to sleep, the kernel has to find another word than
	// the one that it has seen. The count is free to go up at any time: whoever
	// changes a word starts over when it has changed. If the sleeper is asleep, it
	// has to be woken; nobody can be picked out, so all are.
	for w := q.load(); !q.cas(w, w.renumbered()); w = q.load() {
	}
	mem.Wake(q.word, math.MaxInt32)
	mem.Await(ended, nil)
}

// Resume implements seg.Waiter. Goroutines that still are in the queue have the
// word in the zero pages to themselves.
func (q *queue) Resume() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.suspended = false
	q.startSleeperLocked()
	q.wakeAllLocked()
}

// release puts next of the word into it and wakes who is next: here, or, from
// time to time and when nobody waits here, elsewhere. It reports false, and does
// nothing, when the lock is not m's.
func (q *queue) release(m *Mutex, next func(word) word) bool {
	defer runtime.KeepAlive(m) // until the wake-up is out: see Mutex.h
	q.mu.Lock()
	var w, n word
	local := false
	for {
		w = q.load()
		if !m.mine(w) {
			q.mu.Unlock()
			return false
		}
		n = next(w)
		local = !w.abandoned() && q.first != nil && q.streak < maxStreak &&
			(!w.hungry() || q.starving.Load() > 0)
		if local {
			n |= w & waiters // still true: nobody elsewhere is woken
		}
		if q.cas(w, n) {
			break
		}
	}
	crash.At("lock.released")
	switch {
	case w.abandoned():
		// Repaired or not: that is news for everybody.
		q.wakeAllLocked()
		q.streak = 0
		q.mu.Unlock()
		mem.Wake(q.word, math.MaxInt32)
	case local:
		q.wakeFirstLocked()
		q.streak++
		q.mu.Unlock()
	default:
		q.streak = 0
		q.mu.Unlock()
		if w.waiters() {
			mem.Mark("lock.released")
			mem.Wake(q.word, 1)
		}
	}
	return true
}

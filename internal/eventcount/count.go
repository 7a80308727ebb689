package eventcount

import (
	"math"
	"sync"
	"time"

	"github.com/go-multiproc/multiproc/internal/mem"
	"github.com/go-multiproc/multiproc/internal/seg"
)

// Size is how many bytes a count takes. They must stand on a multiple of it.
const Size = 8

// A Count is an eventcount, as one process has it. It is safe for use by goroutines and
// processes. It does not keep its memory: who calls a method keeps the handle reachable.
type Count struct {
	word  *mem.Uint64
	group uint32 // see mem.WakeGroup

	spinner spinner

	// Only the leader uses these; see beScheduled.
	sleeps    uint
	scheduled time.Time

	mu        mem.Mutex  // protects what follows
	leader    *waiter    // the one that sleeps in the futex, or is about to; nil if nobody waits
	queue     list       // the others, in order of arrival
	sleeping  bool       // the leader does
	suspended bool       // nobody may sleep
	awake     *sync.Cond // sleeping became false; nil until somebody wants to know
	spare     *waiter    // for the next wait
	watched   <-chan struct{}
	unwatch   func() bool // nil, or ends the watch over the ctx whose Done is watched
}

// At is the count whose word stands at off in the file, a multiple of Size. There is one
// for each process and word.
func At(m *seg.Mapping, off int) *Count {
	return m.Local(off, func() any { return New(m.Word(off), m.Token()) }).(*Count)
}

// New is a count for one process, whose token serves to tell it from others. It is for where
// there is no mapping.
func New(w *mem.Uint64, token uint64) *Count {
	return &Count{word: w, group: 1 << (token % 32)}
}

// Notify is called after a change that lets one waiter go on. If that one does not want
// to any more, it passes the notification on. Who notifies once for a change that
// lets several go on has each of them call Notify in turn, or calls Broadcast.
func (c *Count) Notify() {
	if c.word.Load()&waiters != 0 {
		ring(c.word, 1)
	}
}

// Broadcast is called after a change that concerns all waiters.
func (c *Count) Broadcast() {
	if c.word.Load()&waiters != 0 {
		ring(c.word, math.MaxInt32)
	}
}

// Busy reports whether somebody may be asleep.
func (c *Count) Busy() bool { return c.word.Load()&waiters != 0 }

// HandleClosed has those waiters of this process return whose handle was closed.
func (c *Count) HandleClosed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wakeAllLocked()
	if c.sleeping {
		jog(c.word, c.group)
	}
}

// Suspend implements seg.Waiter.
func (c *Count) Suspend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.suspended = true
	c.forgetLocked() // the callback, if it has begun, finds that c is suspended
	if c.awake == nil {
		c.awake = sync.NewCond(&c.mu)
	}
	for c.sleeping {
		jog(c.word, c.group)
		c.awake.Wait()
	}
	if c.leader != nil {
		// It may have been woken, and can not pass that on once the memory is gone.
		ring(c.word, 1)
	}
}

// Forget ends the watch over the ctx of the last wait, which outlasts that. It is for a count
// without a mapping, of which nobody calls Suspend.
func (c *Count) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forgetLocked()
}

func (c *Count) forgetLocked() {
	if c.unwatch != nil {
		c.unwatch()
		c.watched, c.unwatch = nil, nil
	}
}

// Resume implements seg.Waiter. Those who still wait find their handles closed.
func (c *Count) Resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.suspended = false
	c.wakeAllLocked()
}

func (c *Count) wakeAllLocked() {
	if c.leader != nil {
		c.leader.wake() // it may be kept from sleeping
	}
	for w := c.queue.first; w != nil; w = w.next {
		w.wake()
	}
}

// A list is a queue of waiters.
type list struct{ first, last *waiter }

func (l *list) push(w *waiter) {
	w.queued = true
	if l.last == nil {
		l.first = w
	} else {
		w.prev, l.last.next = l.last, w
	}
	l.last = w
}

func (l *list) remove(w *waiter) {
	if w.prev == nil {
		l.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		l.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next, w.queued = nil, nil, false
}

var _ seg.Waiter = (*Count)(nil)

package cond

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/go-multiproc/multiproc/internal/crash"
	"github.com/go-multiproc/multiproc/internal/eventcount"
	"github.com/go-multiproc/multiproc/internal/mem"
	"github.com/go-multiproc/multiproc/internal/seg"
)

// Context is all that a wait has to know of its caller.
type Context struct {
	context.Context
	Handle *seg.Handle // ends the wait with its ErrClosed when it is closed; may be nil
	// Wake, if not nil, is asked at the end of each slice whether there is another reason to
	// wake up.
	Wake func() bool
}

// A Waiter is a goroutine that waits, from Enter to the end of Await or Withdraw.
type Waiter struct {
	ctx       Context
	want      eventcount.Wanted // made once, and used again
	record    Record
	epoch     int
	signalled atomic.Bool
	ready     chan struct{} // has room for one: it was signalled, or leads now

	prev, next *Waiter // protected by Cond.mu
}

// newWaiterLocked makes a Waiter, or takes the one that is left from last time.
func (c *Cond) newWaiterLocked() *Waiter {
	w := c.spare
	c.spare = nil
	if w == nil {
		w = &Waiter{ready: make(chan struct{}, 1)}
		w.want.Try = func() (bool, error) { return c.take(w), nil }
		w.want.Dead = func() { c.slice(w) }
	}
	w.record, w.epoch = c.mine, c.epoch
	return w
}

// finish ends w, and keeps it for the next wait.
func (c *Cond) finish(w *Waiter) {
	w.ctx, w.want.Handle = Context{}, nil
	c.mu.Lock()
	defer c.mu.Unlock()
	// Whoever signalled w did so under c.mu, and is through with it.
	w.signalled.Store(false)
	select {
	case <-w.ready:
	default:
	}
	c.spare = w
}

func (w *Waiter) wake() {
	select {
	case w.ready <- struct{}{}:
	default: // it is on its way already
	}
}

// Enter counts the caller among those who wait. Whoever signals from now on can mean it.
// The caller still has its lock.
func (c *Cond) Enter() (*Waiter, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.registerLocked(); err != nil {
		return nil, err
	}
	for {
		v := c.mine.counts()
		if v.of(c.token) && v.waiting()+v.signalled() == maxNumber {
			return nil, fmt.Errorf("psync: more than %d goroutines of a process wait on one Cond", maxNumber)
		}
		if c.mine.cas(v, v.plusWaiting(c.token)) {
			break
		}
	}
	crash.At("cond.counted")
	w := c.newWaiterLocked()
	if c.last == nil {
		c.first = w
	} else {
		w.prev, c.last.next = c.last, w
	}
	c.last = w
	return w, nil
}

// Await waits until w was signalled, or for another reason to end: ctx's error, or the
// handle's ErrClosed. Then w is no more.
func (c *Cond) Await(ctx Context, w *Waiter) error {
	defer c.finish(w)
	w.ctx, w.want.Handle = ctx, ctx.Handle
	for {
		if w.signalled.Load() {
			return nil
		}
		if ctx.Handle != nil && ctx.Handle.Closed() {
			return c.giveUp(w, ctx.Handle.ErrClosed())
		}
		if count := c.leads(w); count != nil {
			if err := count.Wait(ctx, w.want); err != nil {
				return c.giveUp(w, err)
			}
			return nil
		}
		if !mem.Await(w.ready, ctx.Done()) {
			return c.giveUp(w, ctx.Err())
		}
	}
}

// slice is what there is to do at the end of a slice.
func (c *Cond) slice(w *Waiter) {
	c.search()
	if w.ctx.Wake != nil && w.ctx.Wake() {
		c.signal(w.record, maxNumber)
	}
}

// leads returns where to sleep, if w is the one that does so for the process.
func (c *Cond) leads(w *Waiter) *eventcount.Count {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.first != w {
		return nil
	}
	return c.count
}

// take takes in the signals that have come, and reports whether one is w's.
func (c *Cond) take(w *Waiter) bool {
	if w.signalled.Load() || w.record.counts().signalled() == 0 {
		return w.signalled.Load()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.epoch == w.epoch && !w.signalled.Load() {
		c.takeLocked(w)
	}
	return w.signalled.Load()
}

// takeLocked hands the signals that have come to those who have waited longest. w is
// the caller.
func (c *Cond) takeLocked(w *Waiter) {
	v := c.mine.counts()
	for ; !c.mine.cas(v, v.taken()); v = c.mine.counts() {
	}
	crash.At("cond.taken")
	leader := c.first
	for range v.signalled() {
		if c.first == nil {
			break // more signals than waiters: somebody wrote into the record
		}
		to := c.first
		c.unlinkLocked(to)
		to.signalled.Store(true)
		to.wake()
	}
	if leader != w && leader != c.first {
		c.count.Broadcast() // it sleeps there
	}
}

// unlinkLocked takes w out, and has the next one lead.
func (c *Cond) unlinkLocked(w *Waiter) {
	if w.next == nil {
		c.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	if w.prev != nil {
		w.prev.next = w.next
	} else if c.first = w.next; c.first != nil {
		c.first.wake()
	}
	w.prev, w.next = nil, nil
}

// giveUp takes w out because of why. If w was signalled meanwhile, that is what ended its
// wait, and the signal is not lost.
func (c *Cond) giveUp(w *Waiter, why error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	mem.Enter()
	defer mem.Leave()
	for {
		if w.signalled.Load() {
			return nil
		}
		if c.epoch != w.epoch {
			break // the record is gone, and w's place in it
		}
		v := c.mine.counts()
		if v.signalled() > 0 {
			c.takeLocked(w)
			continue
		}
		if v.waiting() == 0 || c.mine.cas(v, v-1) {
			break
		}
	}
	c.unlinkLocked(w)
	return why
}

// Withdraw undoes Enter, for a caller that can not wait after all.
func (c *Cond) Withdraw(w *Waiter) {
	defer c.finish(w)
	if c.giveUp(w, errWithdrawn) == nil {
		c.Signal() // it was not for this one
	}
}

var errWithdrawn = fmt.Errorf("withdrawn")

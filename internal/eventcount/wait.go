package eventcount

import (
	"context"
	"runtime"
	"time"

	"github.com/go-multiproc/multiproc/internal/crash"
	"github.com/go-multiproc/multiproc/internal/mem"
	"github.com/go-multiproc/multiproc/internal/seg"
)

// Slices bound what a wake-up that was lost with its waker costs, and how long a death
// goes unnoticed. Nothing else needs them to end: tests make them longer than they run.
var (
	minSlice = time.Millisecond
	maxSlice = 25 * time.Millisecond
)

// A Wanted is what a goroutine waits for.
type Wanted struct {
	// Try looks whether the caller can go on, and if so does what it waited for: takes the
	// permit, removes the message. It may be called often, must not block for long, and
	// must be sure of a false. An error ends the wait.
	Try func() (done bool, err error)

	// Ready is for waiters that wait for something of their own, for which another
	// waiter's Try can not speak: it looks whether Try would do any good, without changing
	// anything, and is called by other goroutines, with locks held. Waiters without Ready are
	// interchangeable: while one of them finds nothing, neither would the others.
	Ready func() bool

	// Awoke, if not nil, is called before the first Try after each sleep. It is for who
	// treats newcomers otherwise.
	Awoke func()

	// Dead, if not nil, is called at the end of each slice that brought nothing, in one
	// waiter of the process, to look for what dead processes have left behind and to mend
	// it. If others profit from that, it notifies them.
	Dead func()

	// Knows, if not nil, is what the above remember from one call to the next, for mem.Mark.
	Knows func() uint64

	// Handle, if not nil, ends the wait with seg.ErrClosed when it is closed.
	Handle *seg.Handle
}

func (w *Wanted) closed() bool { return w.Handle != nil && w.Handle.Closed() }

func (w *Wanted) awoke() {
	if w.Awoke != nil {
		w.Awoke()
	}
}

// try is Try for a caller who knows more than its callees say.
func (w *Wanted) try() (done bool, err error) {
	mem.Enter()
	done, err = w.Try()
	mem.Leave()
	return done, err
}

func (w *Wanted) knows() uint64 {
	if w.Knows == nil {
		return 0
	}
	return w.Knows()
}

// A waiter is a goroutine in Wait.
type waiter struct {
	want       *Wanted
	ready      chan struct{} // has room for one
	queued     bool
	prev, next *waiter
}

func (w *waiter) wake() {
	select {
	case w.ready <- struct{}{}:
	default: // it is on its way already
	}
}

// Wait returns nil when Try was done, Try's error, seg.ErrClosed when the handle was closed, or
// ctx's error, in the order in which they come; if ctx has ended before, Try is still called once.
// Try and its friends live on the heap, so callers look for themselves before they make them.
func (c *Count) Wait(ctx context.Context, want Wanted) error {
	if want.closed() {
		return seg.ErrClosed
	}
	if done, err := want.Try(); done || err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if done, err := c.spinner.spin(want.look); done || err != nil {
		return err
	}
	mem.Enter()
	err := c.wait(ctx, &want)
	mem.Leave()
	runtime.KeepAlive(want.Handle) // with it goes the memory
	return err
}

func (c *Count) wait(ctx context.Context, want *Wanted) error {
	me := &waiter{want: want, ready: make(chan struct{}, 1)}
	leads := c.enter(me)
	var cancelled func() bool // stops the watch over ctx
	defer func() {
		if cancelled != nil {
			cancelled()
		}
	}()
	woken := false // by a notification that counts on it that somebody looks
	for slice := minSlice; ; {
		mem.Mark("eventcount.wait", uint64(slice), mem.Flags(woken, leads, cancelled != nil), want.knows())
		if want.closed() {
			c.leave(me, woken)
			return seg.ErrClosed
		}
		if done, err := want.try(); done || err != nil {
			c.leave(me, woken && !done)
			return err
		}
		woken = false
		if err := ctx.Err(); err != nil {
			c.leave(me, false)
			return err
		}
		if !leads {
			if mem.Await(me.ready, ctx.Done()) {
				woken = true
				want.awoke()
			}
			leads = c.leads(me)
			continue // by way of Try: whoever is woken looks, even if ctx has ended
		}
		if cancelled == nil && ctx.Done() != nil {
			cancelled = mem.AfterFunc(ctx, func() { c.jogLeader(me) })
		}
		key := announce(c.word)
		crash.At("eventcount.announced")
		// From here on, whoever changes what we wait for rings. What was changed before, we
		// see now; ctx and the handle are such things, too.
		if want.closed() || ctx.Err() != nil {
			continue
		}
		mem.Mark("eventcount.announced", key, uint64(slice), mem.Flags(cancelled != nil), want.knows())
		if done, err := want.try(); done || err != nil {
			c.leave(me, !done)
			return err
		}
		if !c.fallAsleep() {
			mem.Await(me.ready, ctx.Done()) // Resume, or HandleClosed
			continue
		}
		mem.Mark("eventcount.asleep", uint64(slice), mem.Flags(cancelled != nil), want.knows())
		end := mem.WaitGroup(c.word, key, slice, c.group)
		c.wakeUp()
		switch end {
		case mem.Woken:
			woken = true
			want.awoke()
			slice = minSlice
		case mem.Skipped:
			slice = minSlice
		case mem.Over:
			slice = min(2*slice, maxSlice)
			want.awoke()
			if want.Dead != nil && !want.closed() {
				mem.Enter()
				want.Dead()
				mem.Leave()
			}
		}
	}
}

// enter reports whether w leads, or else queues it up.
func (c *Count) enter(w *waiter) (leads bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leader == nil {
		c.leader = w
		return true
	}
	c.queue.push(w)
	return false
}

func (c *Count) leads(w *waiter) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leader == w
}

// leave takes w out. If it led, the next one does, who looks at once. Otherwise a
// notification that w has not made use of goes to another process.
func (c *Count) leave(w *waiter, unused bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leader != w {
		c.queue.remove(w)
		return
	}
	c.leader = c.queue.first
	if c.leader != nil {
		c.queue.remove(c.leader)
		c.leader.wake()
		return
	}
	if unused {
		ring(c.word, 1)
	}
}

// fallAsleep reports whether the leader may sleep. Before it does, those who wait for
// something else get to know what it can not tell them any more.
func (c *Count) fallAsleep() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.suspended {
		return false
	}
	c.wakeReadyLocked()
	c.sleeping = true
	return true
}

func (c *Count) wakeUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sleeping = false
	if c.awake != nil {
		c.awake.Broadcast()
	}
	c.wakeReadyLocked()
}

// wakeReadyLocked wakes those for whom the leader's Try does not speak.
func (c *Count) wakeReadyLocked() {
	for w := c.queue.first; w != nil; w = w.next {
		if w.want.Ready != nil && (w.want.closed() || w.want.Ready()) {
			w.wake()
		}
	}
}

// jogLeader wakes the leader if it is w.
func (c *Count) jogLeader(w *waiter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leader == w && !c.suspended {
		jog(c.word, c.group)
	}
}

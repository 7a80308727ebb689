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
//
// The first is longer than the time between two ticks of most kernels, 4 ms. A timer that ends before
// the next tick has to be set in the clock itself, and the tick again afterwards, which takes
// as long as the rest of the sleep, on a virtual machine at least.
var (
	minSlice = 5 * time.Millisecond
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

	// Looked says that the caller has just tried, or looked at what decides that, and has spun:
	// Wait begins with what leads to sleep.
	Looked bool

	// Handle, if not nil, ends the wait with its ErrClosed when it is closed.
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
	if !mem.Explored || w.Knows == nil {
		return 0
	}
	return w.Knows()
}

// A waiter is a goroutine in Wait.
type waiter struct {
	want       Wanted
	done       <-chan struct{} // its ctx's
	ready      chan struct{}   // has room for one
	queued     bool
	prev, next *waiter
}

func (w *waiter) wake() {
	select {
	case w.ready <- struct{}{}:
	default: // it is on its way already
	}
}

// Wait returns nil when Try was done, Try's error, the handle's ErrClosed when that was closed, or
// ctx's error, in the order in which they come; if ctx has ended before, Try is still called once.
// Try and its friends live on the heap, so callers look for themselves before they make them.
func (c *Count) Wait(ctx context.Context, want Wanted) error {
	if !want.Looked {
		if want.closed() {
			return want.Handle.ErrClosed()
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
	}
	mem.Enter()
	err := c.wait(ctx, want)
	mem.Leave()
	runtime.KeepAlive(want.Handle) // with it goes the memory
	return err
}

func (c *Count) wait(ctx context.Context, w Wanted) error {
	me, leads := c.enter(ctx, w)
	want := &me.want
	looked := leads // by Wait, and once more before it sleeps
	woken := false  // by a notification that counts on it that somebody looks
	for slice := minSlice; ; looked = false {
		if !looked {
			mem.Mark("eventcount.wait", uint64(slice), mem.Flags(woken, leads), want.knows())
			if want.closed() {
				c.leave(me, woken)
				return want.Handle.ErrClosed()
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
		}
		if !leads {
			if mem.Await(me.ready, me.done) {
				woken = true
				want.awoke()
			}
			leads = c.leads(me)
			continue // by way of Try: whoever is woken looks, even if ctx has ended
		}
		if !c.watches(me.done) {
			c.watch(ctx, me.done) // before it announces itself, or it would have to do that again
		}
		c.beScheduled()
		key := announce(c.word)
		crash.At("eventcount.announced")
		// From here on, whoever changes what we wait for rings. What was changed before, we
		// see now; ctx and the handle are such things, too.
		if want.closed() || ctx.Err() != nil {
			continue
		}
		mem.Mark("eventcount.announced", key, uint64(slice), want.knows())
		if done, err := want.try(); done || err != nil {
			c.leave(me, !done)
			return err
		}
		switch c.fallAsleep(me) {
		case suspended:
			mem.Await(me.ready, me.done) // Resume, or HandleClosed
			continue
		case unwatched:
			c.watch(ctx, me.done)
			continue
		}
		mem.Mark("eventcount.asleep", uint64(slice), want.knows())
		end := c.sleep(key, slice)
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

// A goroutine that only wakes others and sleeps here never passes Go's scheduler, for which it has run all the time. When that is 10 ms,
// the runtime (of Go 1.26) takes its P away in each system call in which sysmon finds it, to be had back under the scheduler's lock
// only; and sysmon, since it has found something to do, looks again after 20 µs, on a CPU that the other side may need. That makes a
// round trip between two processes on one CPU longer by a third. So who sleeps as often as that is scheduled before.
//
// Who sleeps now and then is not: Gosched starts a thread that looks for work, on the CPU of the other side as like as not, and has the
// kernel put both on one. A stream of messages is slower by half for some milliseconds then.
const (
	scheduleEach = 5 * time.Millisecond
	tooLate      = 10 * time.Millisecond
	oftenAsleep  = 100 // sleeps in that time
)

// beScheduled is called by the leader before it announces itself, while nobody rings it.
func (c *Count) beScheduled() {
	if c.sleeps++; c.sleeps%oftenAsleep != 0 || mem.Explored {
		return
	}
	since := time.Since(c.scheduled)
	if since < scheduleEach {
		return
	}
	if since < tooLate {
		runtime.Gosched()
	}
	c.scheduled = time.Now()
}

// sleep sleeps in the futex. The first slice, which is all that most waits need, is for whatever
// jog comes: to sleep as one of a group takes a look at the clock.
func (c *Count) sleep(key uint64, slice time.Duration) mem.End {
	if slice == minSlice {
		return mem.Wait(c.word, key, slice)
	}
	return mem.WaitGroup(c.word, key, slice, c.group)
}

// enter makes a waiter, or takes the one that is left from last time, and reports whether it
// leads, or else queues it up.
func (c *Count) enter(ctx context.Context, want Wanted) (w *waiter, leads bool) {
	done := ctx.Done()
	c.mu.Lock()
	defer c.mu.Unlock()
	if w = c.spare; w != nil {
		c.spare = nil
	} else {
		w = &waiter{ready: make(chan struct{}, 1)}
	}
	w.want, w.done = want, done
	if c.leader == nil {
		c.leader = w
		return w, true
	}
	c.queue.push(w)
	return w, false
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
	defer c.keepLocked(w)
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

// keepLocked keeps a waiter for the next wait. Whoever woke it did so under mu, and is through
// with it.
func (c *Count) keepLocked(w *waiter) {
	w.want, w.done = Wanted{}, nil
	if len(w.ready) != 0 {
		<-w.ready
	}
	c.spare = w
}

// An answer is what becomes of a leader that wants to sleep.
type answer int

const (
	asleep answer = iota
	suspended
	unwatched // nobody watches over its ctx
)

// fallAsleep says whether the leader may sleep. Before it does, those who wait for
// something else get to know what it can not tell them any more.
func (c *Count) fallAsleep(w *waiter) answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.suspended:
		return suspended
	case w.done != nil && w.done != c.watched:
		return unwatched
	}
	c.wakeReadyLocked()
	c.sleeping = true
	return asleep
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

// watches reports whether nothing is to be done for the leader to be woken when the ctx whose Done that is ends.
func (c *Count) watches(done <-chan struct{}) bool {
	if done == nil {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return done == c.watched || c.suspended
}

// watch has the leader woken when ctx ends. The watch outlasts the wait, since the next one is
// likely to be for the same ctx, and setting it up takes as long as all the rest: until somebody
// waits for another, or the memory goes.
func (c *Count) watch(ctx context.Context, done <-chan struct{}) {
	stop := mem.AfterFunc(ctx, func() { c.jogLeader(done) })
	c.mu.Lock()
	if !c.suspended {
		c.watched = done
		c.unwatch, stop = stop, c.unwatch
	}
	c.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// jogLeader wakes the leader if it waits as long as done allows.
func (c *Count) jogLeader(done <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leader != nil && c.leader.done == done && !c.suspended {
		jog(c.word, c.group)
	}
}

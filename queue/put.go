package queue

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/go-multiproc/multiproc/internal/eventcount"
	"github.com/go-multiproc/multiproc/internal/lock"
	"github.com/go-multiproc/multiproc/internal/mem"
	"github.com/go-multiproc/multiproc/internal/ring"
)

// put adds a message, and waits for room as long as ctx allows. It does not keep b.
func (q *core) put(ctx context.Context, b []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ok, err := q.putNow(ctx, b)
	if ok || err != nil {
		return err
	}
	return q.putLate(ctx, b)
}

// putNow adds a message if there is room.
func (q *core) putNow(ctx context.Context, b []byte) (bool, error) {
	if err := q.producers.Lock(ctx, lock.Scoped); err != nil {
		return false, explain(err)
	}
	return q.putLocked(b)
}

// putLocked adds a message and gives the producers' lock back.
func (q *core) putLocked(b []byte) (bool, error) {
	w := q.r.Writer()
	o, err := w.Add(b)
	q.order.Release()
	published := w.Publish()
	if o == ring.Full {
		q.r.Large(len(b))
	}
	mem.Mark("queue.put.1", uint64(o), mem.Flags(published, err != nil))
	mem.Enter()
	if e := q.producers.Unlock(); e != nil && err == nil {
		err = explain(e)
	}
	mem.Leave()
	if published {
		q.notEmpty.Notify()
	}
	runtime.KeepAlive(q) // with the handle goes the memory
	return o == ring.Done, result(o, err)
}

// result is the error of an outcome.
func result(o ring.Outcome, err error) error {
	if err != nil {
		return explain(err)
	}
	if o == ring.Shut {
		return ErrClosed
	}
	return nil
}

// putMany adds messages in order, as many as there is room for, under one lock, and
// shows them in one step.
func (q *core) putMany(ctx context.Context, bs [][]byte) (n int, err error) {
	if err := q.producers.Lock(ctx, lock.Scoped); err != nil {
		return 0, explain(err)
	}
	w := q.r.Writer()
	o := ring.Done
	for n < len(bs) {
		if o, err = w.Add(bs[n]); o != ring.Done || err != nil {
			break
		}
		n++
	}
	q.order.Release()
	w.Publish()
	if o == ring.Full {
		q.r.Large(len(bs[n]))
	}
	if e := q.producers.Unlock(); e != nil && err == nil {
		err = explain(e)
	}
	switch {
	case n == 1:
		q.notEmpty.Notify()
	case n > 1:
		q.notEmpty.Broadcast()
	}
	runtime.KeepAlive(q)
	return n, result(o, err)
}

// awaitRoom waits until try, which needs room for n bytes, is done.
func (q *core) awaitRoom(ctx context.Context, n int, try func() (bool, error)) error {
	return q.awaitReadyRoom(ctx, try, func() bool { return q.r.RoomFor(n) })
}

func (q *core) awaitReadyRoom(ctx context.Context, try func() (bool, error), ready func() bool) error {
	q.sweepFirst(false)
	return explain(q.notFull.Wait(ctx, eventcount.Wanted{Try: try, Ready: ready, Dead: q.dig, Handle: q.h}))
}

// roomMade tells producers that there is more room.
func (q *core) roomMade() {
	if q.r.Mixed() {
		q.notFull.Broadcast()
	} else {
		q.notFull.Notify()
	}
}

// sweep looks for what dead processes have left behind. It is called by those who wait,
// at the end of a slice.
func (q *core) sweep() {
	ok, err := q.consumers.TryLock(lock.Scoped)
	if !ok || err != nil {
		return
	}
	defer q.consumers.Unlock()
	q.sweepLocked()
	if !q.r.HasOverflow() {
		return
	}
	// A producer that died in a Put of a big message left a gap.
	if ok, err := q.producers.TryLock(lock.Scoped); !ok || err != nil {
		return
	}
	more, err := q.r.SweepOverflow()
	_ = q.producers.Unlock()
	if more && err == nil {
		q.notFull.Broadcast()
	}
}

// sweepLocked looks for leases and reservations of the dead.
//
// Preconditions: the consumers' lock is held.
func (q *core) sweepLocked() {
	q.swept.Store(time.Now().UnixNano())
	found, err := q.r.Sweep(q.bury)
	if err != nil && !errors.Is(err, ErrBusy) {
		return // whoever takes the next message will hear of it
	}
	switch {
	case found.Passed || found.Returned > 1:
		q.notEmpty.Broadcast()
	case found.Returned == 1:
		q.notEmpty.Notify()
	}
	if found.Room {
		q.moved()
	}
}

// sweepEvery is how often those who never wait look for the dead, while something is in
// other processes' hands.
const sweepEvery = 25 * time.Millisecond

// sweepDue is false to the explorer: there, those who wait see to it.
func (q *core) sweepDue(every time.Duration) bool {
	return !mem.Explored && time.Now().UnixNano()-q.swept.Load() > int64(every)
}

// sweepFirst is for who finds no room, which a dead process may have leased; or lost, if it was for a
// big message. It reports whether it is worth to look again.
func (q *core) sweepFirst(big bool) bool {
	if !big && !q.r.Behind() || !mem.Explored && !q.sweepDue(time.Millisecond) {
		return false
	}
	q.sweep()
	return true
}

// bury puts a message among the dead letters. If there is no room, the oldest ones go.
//
// Preconditions: the consumers' lock is held, so that it does not wait for who does not go on.
func (q *core) bury(payload []byte, _ int) error {
	d := q.dead
	if d == nil {
		return nil
	}
	for {
		if err := d.lockFor(d.producers, moment); err != nil {
			return err
		}
		if ok, err := d.putLocked(payload); ok || err != nil {
			return err
		}
		if err := d.lockFor(d.consumers, moment); err != nil {
			return err
		}
		rd := d.r.Reader()
		o, err := rd.Next()
		dropped := o == ring.Done && err == nil
		if dropped {
			rd.Drop()
			d.r.CountDropped()
		}
		if _, e := rd.Publish(); err == nil {
			err = e
		}
		_ = d.consumers.Unlock()
		if err != nil {
			return err
		}
		if !dropped {
			return ErrBusy // others lease all of them
		}
	}
}

// shutdown lets nothing in any more.
func (q *core) shutdown() error {
	if err := q.producers.Lock(context.Background(), lock.Scoped); err != nil {
		return explain(err)
	}
	q.r.Shut()
	mem.Mark("queue.shut")
	err := q.producers.Unlock()
	q.notEmpty.Broadcast()
	q.notFull.Broadcast()
	q.idle.Broadcast()
	return explain(err)
}

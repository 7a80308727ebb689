package queue

import (
	"context"
	"runtime"
	"time"

	"github.com/go-multiproc/multiproc/internal/crash"
	"github.com/go-multiproc/multiproc/internal/eventcount"
	"github.com/go-multiproc/multiproc/internal/lock"
	"github.com/go-multiproc/multiproc/internal/mem"
	"github.com/go-multiproc/multiproc/internal/ring"
)

// getNow takes a message if there is one, into dst, whose length it must have; or, if
// that is 0, into the room behind it, and if there is not enough of it, into memory of its
// own.
func (q *core) getNow(ctx context.Context, dst []byte) ([]byte, bool, error) {
	if err := q.consumers.Lock(ctx, lock.Scoped); err != nil {
		return nil, false, explain(err)
	}
	return q.getLocked(dst)
}

// nextLocked begins to read, and finds the next message.
//
// Preconditions: the consumers' lock is held.
func (q *core) nextLocked(rd *ring.Reader) (o ring.Outcome, err error) {
	rd.Begin(q.r)
	if rd.Behind() && q.sweepDue(sweepEvery) {
		q.sweepLocked()
		rd.Begin(q.r)
	}
	o, err = rd.Next()
	if o == ring.Done || err != nil {
		return o, err
	}
	// Who has waited for the lock of a process that died must not have to wait for its lease,
	// or its reservation, once more.
	if (rd.Behind() || o == ring.Blocked) && (mem.Explored || q.sweepDue(time.Millisecond)) || rd.Orphan() {
		if _, err = rd.Publish(); err == nil {
			q.sweepLocked()
			rd.Begin(q.r)
			o, err = rd.Next()
		}
	}
	return o, err
}

// getLocked takes a message and gives the consumers' lock back.
func (q *core) getLocked(dst []byte) ([]byte, bool, error) {
	if err := q.r.Register(); err != nil {
		_ = q.consumers.Unlock()
		return nil, false, err
	}
	var rd ring.Reader
	o, err := q.nextLocked(&rd)
	got := o == ring.Done && err == nil
	var size error
	if got {
		rec := rd.Message()
		switch n := rec.Len(); {
		case len(dst) > 0:
			if len(dst) != n {
				size = wrongSize(n, len(dst))
			}
		case n > 0 && n <= cap(dst):
			dst = dst[:n]
		default:
			dst = make([]byte, n)
		}
		mem.Copy(dst, q.r.Payload(rec))
		crash.At("queue.get.copied")
		rd.Took()
	}
	room, e := rd.Publish()
	if err == nil {
		err = e
	}
	q.order.Acquire()
	mem.Mark("queue.get.1", uint64(o), mem.Flags(got, room, err != nil), mem.Sum(dst))
	mem.Enter()
	if e := q.consumers.Unlock(); e != nil && err == nil {
		err = explain(e)
	}
	mem.Leave()
	if room {
		q.roomMade()
		if !got { // a reservation that was given up is out of the way
			q.idle.Broadcast()
		}
	}
	if err == nil {
		err = size
	}
	runtime.KeepAlive(q) // with the handle goes the memory
	return dst, got && err == nil, result(o, err)
}

// get takes a message, and waits for one as long as ctx allows. dst is as in getNow.
func (q *core) get(ctx context.Context, dst []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// An empty queue is not locked, unless there may be a dead process's lease in it: who waits
	// for an answer sleeps the sooner.
	if mem.Explored || q.r.Peek() || q.notEmpty.Spin(q.r.Peek) || q.r.Leased() {
		b, ok, err := q.getNow(ctx, dst)
		if ok || err != nil {
			return b, err
		}
	}
	return q.getLate(ctx, dst)
}

// awaitMessage waits until try, which takes a message, is done.
func (q *core) awaitMessage(ctx context.Context, try func() (bool, error)) error {
	err := q.notEmpty.Wait(ctx, eventcount.Wanted{
		Try: func() (bool, error) {
			if !q.r.Peek() {
				return false, nil
			}
			return try()
		},
		Dead: q.dig, Handle: q.h,
	})
	return explain(err)
}

// getMany calls f with the payloads of up to n messages, under one lock. If f returns
// false, that one and what follows stay.
func (q *core) getMany(ctx context.Context, n int, f func(i int, payload []byte) error) (int, error) {
	if err := q.consumers.Lock(ctx, lock.Scoped); err != nil {
		return 0, explain(err)
	}
	if err := q.r.Register(); err != nil {
		_ = q.consumers.Unlock()
		return 0, err
	}
	i := 0
	var rd ring.Reader
	o, err := q.nextLocked(&rd)
	for o == ring.Done && err == nil {
		err = f(i, q.r.Payload(rd.Message()))
		rd.Took()
		if err != nil {
			break
		}
		if i++; i == n {
			break
		}
		o, err = rd.Next()
	}
	room, e := rd.Publish()
	if err == nil {
		err = e
	}
	q.order.Acquire()
	if e := q.consumers.Unlock(); e != nil && err == nil {
		err = explain(e)
	}
	switch {
	case room && i == 1:
		q.roomMade()
	case room:
		q.notFull.Broadcast()
	}
	if i > 0 && o == ring.Shut {
		o = ring.Done // the next call will tell
	}
	runtime.KeepAlive(q)
	return i, result(o, err)
}

// drop takes away what waits to be taken.
func (q *core) drop(ctx context.Context) (n int, err error) {
	if err := q.begin(ctx); err != nil {
		return 0, err
	}
	if err := q.consumers.Lock(ctx, lock.Scoped); err != nil {
		return 0, explain(err)
	}
	rd := q.r.Reader()
	var o ring.Outcome
	for {
		if o, err = rd.Next(); o != ring.Done || err != nil {
			break
		}
		rd.Drop()
		n++
	}
	if _, e := rd.Publish(); err == nil {
		err = e
	}
	if e := q.consumers.Unlock(); e != nil && err == nil {
		err = explain(e)
	}
	q.moved()
	runtime.KeepAlive(q)
	return n, err
}

package queue

import (
	"context"
	"errors"
	"time"

	"github.com/go-multiproc/multiproc/internal/eventcount"
	"github.com/go-multiproc/multiproc/internal/lock"
	"github.com/go-multiproc/multiproc/internal/mem"
	"github.com/go-multiproc/multiproc/internal/ring"
	"github.com/go-multiproc/multiproc/internal/waitable"
)

// Waiter is for pipe.Wait, to which a Queue is ready when there is a message to take, and
// when it is shut down or closed.
//
// There is no descriptor to poll: who puts a message wakes those who sleep on a word in
// shared memory, and nobody else. So for each Queue that it waits for, and only once it has
// found none of them ready, pipe.Wait starts one goroutine, which sleeps like a Get, and ends
// it before it returns. That takes some microseconds, and a thread as long as it sleeps.
func (q *Queue[T]) Waiter() waitable.Source {
	c := q.use()
	return waitable.Source{Ready: c.ready, Wait: c.awaitReady}
}

// glance is how long ready looks at a Queue that others are in the middle of using. With others to
// look at, it cannot wait for one that is stopped there.
const glance = 200 * time.Microsecond

// ready reports whether get would return at once. A false is not certain.
func (q *core) ready() bool {
	if q.h.Closed() {
		return true
	}
	if !q.r.Peek() {
		return false
	}
	err := q.lockFor(q.consumers, glance)
	if err != nil {
		return !errors.Is(err, ErrBusy)
	}
	return q.readyLocked()
}

// readyLocked is ready, and gives the consumers' lock back. What Peek has seen may be a message that is
// still being written, or one that somebody has found to be gone meanwhile.
func (q *core) readyLocked() bool {
	rd := q.r.Reader()
	o, err := rd.Next()
	room, _ := rd.Publish()
	mem.Mark("queue.ready", uint64(o), mem.Flags(room, err != nil))
	mem.Enter()
	_ = q.consumers.Unlock()
	mem.Leave()
	if room {
		q.roomMade()
		q.idle.Broadcast()
	}
	return o == ring.Done || o == ring.Shut || err != nil
}

// awaitReady waits until a get would return at once.
func (q *core) awaitReady(ctx context.Context) error {
	err := q.notEmpty.Wait(ctx, eventcount.Wanted{
		Try: func() (bool, error) {
			if q.h.Closed() {
				return true, nil
			}
			if !q.r.Peek() {
				return false, nil
			}
			// As who gets: a no because somebody else is in the middle of a Get would let a
			// notification go to waste that tells of another message.
			if err := q.consumers.Lock(ctx, lock.Scoped); err != nil {
				return false, err
			}
			return q.readyLocked(), nil
		},
		Dead: q.dig, Handle: q.h,
	})
	// The message is still there, and whoever was to be woken for it may be asleep.
	if err == nil && !q.h.Closed() {
		q.notEmpty.Notify()
	}
	return explain(err)
}

package queue

import (
	"context"

	"github.com/go-multiproc/multiproc/internal/eventcount"
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

// awaitReady waits until a get would return at once.
func (q *core) awaitReady(ctx context.Context) error {
	err := q.notEmpty.Wait(ctx, eventcount.Wanted{
		Try: func() (bool, error) { return q.ready(), nil }, Dead: q.dig, Handle: q.h,
	})
	// The message is still there, and whoever was to be woken for it may be asleep.
	if err == nil && !q.h.Closed() {
		q.notEmpty.Notify()
	}
	return explain(err)
}

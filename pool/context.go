package pool

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-multiproc/multiproc/internal/handover"
)

// A taskContext is the ctx of a running task. Those of package context cost more than many a task: they enter themselves in their parent, and take themselves
// out. There is one task at a time in a worker, so the parent can keep track of it (server.current) without a list.
type taskContext struct {
	parent context.Context

	// err is set, which a map asks between any two elements. It stands here because there are 128 bytes of it so, and there is one for each task.
	over atomic.Bool

	// In a worker: which task it is.
	slot       uint32
	generation uint64
	arrived    *handover.Taken // what came with the arguments; mu after the task has begun

	pool  any // in a pool of goroutines: that pool
	waits int // of it and its goroutines, for tasks of that pool; under its lock

	deadline time.Time
	timer    *time.Timer

	mu   sync.Mutex
	done chan struct{} // made when it is asked for
	err  error
}

var closedChannel = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

func (c *taskContext) Deadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }

func (c *taskContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		if c.err != nil {
			c.done = closedChannel
		} else {
			c.done = make(chan struct{})
		}
	}
	return c.done
}

func (c *taskContext) Err() error {
	if !c.over.Load() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *taskContext) Value(key any) any {
	if key == (taskKey{}) {
		return c
	}
	return c.parent.Value(key)
}

// limit ends the ctx after d.
func (c *taskContext) limit(d time.Duration) {
	c.deadline = time.Now().Add(d)
	c.timer = time.AfterFunc(d, func() { c.end(context.DeadlineExceeded) })
}

// end ends the ctx, and returns whether it was this call that did.
func (c *taskContext) end(err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return false
	}
	c.err = err
	c.over.Store(true)
	if c.done != nil {
		close(c.done)
	}
	return true
}

// finish ends the ctx of a task that has returned, so that goroutines that it left behind end too, and returns how it ended before, if it did.
func (c *taskContext) finish() error {
	if c.timer != nil {
		c.timer.Stop()
	}
	c.mu.Lock()
	err := c.err
	c.mu.Unlock()
	c.end(context.Canceled)
	return err
}

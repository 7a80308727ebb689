package pool

import (
	"context"
	"sync"
)

// A Future is the result of a task that may not have ended yet. It comes from [Task.Submit] or [Task.MapAsync], and is safe for concurrent use.
//
// A future belongs to the process that submitted the task: it cannot be passed to another one.
type Future[Out any] struct {
	executor  Executor
	cancelAll func() bool
	isRunning func() bool
	withdraw  func() // what has not begun; of MapAsync
	job       job    // of Submit

	mu        sync.Mutex
	finished  bool
	done      chan struct{} // made when it is asked for
	observers []func()      // to be called when it has ended; they must not block
	value     Out
	err       error
}

// Result waits until the task has ended, and returns its result or its error: a [*TaskError] if the task returned one or panicked, a [*WorkerDiedError] if its worker died, or one
// that is [ErrCancelled] or [ErrClosed]. If ctx ends first it returns ctx's error, and the task goes on. It may be called any number of times.
func (f *Future[Out]) Result(ctx context.Context) (Out, error) {
	f.mu.Lock()
	if f.finished {
		f.mu.Unlock()
		return f.value, f.err
	}
	f.mu.Unlock()
	if f.job.complete != nil && ctx.Err() == nil {
		f.executor.help(&f.job, f.ended)
	}
	f.mu.Lock()
	if f.finished {
		f.mu.Unlock()
		return f.value, f.err
	}
	done := f.doneLocked()
	f.mu.Unlock()
	defer f.executor.standBack(ctx)()
	select {
	case <-done:
		return f.value, f.err
	case <-ctx.Done():
		var zero Out
		return zero, ctx.Err()
	}
}

// Done returns a channel that is closed when the task has ended.
func (f *Future[Out]) Done() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.doneLocked()
}

func (f *Future[Out]) doneLocked() chan struct{} {
	if f.done == nil {
		if f.finished {
			return closedChannel
		}
		f.done = make(chan struct{})
	}
	return f.done
}

// Running reports whether a worker runs the task now; of a map, any part of it.
func (f *Future[Out]) Running() bool { return f.isRunning() }

// Cancel cancels the task, and reports whether there was anything to cancel. A task that has not begun never will. The ctx of one that runs ends, and after the pool's grace
// period its worker is killed (in a pool of goroutines the ctx is all there is). The future ends when the task has ended: with an error that is [ErrCancelled],
// unless it came to a result all the same.
func (f *Future[Out]) Cancel() bool { return f.cancelAll() }

// OnDone has call called when the task has ended, at once if it has: in this process, in a goroutine of its own.
func (f *Future[Out]) OnDone(call func(*Future[Out])) {
	f.observe(func() { go call(f) })
}

// observe calls call, which must not block, when f has ended.
func (f *Future[Out]) observe(call func()) {
	f.mu.Lock()
	if !f.finished {
		f.observers = append(f.observers, call)
		f.mu.Unlock()
		return
	}
	f.mu.Unlock()
	call()
}

// finish ends f.
func (f *Future[Out]) finish(v Out, err error) {
	f.mu.Lock()
	f.value, f.err, f.finished = v, err, true
	if f.done != nil {
		close(f.done)
	}
	observers := f.observers
	f.observers = nil
	f.mu.Unlock()
	for _, call := range observers {
		call()
	}
}

func (f *Future[Out]) ended() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.finished
}

// failed reports whether f has ended with an error.
func (f *Future[Out]) failed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.finished && f.err != nil
}

// Package waitable says what pipe.Wait must know of a thing in order to wait for it.
//
// It is a package of its own so that queue and process can describe themselves without
// importing pipe, and pipe can wait for them without importing queue and process.
package waitable

import (
	"context"
	"sync"
	"sync/atomic"
)

// Source tells how to notice that something became ready. Exactly one of FD, Notify alone, or Wait
// carries the news; pipe.Wait asks Ready first in every case.
//
//   - A thing with a descriptor sets FD (and Ready and Notify for what the descriptor cannot show:
//     bytes that were read ahead, a Close in this process).
//   - A thing whose changes are all made in this process sets Ready and Notify.
//   - A thing that can only block (a futex in shared memory) sets Wait, and Ready.
type Source struct {
	// FD calls use with a descriptor that polls as readable when the thing is ready. The descriptor is
	// kept open during the call and may be closed any time after. An error means that there is none
	// any more, which counts as ready: the call that follows will tell why.
	FD func(use func(fd int) error) error

	// Ready reports at once and without side effects whether the thing is ready. What is closed is ready.
	Ready func() bool

	// Notify arranges for wake to be called (from any goroutine, any number of times, without
	// blocking) whenever Ready may have become true, until stop is called.
	Notify func(wake func()) (stop func())

	// Wait blocks until the thing is ready or ctx ends. Its goroutine is awaited before pipe.Wait returns.
	Wait func(ctx context.Context) error
}

// Waiters is a set of callbacks to be woken. Its zero value is ready for use, and costs one atomic load per Wake while
// it is empty. It fits Source.Notify.
type Waiters struct {
	mu    sync.Mutex
	wakes map[*func()]struct{}
	count atomic.Int32 // len(wakes), readable without mu
}

// Add registers wake until stop is called. wake must not block, nor call into w.
func (w *Waiters) Add(wake func()) (stop func()) {
	key := &wake
	w.mu.Lock()
	if w.wakes == nil {
		w.wakes = make(map[*func()]struct{})
	}
	w.wakes[key] = struct{}{}
	w.count.Store(int32(len(w.wakes)))
	w.mu.Unlock()
	return func() {
		w.mu.Lock()
		delete(w.wakes, key)
		w.count.Store(int32(len(w.wakes)))
		w.mu.Unlock()
	}
}

// Wake calls every registered function. The caller must have made its change visible before: whoever
// registers asks Ready after Add, so either Wake sees the registration or Ready sees the change.
func (w *Waiters) Wake() {
	if w.count.Load() == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for wake := range w.wakes {
		(*wake)()
	}
}

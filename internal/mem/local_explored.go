//go:build multiproc_explore

package mem

import (
	"context"
	"sync"
	"time"
)

// A Local schedules what the goroutines of one process do to each other. It is the
// other half of a Scheduler.
type Local interface {
	// Until returns when cond, which is free of side effects until it is true,
	// is true.
	Until(cond func() bool)
	Go(f func())
	// Tick is a step that comes when the scheduler likes.
	Tick()
	// Elapsed is true or false as the scheduler likes.
	Elapsed() bool
	// Alive reports whether the process with that token lives.
	Alive(token uint64) bool
}

// A Mutex is as in normal builds.
type Mutex struct{ real sync.Mutex }

// Lock is sync.Mutex's.
func (m *Mutex) Lock() {
	if Hook != nil {
		if !m.real.TryLock() {
			Hook.Until(m.real.TryLock)
		}
		return
	}
	m.real.Lock()
}

// TryLock is sync.Mutex's.
func (m *Mutex) TryLock() bool { return m.real.TryLock() }

// Unlock is sync.Mutex's.
func (m *Mutex) Unlock() { m.real.Unlock() }

// Go is as in normal builds.
func Go(f func()) {
	if Hook != nil {
		Hook.Go(f)
		return
	}
	go f()
}

// Await is as in normal builds.
func Await(ready, done <-chan struct{}) bool {
	if Hook != nil {
		came := false
		Hook.Until(func() bool {
			select {
			case <-ready:
				came = true
				return true
			default:
			}
			select {
			case <-done:
				return true
			default:
				return false
			}
		})
		return came
	}
	select {
	case <-ready:
		return true
	case <-done:
		return false
	}
}

// Elapsed is as in normal builds.
func Elapsed(then time.Time, d time.Duration) bool {
	if Hook != nil {
		return Hook.Elapsed()
	}
	return time.Since(then) > d
}

// AfterFunc is as in normal builds.
func AfterFunc(ctx context.Context, f func()) (stop func() bool) {
	if Hook == nil {
		return context.AfterFunc(ctx, f)
	}
	began, stopped := false, false
	Hook.Go(func() {
		Hook.Until(func() bool { return stopped || ctx.Err() != nil })
		if !stopped {
			began = true
			f()
		}
	})
	return func() bool {
		first := !began && !stopped
		stopped = true
		return first
	}
}

// WithTimeout is as in normal builds.
func WithTimeout(d time.Duration) (context.Context, context.CancelFunc) {
	if Hook == nil {
		return context.WithTimeout(context.Background(), d)
	}
	ctx, cancel := context.WithCancel(context.Background())
	Hook.Go(func() {
		Hook.Tick()
		cancel()
	})
	return ctx, cancel
}

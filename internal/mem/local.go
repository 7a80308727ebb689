//go:build !multiproc_explore

package mem

import (
	"context"
	"sync"
	"time"
)

// A Mutex is a sync.Mutex for process-local state. It stands where one is held, or
// waited for, across steps on shared memory.
type Mutex = sync.Mutex

// Go runs f in a goroutine that takes steps on shared memory.
func Go(f func()) { go f() }

// Await waits for a value from ready, or for done, and reports which one came:
// true for ready. A nil done never comes.
func Await(ready, done <-chan struct{}) bool {
	select {
	case <-ready:
		return true
	case <-done:
		return false
	}
}

// Elapsed reports whether more than d has passed since then.
func Elapsed(then time.Time, d time.Duration) bool { return time.Since(then) > d }

// AfterFunc is context.AfterFunc for an f that takes steps on shared memory.
func AfterFunc(ctx context.Context, f func()) (stop func() bool) { return context.AfterFunc(ctx, f) }

// WithTimeout is context.WithTimeout of a background.
func WithTimeout(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}

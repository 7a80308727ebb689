package psync_test

import (
	"context"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/verify"
)

// masses is how many goroutines wait at once.
const masses = 2000

// osThreads is how many threads this process has.
func osThreads(t *testing.T) int {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	verify.Must(t, err)
	return len(tasks)
}

// settles waits until f holds.
func settles(t *testing.T, what string, f func() bool) {
	t.Helper()
	for start := time.Now(); !f(); time.Sleep(time.Millisecond) {
		if time.Since(start) > patience {
			t.Fatal("never: ", what)
		}
	}
}

// A goroutine that waits is not a thread that waits; a Signal wakes one of them, and a
// Broadcast all.
func TestCondOfMasses(t *testing.T) {
	c := newCond(t, nil)
	var waiting, woken atomic.Int64
	var all sync.WaitGroup
	before := osThreads(t)
	for range masses {
		all.Go(func() {
			if err := c.Locker().Lock(context.Background()); err != nil {
				t.Error(err)
				return
			}
			waiting.Add(1)
			if err := c.Wait(context.Background()); err != nil {
				t.Error(err)
			}
			woken.Add(1)
			if err := c.Locker().Unlock(); err != nil {
				t.Error(err)
			}
		})
	}
	settles(t, "all wait", func() bool {
		if waiting.Load() < masses {
			return false
		}
		ok, err := c.Locker().TryLock() // the last one lets go of it when it waits
		verify.Must(t, err)
		if ok {
			verify.Must(t, c.Locker().Unlock())
		}
		return ok
	})
	if n := osThreads(t) - before; n > 50 {
		t.Errorf("%d more threads for %d goroutines that wait", n, masses)
	}
	for n := int64(1); n <= 10; n++ {
		verify.Must(t, c.Signal())
		settles(t, "a Signal wakes one", func() bool { return woken.Load() >= n })
	}
	time.Sleep(30 * time.Millisecond) // would any more come?
	if n := woken.Load(); n != 10 {
		t.Errorf("%d were woken by 10 Signals", n)
	}
	verify.Must(t, c.Broadcast())
	all.Wait()
}

func TestEventOfMasses(t *testing.T) {
	e := newEvent(t)
	var all sync.WaitGroup
	for range masses {
		all.Go(func() {
			if err := e.Wait(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	settles(t, "all wait", func() bool { return verify.Waiters("psync.(*Event).Wait") == masses })
	verify.Must(t, e.Set())
	all.Wait()
}

func TestBarrierOfMasses(t *testing.T) {
	b := newBarrier(t, masses)
	seen := make([]atomic.Bool, masses)
	var all sync.WaitGroup
	for range masses {
		all.Go(func() {
			for range 3 {
				i, err := b.Wait(context.Background())
				if err != nil {
					t.Error(err)
					return
				}
				seen[i].Store(true)
			}
		})
	}
	all.Wait()
	for i := range seen {
		if !seen[i].Load() {
			t.Errorf("nobody was number %d", i)
		}
	}
}

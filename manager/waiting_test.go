package manager_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/manager"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/queue"
)

// A watched server runs in the test's process, so that the test knows who waits.
type watched struct {
	manager.WatchedServer
	path string
	m    *manager.Manager
}

func watch(t testing.TB) watched {
	t.Helper()
	path := filepath.Join(socketDir(t), "server")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := manager.WatchServer(l, manager.Options{})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run() }()
	t.Cleanup(func() {
		l.Close()
		if err := <-done; err != nil && !errors.Is(err, net.ErrClosed) {
			t.Errorf("the server: %v", err)
		}
	})
	return watched{s, path, connect(t, path, manager.Options{})}
}

// until waits until n calls wait.
func (w watched) until(t testing.TB, n int) {
	t.Helper()
	for begun := time.Now(); w.Waiting() != n; time.Sleep(100 * time.Microsecond) { // nobody tells
		if time.Since(begun) > patience {
			t.Fatalf("%d calls wait, not %d", w.Waiting(), n)
		}
	}
}

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// later does something in a goroutine, and returns its error when asked.
func later(do func() error) (result func() error) {
	done := make(chan error, 1)
	go func() { done <- do() }()
	return func() error { return <-done }
}

func TestQueue(t *testing.T) {
	w, ctx := watch(t), testContext(t)
	q := must[*manager.Queue[string]](t)(manager.NewQueue[string](w.m, manager.QueueOptions{Capacity: 2}))
	check(t, q.Put(ctx, "a"))
	check(t, q.Put(ctx, "b"))
	if ok, err := q.TryPut(ctx, "c"); ok || err != nil {
		t.Errorf("TryPut into a full queue: %v, %v", ok, err)
	}
	put := later(func() error { return q.Put(ctx, "c") })
	w.until(t, 1)
	if n, err := q.Len(ctx); n != 2 || err != nil {
		t.Errorf("Len: %d, %v", n, err)
	}
	if n, err := q.Cap(ctx); n != 2 || err != nil {
		t.Errorf("Cap: %d, %v", n, err)
	}
	if v, err := q.Get(ctx); v != "a" || err != nil {
		t.Errorf("Get: %q, %v", v, err)
	}
	check(t, put())
	buf := make([]string, 5)
	if n, err := q.GetMany(ctx, buf); n != 2 || err != nil || !slices.Equal(buf[:2], []string{"b", "c"}) {
		t.Errorf("GetMany: %d, %v, %v", n, buf, err)
	}
	if _, ok, err := q.TryGet(ctx); ok || err != nil {
		t.Errorf("TryGet from an empty queue: %v, %v", ok, err)
	}
	if l, err := q.TryLease(ctx); l != nil || err != nil {
		t.Errorf("TryLease from an empty queue: %v, %v", l, err)
	}

	// Joining.
	joined := later(func() error { return q.Join(ctx) })
	w.until(t, 1)
	for range 3 {
		check(t, q.TaskDone(ctx))
	}
	check(t, joined())
	if err := q.TaskDone(ctx); !errors.Is(err, queue.ErrNotTaken) {
		t.Errorf("TaskDone too often: %v", err)
	}

	// Those who wait are served in turn.
	var mu sync.Mutex
	var got []string
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			v, err := q.Get(ctx)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				v = err.Error()
			}
			got = append(got, fmt.Sprintf("%d%s", i, v))
		})
		w.until(t, i+1)
	}
	if n, err := q.PutMany(ctx, []string{"w", "x", "y", "z"}); n != 4 || err != nil {
		t.Errorf("PutMany: %d, %v", n, err)
	}
	wg.Wait()
	slices.Sort(got)
	if want := []string{"0w", "1x", "2y", "3z"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}

	// Shutdown: what is there can be taken.
	check(t, q.Put(ctx, "last"))
	check(t, q.Shutdown(ctx))
	if err := q.Put(ctx, "late"); !errors.Is(err, queue.ErrClosed) {
		t.Errorf("Put after Shutdown: %v", err)
	}
	if v, err := q.Get(ctx); v != "last" || err != nil {
		t.Errorf("Get after Shutdown: %q, %v", v, err)
	}
	if _, err := q.Get(ctx); !errors.Is(err, queue.ErrClosed) {
		t.Errorf("Get from an empty queue after Shutdown: %v", err)
	}
	check(t, q.Close())
	check(t, q.Close())
	if err := q.Put(ctx, "x"); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Put after Close: %v", err)
	}
}

func TestQueueLeases(t *testing.T) {
	w, ctx := watch(t), testContext(t)
	q := must[*manager.Queue[int]](t)(manager.OpenQueue[int](w.m, "jobs", manager.QueueOptions{MaxDeliveries: 2}))
	if n, err := q.PutMany(ctx, []int{1, 2}); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	one := must[*manager.QueueLease[int]](t)(q.Lease(ctx))
	two := must[*manager.QueueLease[int]](t)(q.Lease(ctx))
	if one.Value() != 1 || one.Deliveries() != 1 || two.Value() != 2 {
		t.Errorf("leased %d (%d deliveries) and %d", one.Value(), one.Deliveries(), two.Value())
	}
	check(t, q.Shutdown(ctx))
	rest := later(func() error { // it may come back, so this waits
		l, err := q.Lease(ctx)
		if err == nil && (l.Value() != 1 || l.Deliveries() != 2) {
			err = fmt.Errorf("leased %d (%d deliveries)", l.Value(), l.Deliveries())
		}
		if err == nil {
			err = l.Nack(ctx)
		}
		return err
	})
	w.until(t, 1)
	check(t, two.Ack(ctx))
	if err := two.Ack(ctx); !errors.Is(err, queue.ErrLeaseEnded) {
		t.Errorf("a second Ack: %v", err)
	}
	check(t, one.Nack(ctx))
	check(t, rest())
	if _, err := q.Get(ctx); !errors.Is(err, queue.ErrClosed) {
		t.Errorf("Get at the end: %v", err)
	}
	check(t, q.Join(ctx))
	dead := must[*manager.Queue[int]](t)(q.DeadLetters(ctx))
	if v, ok, err := dead.TryGet(ctx); v != 1 || !ok || err != nil {
		t.Errorf("dead letter: %d, %v, %v", v, ok, err)
	}
	if _, err := dead.DeadLetters(ctx); !errors.Is(err, manager.ErrNotFound) {
		t.Errorf("dead letters of dead letters: %v", err)
	}

	// Close gives leases back, and ends waits.
	b := must[*manager.Queue[int]](t)(manager.NewQueue[int](w.m))
	other := must[*manager.List[*manager.Queue[int]]](t)(manager.NewList[*manager.Queue[int]](w.m))
	check(t, other.Append(ctx, b))
	a := must[*manager.Queue[int]](t)(other.Get(ctx, 0))
	check(t, b.Put(ctx, 7))
	must[*manager.QueueLease[int]](t)(a.Lease(ctx))
	waiting := later(func() error { _, err := a.Get(ctx); return err })
	w.until(t, 1)
	check(t, a.Close())
	if err := waiting(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Get while its handle is closed: %v", err)
	}
	if v, err := b.Get(ctx); v != 7 || err != nil {
		t.Errorf("Get of what was leased: %d, %v", v, err)
	}
}

func TestMutex(t *testing.T) {
	w, ctx := watch(t), testContext(t)
	mu := must[*manager.Mutex](t)(manager.NewMutex(w.m))
	if err := mu.Unlock(); !errors.Is(err, psync.ErrNotHeld) {
		t.Errorf("Unlock of a free lock: %v", err)
	}
	check(t, mu.Lock(ctx))
	first := mu.Fence()
	if ok, err := mu.TryLock(); ok || err != nil {
		t.Errorf("TryLock of a held lock: %v, %v", ok, err)
	}
	short, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	if err := mu.Lock(short); err != context.DeadlineExceeded {
		t.Errorf("Lock of a held lock: %v", err)
	}
	if err := mu.Close(); !errors.Is(err, psync.ErrHeld) {
		t.Errorf("Close of a held lock: %v", err)
	}
	next := later(func() error { return mu.Lock(ctx) })
	w.until(t, 1)
	check(t, mu.Unlock())
	check(t, next())
	if mu.Fence() <= first {
		t.Errorf("fence %d after %d", mu.Fence(), first)
	}
	check(t, mu.Recover(ctx, func() error { return errors.New("nothing to repair") }))
	check(t, mu.Unlock())
	if ok, err := mu.TryLock(); !ok || err != nil {
		t.Errorf("TryLock: %v, %v", ok, err)
	}
	if held, err := mu.Locked(ctx); !held || err != nil {
		t.Errorf("Locked: %v, %v", held, err)
	}
	check(t, mu.Unlock())
	check(t, mu.Close())
	if err := mu.Lock(ctx); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Lock after Close: %v", err)
	}
}

func TestRMutex(t *testing.T) {
	w, ctx := watch(t), testContext(t)
	mu := must[*manager.RMutex](t)(manager.NewRMutex(w.m))
	in, err := mu.Lock(ctx)
	check(t, err)
	again, err := mu.Lock(in)
	check(t, err)
	if _, ok, err := mu.TryLock(ctx); ok || err != nil {
		t.Errorf("TryLock from outside: %v, %v", ok, err)
	}
	if err := mu.Unlock(ctx); !errors.Is(err, psync.ErrNotHeld) {
		t.Errorf("Unlock from outside: %v", err)
	}
	check(t, mu.Unlock(again))
	if _, ok, _ := mu.TryLock(ctx); ok {
		t.Error("it is free after one of two Unlocks")
	}
	check(t, mu.Unlock(in))
	if err := mu.Unlock(in); !errors.Is(err, psync.ErrNotHeld) {
		t.Errorf("Unlock too often: %v", err)
	}
	out, ok, err := mu.TryLock(in)
	if !ok || err != nil {
		t.Errorf("TryLock of a free lock: %v, %v", ok, err)
	}
	check(t, mu.Unlock(out))

	// By name it is one lock, and the context its owner through each handle.
	one := must[*manager.RMutex](t)(manager.OpenRMutex(w.m, "again"))
	two := must[*manager.RMutex](t)(manager.OpenRMutex(w.m, "again"))
	in, err = one.Lock(ctx)
	check(t, err)
	if _, ok, err := two.TryLock(ctx); ok || err != nil {
		t.Errorf("TryLock by name while it is held: %v, %v", ok, err)
	}
	check(t, one.Unlock(in))
}

func TestSemaphore(t *testing.T) {
	w, ctx := watch(t), testContext(t)
	s := must[*manager.Semaphore](t)(manager.NewSemaphore(w.m, 2))
	check(t, s.Acquire(ctx))
	check(t, s.Acquire(ctx))
	if ok, err := s.TryAcquire(ctx); ok || err != nil {
		t.Errorf("TryAcquire without a free permit: %v, %v", ok, err)
	}
	next := later(func() error { return s.Acquire(ctx) })
	w.until(t, 1)
	check(t, s.Release(ctx))
	check(t, next())
	check(t, s.Release(ctx))
	check(t, s.Release(ctx))
	if err := s.Release(ctx); !errors.Is(err, psync.ErrNotHeld) {
		t.Errorf("Release too often: %v", err)
	}
	if n, err := s.Value(ctx); n != 2 || err != nil {
		t.Errorf("Value: %d, %v", n, err)
	}
	c := must[*manager.Semaphore](t)(manager.NewSemaphore(w.m, 0, manager.SemaphoreOptions{Counting: true, Max: 1}))
	next = later(func() error { return c.Acquire(ctx) })
	w.until(t, 1)
	check(t, c.Release(ctx))
	check(t, next())
	check(t, c.Release(ctx))
	if err := c.Release(ctx); !errors.Is(err, psync.ErrTooManyReleases) {
		t.Errorf("Release beyond the maximum: %v", err)
	}
	if _, err := manager.NewSemaphore(w.m, 0); err == nil {
		t.Error("there is a semaphore of 0")
	}
}

func TestEvent(t *testing.T) {
	w, ctx := watch(t), testContext(t)
	e := must[*manager.Event](t)(manager.NewEvent(w.m))
	waiting := []func() error{later(func() error { return e.Wait(ctx) }), later(func() error { return e.Wait(ctx) })}
	w.until(t, 2)
	check(t, e.Set(ctx))
	for _, wait := range waiting {
		check(t, wait())
	}
	check(t, e.Wait(ctx))
	check(t, e.Clear(ctx))
	if set, err := e.IsSet(ctx); set || err != nil {
		t.Errorf("IsSet: %v, %v", set, err)
	}
}

func TestBarrier(t *testing.T) {
	w, ctx := watch(t), testContext(t)
	named := must[*manager.Barrier](t)(manager.OpenBarrier(w.m, "three", 3))
	if _, err := manager.OpenBarrier(w.m, "three", 2); !errors.Is(err, manager.ErrType) {
		t.Errorf("opened for other parties: %v", err)
	}
	if n, err := must[*manager.Barrier](t)(manager.OpenBarrier(w.m, "three", 0)).Parties(ctx); n != 3 || err != nil {
		t.Errorf("opened for as many as there are: %d parties, %v", n, err)
	}
	check(t, named.Close())
	b := must[*manager.Barrier](t)(manager.NewBarrier(w.m, 3))
	for range 3 {
		var indices [3]int
		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() { indices[i] = must[int](t)(b.Wait(ctx)) })
			if i < 2 {
				w.until(t, i+1)
			}
		}
		wg.Wait()
		if indices != [3]int{0, 1, 2} {
			t.Errorf("indices %v", indices)
		}
	}
	short, cancel := context.WithCancel(ctx)
	one := later(func() error { _, err := b.Wait(ctx); return err })
	two := later(func() error { _, err := b.Wait(short); return err })
	w.until(t, 2)
	cancel()
	if err := two(); err != context.Canceled {
		t.Errorf("Wait with a cancelled context: %v", err)
	}
	if err := one(); !errors.Is(err, psync.ErrBroken) {
		t.Errorf("Wait when another party has stopped: %v", err)
	}
	if _, err := b.Wait(ctx); !errors.Is(err, psync.ErrBroken) {
		t.Errorf("Wait at a broken barrier: %v", err)
	}
	if broken, err := b.Broken(ctx); !broken || err != nil {
		t.Errorf("Broken: %v, %v", broken, err)
	}
	check(t, b.Reset(ctx))
	one = later(func() error { _, err := b.Wait(ctx); return err })
	w.until(t, 1)
	check(t, b.Abort(ctx))
	if err := one(); !errors.Is(err, psync.ErrBroken) {
		t.Errorf("Wait that was aborted: %v", err)
	}
}

func TestCond(t *testing.T) {
	w, ctx := watch(t), testContext(t)
	for _, own := range []bool{true, false} {
		t.Run(fmt.Sprintf("own mutex %v", own), func(t *testing.T) {
			var mu *manager.Mutex
			if !own {
				mu = must[*manager.Mutex](t)(manager.NewMutex(w.m))
			}
			c := must[*manager.Cond](t)(manager.NewCond(w.m, mu))
			mu = must[*manager.Mutex](t)(c.Locker(ctx))
			if err := c.Wait(ctx); !errors.Is(err, psync.ErrNotHeld) {
				t.Errorf("Wait without the lock: %v", err)
			}
			var mine sync.Mutex
			ready, seen := 0, 0
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					check(t, mu.Lock(ctx))
					check(t, c.WaitFor(ctx, func() bool { mine.Lock(); defer mine.Unlock(); return ready > seen }))
					mine.Lock()
					seen++
					mine.Unlock()
					check(t, mu.Unlock())
				})
			}
			w.until(t, 3)
			for range 2 {
				check(t, mu.Lock(ctx))
				mine.Lock()
				ready++
				mine.Unlock()
				check(t, c.Signal(ctx))
				check(t, mu.Unlock())
			}
			w.until(t, 1)
			check(t, mu.Lock(ctx))
			mine.Lock()
			ready++
			mine.Unlock()
			check(t, c.Broadcast(ctx))
			check(t, mu.Unlock())
			wg.Wait()
			if n, err := c.Notify(ctx, 5); n != 0 || err != nil {
				t.Errorf("Notify of nobody: %d, %v", n, err)
			}

			// The lock is held after a Wait whose context has ended.
			check(t, mu.Lock(ctx))
			short, cancel := context.WithCancel(ctx)
			waiting := later(func() error { return c.Wait(short) })
			w.until(t, 1)
			check(t, mu.Lock(ctx)) // Wait has released it
			cancel()
			w.until(t, 1) // it wants it back
			check(t, mu.Unlock())
			if err := waiting(); err != context.Canceled {
				t.Errorf("Wait with a cancelled context: %v", err)
			}
			check(t, mu.Unlock())
		})
	}
}

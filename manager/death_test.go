package manager_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/manager"
	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/psync"
)

// A victim is told what to be killed at.
type victim struct {
	What  string
	Q     *manager.Queue[int]
	Mu    *manager.Mutex
	RMu   *manager.RMutex
	Sem   *manager.Semaphore
	Cond  *manager.Cond
	Event *manager.Event
	B     *manager.Barrier
	Ready *manager.Event // set when it has what it is to die with
}

var beVictim = process.Register(func(ctx context.Context, v victim) error {
	// Its own ctx is not used: it is to end by being killed.
	ctx = context.WithoutCancel(ctx)
	var err error
	switch v.What {
	case "get":
		_, err = v.Q.Get(ctx)
	case "waits for a lease":
		_, err = v.Q.Lease(ctx)
	case "put":
		err = v.Q.Put(ctx, 1000)
	case "join":
		err = v.Q.Join(ctx)
	case "lock":
		err = v.Mu.Lock(ctx)
	case "acquire":
		err = v.Sem.Acquire(ctx)
	case "event":
		err = v.Event.Wait(ctx)
	case "barrier":
		_, err = v.B.Wait(ctx)
	case "cond":
		if err = v.Mu.Lock(ctx); err == nil {
			err = v.Cond.Wait(ctx)
		}
	case "has a message":
		_, err = v.Q.Get(ctx)
	case "has a lease":
		_, err = v.Q.Lease(ctx)
	case "has the mutex":
		err = v.Mu.Lock(ctx)
	case "has the rmutex":
		_, err = v.RMu.Lock(ctx)
	case "has a permit":
		err = v.Sem.Acquire(ctx)
	case "repairs":
		err = v.Mu.Recover(ctx, func() error {
			if err := v.Ready.Set(ctx); err != nil {
				return err
			}
			select {}
		})
	case "was at the barrier":
		_, err = v.B.Wait(ctx)
	case "leaves the barrier":
		_, err = v.B.Wait(ctx)
		return err
	}
	if err == nil {
		err = v.Ready.Set(ctx)
	}
	if err == nil {
		select {}
	}
	return err
})

func newVictim(t *testing.T, w watched, what string) victim {
	t.Helper()
	mu := must[*manager.Mutex](t)(manager.NewMutex(w.m))
	return victim{
		What:  what,
		Q:     must[*manager.Queue[int]](t)(manager.NewQueue[int](w.m, manager.QueueOptions{Capacity: 2, MaxDeliveries: 3})),
		Mu:    mu,
		RMu:   must[*manager.RMutex](t)(manager.NewRMutex(w.m)),
		Sem:   must[*manager.Semaphore](t)(manager.NewSemaphore(w.m, 1)),
		Cond:  must[*manager.Cond](t)(manager.NewCond(w.m, mu)),
		Event: must[*manager.Event](t)(manager.NewEvent(w.m)),
		B:     must[*manager.Barrier](t)(manager.NewBarrier(w.m, 2)),
		Ready: must[*manager.Event](t)(manager.NewEvent(w.m)),
	}
}

func killed(p *process.Process) {
	p.Kill()
	<-p.Done()
}

// What a client waits for when it is killed, the next one gets, and no wait is left behind.
func TestKilledWhileWaiting(t *testing.T) {
	for _, test := range []struct {
		what   string
		before func(ctx context.Context, v victim) error
		after  func(ctx context.Context, v victim) error
	}{
		{"get", nil, func(ctx context.Context, v victim) error {
			return errors.Join(v.Q.Put(ctx, 1), gets(ctx, v.Q, 1))
		}},
		{"waits for a lease", nil, func(ctx context.Context, v victim) error {
			return errors.Join(v.Q.Put(ctx, 1), gets(ctx, v.Q, 1))
		}},
		{"put", func(ctx context.Context, v victim) error {
			_, err := v.Q.PutMany(ctx, []int{1, 2})
			return err
		}, func(ctx context.Context, v victim) error {
			return errors.Join(gets(ctx, v.Q, 1), v.Q.Put(ctx, 3), gets(ctx, v.Q, 2), gets(ctx, v.Q, 3))
		}},
		{"join", func(ctx context.Context, v victim) error { return v.Q.Put(ctx, 1) }, func(ctx context.Context, v victim) error {
			return errors.Join(gets(ctx, v.Q, 1), v.Q.TaskDone(ctx), v.Q.Join(ctx))
		}},
		{"lock", func(ctx context.Context, v victim) error { return v.Mu.Lock(ctx) }, func(ctx context.Context, v victim) error {
			return errors.Join(v.Mu.Unlock(), v.Mu.Lock(ctx), v.Mu.Unlock())
		}},
		{"acquire", func(ctx context.Context, v victim) error { return v.Sem.Acquire(ctx) }, func(ctx context.Context, v victim) error {
			return errors.Join(v.Sem.Release(ctx), v.Sem.Acquire(ctx), v.Sem.Release(ctx))
		}},
		{"event", nil, func(ctx context.Context, v victim) error { return errors.Join(v.Event.Set(ctx), v.Event.Wait(ctx)) }},
		{"barrier", nil, func(ctx context.Context, v victim) error {
			if _, err := v.B.Wait(ctx); !errors.Is(err, psync.ErrBroken) {
				return fmt.Errorf("Wait at the barrier: %w", err)
			}
			return v.B.Reset(ctx)
		}},
		{"cond", nil, func(ctx context.Context, v victim) error {
			if n, err := v.Cond.Notify(ctx, 1); n != 0 || err != nil {
				return fmt.Errorf("%d were notified, %v", n, err)
			}
			return errors.Join(v.Mu.Lock(ctx), v.Mu.Unlock())
		}},
	} {
		t.Run(test.what, func(t *testing.T) {
			w, ctx := watch(t), testContext(t)
			v := newVictim(t, w, test.what)
			if test.before != nil {
				check(t, test.before(ctx, v))
			}
			p := run(t, beVictim, v)
			w.until(t, 1)
			killed(p)
			w.until(t, 0)
			check(t, test.after(ctx, v))
		})
	}
}

func gets(ctx context.Context, q *manager.Queue[int], want int) error {
	v, err := q.Get(ctx)
	if err == nil && v != want {
		err = fmt.Errorf("got %d, not %d", v, want)
	}
	return err
}

// Whoever waits for what a client has when it is killed is told, or gets it, at once.
func TestKilledWhileHolding(t *testing.T) {
	abandoned := func(ctx context.Context, mu interface {
		Recover(context.Context, func() error) error
	}, lock, unlock func() error) error {
		if err := lock(); !errors.Is(err, psync.ErrOwnerDied) {
			return fmt.Errorf("Lock after the owner's death: %w", err)
		}
		if err := mu.Recover(ctx, func() error { return context.Canceled }); err != context.Canceled {
			return fmt.Errorf("a repair that fails: %w", err)
		}
		if err := lock(); !errors.Is(err, psync.ErrOwnerDied) {
			return fmt.Errorf("Lock after a repair that failed: %w", err)
		}
		repaired := 0
		if err := mu.Recover(ctx, func() error { repaired++; return nil }); err != nil || repaired != 1 {
			return fmt.Errorf("Recover: %w, %d repairs", err, repaired)
		}
		return errors.Join(lock(), unlock())
	}
	for _, test := range []struct {
		what   string
		before func(ctx context.Context, v victim) error
		wait   func(ctx context.Context, v victim) error // while it dies; nil: nobody waits
		after  func(ctx context.Context, v victim) error
	}{
		{"has a lease", func(ctx context.Context, v victim) error { return v.Q.Put(ctx, 1) },
			func(ctx context.Context, v victim) error {
				l, err := v.Q.Lease(ctx)
				if err == nil && (l.Value() != 1 || l.Deliveries() != 2) {
					err = fmt.Errorf("%d, delivered %d times", l.Value(), l.Deliveries())
				}
				return err
			}, nil},
		{"has a message", func(ctx context.Context, v victim) error { return v.Q.Put(ctx, 1) },
			func(ctx context.Context, v victim) error {
				if err := v.Q.Join(ctx); !errors.Is(err, psync.ErrOwnerDied) {
					return fmt.Errorf("Join: %w", err)
				}
				return nil
			}, func(ctx context.Context, v victim) error {
				if n, err := v.Q.Recover(ctx); n != 1 || err != nil {
					return fmt.Errorf("Recover: %d, %w", n, err)
				}
				return v.Q.Join(ctx)
			}},
		{"has the mutex", nil, func(ctx context.Context, v victim) error {
			if err := v.Mu.Lock(ctx); !errors.Is(err, psync.ErrOwnerDied) {
				return fmt.Errorf("Lock: %w", err)
			}
			return nil
		}, func(ctx context.Context, v victim) error {
			return abandoned(ctx, v.Mu, func() error { return v.Mu.Lock(ctx) }, v.Mu.Unlock)
		}},
		{"has the rmutex", nil, nil, func(ctx context.Context, v victim) error {
			in := ctx
			return abandoned(ctx, v.RMu, func() (err error) { in, err = v.RMu.Lock(ctx); return err }, func() error { return v.RMu.Unlock(in) })
		}},
		{"has a permit", nil, func(ctx context.Context, v victim) error { return v.Sem.Acquire(ctx) }, nil},
		{"was at the barrier", nil, nil, func(ctx context.Context, v victim) error {
			if _, err := v.B.Wait(ctx); !errors.Is(err, psync.ErrBroken) {
				return fmt.Errorf("Wait: %w", err)
			}
			return nil
		}},
	} {
		t.Run(test.what, func(t *testing.T) {
			w, ctx := watch(t), testContext(t)
			v := newVictim(t, w, test.what)
			if test.before != nil {
				check(t, test.before(ctx, v))
			}
			p := run(t, beVictim, v)
			if test.what == "was at the barrier" {
				must[int](t)(v.B.Wait(ctx))
			}
			check(t, v.Ready.Wait(ctx))
			waiting := func() error { return nil }
			if test.wait != nil {
				waiting = later(func() error { return test.wait(ctx, v) })
				w.until(t, 1)
			}
			killed(p)
			begun := time.Now()
			check(t, waiting())
			t.Logf("after %v", time.Since(begun))
			if test.after != nil {
				check(t, test.after(ctx, v))
			}
		})
	}

	t.Run("cond", func(t *testing.T) { // those who wait on a Cond are told of the death of who has its lock
		w, ctx := watch(t), testContext(t)
		v := newVictim(t, w, "has the mutex")
		var waiting []func() error
		for range 2 {
			waiting = append(waiting, later(func() error {
				if err := v.Mu.Lock(ctx); err != nil {
					return err
				}
				if err := v.Cond.Wait(ctx); !errors.Is(err, psync.ErrOwnerDied) {
					return fmt.Errorf("Wait: %w", err)
				}
				return v.Mu.Unlock() // it stays abandoned
			}))
		}
		w.until(t, 2)
		p := run(t, beVictim, v)
		check(t, v.Ready.Wait(ctx))
		killed(p)
		for _, wait := range waiting {
			check(t, wait())
		}
		check(t, v.Mu.LockOrRecover(ctx, nil))
		check(t, v.Mu.Unlock())
	})

	t.Run("repairs", func(t *testing.T) {
		w, ctx := watch(t), testContext(t)
		v := newVictim(t, w, "has the mutex")
		p := run(t, beVictim, v)
		check(t, v.Ready.Wait(ctx))
		killed(p)
		check(t, v.Ready.Clear(ctx))
		for v.Mu.Lock(ctx) == nil { // its death has not been heard of yet
			check(t, v.Mu.Unlock())
		}
		v.What = "repairs"
		p = run(t, beVictim, v)
		check(t, v.Ready.Wait(ctx))
		locking := later(func() error { return v.Mu.Lock(ctx) })
		repairing := later(func() error { return v.Mu.LockOrRecover(ctx, nil) })
		w.until(t, 2)
		killed(p)
		if err := locking(); !errors.Is(err, psync.ErrOwnerDied) {
			t.Errorf("Lock after the repairer's death: %v", err)
		}
		check(t, repairing())
		check(t, v.Mu.Unlock())
	})

	t.Run("leaves the barrier", func(t *testing.T) {
		w, ctx := watch(t), testContext(t)
		v := newVictim(t, w, "leaves the barrier")
		p := run(t, beVictim, v)
		must[int](t)(v.B.Wait(ctx))
		join(t, p)
		waiting := later(func() error { _, err := v.B.Wait(ctx); return err })
		w.until(t, 1) // and not broken
		must[int](t)(v.B.Wait(ctx))
		check(t, waiting())
	})
}

type stormOnQueue struct {
	Seed  uint64
	In    *manager.Queue[int]
	Out   *manager.Queue[int]
	Sem   *manager.Semaphore
	Mu    *manager.Mutex
	Count *manager.Dict[string, int]
}

// stormTaker moves messages from one queue to another with contexts that end at any moment.
func stormTaker(ctx context.Context, r *rand.Rand, j stormOnQueue) error {
	for {
		short, cancel := context.WithTimeout(ctx, time.Duration(r.IntN(200))*time.Microsecond)
		v, err := j.In.Get(short)
		cancel()
		switch {
		case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled):
			if ctx.Err() != nil {
				return nil
			}
			continue
		case err != nil:
			return err
		}
		for {
			short, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Duration(r.IntN(200))*time.Microsecond)
			err := j.Out.Put(short, v)
			cancel()
			if err == nil {
				break
			}
			if !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
		}
	}
}

// Contexts that end at the very moment of the grant lose nothing, and nothing is there twice.
func TestContextsEndAtTheGrant(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	w := watch(t)
	ctx := testContext(t)
	j := stormOnQueue{
		In:  must[*manager.Queue[int]](t)(manager.NewQueue[int](w.m, manager.QueueOptions{Capacity: 3})),
		Out: must[*manager.Queue[int]](t)(manager.NewQueue[int](w.m, manager.QueueOptions{Capacity: 3})),
		Mu:  must[*manager.Mutex](t)(manager.NewMutex(w.m)),
		Sem: must[*manager.Semaphore](t)(manager.NewSemaphore(w.m, 2)),
	}
	inner, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if err := stormTaker(inner, rand.New(rand.NewPCG(seed, uint64(i))), j); err != nil {
				t.Error(err)
			}
		})
	}
	inside, insideSem := 0, make(chan struct{}, 2)
	for i := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(100+i)))
			for inner.Err() == nil {
				short, cancel := context.WithTimeout(ctx, time.Duration(r.IntN(200))*time.Microsecond)
				if err := j.Mu.Lock(short); err == nil {
					if inside++; inside != 1 {
						t.Error("two have the lock")
					}
					inside--
					if err := j.Mu.Unlock(); err != nil {
						t.Error(err)
					}
				} else if !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
				if err := j.Sem.Acquire(short); err == nil {
					select {
					case insideSem <- struct{}{}:
						<-insideSem
					default:
						t.Error("three have permits")
					}
					if err := j.Sem.Release(ctx); err != nil {
						t.Error(err)
					}
				} else if !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
				cancel()
			}
		})
	}
	const n = 3000
	wg.Go(func() {
		for i := range n {
			if err := j.In.Put(ctx, i); err != nil {
				t.Error(err)
				return
			}
		}
	})
	seen := make([]int, n)
	for range n {
		v, err := j.Out.Get(ctx)
		if err != nil {
			t.Fatal(err)
		}
		seen[v]++
	}
	stop()
	wg.Wait()
	for v, times := range seen {
		if times != 1 {
			t.Errorf("%d came %d times", v, times)
		}
	}
	for _, q := range []*manager.Queue[int]{j.In, j.Out} {
		if n, err := q.Len(ctx); n != 0 || err != nil {
			t.Errorf("%d are left, %v", n, err)
		}
	}
	if ok, err := j.Mu.TryLock(); !ok || err != nil {
		t.Errorf("the lock: %v, %v", ok, err)
	}
	check(t, j.Mu.Unlock())
	if n, err := j.Sem.Value(ctx); n != 2 || err != nil {
		t.Errorf("%d permits are free, %v", n, err)
	}
}

// leaser deals with messages until it is killed.
var leaser = process.Register(func(ctx context.Context, j stormOnQueue) error {
	for {
		l, err := j.In.Lease(ctx)
		if err != nil {
			return err
		}
		if _, err := j.Count.Update(ctx, fmt.Sprint(l.Value()), func(n int, _ bool) (int, error) { return n + 1, nil }); err != nil {
			return err
		}
		if err := l.Ack(ctx); err != nil {
			return err
		}
	}
})

// Every message is dealt with, whoever is killed at whatever moment.
func TestKillLeasers(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	ctx := testContext(t)
	m := start(t, manager.Options{})
	j := stormOnQueue{
		In:    must[*manager.Queue[int]](t)(manager.NewQueue[int](m)),
		Count: must[*manager.Dict[string, int]](t)(manager.NewDict[string, int](m)),
	}
	const n = 2000
	put := later(func() error {
		for i := range n {
			if err := j.In.Put(ctx, i); err != nil {
				return err
			}
		}
		return nil
	})
	joined := make(chan error, 1)
	check(t, j.In.Put(ctx, n)) // so that there is something to join
	go func() {
		err := put()
		if err == nil {
			err = j.In.Join(ctx)
		}
		joined <- err
	}()
	var ps []*process.Process
	for range 3 {
		ps = append(ps, run(t, leaser, j))
	}
	kills := 0
	for done := false; !done; {
		select {
		case err := <-joined:
			check(t, err)
			done = true
		case <-time.After(time.Duration(r.IntN(20_000)) * time.Microsecond):
			if kills < 10 {
				i := r.IntN(len(ps))
				killed(ps[i])
				ps[i] = run(t, leaser, j)
				kills++
			}
		}
	}
	for _, p := range ps {
		killed(p)
	}
	counts, err := j.Count.Snapshot(ctx)
	check(t, err)
	again := 0
	for i := range n + 1 {
		c := counts[fmt.Sprint(i)]
		if c == 0 {
			t.Errorf("message %d was lost", i)
		}
		again += max(c-1, 0)
	}
	t.Logf("%d kills, %d messages twice", kills, again)
	if again > kills {
		t.Errorf("%d messages were dealt with again after %d deaths", again, kills)
	}
}

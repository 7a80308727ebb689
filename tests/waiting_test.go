package tests_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/value"
)

// A guest takes part in one round, and then ends in one of several ways.
type guest struct {
	Barrier *psync.Barrier
	Fails   bool
}

var takePart = process.Register(func(ctx context.Context, g guest) error {
	if _, err := g.Barrier.Wait(ctx); err != nil {
		return err
	}
	if g.Fails {
		return errors.New("told to fail")
	}
	return nil
})

// A child that has taken part in a round and returns nil is not missed in the next one, and
// another can take its place; one that fails is.
func TestBarrierOutlivesItsParties(t *testing.T) {
	for _, fails := range []bool{false, true} {
		name := "returns nil"
		if fails {
			name = "fails"
		}
		t.Run(name, func(t *testing.T) {
			b := must(psync.NewBarrier(2))(t)
			defer b.Close()
			first := process.New(takePart, guest{b, fails})
			if err := first.Start(); err != nil {
				t.Fatal(err)
			}
			if _, err := b.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := first.Join(t.Context()); (err != nil) != fails {
				t.Fatal(err)
			}
			result := make(chan error, 1)
			go func() { _, err := b.Wait(context.Background()); result <- err }()
			if fails {
				if err := <-result; !errors.Is(err, psync.ErrBroken) {
					t.Errorf("Wait: %v", err)
				}
				return
			}
			select {
			case err := <-result:
				t.Fatalf("Wait, with nobody there: %v", err)
			case <-time.After(100 * time.Millisecond): // some slices
			}
			second := process.New(takePart, guest{b, false})
			if err := second.Start(); err != nil {
				t.Fatal(err)
			}
			if err := <-result; err != nil {
				t.Errorf("Wait with another child: %v", err)
			}
			if err := second.Join(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// A meeting has one of each of what waits.
type meeting struct {
	RMutex  *psync.RMutex
	Event   *psync.Event
	Cond    *psync.Cond
	Barrier *psync.Barrier
	Once    *psync.Once
	Said    *value.Value[int64]
}

// attend uses all of them, in step with the parent.
var attend = process.Register(func(ctx context.Context, m meeting) error {
	if _, ok, err := m.RMutex.TryLock(ctx); ok || err != nil {
		return fmt.Errorf("RMutex: TryLock of what the parent holds: %t, %w", ok, err)
	}
	if i, err := m.Barrier.Wait(ctx); err != nil {
		return fmt.Errorf("Barrier: %d, %w", i, err)
	}
	if err := m.Event.Wait(ctx); err != nil {
		return fmt.Errorf("Event: %w", err)
	}
	ran := false
	if err := m.Once.Do(ctx, func() error { ran = true; return nil }); ran || err != nil {
		return fmt.Errorf("Once: %t, %w", ran, err)
	}
	l := m.Cond.Locker()
	if err := l.Lock(ctx); err != nil {
		return err
	}
	value.Add(m.Said, 1)
	m.Cond.Signal()
	err := m.Cond.WaitFor(ctx, func() bool { return m.Said.Load() == 2 })
	if unlockErr := l.Unlock(); err == nil {
		err = unlockErr
	}
	return err
})

// What waits crosses to children of every kind, and is the same there.
func TestWaitingCrosses(t *testing.T) {
	for _, method := range []struct {
		name   string
		method process.Method
	}{{"spawn", process.Spawn}, {"fork", process.Fork}, {"forkserver", process.ForkServer}} {
		t.Run(method.name, func(t *testing.T) {
			said := must(value.New[int64](0))(t)
			defer said.Close()
			m := meeting{
				RMutex: must(psync.NewRMutex())(t), Event: must(psync.NewEvent())(t), Cond: must(psync.NewCond(said.Mutex()))(t),
				Barrier: must(psync.NewBarrier(2))(t), Once: must(psync.NewOnce())(t), Said: said,
			}
			ctx := t.Context()
			inside := must(m.RMutex.Lock(ctx))(t)
			p := process.New(attend, m)
			p.Method = method.method
			noError(t, p.Start())
			_, err := m.Barrier.Wait(ctx)
			noError(t, err)
			noError(t, m.Once.Do(ctx, func() error { return nil }))
			noError(t, m.Event.Set())
			noError(t, m.Cond.Locker().Lock(ctx))
			noError(t, m.Cond.WaitFor(ctx, func() bool { return said.Load() == 1 }))
			value.Add(said, 1)
			noError(t, m.Cond.Locker().Unlock())
			noError(t, m.Cond.Broadcast())
			noError(t, p.Join(ctx))
			noError(t, m.RMutex.Unlock(inside))
			for _, c := range []io.Closer{m.RMutex, m.Event, m.Cond, m.Barrier, m.Once} {
				noError(t, c.Close())
			}
		})
	}
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

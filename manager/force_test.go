package manager_test

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/go-multiproc/multiproc/manager"
	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/psync"
)

// A grip is what a process gets that holds locks and does not let go.
type grip struct {
	Mu   *manager.Mutex
	RMu  *manager.RMutex
	Has  *manager.Event
	Over *manager.Event
}

// holdOn takes both locks, and gives them back when it is told; by then they were taken away.
var holdOn = process.Register(func(ctx context.Context, g grip) error {
	if err := g.Mu.Lock(ctx); err != nil {
		return err
	}
	in, err := g.RMu.Lock(ctx)
	if err != nil {
		return err
	}
	again, err := g.RMu.Lock(in)
	if err != nil {
		return err
	}
	if err := errors.Join(g.Has.Set(ctx), g.Over.Wait(ctx)); err != nil {
		return err
	}
	for what, unlock := range map[string]func() error{"Mutex": g.Mu.Unlock, "RMutex": func() error {
		if err := g.RMu.Unlock(again); err != nil { // not the last one
			return err
		}
		return g.RMu.Unlock(in)
	}} {
		if err := unlock(); !errors.Is(err, psync.ErrLockLost) {
			return fmt.Errorf("%s.Unlock of what was taken away: %w", what, err)
		}
		if err := unlock(); !errors.Is(err, psync.ErrNotHeld) {
			return fmt.Errorf("%s.Unlock once more: %w", what, err)
		}
	}
	return g.Mu.Lock(ctx) // it may take it like anybody else; and dies with it
})

// A lock is taken away from a process that is stopped, and will not give it back. Others go on; the process finds out.
func TestForceUnlock(t *testing.T) {
	ctx := testContext(t)
	m := start(t, manager.Options{})
	var g grip
	var errs [4]error
	g.Mu, errs[0] = manager.NewMutex(m)
	g.RMu, errs[1] = manager.NewRMutex(m)
	g.Has, errs[2] = manager.NewEvent(m)
	g.Over, errs[3] = manager.NewEvent(m)
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	if err := g.Mu.ForceUnlock(ctx); !errors.Is(err, psync.ErrNotHeld) {
		t.Errorf("of a lock that nobody holds: %v", err)
	}
	p := run(t, holdOn, g)
	if err := g.Has.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(p.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	waits := make(chan error)
	go func() { waits <- g.Mu.Lock(ctx) }()
	for st, err := m.Stats(ctx); err != nil || st.Waiting == 0; st, err = m.Stats(ctx) {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(g.Mu.ForceUnlock(ctx), g.RMu.ForceUnlock(ctx)); err != nil {
		t.Fatal(err)
	}
	if err := <-waits; !errors.Is(err, psync.ErrOwnerDied) {
		t.Errorf("one who waited: %v", err)
	}
	if err := g.Mu.ForceUnlock(ctx); !errors.Is(err, psync.ErrNotHeld) {
		t.Errorf("of one that was taken away: %v", err)
	}
	repairs := 0
	repair := func() error { repairs++; return nil }
	if err := g.Mu.LockOrRecover(ctx, repair); err != nil {
		t.Fatal(err)
	}
	if fence := g.Mu.Fence(); fence != 2 {
		t.Errorf("the second hold has the number %d", fence)
	}
	in, err := g.RMu.LockOrRecover(ctx, repair)
	if err != nil || repairs != 2 {
		t.Fatalf("%v, %d repairs", err, repairs)
	}
	// What the former holder does with its hold does not touch the one that is there now.
	if err := errors.Join(g.Over.Set(ctx), syscall.Kill(p.PID(), syscall.SIGCONT)); err != nil {
		t.Fatal(err)
	}
	for st, err := m.Stats(ctx); err != nil || st.Waiting == 0; st, err = m.Stats(ctx) { // until it waits for the lock again
		if err != nil || !p.Alive() {
			t.Fatal(err, p.Join(ctx))
		}
	}
	if err := errors.Join(g.Mu.Unlock(), g.RMu.Unlock(in)); err != nil {
		t.Error(err)
	}
	join(t, p)
	if err := g.Mu.Lock(ctx); !errors.Is(err, psync.ErrOwnerDied) {
		t.Errorf("after its end with the lock: %v", err)
	}
}

// A Wait on a Cond whose lock was taken away says so, as do Unlock and a repair that was under way; those who wait on it already are told that the lock is abandoned.
func TestForceUnlockAndCond(t *testing.T) {
	ctx := testContext(t)
	m := start(t, manager.Options{})
	mu, err := manager.NewMutex(m)
	if err != nil {
		t.Fatal(err)
	}
	c, err := manager.NewCond(m, mu)
	if err != nil {
		t.Fatal(err)
	}
	if err := mu.Lock(ctx); err != nil {
		t.Fatal(err)
	}
	waits := make(chan error)
	go func() { waits <- errors.Join(c.Wait(ctx), mu.Unlock()) }()
	if err := mu.Lock(ctx); err != nil { // when Wait has let go of it
		t.Fatal(err)
	}
	if err := mu.ForceUnlock(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-waits; !errors.Is(err, psync.ErrOwnerDied) || errors.Is(err, psync.ErrLockLost) {
		t.Errorf("who waited on the Cond: %v", err)
	}
	if err := c.Wait(ctx); !errors.Is(err, psync.ErrLockLost) {
		t.Errorf("Wait: %v", err)
	}
	if err := mu.Unlock(); !errors.Is(err, psync.ErrLockLost) {
		t.Errorf("Unlock: %v", err)
	}
	err = mu.Recover(ctx, func() error { return mu.ForceUnlock(ctx) })
	if !errors.Is(err, psync.ErrLockLost) {
		t.Errorf("a repair whose lock was taken away: %v", err)
	}
	if err := mu.Lock(ctx); !errors.Is(err, psync.ErrOwnerDied) {
		t.Errorf("after it: %v", err)
	}
	if err := mu.Recover(ctx, nil); err != nil {
		t.Error(err)
	}
	if err := errors.Join(mu.Lock(ctx), mu.Unlock()); err != nil {
		t.Error(err)
	}
}

package psync_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/verify"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/shm"
)

func init() {
	placeables = append(placeables, placeable{
		name: "Cond", size: psync.CondSize,
		at: func(s *shm.Segment, off int) (io.Closer, error) { return closer(psync.CondAt(s, off, nil)) },
	})
}

func newCond(t testing.TB, l psync.Locker) *psync.Cond {
	t.Helper()
	c, err := psync.NewCond(l)
	verify.Must(t, err)
	t.Cleanup(func() { verify.Must(t, c.Close()) })
	return c
}

// A condLock is a kind of lock that a Cond can have.
type condLock struct {
	name string
	make func(t *testing.T) psync.Locker
}

var condLocks = []condLock{
	{"its own", func(t *testing.T) psync.Locker { return nil }},
	{"Mutex", func(t *testing.T) psync.Locker { return newMutex(t) }},
	{"FileLock", func(t *testing.T) psync.Locker { return newFileLock(t, lockPath(t)) }},
	{"somebody else's", func(t *testing.T) psync.Locker { return plainLock{newMutex(t)} }},
}

// plainLock is a Locker and nothing more.
type plainLock struct{ psync.Locker }

// condWaits takes the lock and waits in the background, and returns when it waits for sure.
func condWaits(t *testing.T, c *psync.Cond, ctx context.Context) (result func() error) {
	t.Helper()
	locked := make(chan struct{})
	wait := verify.Blocks(t, "Wait", func() error {
		if err := c.Locker().Lock(ctx); err != nil {
			return err
		}
		close(locked)
		err := c.Wait(ctx)
		if unlockErr := c.Locker().Unlock(); unlockErr != nil {
			return fmt.Errorf("Wait: %w; then Unlock: %w", err, unlockErr)
		}
		return err
	})
	<-locked
	verify.Must(t, c.Locker().Lock(t.Context())) // it has let go of it, and waits
	verify.Must(t, c.Locker().Unlock())
	return wait
}

func TestCond(t *testing.T) {
	for _, l := range condLocks {
		t.Run(l.name, func(t *testing.T) {
			c := newCond(t, l.make(t))
			verify.Must(t, c.Signal()) // to nobody
			one := condWaits(t, c, context.Background())
			two := condWaits(t, c, context.Background())
			verify.Must(t, c.Signal())
			verify.Must(t, one()) // in their order
			three := condWaits(t, c, context.Background())
			verify.Must(t, c.Broadcast())
			verify.Must(t, two())
			verify.Must(t, three())
			if err := c.Wait(context.Background()); !errors.Is(err, psync.ErrNotHeld) {
				t.Errorf("Wait without the lock: %v", err)
			}
		})
	}
}

// However it ends, Wait holds the lock, except when there is none any more.
func TestCondWaitHoldsLock(t *testing.T) {
	for _, l := range condLocks {
		t.Run(l.name, func(t *testing.T) {
			c := newCond(t, l.make(t))
			lock := c.Locker()
			ctx, cancel := context.WithCancel(context.Background())
			wait := condWaits(t, c, ctx) // which unlocks, or fails
			verify.Must(t, lock.Lock(t.Context()))
			cancel()
			settles(t, "it wants the lock, and can not have it", func() bool { return verify.Waiters("psync.relock") == 1 })
			verify.Must(t, lock.Unlock())
			if err := wait(); err != context.Canceled {
				t.Errorf("Wait: %v", err)
			}
			verify.Must(t, lock.Lock(t.Context()))
			if err := c.Wait(ctx); err != context.Canceled {
				t.Errorf("Wait with a ctx that has ended: %v", err)
			}
			verify.Must(t, lock.Unlock())
		})
	}
}

func TestCondWaitFor(t *testing.T) {
	c := newCond(t, nil)
	lock := c.Locker()
	n := 0
	verify.Must(t, lock.Lock(t.Context()))
	go func() {
		for range 5 {
			lock.Lock(context.Background())
			n++
			lock.Unlock()
			c.Signal()
		}
	}()
	verify.Must(t, c.WaitFor(soon(t), func() bool { return n == 5 }))
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := c.WaitFor(ctx, func() bool { return false }); err != context.DeadlineExceeded {
		t.Error(err)
	}
	// What came true with the end of ctx counts.
	looks := 0
	verify.Must(t, c.WaitFor(ctx, func() bool { looks++; return looks == 2 }))
	verify.Must(t, lock.Unlock())
}

// A Signal goes to one process, which is then in turn last.
func TestCondAcrossProcesses(t *testing.T) {
	for _, l := range condLocks[:3] {
		t.Run(l.name, func(t *testing.T) {
			c := newCond(t, l.make(t))
			var ps []*puppet
			for range 3 {
				p := newPuppet(t, gifts{Cond: c})
				for range 2 {
					p.begins("cond waits")
					if l := p.answer(); l != "waits" {
						t.Fatal(l)
					}
					verify.Must(t, c.Locker().Lock(soon(t)))
					verify.Must(t, c.Locker().Unlock())
				}
				ps = append(ps, p)
			}
			for range 2 {
				for _, p := range ps {
					verify.Must(t, c.Signal())
					if l := p.answer(); l != "<nil> <nil>" {
						t.Fatal(l)
					}
				}
			}
			mine := condWaits(t, c, context.Background())
			ps[1].must("cond broadcast", "<nil>")
			verify.Must(t, mine())
			for _, p := range ps {
				p.Done()
			}
		})
	}
}

// A Cond and its Mutex that cross separately are one lock.
func TestCondFindsItsMutex(t *testing.T) {
	mu := newMutex(t)
	c := newCond(t, mu)
	var got struct {
		C *psync.Cond
		M *psync.Mutex
	}
	crossing(t, struct {
		C *psync.Cond
		M *psync.Mutex
	}{c, mu}, &got)
	verify.Must(t, got.M.Lock(t.Context()))
	verify.Must(t, mu.Unlock())
	verify.Must(t, got.C.Locker().Lock(t.Context()))
	if ok, err := mu.TryLock(); ok || err != nil {
		t.Errorf("TryLock: %v, %v", ok, err)
	}
	verify.Must(t, got.M.Unlock())
	wait := condWaits(t, got.C, context.Background())
	verify.Must(t, c.Signal())
	verify.Must(t, wait())
	verify.Must(t, got.C.Close())
	verify.Must(t, got.M.Close())
	if _, err := handover.Marshal(newCond(t, plainLock{mu}), "c"); err == nil || !strings.Contains(err.Error(), "cannot be passed") {
		t.Errorf("handing over a Cond with a lock of one's own making: %v", err)
	}
}

func TestCondOpen(t *testing.T) {
	dir := psync.Options{Dir: t.TempDir()}
	mu, other := newMutex(t), newMutex(t)
	file := newFileLock(t, filepath.Join(t.TempDir(), "lock"))
	tests := []struct {
		name         string
		made, opened psync.Locker
		want         error
	}{
		{"own", nil, nil, nil},
		{"own-other", nil, mu, fs.ErrInvalid},
		{"mutex", mu, mu, nil},
		{"mutex-none", mu, nil, fs.ErrInvalid},
		{"mutex-other", mu, other, fs.ErrInvalid},
		{"mutex-file", mu, file, fs.ErrInvalid},
		{"file", file, nil, nil},
		{"file-given", file, file, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := psync.CreateCond(tt.name, tt.made, dir)
			verify.Must(t, err)
			defer c.Close()
			if _, err := psync.CreateCond(tt.name, tt.made, dir); !errors.Is(err, fs.ErrExist) {
				t.Errorf("CreateCond again: %v", err)
			}
			got, err := psync.OpenCond(tt.name, tt.opened, dir)
			if !errors.Is(err, tt.want) {
				t.Fatalf("OpenCond: %v, want %v", err, tt.want)
			}
			if err != nil {
				return
			}
			wait := condWaits(t, got, context.Background())
			verify.Must(t, c.Broadcast())
			verify.Must(t, wait())
			verify.Must(t, got.Close())
			verify.Must(t, psync.Remove(tt.name, dir))
		})
	}
	verify.Must(t, func() error { m, err := psync.CreateMutex("a-mutex", dir); m.Close(); return err }())
	if _, err := psync.OpenCond("a-mutex", nil, dir); !errors.Is(err, shm.ErrType) {
		t.Errorf("opening a Mutex as a Cond: %v", err)
	}
}

// The lock that a Cond has of its own is one that an operator sees, and can take away.
func TestCondOwnLockIsTakenAway(t *testing.T) {
	dir := psync.Options{Dir: t.TempDir()}
	c, err := psync.CreateCond("c", nil, dir)
	verify.Must(t, err)
	defer c.Close()
	if err := psync.ForceUnlock("c", dir); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("ForceUnlock of a Cond whose lock was never used: %v", err)
	}
	verify.Must(t, c.Locker().Lock(t.Context()))
	verify.Must(t, psync.ForceUnlock("c", dir))
	if err := c.Wait(t.Context()); err != psync.ErrLockLost {
		t.Errorf("Wait by who has lost the lock: %v", err)
	}
	verify.Must(t, c.Locker().Recover(t.Context(), nil))
}

func TestCondClose(t *testing.T) {
	for _, l := range condLocks {
		t.Run(l.name, func(t *testing.T) {
			c := newCond(t, l.make(t))
			wait := condWaits(t, c, context.Background())
			verify.Must(t, c.Close())
			err := wait()
			if !errors.Is(err, fs.ErrClosed) {
				t.Errorf("Wait: %v", err)
			}
			if own := l.name == "its own"; own != errors.Is(err, psync.ErrNotHeld) {
				t.Errorf("Wait: %v", err)
			}
			for what, err := range map[string]error{"Wait": c.Wait(t.Context()), "Signal": c.Signal(), "Broadcast": c.Broadcast()} {
				if !errors.Is(err, fs.ErrClosed) {
					t.Errorf("%s after Close: %v", what, err)
				}
			}
		})
	}
	c := newCond(t, nil)
	verify.Must(t, c.Locker().Lock(t.Context()))
	if err := c.Close(); err != psync.ErrHeld {
		t.Errorf("Close while its own lock is held: %v", err)
	}
	verify.Must(t, c.Locker().Unlock())
}

// A holder dies while others wait: they get to know, and hold the lock, abandoned.
func TestCondHolderDies(t *testing.T) {
	mu := newMutex(t)
	c := newCond(t, mu)
	p := newPuppet(t, gifts{Mutex: mu, Cond: c})
	locked := make(chan struct{})
	wait := verify.Blocks(t, "Wait", func() error {
		mu.Lock(context.Background())
		close(locked)
		err := c.Wait(context.Background())
		if again := mu.Lock(short(t)); again != context.DeadlineExceeded {
			t.Errorf("Lock of the lock that one holds: %v", again)
		}
		if unlock := mu.Unlock(); unlock != nil {
			t.Errorf("Unlock: %v", unlock)
		}
		return err
	})
	<-locked
	p.must("lock lock", "<nil>")
	p.Kill()
	if err := wait(); err != psync.ErrOwnerDied {
		t.Errorf("Wait: %v", err)
	}
	if err := mu.Lock(t.Context()); err != psync.ErrOwnerDied {
		t.Errorf("Lock after that: %v", err)
	}
	verify.Must(t, mu.Recover(t.Context(), nil))

	// Of a lock that can not be taken while it is abandoned, it says so.
	foreign := newCond(t, plainLock{mu})
	ctx, cancel := context.WithCancel(context.Background())
	p = newPuppet(t, gifts{Mutex: mu})
	verify.Must(t, mu.Lock(t.Context()))
	wait = verify.Blocks(t, "Wait", func() error { return foreign.Wait(ctx) })
	p.must("lock lock", "<nil>")
	p.Kill()
	cancel()
	if err := wait(); !errors.Is(err, psync.ErrOwnerDied) || !errors.Is(err, psync.ErrNotHeld) || !errors.Is(err, context.Canceled) {
		t.Errorf("Wait: %v", err)
	}
	verify.Must(t, mu.Recover(t.Context(), nil))
}

// The holder that dies has only the lock, and never knew of the Cond: those who wait learn it from
// the lock.
func TestCondHolderWithoutCondDies(t *testing.T) {
	mu := newMutex(t)
	c := newCond(t, mu)
	p := newPuppet(t, gifts{Mutex: mu})
	var waits []func() error
	for range 3 {
		waits = append(waits, condWaits(t, c, context.Background()))
	}
	p.must("lock lock", "<nil>")
	p.Kill()
	for _, wait := range waits {
		if err := wait(); !errors.Is(err, psync.ErrOwnerDied) {
			t.Errorf("Wait: %v", err)
		}
	}
	verify.Must(t, mu.Recover(t.Context(), nil))
}

func short(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// A waiter that was signalled and dies before it knows takes the signal along; the others
// are woken instead.
func TestCondWaiterDies(t *testing.T) {
	var times []time.Duration
	for range 5 {
		c := newCond(t, nil)
		p := newPuppet(t, gifts{Cond: c})
		p.begins("cond waits")
		p.answer()
		mine := condWaits(t, c, context.Background())
		stop(t, p)
		verify.Must(t, c.Signal()) // the processes take turns: to the one that is stopped
		began := time.Now()
		p.Kill()
		verify.Must(t, mine())
		times = append(times, time.Since(began))
	}
	prompt(t, times)
}

// Whoever waits gets each of the things that are made, and nobody sleeps for ever: a bounded
// buffer with one Cond for each side.
func TestCondBuffer(t *testing.T) {
	const procs, each = 2, 500
	mu := newMutex(t)
	c := newCond(t, mu)
	w := newSegment(t, 64)
	var ps []*puppet
	for i := range procs {
		p := newPuppet(t, gifts{Mutex: mu, Cond: c, Words: w})
		p.begins(fmt.Sprintf("cond buffer 60000 %d %d", i%2, each))
		ps = append(ps, p)
	}
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			if err := (&gifts{Mutex: mu, Cond: c, Words: w}).buffer(soon(t), i%2 == 0, each); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, p := range ps {
		if l := p.answer(); l != "<nil>" {
			t.Error(l)
		}
		p.Done()
	}
	if n := words(w.Bytes())[0]; n != 0 {
		t.Errorf("%d things are left", n)
	}
}

// buffer puts things in, or takes them out. There is room for 2.
func (s *gifts) buffer(ctx context.Context, put bool, n int) error {
	count := &words(s.Words.Bytes())[0]
	for i := range n {
		if err := s.Mutex.Lock(ctx); err != nil {
			return err
		}
		err := s.Cond.WaitFor(ctx, func() bool {
			if put {
				return *count < 2
			}
			return *count > 0
		})
		if err != nil {
			return fmt.Errorf("thing %d, put %v, with %d there: %w", i, put, *count, err)
		}
		if put {
			*count++
		} else {
			*count--
		}
		if err := s.Mutex.Unlock(); err != nil {
			return err
		}
		if err := s.Cond.Broadcast(); err != nil {
			return err
		}
	}
	return nil
}

// Signals and waits whose ctx ends, at random: as many waiters are woken as signals are sent
// while they wait, so that tokens that are handed out one for one are all taken.
func TestCondSignalsAreNotLost(t *testing.T) {
	c := newCond(t, nil)
	lock := c.Locker()
	tokens, taken := 0, 0
	var finished atomic.Bool
	const n = 3000
	var all sync.WaitGroup
	for g := range 6 {
		all.Go(func() {
			for i := 0; !finished.Load(); i++ {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+i%4*g)*30*time.Microsecond)
				if g == 0 {
					cancel()
					ctx, cancel = soon(t), func() {}
				}
				lock.Lock(context.Background())
				err := c.WaitFor(ctx, func() bool { return tokens > 0 || finished.Load() })
				if err == nil && tokens > 0 {
					tokens--
					taken++
				}
				if g == 0 && err != nil {
					t.Error("a patient waiter: ", err)
					finished.Store(true)
				}
				lock.Unlock()
				cancel()
			}
		})
	}
	for range n {
		verify.Must(t, lock.Lock(soon(t)))
		tokens++
		verify.Must(t, lock.Unlock())
		verify.Must(t, c.Signal())
	}
	for start := time.Now(); ; time.Sleep(time.Millisecond) {
		verify.Must(t, lock.Lock(soon(t)))
		left := tokens
		verify.Must(t, lock.Unlock())
		if left == 0 {
			break
		}
		if time.Since(start) > patience {
			t.Fatalf("%d of %d are left", left, n)
		}
	}
	finished.Store(true)
	verify.Must(t, c.Broadcast())
	all.Wait()
	if taken != n {
		t.Errorf("%d taken, %d given", taken, n)
	}
}

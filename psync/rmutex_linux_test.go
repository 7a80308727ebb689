package psync_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"sync"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/verify"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/shm"
)

func init() {
	placeables = append(placeables, placeable{
		name: "RMutex", size: psync.RMutexSize,
		at: func(s *shm.Segment, off int) (io.Closer, error) { return closer(psync.RMutexAt(s, off)) },
	})
}

func newRMutex(t testing.TB) *psync.RMutex {
	t.Helper()
	r, err := psync.NewRMutex()
	verify.Must(t, err)
	t.Cleanup(func() { verify.Must(t, r.Close()) })
	return r
}

// free reports whether somebody else can take r.
func free(t *testing.T, r *psync.RMutex) bool {
	t.Helper()
	ctx, ok, err := r.TryLock(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if ok {
		verify.Must(t, r.Unlock(ctx))
	}
	return ok
}

func TestRMutex(t *testing.T) {
	type key struct{}
	bg := context.WithValue(context.Background(), key{}, "value")
	lock := func(t *testing.T, r *psync.RMutex, ctx context.Context) context.Context {
		t.Helper()
		got, err := r.Lock(ctx)
		verify.Must(t, err)
		return got
	}
	tests := []struct {
		name string
		run  func(t *testing.T, r *psync.RMutex)
	}{
		{"again with the newest context", func(t *testing.T, r *psync.RMutex) {
			ctx := lock(t, r, bg)
			ctx = lock(t, r, ctx)
			verify.Must(t, r.Unlock(ctx))
			if free(t, r) {
				t.Error("free after one of two Unlocks")
			}
			verify.Must(t, r.Unlock(ctx))
			if !free(t, r) {
				t.Error("not free after both")
			}
			if err := r.Unlock(ctx); err != psync.ErrNotHeld {
				t.Errorf("third Unlock: %v", err)
			}
		}},
		{"again without waiting", func(t *testing.T, r *psync.RMutex) {
			ctx := lock(t, r, bg)
			again, ok, err := r.TryLock(ctx)
			if !ok || err != nil || again.Value(key{}) != "value" {
				t.Fatalf("TryLock of one's own: %v, %v", ok, err)
			}
			if _, ok, err := r.TryLock(bg); ok || err != nil {
				t.Errorf("TryLock of another's: %v, %v", ok, err)
			}
			verify.Must(t, r.Unlock(again))
			if free(t, r) {
				t.Error("free after one of two Unlocks")
			}
			verify.Must(t, r.Unlock(ctx))
			if !free(t, r) {
				t.Error("not free after both")
			}
		}},
		{"again with contexts made from it", func(t *testing.T, r *psync.RMutex) {
			outer := lock(t, r, bg)
			derived, cancel := context.WithTimeout(outer, time.Hour)
			defer cancel()
			inner := lock(t, r, derived)
			verify.Must(t, r.Unlock(inner))
			verify.Must(t, r.Unlock(outer))
			if !free(t, r) {
				t.Error("not free")
			}
		}},
		{"the context is the caller's in all else", func(t *testing.T, r *psync.RMutex) {
			ctx, cancel := context.WithCancel(bg)
			ctx = lock(t, r, ctx)
			if ctx.Value(key{}) != "value" {
				t.Error("its values are gone")
			}
			cancel()
			if ctx.Err() != context.Canceled {
				t.Error("it does not end")
			}
			lock(t, r, ctx) // one's own lock is taken without a look at it
			verify.Must(t, r.Unlock(ctx))
			verify.Must(t, r.Unlock(ctx))
		}},
		{"nobody else", func(t *testing.T, r *psync.RMutex) {
			ctx := lock(t, r, bg)
			short, cancel := context.WithTimeout(bg, time.Millisecond)
			defer cancel()
			if got, err := r.Lock(short); err != context.DeadlineExceeded || got != short {
				t.Errorf("Lock of another context: %v", err)
			}
			if err := r.Unlock(bg); err != psync.ErrNotHeld {
				t.Errorf("Unlock of another context: %v", err)
			}
			wait := verify.Blocks(t, "Lock", func() error {
				ctx, err := r.Lock(bg)
				if err == nil {
					err = r.Unlock(ctx)
				}
				return err
			})
			verify.Must(t, r.Unlock(ctx))
			verify.Must(t, wait())
		}},
		{"a context whose lock was released", func(t *testing.T, r *psync.RMutex) {
			old := lock(t, r, bg)
			verify.Must(t, r.Unlock(old))
			other := lock(t, r, bg)
			if _, ok, err := r.TryLock(old); ok || err != nil {
				t.Errorf("TryLock: %v, %v", ok, err)
			}
			if err := r.Unlock(old); err != psync.ErrNotHeld {
				t.Errorf("Unlock: %v", err)
			}
			verify.Must(t, r.Unlock(other))
			anew := lock(t, r, old)
			if err := r.Unlock(old); err != psync.ErrNotHeld {
				t.Errorf("Unlock of the old one: %v", err)
			}
			verify.Must(t, r.Unlock(anew))
		}},
		{"goroutines inside", func(t *testing.T, r *psync.RMutex) {
			ctx := lock(t, r, bg)
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					for range 100 {
						ctx, err := r.Lock(ctx)
						if err != nil {
							t.Error(err)
						}
						if err := r.Unlock(ctx); err != nil {
							t.Error(err)
						}
					}
				})
			}
			all.Wait()
			verify.Must(t, r.Unlock(ctx))
			if !free(t, r) {
				t.Error("not free")
			}
		}},
		{"two of them", func(t *testing.T, r *psync.RMutex) {
			other := newRMutex(t)
			ctx := lock(t, other, lock(t, r, bg))
			ctx = lock(t, r, lock(t, other, ctx))
			for _, m := range []*psync.RMutex{r, other, r, other} {
				verify.Must(t, m.Unlock(ctx))
			}
			if !free(t, r) || !free(t, other) {
				t.Error("not free")
			}
		}},
		{"through another handle", func(t *testing.T, r *psync.RMutex) {
			var got *psync.RMutex
			crossing(t, r, &got)
			defer got.Close()
			ctx := lock(t, got, lock(t, r, bg))
			verify.Must(t, r.Unlock(ctx))
			verify.Must(t, got.Unlock(ctx))
		}},
		{"Close while it is held", func(t *testing.T, r *psync.RMutex) {
			ctx := lock(t, r, bg)
			if err := r.Close(); err != psync.ErrHeld {
				t.Error(err)
			}
			verify.Must(t, r.Unlock(ctx))
		}},
		{"closed", func(t *testing.T, r *psync.RMutex) {
			ctx := lock(t, r, bg)
			verify.Must(t, r.Unlock(ctx))
			verify.Must(t, r.Close())
			if _, err := r.Lock(ctx); !errors.Is(err, fs.ErrClosed) {
				t.Errorf("Lock: %v", err)
			}
			if _, _, err := r.TryLock(ctx); !errors.Is(err, fs.ErrClosed) {
				t.Errorf("TryLock: %v", err)
			}
			if err := r.Unlock(ctx); !errors.Is(err, fs.ErrClosed) {
				t.Errorf("Unlock: %v", err)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, newRMutex(t)) })
	}
}

// A context owns nothing in another process, and a holder that dies abandons the lock.
func TestRMutexAcrossProcesses(t *testing.T) {
	r := newRMutex(t)
	p := newPuppet(t, gifts{RMutex: r})
	p.must("rmutex lock", "<nil>")
	if free(t, r) {
		t.Fatal("free, though the other process has it")
	}
	p.Kill()
	bg := soon(t)
	if _, err := r.Lock(bg); err != psync.ErrOwnerDied {
		t.Fatalf("Lock: %v", err)
	}
	repaired := 0
	repair := func() error { repaired++; return nil }
	ctx, err := r.LockOrRecover(bg, repair)
	verify.Must(t, err)
	ctx, err = r.LockOrRecover(ctx, repair)
	verify.Must(t, err)
	if repaired != 1 {
		t.Errorf("repaired %d times", repaired)
	}
	verify.Must(t, r.Recover(ctx, repair))
	verify.Must(t, r.Unlock(ctx))
	verify.Must(t, r.Unlock(ctx))
	if !free(t, r) {
		t.Error("not free")
	}
}

// An operator takes it away: those inside find out, and what comes after is not theirs.
func TestRMutexIsTakenAway(t *testing.T) {
	dir := psync.Options{Dir: t.TempDir()}
	r, err := psync.CreateRMutex("r", dir)
	verify.Must(t, err)
	defer r.Close()
	bg := soon(t)
	mine, err := r.Lock(bg)
	verify.Must(t, err)
	_, err = r.Lock(mine)
	verify.Must(t, err)
	verify.Must(t, psync.ForceUnlock("r", dir))
	if _, err := r.Lock(mine); err != psync.ErrLockLost {
		t.Errorf("Lock by who has lost it: %v", err)
	}
	theirs, err := r.LockOrRecover(bg, nil)
	verify.Must(t, err)
	verify.Must(t, r.Unlock(mine)) // the inner one
	if err := r.Unlock(mine); err != psync.ErrLockLost {
		t.Errorf("Unlock by who has lost it: %v", err)
	}
	if err := r.Unlock(mine); err != psync.ErrNotHeld {
		t.Errorf("one Unlock too many: %v", err)
	}
	if free(t, r) {
		t.Error("the other one's hold is gone")
	}
	verify.Must(t, r.Unlock(theirs))
}

// A heap variable that it guards: the race detector looks at it.
func TestRMutexOrders(t *testing.T) {
	r := newRMutex(t)
	n := 0
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 200 {
				ctx, err := r.Lock(soon(t))
				if err != nil {
					t.Error(err)
					return
				}
				n++
				r.Unlock(ctx)
			}
		})
	}
	all.Wait()
	if n != 800 {
		t.Error(n)
	}
}

package psync_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/verify"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/shm"
)

// A method is one call of an object's methods.
type method struct {
	name string
	call func() error
}

// ok drops the result of a method that has one beside its error.
func ok[T any](_ T, err error) error { return err }

func mutexMethods(m *psync.Mutex) []method {
	ctx := context.Background()
	return []method{
		{"Lock", func() error { return m.Lock(ctx) }},
		{"TryLock", func() error { return ok(m.TryLock()) }},
		{"Unlock", m.Unlock},
		{"Recover", func() error { return m.Recover(ctx, nil) }},
		{"LockOrRecover", func() error { return m.LockOrRecover(ctx, nil) }},
	}
}

func rmutexMethods(m *psync.RMutex) []method {
	ctx := context.Background()
	return []method{
		{"Lock", func() error { return ok(m.Lock(ctx)) }},
		{"TryLock", func() error { _, _, err := m.TryLock(ctx); return err }},
		{"Unlock", func() error { return m.Unlock(ctx) }},
		{"Recover", func() error { return m.Recover(ctx, nil) }},
		{"LockOrRecover", func() error { return ok(m.LockOrRecover(ctx, nil)) }},
	}
}

func rwmutexMethods(m *psync.RWMutex) []method {
	ctx := context.Background()
	return []method{
		{"RLock", func() error { return m.RLock(ctx) }},
		{"TryRLock", func() error { return ok(m.TryRLock()) }},
		{"RUnlock", m.RUnlock},
		{"Lock", func() error { return m.Lock(ctx) }},
		{"TryLock", func() error { return ok(m.TryLock()) }},
		{"Unlock", m.Unlock},
		{"Recover", func() error { return m.Recover(ctx, nil) }},
		{"LockOrRecover", func() error { return m.LockOrRecover(ctx, nil) }},
	}
}

func semaphoreMethods(s *psync.Semaphore) []method {
	return []method{
		{"Acquire", func() error { return s.Acquire(context.Background()) }},
		{"TryAcquire", func() error { return ok(s.TryAcquire()) }},
		{"Release", s.Release},
	}
}

func condMethods(c *psync.Cond) []method {
	ctx := context.Background()
	return []method{
		{"Wait", func() error { return c.Wait(ctx) }},
		{"WaitFor", func() error { return c.WaitFor(ctx, func() bool { return true }) }},
		{"Signal", c.Signal},
		{"Broadcast", c.Broadcast},
	}
}

func eventMethods(e *psync.Event) []method {
	return []method{{"Set", e.Set}, {"Clear", e.Clear}, {"Wait", func() error { return e.Wait(context.Background()) }}}
}

func barrierMethods(b *psync.Barrier) []method {
	return []method{{"Wait", func() error { return ok(b.Wait(context.Background())) }}, {"Abort", b.Abort}, {"Reset", b.Reset}}
}

func onceMethods(o *psync.Once) []method {
	return []method{{"Do", func() error { return o.Do(context.Background(), func() error { return nil }) }}}
}

// An object is what all types of the package have in common.
type object interface {
	handover.Handle
	Close() error
	Name() string
}

var misused = []struct {
	typ     string
	zero    object
	methods func(object) []method
	create  func(name string, o psync.Options) (object, error)
}{
	{"Mutex", &psync.Mutex{}, func(o object) []method { return mutexMethods(o.(*psync.Mutex)) },
		func(name string, o psync.Options) (object, error) { return psync.CreateMutex(name, o) }},
	{"RMutex", &psync.RMutex{}, func(o object) []method { return rmutexMethods(o.(*psync.RMutex)) },
		func(name string, o psync.Options) (object, error) { return psync.CreateRMutex(name, o) }},
	{"RWMutex", &psync.RWMutex{}, func(o object) []method { return rwmutexMethods(o.(*psync.RWMutex)) },
		func(name string, o psync.Options) (object, error) { return psync.CreateRWMutex(name, o) }},
	{"Semaphore", &psync.Semaphore{}, func(o object) []method { return semaphoreMethods(o.(*psync.Semaphore)) },
		func(name string, o psync.Options) (object, error) {
			return psync.CreateSemaphore(name, 1, psync.SemaphoreOptions{Options: o})
		}},
	{"Cond", &psync.Cond{}, func(o object) []method { return condMethods(o.(*psync.Cond)) },
		func(name string, o psync.Options) (object, error) { return psync.CreateCond(name, nil, o) }},
	{"Event", &psync.Event{}, func(o object) []method { return eventMethods(o.(*psync.Event)) },
		func(name string, o psync.Options) (object, error) { return psync.CreateEvent(name, o) }},
	{"Barrier", &psync.Barrier{}, func(o object) []method { return barrierMethods(o.(*psync.Barrier)) },
		func(name string, o psync.Options) (object, error) { return psync.CreateBarrier(name, 2, o) }},
	{"Once", &psync.Once{}, func(o object) []method { return onceMethods(o.(*psync.Once)) },
		func(name string, o psync.Options) (object, error) { return psync.CreateOnce(name, o) }},
}

// After Close, every method that returns an error says so, and of what.
func TestUseAfterClose(t *testing.T) {
	dir := psync.Options{Dir: t.TempDir()}
	for _, tt := range misused {
		t.Run(tt.typ, func(t *testing.T) {
			o, err := tt.create(tt.typ+"-1", dir)
			verify.Must(t, err)
			verify.Must(t, o.Close())
			verify.Must(t, o.Close())
			want := "psync: use of closed " + tt.typ + " " + tt.typ + "-1"
			_, err = handover.Marshal(o, "it")
			for what, err := range all(tt.methods(o), method{"handing over", func() error { return err }}) {
				if !errors.Is(err, fs.ErrClosed) || !strings.HasSuffix(err.Error(), want) {
					t.Errorf("%s: %v; want %q", what, err, want)
				}
			}
			if name := o.Name(); name != tt.typ+"-1" {
				t.Errorf("its name is %q", name)
			}
		})
	}
	s, err := shm.New(psync.MutexSize)
	verify.Must(t, err)
	placed, err := psync.MutexAt(s, 0)
	verify.Must(t, err)
	verify.Must(t, placed.Close())
	if err := placed.Lock(t.Context()); fmt.Sprint(err) != "psync: use of closed Mutex" {
		t.Errorf("a placed Mutex: %v", err)
	}
	verify.Must(t, s.Close())
	if _, err := psync.MutexAt(s, 0); !errors.Is(err, fs.ErrClosed) || err.Error() != "shm: use of closed Segment" {
		t.Errorf("placing in a closed Segment: %v", err)
	}
}

// all calls the methods.
func all(ms []method, more ...method) func(func(string, error) bool) {
	return func(yield func(string, error) bool) {
		for _, m := range append(ms, more...) {
			if !yield(m.name, m.call()) {
				return
			}
		}
	}
}

// The zero value of a type, which looks as usable as package sync's, says that it is not, and how
// to come by one that is.
func TestZeroValues(t *testing.T) {
	for _, tt := range misused {
		t.Run(tt.typ, func(t *testing.T) {
			article := "a "
			if strings.ContainsRune("ER", rune(tt.typ[0])) {
				article = "an "
			}
			text := "psync: use of " + article + tt.typ + " that was not made by New" + tt.typ + ", Create" + tt.typ + ", Open" + tt.typ + " or " + tt.typ + "At"
			for _, m := range append(tt.methods(tt.zero), method{"Name", func() error { tt.zero.Name(); return nil }}) {
				t.Run(m.name, func(t *testing.T) { verify.Panics(t, text, func() { m.call() }) })
			}
			verify.Must(t, tt.zero.Close())
			if _, err := handover.Marshal(tt.zero, "it"); !errors.Is(err, fs.ErrInvalid) {
				t.Errorf("handing it over: %v", err)
			}
		})
	}
	verify.Panics(t, "psync: use of a Mutex that was not made by NewMutex, CreateMutex, OpenMutex or MutexAt", func() { psync.NewCond(&psync.Mutex{}) })
	verify.Panics(t, "psync: use of a Barrier that was not made by NewBarrier, CreateBarrier, OpenBarrier or BarrierAt", func() { new(psync.Barrier).Parties() })
	var fl psync.FileLock
	for what, err := range all([]method{
		{"Lock", func() error { return fl.Lock(t.Context()) }}, {"RLock", func() error { return fl.RLock(t.Context()) }},
		{"TryLock", func() error { return ok(fl.TryLock()) }}, {"Unlock", fl.Unlock}, {"Recover", func() error { return fl.Recover(t.Context(), nil) }},
	}) {
		if !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("FileLock.%s: %v", what, err)
		}
	}
}

// WaitFor of a closed Cond is no success, even if there is nothing to wait for.
func TestWaitForOfClosedCond(t *testing.T) {
	c, err := psync.NewCond(nil)
	verify.Must(t, err)
	verify.Must(t, c.Close())
	called := false
	if err := c.WaitFor(t.Context(), func() bool { called = true; return true }); !errors.Is(err, fs.ErrClosed) || called {
		t.Errorf("%v, looked %v", err, called)
	}
}

// An operator's mistakes are errors that name what he asked for.
func TestForceUnlockOfNothing(t *testing.T) {
	dir := psync.Options{Dir: t.TempDir()}
	m, err := psync.CreateMutex("free", dir)
	verify.Must(t, err)
	defer m.Close()
	if err := psync.ForceUnlock("free", dir); !errors.Is(err, psync.ErrNotHeld) || !strings.Contains(err.Error(), "free") {
		t.Errorf("nobody holds it: %v", err)
	}
	s, err := shm.Create("two", 2*psync.MutexSize, shm.Options(dir))
	verify.Must(t, err)
	defer s.Close()
	for i := range 2 {
		m, err := psync.MutexAt(s, i*psync.MutexSize)
		verify.Must(t, err)
		defer m.Close()
		verify.Must(t, m.Lock(t.Context()))
		defer m.Unlock()
	}
	if err := psync.ForceUnlock("two", dir); !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), "two") {
		t.Errorf("two are held: %v", err)
	}
	if _, err := psync.OpenMutex("nobody", dir); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), filepath.Join(dir.Dir, "nobody")) {
		t.Errorf("opening what is not there: %v", err)
	}
}

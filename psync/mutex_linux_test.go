package psync_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/lock"
	"github.com/go-multiproc/multiproc/internal/reexec"
	"github.com/go-multiproc/multiproc/internal/seg"
	"github.com/go-multiproc/multiproc/internal/verify"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/shm"
)

func TestMutexExcludesProcessesAndGoroutines(t *testing.T) {
	s := newShared(t)
	const procs, each, goroutines = 3, 4000, 4
	var ps []*reexec.Process
	for range procs {
		ps = append(ps, reexec.Start(t, "count", s.file(t), "4000"))
	}
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range each {
				if err := s.once(soon(t)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	for _, p := range ps {
		p.Done()
	}
	if want := uint64((procs + goroutines) * each); *s.count != want {
		t.Errorf("counted %d, want %d", *s.count, want)
	}
}

func TestMutexErrors(t *testing.T) {
	mu := newMutex(t)
	ctx := t.Context()
	if err := mu.Unlock(); !errors.Is(err, psync.ErrNotHeld) {
		t.Errorf("Unlock of a free lock: %v", err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := mu.Lock(ended); err != nil {
		t.Errorf("a free lock with an ended ctx: %v", err)
	}
	if err := mu.Lock(ended); err != context.Canceled {
		t.Errorf("a held lock with an ended ctx: %v", err)
	}
	if ok, err := mu.TryLock(); ok || err != nil {
		t.Errorf("TryLock of a held lock: %v, %v", ok, err)
	}
	if err := mu.Close(); !errors.Is(err, psync.ErrHeld) {
		t.Errorf("Close of a held lock: %v", err)
	}
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	if err := mu.Lock(short); err != context.DeadlineExceeded {
		t.Errorf("locking twice with a deadline: %v", err)
	}
	if err := mu.Unlock(); err != nil {
		t.Errorf("Unlock: %v", err)
	}
	if ok, err := mu.TryLock(); !ok || err != nil {
		t.Errorf("TryLock of a free lock: %v, %v", ok, err)
	}
	mu.Unlock()
	ran := false
	if err := mu.Recover(ctx, func() error { ran = true; return nil }); err != nil || ran {
		t.Errorf("Recover of a sound lock: %v, ran %v", err, ran)
	}
	if err := mu.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := mu.Lock(ctx); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Lock after Close: %v", err)
	}
	if _, err := mu.TryLock(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("TryLock after Close: %v", err)
	}
	if err := mu.Unlock(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Unlock after Close: %v", err)
	}
}

func TestNamedMutex(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "multiproc-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	o := psync.Options{Dir: dir}
	a, err := psync.CreateMutex("m", o)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := psync.OpenMutex("m", o)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := a.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if ok, _ := b.TryLock(); ok {
		t.Error("two handles to one name are two locks")
	}
	if err := b.Unlock(); err != nil { // any handle of the process that holds it
		t.Error(err)
	}
	s, err := shm.Create("s", 10, shm.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := psync.OpenMutex("s", o); !errors.Is(err, shm.ErrType) {
		t.Errorf("opening a segment as a mutex: %v", err)
	}
	liar, err := seg.Create("liar", seg.Spec{Kind: "mutex"}, seg.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer liar.Close(nil)
	if _, err := psync.OpenMutex("liar", o); !errors.Is(err, shm.ErrFormat) {
		t.Errorf("opening a mutex without a place for its word: %v", err)
	}
	if _, err := psync.OpenMutex("nobody", o); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("opening a name that does not exist: %v", err)
	}
	if err := psync.Remove("nobody", o); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removing a name that does not exist: %v", err)
	}
	if err := psync.Remove("s", o); !errors.Is(err, shm.ErrType) {
		t.Errorf("removing a segment as a mutex: %v", err)
	}
	if err := psync.Remove("m", o); err != nil {
		t.Error(err)
	}
}

// held starts a process that holds the lock.
func held(t *testing.T, s *shared) *reexec.Process {
	t.Helper()
	p := reexec.Start(t, "hold", s.file(t))
	if l := p.Line(); l != "lock <nil>" {
		t.Fatal(l)
	}
	return p
}

func TestHandoverBetweenProcesses(t *testing.T) {
	s := newShared(t)
	p := held(t, s)
	wait := verify.Blocks(t, "Lock", func() error { return s.Lock(soon(t)) })
	p.Say("unlock")
	if l := p.Line(); l != "unlock <nil>" {
		t.Error(l)
	}
	verify.Must(t, wait())
	if err := s.Unlock(); err != nil {
		t.Error(err)
	}
	p.Say("unlock")
	if l := p.Line(); !strings.Contains(l, "does not hold") {
		t.Errorf("unlocking what it does not hold: %s", l)
	}
	p.Done()
}

func TestOwnerDied(t *testing.T) {
	s := newShared(t)
	// Waiters of all sorts are told, promptly.
	var times []time.Duration
	for range 5 {
		if err := s.Recover(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		p := held(t, s)
		const n = 5
		errs := make(chan error, n)
		for range n {
			go func() { errs <- s.Lock(soon(t)) }()
		}
		start := time.Now()
		p.Kill()
		for range n {
			if err := <-errs; !errors.Is(err, psync.ErrOwnerDied) {
				t.Errorf("waiting Lock: %v", err)
			}
		}
		times = append(times, time.Since(start))
	}
	prompt(t, times)
	fenceBefore := uint64(5)
	// It stays abandoned until somebody recovers it.
	if err := s.Lock(t.Context()); !errors.Is(err, psync.ErrOwnerDied) {
		t.Errorf("Lock: %v", err)
	}
	if ok, err := s.TryLock(); ok || !errors.Is(err, psync.ErrOwnerDied) {
		t.Errorf("TryLock: %v, %v", ok, err)
	}
	broken := errors.New("beyond repair")
	if err := s.Recover(t.Context(), func() error { return broken }); err != broken {
		t.Errorf("Recover with a failing repair: %v", err)
	}
	func() {
		defer func() { _ = recover() }()
		s.Recover(t.Context(), func() error { panic("in repair") })
	}()
	if err := s.Lock(t.Context()); !errors.Is(err, psync.ErrOwnerDied) {
		t.Errorf("Lock after failed repairs: %v", err)
	}
	if err := s.LockOrRecover(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if f := s.Fence(); f <= fenceBefore {
		t.Errorf("fence %d", f)
	}
	if err := s.Unlock(); err != nil {
		t.Error(err)
	}
	if err := s.Lock(t.Context()); err != nil {
		t.Error(err)
	}
	s.Unlock()
}

// TryLock alone finds the death too.
func TestTryLockFindsDeath(t *testing.T) {
	s := newShared(t)
	p := held(t, s)
	if ok, err := s.TryLock(); ok || err != nil {
		t.Errorf("while it lives: %v, %v", ok, err)
	}
	p.Kill()
	for range 1000 {
		if _, err := s.TryLock(); errors.Is(err, psync.ErrOwnerDied) {
			if err := s.Recover(t.Context(), nil); err != nil {
				t.Error(err)
			}
			return
		}
		runtime.Gosched()
	}
	t.Error("never found out")
}

// A free lock that is kept for one who has waited for long is free, once that one was killed.
func TestTryLockAfterTheDeathOfWhoItWasKeptFor(t *testing.T) {
	const hungry = 1 << 5 // in the lock's word; see package lock
	s, err := shm.New(16 << 10)
	verify.Must(t, err)
	defer s.Close()
	mu, err := psync.MutexAt(s, 0)
	verify.Must(t, err)
	rmu, err := psync.RMutexAt(s, psync.Alignment)
	verify.Must(t, err)
	rw, err := psync.RWMutexAt(s, 2*psync.Alignment)
	verify.Must(t, err)
	for _, tt := range []struct {
		name string
		off  int
		try  func() (bool, error)
	}{
		{"Mutex", 0, mu.TryLock},
		{"RMutex", psync.Alignment, func() (bool, error) {
			_, ok, err := rmu.TryLock(t.Context())
			return ok, err
		}},
		{"RWMutex", 2 * psync.Alignment, rw.TryLock},
	} {
		t.Run(tt.name, func(t *testing.T) {
			words(s.Bytes()[tt.off:])[0] = hungry
			if ok, err := tt.try(); !ok || err != nil {
				t.Errorf("%v, %v", ok, err)
			}
			if ok, err := tt.try(); ok || err != nil {
				t.Errorf("once more: %v, %v", ok, err)
			}
		})
	}
}

// While one repairs, the others wait for the outcome.
func TestRecoverOnce(t *testing.T) {
	s := newShared(t)
	held(t, s).Kill()
	repairing, finish := make(chan struct{}), make(chan struct{})
	go s.Recover(soon(t), func() error {
		close(repairing)
		<-finish
		return nil
	})
	<-repairing
	waitLock := verify.Blocks(t, "Lock during repair", func() error {
		if err := s.Lock(soon(t)); err != nil {
			return err
		}
		return s.Unlock()
	})
	waitRecover := verify.Blocks(t, "Recover during repair", func() error {
		return s.Recover(soon(t), func() error { t.Error("repaired twice"); return nil })
	})
	close(finish)
	verify.Must(t, waitLock())
	verify.Must(t, waitRecover())
}

func TestStoppedHolderIsNotRobbed(t *testing.T) {
	s := newShared(t)
	p := held(t, s)
	p.Cmd.Process.Signal(syscall.SIGSTOP)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := s.Lock(ctx); err != context.DeadlineExceeded {
		t.Fatalf("Lock while the holder is stopped: %v", err)
	}
	p.Cmd.Process.Signal(syscall.SIGCONT)
	p.Say("unlock")
	if l := p.Line(); l != "unlock <nil>" {
		t.Error(l)
	}
	if err := s.Lock(soon(t)); err != nil {
		t.Error(err)
	}
	s.Unlock()
	p.Done()
}

// A process that never had anything to do with us holds what it opened by name
// in a pid namespace of its own.
func TestOtherPIDNamespace(t *testing.T) {
	s := newShared(t)
	cmd := selfCommand()
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	if err := probe(cmd.SysProcAttr); err != nil {
		t.Skipf("pid namespaces are not permitted here: %v", err)
	}
	p := reexec.StartCmd(t, cmd, "hold", s.file(t))
	if l := p.Line(); l != "lock <nil>" {
		t.Fatal(l)
	}
	if ok, err := s.TryLock(); ok || err != nil {
		t.Errorf("while it lives: %v, %v", ok, err)
	}
	p.Kill()
	if err := s.Lock(soon(t)); !errors.Is(err, psync.ErrOwnerDied) {
		t.Errorf("after its death: %v", err)
	}
	if err := s.Recover(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

// Ten thousand waiters cost one thread, and giving up is at once.
func TestManyWaiters(t *testing.T) {
	s := newShared(t)
	p := held(t, s)
	before := threads(t)
	ctx, cancel := context.WithCancel(t.Context())
	const n = 10000
	errs := make(chan error, n)
	for range n {
		go func() { errs <- s.Lock(ctx) }()
	}
	ok := reexec.Start(t, "hold", s.file(t)) // one more, elsewhere
	settles(t, "all wait", func() bool { return verify.Waiters("lock.(*Mutex).Lock") == n })
	if more := threads(t) - before; more > 8 {
		t.Errorf("%d threads more", more)
	}
	cancel()
	for range n {
		if err := <-errs; err != context.Canceled {
			t.Fatal(err)
		}
	}
	p.Say("unlock")
	if l := ok.Line(); l != "lock <nil>" {
		t.Error(l)
	}
	ok.Say("unlock")
	ok.Line()
}

// Whoever gives up passes the wake-up on: no waiter is left asleep beside a free
// lock until the end of its slice.
func TestGivingUpPassesTheWakeUpOn(t *testing.T) {
	mu := newMutex(t)
	for range 300 {
		if err := mu.Lock(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if mu.Lock(ctx) == nil {
					mu.Unlock()
				}
			})
		}
		wg.Go(func() {
			if err := mu.Lock(soon(t)); err != nil {
				t.Error(err)
				return
			}
			mu.Unlock()
		})
		runtime.Gosched()
		go cancel()
		mu.Unlock()
		wg.Wait()
	}
}

func TestCloseWakesWaiters(t *testing.T) {
	s := newShared(t)
	p := held(t, s)
	second := share2(t, s)
	wait := verify.Blocks(t, "Lock", func() error { return second.Lock(soon(t), lock.User) })
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if err := wait(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Lock while the handle closed: %v", err)
	}
	p.Say("unlock")
	p.Line()
	p.Done()
}

// share2 is a second handle to the same segment, in this process.
func share2(t *testing.T, s *shared) *lock.Mutex {
	t.Helper()
	h := attach(t, s)
	return lock.At(h, 0)
}

// Close lets a scoped hold of another goroutine end, and leaves the lock usable
// for other processes at once.
func TestCloseWaitsForScopedHolds(t *testing.T) {
	s := newShared(t)
	files := s.file(t)
	if err := s.l.Lock(t.Context(), lock.UserScoped); err != nil {
		t.Fatal(err)
	}
	wait := verify.Blocks(t, "Close", s.l.Close)
	other := reexec.Start(t, "hold", files)
	if err := s.l.Unlock(); err != nil {
		t.Errorf("Unlock while closing: %v", err)
	}
	verify.Must(t, wait())
	if l := other.Line(); l != "lock <nil>" {
		t.Errorf("the other process: %s", l)
	}
	other.Say("unlock")
	other.Line()
	other.Done()
}

// Lock and Close race: either the lock is taken and Close refuses, or it is
// closed; another process is never left with an abandoned lock.
func TestCloseRacesLock(t *testing.T) {
	for range 300 {
		s := newShared(t)
		files := s.file(t)
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				if err := s.Lock(soon(t)); err != nil {
					if !errors.Is(err, fs.ErrClosed) {
						t.Error(err)
					}
					return
				}
				if err := s.Unlock(); err != nil && !errors.Is(err, fs.ErrClosed) {
					t.Error(err)
				}
			}
		})
		for s.l.Close() != nil {
		}
		wg.Wait()
		h, err := attachFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		l := lock.At(h, 0)
		if ok, err := l.TryLock(lock.User); !ok || err != nil {
			t.Fatalf("after the race: %v, %v", ok, err)
		}
		l.Unlock()
		l.Close()
		files[0].Close()
	}
}

// A lock whose last handle here becomes unreachable while this process holds it is abandoned: nobody could unlock it any
// more.
func TestUnreachableWhileHeld(t *testing.T) {
	p := func() *puppet { // which does not keep the handle
		mu, err := psync.NewMutex()
		verify.Must(t, err)
		p := newPuppet(t, gifts{Mutex: mu})
		verify.Must(t, mu.Lock(soon(t)))
		p.must("lock lock 1", context.DeadlineExceeded.Error())
		return p
	}()
	p.begins("lock lock")
	answer := make(chan string, 1)
	go func() { answer <- p.answer() }()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		runtime.GC()
		select {
		case got := <-answer:
			if got != psync.ErrOwnerDied.Error() {
				t.Errorf("Lock elsewhere: %s", got)
			}
			return
		case <-time.After(time.Millisecond): // another collection
		}
	}
	t.Error("the lock was not abandoned")
}

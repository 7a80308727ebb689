package psync_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/detector"
	"github.com/go-multiproc/multiproc/internal/reexec"
	"github.com/go-multiproc/multiproc/internal/seg"
	"github.com/go-multiproc/multiproc/internal/verify"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/shm"
)

func init() {
	placeables = append(placeables, placeable{
		name: "RWMutex", size: psync.RWMutexSize,
		at: func(s *shm.Segment, off int) (io.Closer, error) { return closer(psync.RWMutexAt(s, off)) },
	})
	helpers["rw"] = helperRW
	helpers["library"] = helperLibrary
}

func newRWMutex(t testing.TB) *psync.RWMutex {
	t.Helper()
	m, err := psync.NewRWMutex()
	verify.Must(t, err)
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return m
}

// helperRW does what its input says to the RWMutex that it was given.
func helperRW(args []string) int {
	var m *psync.RWMutex
	if err := reexec.Take(args[0], 1, &m); err != nil {
		fmt.Println(err)
		return 1
	}
	ctx := context.Background()
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		switch in.Text() {
		case "lock":
			fmt.Println("lock", m.Lock(ctx))
		case "unlock":
			fmt.Println("unlock", m.Unlock())
		case "rlock":
			fmt.Println("rlock", m.RLock(ctx))
		case "runlock":
			fmt.Println("runlock", m.RUnlock())
		case "try":
			fmt.Println(m.TryLock())
		case "rtry":
			fmt.Println(m.TryRLock())
		case "close":
			fmt.Println("close", m.Close())
		case "wait for lock":
			c := verify.Begin(func() error { return m.Lock(ctx) })
			fmt.Println("waiting", c.Waits(nil))
			fmt.Println("lock", c.Await())
		case "wait for rlock":
			c := verify.Begin(func() error { return m.RLock(ctx) })
			fmt.Println("waiting", c.Waits(nil))
			fmt.Println("rlock", c.Await())
		}
	}
	return 0
}

func rwHelper(t testing.TB, m *psync.RWMutex) *reexec.Process {
	t.Helper()
	arg, files := reexec.Give(t, m)
	return reexec.Start(t, "rw", files, arg)
}

func TestRWMutexErrors(t *testing.T) {
	m := newRWMutex(t)
	ctx := t.Context()
	ended, cancel := context.WithCancel(ctx)
	cancel()
	notHeld := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, psync.ErrNotHeld) {
			t.Errorf("%s: %v", what, err)
		}
	}
	notHeld("RUnlock before any RLock", m.RUnlock())
	notHeld("Unlock before any Lock", m.Unlock())
	verify.Must(t, m.RLock(ended))
	notHeld("Unlock of what is held for reading", m.Unlock())
	if ok, err := m.TryRLock(); !ok || err != nil {
		t.Errorf("TryRLock beside a reader: %v, %v", ok, err)
	}
	if ok, err := m.TryLock(); ok || err != nil {
		t.Errorf("TryLock beside readers: %v, %v", ok, err)
	}
	verify.Must(t, m.RLock(ended)) // TryLock left it open
	if err := m.Lock(ended); err != context.Canceled {
		t.Errorf("Lock with an ended ctx: %v", err)
	}
	short, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
	defer cancel()
	if err := m.Lock(short); err != context.DeadlineExceeded {
		t.Errorf("Lock with a deadline: %v", err)
	}
	verify.Must(t, m.RLock(ended)) // a writer that gave up keeps nobody out
	if err := m.Close(); !errors.Is(err, psync.ErrHeld) {
		t.Errorf("Close while reading: %v", err)
	}
	for range 4 {
		verify.Must(t, m.RUnlock())
	}
	notHeld("RUnlock once too often", m.RUnlock())

	verify.Must(t, m.Lock(ended))
	notHeld("RUnlock of what is held for writing", m.RUnlock())
	if ok, err := m.TryRLock(); ok || err != nil {
		t.Errorf("TryRLock beside a writer: %v, %v", ok, err)
	}
	if ok, err := m.TryLock(); ok || err != nil {
		t.Errorf("TryLock beside a writer: %v, %v", ok, err)
	}
	if err := m.RLock(ended); err != context.Canceled {
		t.Errorf("RLock with an ended ctx: %v", err)
	}
	short, cancel = context.WithTimeout(ctx, 5*time.Millisecond)
	defer cancel()
	if err := m.RLock(short); err != context.DeadlineExceeded {
		t.Errorf("RLock with a deadline: %v", err)
	}
	if err := m.Close(); !errors.Is(err, psync.ErrHeld) {
		t.Errorf("Close while writing: %v", err)
	}
	ran := false
	fence := m.Fence()
	verify.Must(t, m.Unlock())
	notHeld("Unlock once too often", m.Unlock())
	if err := m.Recover(ctx, func() error { ran = true; return nil }); err != nil || ran {
		t.Errorf("Recover of a sound lock: %v, ran %v", err, ran)
	}
	if ok, err := m.TryLock(); !ok || err != nil {
		t.Errorf("TryLock of a free lock: %v, %v", ok, err)
	}
	if f := m.Fence(); f <= fence {
		t.Errorf("fence %d after %d", f, fence)
	}
	verify.Must(t, m.Unlock())

	verify.Must(t, m.Lock(ctx))
	b := verify.Blocks(t, "RLock", func() error { return m.RLock(ctx) })
	c := verify.Blocks(t, "Lock", func() error { return m.Lock(ctx) })
	verify.Must(t, m.Unlock())
	verify.Must(t, b())
	verify.Must(t, m.RUnlock())
	verify.Must(t, c())
	verify.Must(t, m.Unlock())
}

func TestClosedRWMutex(t *testing.T) {
	m := newRWMutex(t)
	ctx := t.Context()
	p := rwHelper(t, m)
	asked(t, p, "lock", "lock <nil>")
	var waits []func() error
	for range 2 {
		waits = append(waits,
			verify.Blocks(t, "Lock", func() error { return m.Lock(ctx) }),
			verify.Blocks(t, "RLock", func() error { return m.RLock(ctx) }))
	}
	verify.Must(t, m.Close())
	verify.Must(t, m.Close())
	waits = append(waits, m.RUnlock, m.Unlock,
		func() error { return m.Lock(ctx) },
		func() error { return m.RLock(ctx) },
		func() error { _, err := m.TryLock(); return err },
		func() error { _, err := m.TryRLock(); return err },
		func() error { return m.Recover(ctx, nil) })
	for i, w := range waits {
		if err := w(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	asked(t, p, "unlock", "unlock <nil>")
	asked(t, p, "rlock", "rlock <nil>")
	asked(t, p, "close", "close psync: this process holds the RWMutex for reading: unlock it before closing")
	asked(t, p, "runlock", "runlock <nil>")
	asked(t, p, "close", "close <nil>")
	p.Done()
}

// A writer that waits for readers ends when its handle is closed, and lets in who comes.
func TestClosingUnderWaitingWriter(t *testing.T) {
	m := newRWMutex(t)
	p := rwHelper(t, m)
	asked(t, p, "rlock", "rlock <nil>")
	wait := verify.Blocks(t, "Lock", func() error { return m.Lock(t.Context()) })
	asked(t, p, "rtry", "false <nil>")
	verify.Must(t, m.Close())
	if err := wait(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Lock while it is closed: %v", err)
	}
	asked(t, p, "rlock", "rlock <nil>")
	asked(t, p, "runlock", "runlock <nil>")
	asked(t, p, "runlock", "runlock <nil>")
	asked(t, p, "lock", "lock <nil>")
	p.Done()
}

func TestNamedRWMutex(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "multiproc-test-")
	verify.Must(t, err)
	defer os.RemoveAll(dir)
	o := psync.Options{Dir: dir}
	a, err := psync.CreateRWMutex("m", o)
	verify.Must(t, err)
	defer a.Close()
	b, err := psync.OpenRWMutex("m", o)
	verify.Must(t, err)
	defer b.Close()
	verify.Must(t, a.RLock(t.Context()))
	if ok, err := b.TryLock(); ok || err != nil {
		t.Errorf("two handles to one name are two locks: %v, %v", ok, err)
	}
	verify.Must(t, b.RUnlock())
	if _, err := psync.OpenMutex("m", o); !errors.Is(err, shm.ErrType) {
		t.Errorf("opening it as a Mutex: %v", err)
	}
	if _, err := psync.CreateRWMutex("m", o); !errors.Is(err, fs.ErrExist) {
		t.Errorf("creating it again: %v", err)
	}
	verify.Must(t, psync.Remove("m", o))
}

// A writer that dies abandons the lock for everybody; one that dies while it waits, and a
// reader, do not.
func TestRWMutexOfTheDead(t *testing.T) {
	m := newRWMutex(t)
	ctx := soon(t)
	abandoned := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, psync.ErrOwnerDied) {
			t.Errorf("%s: %v", what, err)
		}
	}
	t.Run("a writer", func(t *testing.T) {
		var times []time.Duration
		for range 5 {
			verify.Must(t, m.Recover(ctx, nil))
			p := rwHelper(t, m)
			asked(t, p, "lock", "lock <nil>")
			var waits []func() error
			for range 2 {
				waits = append(waits,
					verify.Blocks(t, "Lock", func() error { return m.Lock(ctx) }),
					verify.Blocks(t, "RLock", func() error { return m.RLock(ctx) }))
			}
			died := time.Now()
			p.Kill()
			for _, w := range waits {
				abandoned("a waiter", w())
			}
			times = append(times, time.Since(died))
		}
		prompt(t, times)
		_, err := m.TryLock()
		abandoned("TryLock", err)
		_, err = m.TryRLock()
		abandoned("TryRLock", err)
		abandoned("RLock", m.RLock(ctx))
		abandoned("Unlock", func() error {
			if err := m.Unlock(); !errors.Is(err, psync.ErrNotHeld) {
				return err
			}
			return psync.ErrOwnerDied
		}())
		broken := errors.New("broken")
		if err := m.Recover(ctx, func() error { return broken }); err != broken {
			t.Errorf("Recover that fails: %v", err)
		}
		abandoned("RLock after a repair that failed", m.RLock(ctx))
		ran := false
		verify.Must(t, m.Recover(ctx, func() error {
			ran = true
			if ok, err := m.TryRLock(); ok || err != nil {
				t.Errorf("TryRLock during the repair: %v, %v", ok, err)
			}
			return nil
		}))
		if !ran {
			t.Error("no repair")
		}
		verify.Must(t, m.RLock(ctx))
		verify.Must(t, m.RUnlock())
		verify.Must(t, m.Lock(ctx))
		verify.Must(t, m.Unlock())
	})
	t.Run("found by TryRLock", func(t *testing.T) {
		p := rwHelper(t, m)
		asked(t, p, "lock", "lock <nil>")
		p.Kill()
		_, err := m.TryRLock()
		abandoned("TryRLock", err)
		verify.Must(t, m.LockOrRecover(ctx, nil))
		if ok, err := m.TryRLock(); ok || err != nil {
			t.Errorf("TryRLock beside a writer that has recovered it: %v, %v", ok, err)
		}
		verify.Must(t, m.Unlock())
		verify.Must(t, m.RLock(ctx))
		verify.Must(t, m.RUnlock())
	})
	t.Run("a reader", func(t *testing.T) {
		var times []time.Duration
		for range 7 {
			p := rwHelper(t, m)
			asked(t, p, "rlock", "rlock <nil>")
			asked(t, p, "rlock", "rlock <nil>")
			wait := verify.Blocks(t, "Lock", func() error { return m.Lock(ctx) })
			died := time.Now()
			p.Kill()
			verify.Must(t, wait())
			times = append(times, time.Since(died))
			verify.Must(t, m.Unlock())
		}
		prompt(t, times)
		p := rwHelper(t, m)
		asked(t, p, "rlock", "rlock <nil>")
		p.Kill()
		if ok, err := m.TryLock(); !ok || err != nil {
			t.Errorf("TryLock when the reader is dead: %v, %v", ok, err)
		}
		verify.Must(t, m.Unlock())
	})
	t.Run("a writer that waits", func(t *testing.T) {
		verify.Must(t, m.RLock(ctx))
		p := rwHelper(t, m)
		asked(t, p, "wait for lock", "waiting true")
		for { // until it keeps readers out
			ok, err := m.TryRLock()
			verify.Must(t, err)
			if !ok {
				break
			}
			verify.Must(t, m.RUnlock())
		}
		wait := verify.Blocks(t, "RLock", func() error { return m.RLock(ctx) })
		p.Kill()
		verify.Must(t, wait())
		verify.Must(t, m.RUnlock())
		verify.Must(t, m.RUnlock())
		verify.Must(t, m.Lock(ctx))
		verify.Must(t, m.Unlock())
	})
	t.Run("a reader that waits", func(t *testing.T) {
		verify.Must(t, m.Lock(ctx))
		p := rwHelper(t, m)
		asked(t, p, "rtry", "false <nil>") // it has its slot
		asked(t, p, "wait for rlock", "waiting true")
		p.Kill()
		verify.Must(t, m.Unlock())
		verify.Must(t, m.Lock(ctx))
		verify.Must(t, m.Unlock())
	})
}

// A library is a book of two words that are equal unless somebody writes, guarded by an
// RWMutex. The words of the segment are
//
//	0, 1  the book
//	2     how often it was read
//	3     how often it was written
//	4     violations
//	5     repairs
type library struct {
	Lock    *psync.RWMutex
	Segment *shm.Segment
}

func newLibrary(t testing.TB) library { return library{newRWMutex(t), newSegment(t, 64)} }

func (l library) word(i int) *atomic.Uint64 { return seg.WordOf(l.Segment.Bytes()[8*i:]) }

func (l library) repair() error {
	l.word(5).Add(1)
	l.word(1).Store(l.word(0).Load())
	return nil
}

// read reads the book, and has it repaired first if that is needed.
func (l library) read(ctx context.Context) error {
	for {
		err := l.Lock.RLock(ctx)
		if err == nil {
			break
		}
		if !errors.Is(err, psync.ErrOwnerDied) {
			return err
		}
		if err := l.Lock.Recover(ctx, l.repair); err != nil && !errors.Is(err, psync.ErrOwnerDied) {
			return err
		}
	}
	a := l.word(0).Load()
	for range 3 {
		if b := l.word(1).Load(); a != b || l.word(0).Load() != a {
			l.word(4).Add(1)
		}
	}
	l.word(2).Add(1)
	return l.Lock.RUnlock()
}

func (l library) write(ctx context.Context) error {
	if err := l.Lock.LockOrRecover(ctx, l.repair); err != nil {
		return err
	}
	a := l.word(0).Load()
	if l.word(1).Load() != a {
		l.word(4).Add(1)
	}
	l.word(0).Store(a + 1)
	l.word(1).Store(a + 1)
	l.word(3).Add(1)
	return l.Lock.Unlock()
}

// helperLibrary reads and writes until its input ends: args[1] of 100 times it writes,
// with args[2] goroutines.
func helperLibrary(args []string) int {
	var l library
	if err := reexec.Take(args[0], 2, &l); err != nil {
		fmt.Println(err)
		return 1
	}
	writes, _ := strconv.Atoi(args[1])
	goroutines, _ := strconv.Atoi(args[2])
	ctx := reexec.UntilTold()
	fmt.Println("open")
	return overAndOver(ctx, goroutines, func(g, i int) error {
		if (g*100/goroutines+i)%100 < writes {
			return l.write(ctx)
		}
		return l.read(ctx)
	})
}

func (l library) start(t testing.TB, writes, goroutines int) *reexec.Process {
	t.Helper()
	arg, files := reexec.Give(t, l)
	p := reexec.Start(t, "library", files, arg, strconv.Itoa(writes), strconv.Itoa(goroutines))
	if line := p.Line(); line != "open" {
		t.Fatal(line)
	}
	return p
}

// goesOn waits for more reads and writes.
func (l library) goesOn(t testing.TB, reads, writes uint64) {
	t.Helper()
	deadline := time.Now().Add(patience)
	reads += l.word(2).Load()
	writes += l.word(3).Load()
	for l.word(2).Load() < reads || l.word(3).Load() < writes {
		if time.Now().After(deadline) {
			t.Fatalf("nobody goes on: %d reads, %d writes", l.word(2).Load(), l.word(3).Load())
		}
		time.Sleep(100 * time.Microsecond) // the resolution of the figures
	}
}

func (l library) check(t testing.TB) {
	t.Helper()
	if n := l.word(4).Load(); n > 0 {
		t.Errorf("%d times the book was half written", n)
	}
}

func TestRWMutexExcludes(t *testing.T) {
	for _, c := range []struct{ writes, goroutines int }{{1, 1}, {10, 3}, {50, 2}, {100, 2}} {
		t.Run(fmt.Sprintf("%d%% writes, %d goroutines", c.writes, c.goroutines), func(t *testing.T) {
			l := newLibrary(t)
			var ps []*reexec.Process
			for range 3 {
				ps = append(ps, l.start(t, c.writes, c.goroutines))
			}
			for range 300 {
				verify.Must(t, l.write(soon(t)))
				verify.Must(t, l.read(soon(t)))
			}
			l.goesOn(t, min(uint64(100-c.writes), 1)*100, 100)
			for _, p := range ps {
				p.Done()
			}
			l.check(t)
			if n := l.word(5).Load(); n > 0 {
				t.Errorf("%d repairs, though nobody died", n)
			}
			t.Logf("%d reads, %d writes", l.word(2).Load(), l.word(3).Load())
		})
	}
}

// Processes are killed at random moments, readers and writers.
func TestRWMutexKillStorm(t *testing.T) {
	kills := 300
	if testing.Short() || detector.Enabled {
		kills = 60
	}
	const procs = 5
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	l := newLibrary(t)
	ps := make([]*reexec.Process, procs)
	for i := range ps {
		ps[i] = l.start(t, 30, 2)
	}
	var times []time.Duration
	for range kills {
		i := rnd.IntN(procs)
		time.Sleep(time.Duration(rnd.IntN(2000)) * time.Microsecond) // the random moment
		ps[i].Cmd.Process.Kill()
		died := time.Now()
		l.goesOn(t, 1, 1)
		times = append(times, time.Since(died))
		if out, _ := io.ReadAll(ps[i].Out); len(out) > 0 {
			t.Fatalf("%s", out)
		}
		ps[i].Cmd.Wait()
		ps[i] = l.start(t, 30, 2)
	}
	for _, p := range ps {
		p.Done()
	}
	l.check(t)
	t.Logf("%d reads, %d writes, %d repairs", l.word(2).Load(), l.word(3).Load(), l.word(5).Load())
	prompt(t, times)
}

// Readers that never leave a gap do not keep a writer out, nor writers a reader.
func TestRWMutexIsFair(t *testing.T) {
	for _, c := range []struct {
		name   string
		writes int // of 100, by the others
		f      func(library, context.Context) error
	}{
		{"a writer among readers", 0, library.write},
		{"a reader among writers", 100, library.read},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLibrary(t)
			var ps []*reexec.Process
			for range 2 {
				ps = append(ps, l.start(t, c.writes, 3))
			}
			var times []time.Duration
			for range 19 { // few enough for the median to be judged: who is inside may lose its CPU there
				start := time.Now()
				verify.Must(t, c.f(l, soon(t)))
				times = append(times, time.Since(start))
			}
			prompt(t, times)
			for _, p := range ps {
				p.Done()
			}
			l.check(t)
		})
	}
}

// A reader that was let in and is stopped holds writers up once, not each time.
func TestStoppedReaderWhoWaits(t *testing.T) {
	m := newRWMutex(t)
	ctx := soon(t)
	verify.Must(t, m.Lock(ctx))
	p := rwHelper(t, m)
	asked(t, p, "wait for rlock", "waiting true")
	verify.Must(t, p.Cmd.Process.Signal(syscall.SIGSTOP))
	verify.Must(t, m.Unlock())
	var times []time.Duration
	for range 201 {
		start := time.Now()
		verify.Must(t, m.Lock(ctx))
		verify.Must(t, m.Unlock())
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	if median, worst := times[len(times)/2], times[len(times)-1]; median > time.Millisecond {
		t.Errorf("beside a stopped reader a write takes %v (median), %v (worst)", median, worst)
	}
	verify.Must(t, m.Lock(ctx))
	verify.Must(t, p.Cmd.Process.Signal(syscall.SIGCONT))
	verify.Must(t, m.Unlock())
	if l := p.Line(); l != "rlock <nil>" {
		t.Error(l)
	}
	asked(t, p, "runlock", "runlock <nil>")
	p.Done()
}

// Readers who came while a writer had the lock come in when it has unlocked, before the next
// writer.
func TestReadersComeBeforeTheNextWriter(t *testing.T) {
	m := newRWMutex(t)
	const rounds = 20
	first := 0
	for range rounds {
		verify.Must(t, m.Lock(t.Context()))
		var reading atomic.Bool
		write := verify.Blocks(t, "Lock", func() error {
			if err := m.Lock(context.Background()); err != nil {
				return err
			}
			if reading.Load() {
				first++
			}
			return m.Unlock()
		})
		read := verify.Blocks(t, "RLock", func() error {
			err := m.RLock(context.Background())
			reading.Store(true)
			return err
		})
		verify.Must(t, m.Unlock())
		verify.Must(t, read())
		verify.Must(t, m.RUnlock())
		verify.Must(t, write())
	}
	// A writer waits some milliseconds for who does not come, which on a busy machine happens.
	if first < rounds/2 {
		t.Errorf("readers came first %d times of %d", first, rounds)
	}
}

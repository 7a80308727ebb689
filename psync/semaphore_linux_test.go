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
	"strconv"
	"sync"
	"sync/atomic"
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
	placeables = append(placeables,
		placeable{
			name: "Semaphore", size: psync.SemaphoreSize(3),
			at:    func(s *shm.Segment, off int) (io.Closer, error) { return closer(psync.SemaphoreAt(s, off, 3)) },
			other: func(s *shm.Segment, off int) (io.Closer, error) { return closer(psync.SemaphoreAt(s, off, 2)) },
		},
		placeable{
			name: "counting Semaphore", size: psync.SemaphoreSize(0, counting(7)),
			at: func(s *shm.Segment, off int) (io.Closer, error) {
				return closer(psync.SemaphoreAt(s, off, 0, counting(7)))
			},
			other: func(s *shm.Segment, off int) (io.Closer, error) {
				return closer(psync.SemaphoreAt(s, off, 0, counting(8)))
			},
		})
	helpers["permits"] = helperPermits
	helpers["crowd"] = helperCrowd
}

func counting(limit int) psync.SemaphoreOptions {
	return psync.SemaphoreOptions{Counting: true, Max: limit}
}

func newSemaphore(t testing.TB, n int, opts ...psync.SemaphoreOptions) *psync.Semaphore {
	t.Helper()
	s, err := psync.NewSemaphore(n, opts...)
	verify.Must(t, err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return s
}

// permits checks how many are free.
func permits(t testing.TB, s *psync.Semaphore, want int) {
	t.Helper()
	if n := s.Value(); n != want {
		t.Errorf("%d permits are free, want %d", n, want)
	}
}

// helperPermits does what its input says to the Semaphore that it was given: "acquire",
// "try", "release".
func helperPermits(args []string) int {
	var s *psync.Semaphore
	if err := reexec.Take(args[0], 1, &s); err != nil {
		fmt.Println(err)
		return 1
	}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		switch in.Text() {
		case "acquire":
			fmt.Println("acquire", s.Acquire(context.Background()))
		case "try":
			fmt.Println(s.TryAcquire())
		case "release":
			fmt.Println("release", s.Release())
		case "close":
			fmt.Println("close", s.Close())
		}
	}
	return 0
}

// asked has a helper do something, and checks what it says.
func asked(t testing.TB, p *reexec.Process, what, want string) {
	t.Helper()
	p.Say(what)
	if l := p.Line(); l != want {
		t.Fatalf("%s: %q, want %q", what, l, want)
	}
}

func permitHelper(t testing.TB, s *psync.Semaphore) *reexec.Process {
	t.Helper()
	arg, files := reexec.Give(t, s)
	return reexec.Start(t, "permits", files, arg)
}

func TestSemaphoreErrors(t *testing.T) {
	s := newSemaphore(t, 2)
	ctx := t.Context()
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.Release(); !errors.Is(err, psync.ErrNotHeld) || err.Error() != "psync: Release: this process has no permit of the semaphore" {
		t.Errorf("Release of nothing: %v", err)
	}
	permits(t, s, 2)
	verify.Must(t, s.Acquire(ended)) // a free one
	if ok, err := s.TryAcquire(); !ok || err != nil {
		t.Errorf("TryAcquire of a free one: %v, %v", ok, err)
	}
	permits(t, s, 0)
	if ok, err := s.TryAcquire(); ok || err != nil {
		t.Errorf("TryAcquire without a free one: %v, %v", ok, err)
	}
	if err := s.Acquire(ended); err != context.Canceled {
		t.Errorf("Acquire with an ended ctx: %v", err)
	}
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	if err := s.Acquire(short); err != context.DeadlineExceeded {
		t.Errorf("Acquire with a deadline: %v", err)
	}
	if err := s.Close(); !errors.Is(err, psync.ErrHeld) {
		t.Errorf("Close with permits: %v", err)
	}
	wait := verify.Blocks(t, "Acquire", func() error { return s.Acquire(ctx) })
	verify.Must(t, s.Release())
	verify.Must(t, wait())
	verify.Must(t, s.Release())
	verify.Must(t, s.Release())
	if err := s.Release(); !errors.Is(err, psync.ErrNotHeld) {
		t.Errorf("Release once too often: %v", err)
	}
	permits(t, s, 2)
}

func TestClosedSemaphore(t *testing.T) {
	s := newSemaphore(t, 1)
	ctx := t.Context()
	p := permitHelper(t, s)
	asked(t, p, "acquire", "acquire <nil>")
	var waits []func() error
	for range 3 {
		waits = append(waits, verify.Blocks(t, "Acquire", func() error { return s.Acquire(ctx) }))
	}
	verify.Must(t, s.Close())
	verify.Must(t, s.Close())
	for _, w := range waits {
		if err := w(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("Acquire while it is closed: %v", err)
		}
	}
	if err := s.Acquire(ctx); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Acquire: %v", err)
	}
	if _, err := s.TryAcquire(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("TryAcquire: %v", err)
	}
	if err := s.Release(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Release: %v", err)
	}
	verify.Panics(t, "psync: use of closed Semaphore", func() { s.Value() })
	asked(t, p, "release", "release <nil>")
	asked(t, p, "acquire", "acquire <nil>")
	asked(t, p, "close", "close psync: this process has permits of the semaphore: release them before closing")
	asked(t, p, "release", "release <nil>")
	asked(t, p, "close", "close <nil>")
	p.Done()
}

func TestSemaphoreParameters(t *testing.T) {
	o := psync.SemaphoreOptions{Counting: true}
	for _, c := range []struct {
		name string
		n    int
		opts []psync.SemaphoreOptions
	}{
		{"no permits", 0, nil},
		{"a negative number", -1, nil},
		{"too many", psync.MaxPermits + 1, nil},
		{"a maximum without counting", 1, []psync.SemaphoreOptions{{Max: 2}}},
		{"counting from below zero", -1, []psync.SemaphoreOptions{o}},
		{"counting too far", 1 << 31, []psync.SemaphoreOptions{o}},
		{"a maximum below the start", 3, []psync.SemaphoreOptions{counting(2)}},
		{"a negative maximum", 0, []psync.SemaphoreOptions{counting(-1)}},
	} {
		if s, err := psync.NewSemaphore(c.n, c.opts...); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s: %v, %v", c.name, s, err)
		}
	}
	for _, n := range []int{1, 2, 7, 63, 64, 65, 1000, psync.MaxPermits} {
		s := newSemaphore(t, n)
		for range n {
			if ok, err := s.TryAcquire(); !ok || err != nil {
				t.Fatalf("one of %d: %v, %v", n, ok, err)
			}
		}
		if ok, err := s.TryAcquire(); ok || err != nil {
			t.Errorf("one more than %d: %v, %v", n, ok, err)
		}
		permits(t, s, 0)
		for range n {
			verify.Must(t, s.Release())
		}
		permits(t, s, n)
	}
}

func TestNamedSemaphore(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "multiproc-test-")
	verify.Must(t, err)
	defer os.RemoveAll(dir)
	o := psync.Options{Dir: dir}
	a, err := psync.CreateSemaphore("s", 2, psync.SemaphoreOptions{Options: o})
	verify.Must(t, err)
	defer a.Close()
	if _, err := psync.CreateSemaphore("s", 2, psync.SemaphoreOptions{Options: o}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("creating it again: %v", err)
	}
	b, err := psync.OpenSemaphore("s", o)
	verify.Must(t, err)
	defer b.Close()
	verify.Must(t, a.Acquire(t.Context()))
	permits(t, b, 1)
	verify.Must(t, b.Release())
	c, err := psync.CreateSemaphore("c", 1, psync.SemaphoreOptions{Counting: true, Max: 2, Options: o})
	verify.Must(t, err)
	defer c.Close()
	d, err := psync.OpenSemaphore("c", o)
	verify.Must(t, err)
	defer d.Close()
	verify.Must(t, d.Release())
	if err := d.Release(); !errors.Is(err, psync.ErrTooManyReleases) {
		t.Errorf("beyond the maximum: %v", err)
	}
	if _, err := psync.OpenMutex("s", o); !errors.Is(err, shm.ErrType) {
		t.Errorf("opening it as a Mutex: %v", err)
	}
	if _, err := psync.OpenSemaphore("nobody", o); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("opening a name that does not exist: %v", err)
	}
	for _, name := range []string{"s", "c"} {
		verify.Must(t, psync.Remove(name, o))
	}
}

func TestCountingSemaphore(t *testing.T) {
	s := newSemaphore(t, 0, counting(3))
	permits(t, s, 0)
	p := permitHelper(t, s)
	wait := verify.Blocks(t, "Acquire", func() error { return s.Acquire(t.Context()) })
	asked(t, p, "release", "release <nil>") // of what another process waits for
	verify.Must(t, wait())
	for range 3 {
		asked(t, p, "release", "release <nil>")
	}
	if err := s.Release(); !errors.Is(err, psync.ErrTooManyReleases) {
		t.Errorf("Release at the maximum: %v", err)
	}
	permits(t, s, 3)
	asked(t, p, "try", "true <nil>")
	asked(t, p, "acquire", "acquire <nil>")
	permits(t, s, 1)
	p.Kill()
	permits(t, s, 1) // nobody knows whose they were
	verify.Must(t, s.Acquire(t.Context()))
	verify.Must(t, s.Close())
}

// The permits of a dead process are there for whoever wants one.
func TestPermitsOfTheDead(t *testing.T) {
	s := newSemaphore(t, 2)
	ctx := soon(t)
	kill := func() {
		p := permitHelper(t, s)
		asked(t, p, "acquire", "acquire <nil>")
		asked(t, p, "acquire", "acquire <nil>")
		if ok, err := s.TryAcquire(); ok || err != nil {
			t.Fatalf("TryAcquire while they are held: %v, %v", ok, err)
		}
		p.Kill()
	}
	t.Run("TryAcquire", func(t *testing.T) {
		kill()
		for range 2 {
			if ok, err := s.TryAcquire(); !ok || err != nil {
				t.Errorf("%v, %v", ok, err)
			}
		}
	})
	for range 2 {
		verify.Must(t, s.Release())
	}
	t.Run("Value", func(t *testing.T) {
		kill()
		permits(t, s, 2)
	})
	t.Run("Acquire with an ended ctx", func(t *testing.T) {
		kill()
		ended, cancel := context.WithCancel(ctx)
		cancel()
		verify.Must(t, s.Acquire(ended))
		verify.Must(t, s.Release())
	})
	t.Run("waiters", func(t *testing.T) {
		var times []time.Duration
		for range 7 {
			p := permitHelper(t, s)
			asked(t, p, "acquire", "acquire <nil>")
			asked(t, p, "acquire", "acquire <nil>")
			var waits []func() error
			for range 2 {
				waits = append(waits, verify.Blocks(t, "Acquire", func() error { return s.Acquire(ctx) }))
			}
			died := time.Now()
			p.Kill()
			for _, w := range waits {
				verify.Must(t, w())
			}
			times = append(times, time.Since(died))
			verify.Must(t, s.Release())
			verify.Must(t, s.Release())
		}
		prompt(t, times)
	})
	permits(t, s, 2)
}

// A crowd is what several processes do with one Semaphore: come in, look how many are
// inside, leave. The words are
//
//	0  who is inside: eight bits for each process
//	1  processes that are about to be killed, one bit each
//	2  how often somebody was inside
//	3  the most that were inside together
//	4  violations
//	5  how many processes work
type crowd struct {
	Semaphore *psync.Semaphore
	Segment   *shm.Segment
}

const crowdWords = 6

func (c crowd) word(i int) *atomic.Uint64 { return seg.WordOf(c.Segment.Bytes()[8*i:]) }

// visit goes in as process i. Nobody sees more inside than there are permits: those that
// are being killed do not count, since their permits return before their bits do.
func (c crowd) visit(ctx context.Context, i, permits int) error {
	if err := c.Semaphore.Acquire(ctx); err != nil {
		return err
	}
	doomed := c.word(1).Load()
	inside := c.word(0).Add(1 << (8 * i))
	n := 0
	for j := range 8 {
		if doomed&(1<<j) == 0 {
			n += int(inside >> (8 * j) & 0xff)
		}
	}
	if n > permits {
		c.word(4).Add(1)
	}
	for m := c.word(3).Load(); uint64(n) > m && !c.word(3).CompareAndSwap(m, uint64(n)); m = c.word(3).Load() {
	}
	c.word(2).Add(1)
	c.word(0).Add(-(1 << (8 * i)))
	return c.Semaphore.Release()
}

// helperCrowd visits, with some goroutines, until its input ends.
func helperCrowd(args []string) int {
	var c crowd
	if err := reexec.Take(args[0], 2, &c); err != nil {
		fmt.Println(err)
		return 1
	}
	i, _ := strconv.Atoi(args[1])
	n, _ := strconv.Atoi(args[2])
	goroutines, _ := strconv.Atoi(args[3])
	ctx := reexec.UntilTold()
	fmt.Println("visiting")
	return overAndOver(ctx, goroutines, func(int, int) error { return c.visit(ctx, i, n) })
}

func newCrowd(t testing.TB, n int) crowd {
	return crowd{newSemaphore(t, n), newSegment(t, 8*crowdWords)}
}

func (c crowd) start(t testing.TB, i, permits, goroutines int) *reexec.Process {
	t.Helper()
	arg, files := reexec.Give(t, c)
	p := reexec.Start(t, "crowd", files, arg, strconv.Itoa(i), strconv.Itoa(permits), strconv.Itoa(goroutines))
	if l := p.Line(); l != "visiting" {
		t.Fatal(l)
	}
	return p
}

// visited waits until there were n more visits.
func (c crowd) visited(t testing.TB, n uint64) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for want := c.word(2).Load() + n; c.word(2).Load() < want; {
		if time.Now().After(deadline) {
			t.Fatal("nobody goes on")
		}
		time.Sleep(100 * time.Microsecond) // the resolution of the figures
	}
}

func (c crowd) check(t testing.TB, permits int) {
	t.Helper()
	if n := c.word(4).Load(); n > 0 {
		t.Errorf("%d times there were more inside than permits", n)
	}
	if n := c.word(3).Load(); n > uint64(permits) {
		t.Errorf("%d were inside, with %d permits", n, permits)
	}
}

// As many are inside as there are permits, and never more.
func TestSemaphoreLimits(t *testing.T) {
	for _, n := range []int{1, 2, 3, 9} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			c := newCrowd(t, n)
			var ps []*reexec.Process
			for i := range 3 {
				ps = append(ps, c.start(t, i, n, 5))
			}
			for range 5000 {
				verify.Must(t, c.visit(soon(t), 3, n))
			}
			c.visited(t, 5000)
			for _, p := range ps {
				p.Done()
			}
			c.check(t, n)
			permits(t, c.Semaphore, n)
			t.Logf("%d visits, at most %d inside", c.word(2).Load(), c.word(3).Load())
		})
	}
}

// Processes are killed at random moments. The others go on, and no permit is lost.
func TestSemaphoreKillStorm(t *testing.T) {
	kills := 300
	if testing.Short() || detector.Enabled {
		kills = 60
	}
	const n, procs = 3, 5
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	c := newCrowd(t, n)
	ps := make([]*reexec.Process, procs)
	for i := range ps {
		ps[i] = c.start(t, i, n, 2)
	}
	var times []time.Duration
	for range kills {
		i := rnd.IntN(procs)
		time.Sleep(time.Duration(rnd.IntN(2000)) * time.Microsecond) // the random moment
		c.word(1).Or(1 << i)
		ps[i].Cmd.Process.Kill()
		died := time.Now()
		c.visited(t, 1)
		times = append(times, time.Since(died))
		if out, _ := io.ReadAll(ps[i].Out); len(out) > 0 {
			t.Fatalf("%s", out)
		}
		ps[i].Cmd.Wait()
		c.word(0).And(^(uint64(0xff) << (8 * i)))
		c.word(1).And(^(uint64(1) << i))
		ps[i] = c.start(t, i, n, 2)
	}
	for _, p := range ps {
		p.Done()
	}
	c.check(t, n)
	permits(t, c.Semaphore, n)
	prompt(t, times)
}

// A process that takes the only permit again as soon as it has given it back lets the
// others have it, too.
func TestSemaphoreIsFair(t *testing.T) {
	c := newCrowd(t, 1)
	p := c.start(t, 0, 1, 1)
	var times []time.Duration
	for range 19 {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		start := time.Now()
		verify.Must(t, c.visit(ctx, 1, 1))
		cancel()
		times = append(times, time.Since(start))
	}
	prompt(t, times)
	p.Done()
	c.check(t, 1)
}

// What a Semaphore of 1 or an RWMutex orders, the race detector sees, also where it is
// heap. (Without it, this checks that one at a time is inside.)
func TestHeapUnderPermitsAndRWMutex(t *testing.T) {
	s, m := newSemaphore(t, 1), newRWMutex(t)
	for _, c := range []struct {
		name         string
		enter, leave func() error
		reads        bool
	}{
		{"Semaphore", func() error { return s.Acquire(t.Context()) }, s.Release, false},
		{"RWMutex", func() error { return m.Lock(t.Context()) }, m.Unlock, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			const goroutines, each = 4, 1000
			n := 0
			var all sync.WaitGroup
			for range goroutines {
				all.Go(func() {
					for range each {
						if err := c.enter(); err != nil {
							t.Error(err)
							return
						}
						n++
						if err := c.leave(); err != nil {
							t.Error(err)
						}
						if !c.reads {
							continue
						}
						if err := m.RLock(t.Context()); err != nil {
							t.Error(err)
							return
						}
						if n > goroutines*each {
							t.Error("too many")
						}
						if err := m.RUnlock(); err != nil {
							t.Error(err)
						}
					}
				})
			}
			all.Wait()
			if n != goroutines*each {
				t.Errorf("counted %d", n)
			}
		})
	}
}

package lock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/mem"
	"github.com/go-multiproc/multiproc/internal/reexec"
	"github.com/go-multiproc/multiproc/internal/seg"
	"github.com/go-multiproc/multiproc/internal/sys"
)

func TestMain(m *testing.M) {
	// No slice ends while these tests run, in whatever process: who needs one to
	// end hangs, and is found.
	minSlice, maxSlice = time.Hour, time.Hour
	reexec.Main(m, map[string]reexec.Helper{"stress": helperStress, "lock": helperLock})
}

// stuck is how long nothing at all may happen.
const stuck = 60 * time.Second

func segment(t testing.TB) *seg.Handle {
	t.Helper()
	h, err := seg.New(seg.Spec{Kind: "test", Data: 64, Meta: Size})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

var strangers atomic.Uint64

// stranger is the lock as another process would have it, with a token and a queue
// of its own, but in this one, so that a test can see and do everything at once.
// Where strangers probe each other, all have to be strangers: this process's real
// token is dead to them, since a descriptor can not see its own lock.
func stranger(t testing.TB, h *seg.Handle) *Mutex {
	t.Helper()
	fd, err := h.Reopen()
	if err != nil {
		t.Fatal(err)
	}
	token := 1<<39 + strangers.Add(1)
	if ok, err := sys.TryLockRange(fd, 1<<61+int64(token), 1); !ok || err != nil {
		t.Fatal(ok, err)
	}
	m := At(h, 0)
	m.own = word(token) << tokenShift
	m.q = newQueue(h.Mapping(), m.word)
	t.Cleanup(func() {
		m.q.Suspend() // or its sleeper would sleep on, for an hour
		unix.Close(fd)
	})
	return m
}

// within waits for something to become true by itself.
func within(t testing.TB, what string, f func() bool) {
	t.Helper()
	for start := time.Now(); !f(); runtime.Gosched() {
		if time.Since(start) > stuck {
			t.Fatalf("%s: not within %v", what, stuck)
		}
	}
}

func (q *queue) waiting() (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for w := q.first; w != nil; w = w.next {
		n++
	}
	return n
}

// lockSoon takes the lock in the background.
func lockSoon(ctx context.Context, m *Mutex) <-chan error {
	done := make(chan error, 1)
	go func() { done <- m.Lock(ctx, User) }()
	return done
}

func comes(t testing.TB, what string, done <-chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(stuck):
		t.Fatalf("%s: still waits", what)
		return nil
	}
}

// asleep waits until n sleepers of this process, m's among them, sleep in the kernel with the waiters bit set.
func asleep(t testing.TB, m *Mutex, n int) {
	t.Helper()
	within(t, "asleep", func() bool { return m.q.waiting() > 0 && m.load().waiters() && sleepersOn(t, m.word) == n })
}

// sleepersOn is how many threads of this process sleep in futex(2) on a word.
func sleepersOn(t testing.TB, w *mem.Uint64) (n int) {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/syscall")
	if err != nil || len(tasks) == 0 {
		t.Fatalf("no threads: %v", err)
	}
	call := fmt.Sprintf("%d %p ", unix.SYS_FUTEX, w)
	for _, task := range tasks {
		// "202 0x7f… 0x0 …" for who sleeps in a system call; "running" for who does not.
		if b, err := os.ReadFile(task); err == nil && strings.HasPrefix(string(b), call) {
			n++
		}
	}
	return n
}

// A newcomer takes the lock between the unlock, which cleared the waiters bit, and
// the look of the sleeper that it woke.
func TestWakeUpMeetsNewcomer(t *testing.T) {
	h := segment(t)
	a, b, c := At(h, 0), stranger(t, h), stranger(t, h)
	if err := a.Lock(t.Context(), User); err != nil {
		t.Fatal(err)
	}
	done := lockSoon(t.Context(), b)
	asleep(t, b, 1)
	// a unlocks, and c takes it before a's wake-up.
	w := a.load()
	if !a.cas(w, w.released().takenBy(c.own|user)) {
		t.Fatal("somebody meddles")
	}
	mem.Wake(a.word, 1)
	within(t, "the waiters bit", func() bool { return a.load().waiters() })
	if err := c.Unlock(); err != nil {
		t.Error(err)
	}
	if err := comes(t, "Lock", done); err != nil {
		t.Error(err)
	}
	if err := b.Unlock(); err != nil {
		t.Error(err)
	}
}

// A wake-up goes to a process whose waiters have given up: its sleeper hands it
// on, whoever holds the lock by then.
func TestWakeUpMeetsNobody(t *testing.T) {
	for _, newcomer := range []bool{false, true} {
		t.Run(fmt.Sprintf("newcomer %v", newcomer), func(t *testing.T) {
			h := segment(t)
			a, b, c, d := At(h, 0), stranger(t, h), stranger(t, h), stranger(t, h)
			if err := a.Lock(t.Context(), User); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			gone := lockSoon(ctx, b) // sleeps first, and so is woken first
			asleep(t, b, 1)
			done := lockSoon(t.Context(), c)
			asleep(t, c, 2)
			cancel()
			if err := comes(t, "giving up", gone); err != context.Canceled {
				t.Fatal(err)
			}
			w := a.load()
			n := w.released()
			if newcomer {
				n = n.takenBy(d.own | user)
			}
			if !a.cas(w, n) {
				t.Fatal("somebody meddles")
			}
			mem.Wake(a.word, 1)
			if newcomer {
				within(t, "the waiters bit", func() bool { return a.load().waiters() })
				if err := d.Unlock(); err != nil {
					t.Error(err)
				}
			}
			if err := comes(t, "Lock", done); err != nil {
				t.Error(err)
			}
			if err := c.Unlock(); err != nil {
				t.Error(err)
			}
		})
	}
}

func (q *queue) sleeps() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.asleep != nil
}

// Close takes the sleeper along, also when nobody waits any more.
func TestCloseEndsSleeper(t *testing.T) {
	for _, how := range []string{"closed", "unreachable"} {
		t.Run(how, func(t *testing.T) {
			q := func() *queue { // which does not keep the handle
				h := segment(t)
				a := At(h, 0)
				a.word.Store(uint64(word(1<<39)<<tokenShift | held)) // somebody else has it
				ctx, cancel := context.WithCancel(t.Context())
				done := lockSoon(ctx, a)
				asleep(t, a, 1)
				cancel()
				if err := comes(t, "giving up", done); err != context.Canceled {
					t.Fatal(err)
				}
				if how == "closed" {
					if err := a.Close(); err != nil {
						t.Error(err)
					}
					if a.q.sleeps() {
						t.Error("sleeps on after Close")
					}
				}
				return a.q
			}()
			within(t, "no sleeper", func() bool {
				runtime.GC()
				return !q.sleeps()
			})
		})
	}
}

// While one repairs and then keeps the lock, the others' Recover ends with the
// repair, in the same process and elsewhere.
func TestRecoverEndsWithRepair(t *testing.T) {
	for _, keep := range []bool{true, false} {
		t.Run(fmt.Sprintf("keep %v", keep), func(t *testing.T) {
			h := segment(t)
			a, b := stranger(t, h), stranger(t, h)
			a.word.Store(uint64(abandoned))
			repairing, finish := make(chan struct{}), make(chan struct{})
			repaired := make(chan error, 1)
			go func() {
				repair := func() error { close(repairing); <-finish; return nil }
				if keep {
					repaired <- a.LockOrRecover(t.Context(), User, repair)
				} else {
					repaired <- a.Recover(t.Context(), repair)
				}
			}()
			<-repairing
			again := func() error { t.Error("repaired twice"); return nil }
			var others []<-chan error
			for i := range 3 {
				for _, m := range []*Mutex{a, b} {
					done := make(chan error, 1)
					go func() { done <- m.Recover(t.Context(), again) }()
					others = append(others, done)
					within(t, "queued", func() bool { return m.q.waiting() == i+1 })
				}
			}
			asleep(t, b, 2) // and a's
			close(finish)
			if err := comes(t, "the repair", repaired); err != nil {
				t.Error(err)
			}
			for _, done := range others {
				if err := comes(t, "Recover", done); err != nil {
					t.Error(err)
				}
			}
			if keep {
				if err := a.Unlock(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// A stress is what several goroutines of several processes do to one lock until
// they are told to stop.
type stress struct {
	h      *seg.Handle
	inside *mem.Uint64 // who is inside; only the lock makes it exclusive
	turns  atomic.Uint64
	stop   atomic.Bool
	fail   func(format string, args ...any)
}

func newStress(h *seg.Handle, fail func(string, ...any)) *stress {
	return &stress{h: h, inside: h.Mapping().Word(0), fail: fail}
}

// run has n goroutines take turns through m's queue.
func (s *stress) run(wg *sync.WaitGroup, m func() *Mutex, n int, seed uint64) {
	for i := range n {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			for !s.stop.Load() {
				s.turn(m(), r)
			}
		})
	}
}

// turn takes the lock in one of the ways that there are.
func (s *stress) turn(m *Mutex, r *rand.Rand) {
	ctx, cancel, patient := someTime(r)
	defer cancel()
	var err error
	ok := true
	repair := func() error { s.fail("abandoned though nobody died"); return nil }
	switch r.IntN(8) {
	case 0:
		ok, err = m.TryLock(User)
	case 1:
		err = m.LockOrRecover(ctx, Scoped, repair)
	case 2:
		err = m.Recover(ctx, repair)
		ok = false
	case 3:
		err = m.Lock(ctx, Scoped)
	default:
		err = m.Lock(ctx, User)
	}
	s.turns.Add(1)
	switch {
	case err == context.DeadlineExceeded && !patient:
		return
	case err == context.DeadlineExceeded:
		s.fail("waited for %v", stuck)
		s.stop.Store(true)
		return
	case err != nil:
		s.fail("taking: %v", err)
		return
	case !ok:
		return
	}
	me := uint64(m.own) + r.Uint64N(1<<16)
	if was := s.inside.Swap(me); was != 0 {
		s.fail("%x came inside together with %x", me, was)
	}
	for range r.IntN(4) * 50 {
		sys.Pause(1)
	}
	if r.IntN(64) == 0 {
		runtime.Gosched()
	}
	if was := s.inside.Swap(0); was != me {
		s.fail("%x was inside together with %x", me, was)
	}
	if err := m.Unlock(); err != nil {
		s.fail("unlocking: %v", err)
	}
}

// someTime is how long a turn may wait: some microseconds, or, half of the time,
// so long that only who was forgotten waits until the end.
func someTime(r *rand.Rand) (ctx context.Context, cancel context.CancelFunc, patient bool) {
	d := time.Duration(r.IntN(60)) * time.Microsecond
	if patient = r.IntN(2) == 0; patient {
		d = stuck
	}
	ctx, cancel = context.WithTimeout(context.Background(), d)
	return ctx, cancel, patient
}

// finish lets it run for d and then waits for everybody.
func (s *stress) finish(t *testing.T, d time.Duration, wg *sync.WaitGroup) {
	for start := time.Now(); time.Since(start) < d && !s.stop.Load(); {
		time.Sleep(10 * time.Millisecond)
	}
	s.stop.Store(true)
	wg.Wait()
	t.Logf("%d turns", s.turns.Load())
}

func stressTime() time.Duration {
	if testing.Short() {
		return 300 * time.Millisecond
	}
	return 2 * time.Second
}

// hungryAtOnce has every waiter that was woken in vain keep newcomers away.
func hungryAtOnce(t *testing.T) {
	was := patience
	patience = 0
	t.Cleanup(func() { patience = was })
}

// Several processes, some of them in this one, whose goroutines come and give up
// at random: without a death nobody needs the end of a slice.
func TestStressStrangers(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for i, shape := range [][]int{{1, 1}, {1, 1, 1}, {2, 1, 3}, {8, 1, 1, 1}, {1, 1}, {1, 1, 1}, {2, 1, 3}, {8, 1, 1, 1}} {
		t.Run(fmt.Sprint(shape), func(t *testing.T) {
			if i >= 4 {
				hungryAtOnce(t)
			}
			h := segment(t)
			s := newStress(h, t.Errorf)
			var wg sync.WaitGroup
			for i, n := range shape {
				m := stranger(t, h)
				s.run(&wg, func() *Mutex { return m }, n, seed+uint64(i))
			}
			s.finish(t, stressTime()/2, &wg)
		})
	}
}

// The same with real processes; and goroutines that share a process's queue
// through handles that are closed and opened all the time.
func TestStressProcesses(t *testing.T) {
	for _, what := range []string{"run", "churn", "run hungry", "churn hungry"} {
		t.Run(what, func(t *testing.T) {
			var hungry bool
			if what, hungry = strings.CutSuffix(what, " hungry"); hungry {
				hungryAtOnce(t)
			}
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			h := segment(t)
			s := newStress(h, t.Errorf)
			fd, err := h.Reopen()
			if err != nil {
				t.Fatal(err)
			}
			file := os.NewFile(uintptr(fd), "segment")
			defer file.Close()
			var ps []*reexec.Process
			for range 2 {
				p := reexec.Start(t, "stress", []*os.File{file}, what, patience.String())
				p.Line()
				ps = append(ps, p)
			}
			var wg sync.WaitGroup
			s.run(&wg, func() *Mutex { return At(h, 0) }, 2, seed)
			if what == "churn" {
				s.churn(&wg, int(file.Fd()), seed+1)
			}
			s.finish(t, stressTime(), &wg)
			for _, p := range ps {
				p.Say("stop")
				if l := p.Line(); l != "stopped" {
					t.Error(l)
				}
				p.Done()
			}
			if err := At(h, 0).Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// churn opens the segment anew for some turns of some goroutines, and closes it
// while they are at it, over and over.
func (s *stress) churn(wg *sync.WaitGroup, fd int, seed uint64) {
	wg.Go(func() {
		r := rand.New(rand.NewPCG(seed, 0))
		for !s.stop.Load() {
			dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				s.fail("dup: %v", err)
				return
			}
			h, err := seg.Attach(dup, "", "test", "", false)
			if err != nil {
				s.fail("attach: %v", err)
				return
			}
			m := At(h, 0)
			var users sync.WaitGroup
			for i := range 3 {
				seed := r.Uint64()
				users.Go(func() {
					r := rand.New(rand.NewPCG(seed, uint64(i)))
					for !h.Closed() {
						s.turnClosing(m, r)
					}
				})
			}
			time.Sleep(time.Duration(r.IntN(2000)) * time.Microsecond)
			for {
				err := m.Close()
				if err == nil {
					break
				}
				if !errors.Is(err, ErrHeld) {
					s.fail("closing: %v", err)
				}
				runtime.Gosched()
			}
			users.Wait()
		}
	})
}

// turnClosing is turn through a handle that may be closed meanwhile: what it sees
// then may be the pages that stand in the memory's place.
func (s *stress) turnClosing(m *Mutex, r *rand.Rand) {
	ctx, cancel, patient := someTime(r)
	defer cancel()
	if err := m.Lock(ctx, User); err != nil {
		if !errors.Is(err, fs.ErrClosed) && (err != context.DeadlineExceeded || patient) {
			s.fail("taking while it may be closing: %v", err)
		}
		return
	}
	s.turns.Add(1)
	if err := m.Unlock(); err != nil {
		s.fail("unlocking while it may be closing: %v", err)
	}
}

// helperStress takes part with the segment in descriptor 3 until its input ends.
func helperStress(args []string) int {
	patience, _ = time.ParseDuration(args[1])
	var bad atomic.Bool
	fail := func(format string, args ...any) {
		fmt.Printf(format+"\n", args...)
		bad.Store(true)
	}
	seed := uint64(os.Getpid())
	var s *stress
	var wg sync.WaitGroup
	if args[0] == "churn" {
		s = &stress{fail: fail}
		s.churn(&wg, 3, seed)
	} else {
		h, err := seg.Attach(3, "", "test", "", false)
		if err != nil {
			fmt.Println(err)
			return 1
		}
		s = newStress(h, fail)
		s.run(&wg, func() *Mutex { return At(h, 0) }, 2, seed)
		// To exit without closing is a kind of death: it can take a wake-up along.
		defer At(h, 0).Close()
	}
	fmt.Println("ready")
	reexec.WaitToBeTold()
	s.stop.Store(true)
	wg.Wait()
	if bad.Load() {
		return 1
	}
	fmt.Println("stopped")
	return 0
}

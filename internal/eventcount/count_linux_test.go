package eventcount

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/mem"
	"github.com/go-multiproc/multiproc/internal/reexec"
	"github.com/go-multiproc/multiproc/internal/seg"
)

func TestMain(m *testing.M) {
	// No slice ends while these tests run, in whatever process: who needs one to
	// end hangs, and is found.
	minSlice, maxSlice = time.Hour, time.Hour
	reexec.Main(m, map[string]reexec.Helper{"take": helperTake, "echo": helperEcho, "close": helperClose, "futex": helperFutex})
}

// stuck is how long nothing at all may happen.
const stuck = 60 * time.Second

// A store is a number of permits in shared memory, which tests take and give. Its words:
//
//	0 the count   8 permits   16 how many were taken for good
type store struct {
	h     *seg.Handle
	c     *Count
	n     *mem.Uint64
	taken *mem.Uint64
}

func newStore(t testing.TB) *store {
	t.Helper()
	h, err := seg.New(seg.Spec{Kind: "test", Meta: 64})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close(nil) })
	return storeOf(h)
}

func storeOf(h *seg.Handle) *store {
	m := h.Mapping()
	at := m.MetaOffset()
	return &store{h: h, c: At(m, at), n: m.Word(at + 8), taken: m.Word(at + 16)}
}

// stranger is the store as another process has it, but in this one.
func (s *store) stranger(t testing.TB) *store {
	c := New(s.c.word, uint64(strangers.Add(1)))
	t.Cleanup(c.Suspend)
	return &store{h: s.h, c: c, n: s.n, taken: s.taken}
}

var strangers atomic.Int64

func (s *store) file(t testing.TB) []*os.File {
	t.Helper()
	fd, err := s.h.Reopen()
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "segment")
	t.Cleanup(func() { f.Close() })
	return []*os.File{f}
}

func inherited() *store {
	h, err := seg.Attach(3, "", "test", "", false)
	if err != nil {
		panic(err)
	}
	return storeOf(h)
}

func (s *store) try() (bool, error) {
	for {
		n := s.n.Load()
		if n == 0 {
			return false, nil
		}
		if s.n.CompareAndSwap(n, n-1) {
			s.taken.Add(1)
			return true, nil
		}
	}
}

func (s *store) take(ctx context.Context) error {
	return s.c.Wait(ctx, Wanted{Try: s.try, Handle: s.h})
}

func (s *store) give() {
	s.n.Add(1)
	s.c.Notify()
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

func (c *Count) asleep() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sleeping
}

func (c *Count) waiting() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leader != nil {
		n++
	}
	for w := c.queue.first; w != nil; w = w.next {
		n++
	}
	return n
}

// helperTake takes as many permits as it is told, with some goroutines.
func helperTake(args []string) int {
	n, _ := strconv.Atoi(args[0])
	workers, _ := strconv.Atoi(args[1])
	s := inherited()
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range n / workers {
				if err := s.take(context.Background()); err != nil {
					panic(err)
				}
			}
		})
	}
	fmt.Println("ready")
	wg.Wait()
	fmt.Println("done")
	io.Copy(io.Discard, os.Stdin)
	return 0
}

// Every permit reaches somebody, in three processes with several goroutines each, although
// no slice ends.
func TestNothingIsLostBetweenProcesses(t *testing.T) {
	const each, processes, workers = 6000, 3, 4
	s := newStore(t)
	var helpers []*reexec.Process
	for range processes {
		p := reexec.Start(t, "take", s.file(t), strconv.Itoa(each), strconv.Itoa(workers))
		helpers = append(helpers, p)
	}
	for _, p := range helpers {
		if got := p.Line(); got != "ready" {
			t.Fatal(got)
		}
	}
	for i := range each * processes {
		s.give()
		if i%3 == 0 { // let them fall asleep
			within(t, "permits to be taken", func() bool { return s.n.Load() == 0 })
		}
	}
	for _, p := range helpers {
		if got := p.Line(); got != "done" {
			t.Fatal(got)
		}
		p.Done()
	}
	if got := s.taken.Load(); got != each*processes {
		t.Errorf("%d permits were taken of %d", got, each*processes)
	}
}

// The same in one process with strangers, where giving and giving up are mixed in: a notification
// that reaches somebody who gives up is passed on.
func TestWhoGivesUpPassesOn(t *testing.T) {
	s := newStore(t)
	const sides, workers, each = 4, 4, 400
	var wg sync.WaitGroup
	for range sides {
		side := s.stranger(t)
		for worker := range workers {
			wg.Go(func() {
				for i := 0; i < each; {
					ctx, cancel := context.WithCancel(context.Background())
					if worker%2 == 1 {
						// It may come before, while and after the permit does.
						go func() { runtime.Gosched(); cancel() }()
					}
					err := side.take(ctx)
					cancel()
					switch {
					case err == nil:
						i++
					case !errors.Is(err, context.Canceled):
						t.Error(err)
						return
					}
				}
			})
		}
	}
	go func() {
		for i := range sides * workers * each {
			s.give()
			if i%7 == 0 {
				runtime.Gosched()
			}
		}
	}()
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(2 * stuck):
		t.Fatalf("stuck with %d permits left, %d of %d taken; word %#x", s.n.Load(), s.taken.Load(), sides*workers*each, s.c.word.Load())
	}
	if n := s.n.Load(); n != 0 {
		t.Errorf("%d permits left", n)
	}
}

func TestCtxIsObeyedAtOnce(t *testing.T) {
	s := newStore(t)
	for _, others := range []int{0, 3} { // as leader, and as one of those who follow
		var wg sync.WaitGroup
		keep, stop := context.WithCancel(context.Background())
		for range others {
			wg.Go(func() { s.take(keep) })
		}
		within(t, "the others to wait", func() bool { return s.c.waiting() == others })
		ctx, cancel := context.WithCancel(context.Background())
		result := make(chan error)
		go func() { result <- s.take(ctx) }()
		within(t, "it to wait", func() bool { return s.c.waiting() == others+1 && s.c.asleep() })
		cancel()
		select {
		case err := <-result:
			if err != context.Canceled {
				t.Error(err)
			}
		case <-time.After(stuck):
			t.Fatal("ctx is not obeyed")
		}
		stop()
		wg.Wait()
	}
	if s.c.waiting() != 0 {
		t.Error("somebody still waits")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s.n.Store(1)
	if err := s.take(ctx); err != nil {
		t.Errorf("what is there is not taken: %v", err)
	}
}

// Waiters that wait for something of their own are woken when it comes, whoever leads.
func TestReady(t *testing.T) {
	s := newStore(t)
	const n = 6
	var order []int
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			at := func() bool { return s.n.Load() > uint64(i) }
			err := s.c.Wait(context.Background(), Wanted{Ready: at, Try: func() (bool, error) { return at(), nil }, Handle: s.h})
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			order = append(order, i)
		})
		within(t, "it to wait", func() bool { return s.c.waiting() == i+1 && s.c.asleep() })
	}
	for i := range n {
		if i == 0 {
			// The first who came leads. Let the others get theirs before: from last to first.
			continue
		}
		s.n.Store(uint64(i + 1))
		s.c.Broadcast()
		within(t, "those below to be through", func() bool { return s.c.waiting() == n-i-1 })
	}
	wg.Wait()
	if len(order) != n {
		t.Errorf("%v are through", order)
	}
}

func TestBroadcastReachesAll(t *testing.T) {
	s := newStore(t)
	const sides, workers = 3, 50
	for round := range 20 {
		var wg sync.WaitGroup
		var all []*store
		for range sides {
			side := s.stranger(t)
			all = append(all, side)
			for range workers {
				wg.Go(func() {
					side.c.Wait(context.Background(), Wanted{Try: func() (bool, error) { return s.n.Load() > uint64(round), nil }})
				})
			}
		}
		for _, side := range all {
			within(t, "all to wait", func() bool { return side.c.waiting() == workers && side.c.asleep() })
		}
		s.n.Add(1)
		s.c.Broadcast()
		done := make(chan struct{})
		go func() { wg.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(stuck):
			t.Fatal("somebody was not reached")
		}
	}
}

// When nobody waits any more, nothing is asked of the kernel any more.
func TestBitIsTakenBack(t *testing.T) {
	s := newStore(t)
	go s.give()
	if err := s.take(context.Background()); err != nil {
		t.Fatal(err)
	}
	s.c.Notify()
	s.c.Notify()
	if s.c.Busy() {
		t.Error("the waiters bit stays")
	}
	result := make(chan error)
	go func() { result <- s.take(context.Background()) }()
	within(t, "it to sleep", s.c.asleep)
	s.give()
	if err := <-result; err != nil {
		t.Fatal(err)
	}
}

func TestCloseEndsTheWait(t *testing.T) {
	for _, last := range []bool{true, false} {
		s := newStore(t)
		var second *seg.Handle
		if !last {
			fd, err := s.h.Reopen()
			if err != nil {
				t.Fatal(err)
			}
			if second, err = seg.Attach(fd, "", "test", "", false); err != nil {
				t.Fatal(err)
			}
		}
		const n = 5
		results := make(chan error, n)
		for range n {
			go func() { results <- s.take(context.Background()) }()
		}
		within(t, "all to wait", func() bool { return s.c.waiting() == n && s.c.asleep() })
		s.h.Close(nil)
		s.c.HandleClosed()
		for range n {
			select {
			case err := <-results:
				if !errors.Is(err, os.ErrClosed) {
					t.Errorf("last=%v: %v", last, err)
				}
			case <-time.After(stuck):
				t.Fatalf("last=%v: still waiting", last)
			}
		}
		if second != nil {
			second.Close(nil)
		}
	}
}

// A process whose last handle closes does not keep a notification that was for anybody.
func TestCloseSwallowsNothing(t *testing.T) {
	for range 40 {
		s := newStore(t)
		p := reexec.Start(t, "close", s.file(t))
		if got := p.Line(); got != "asleep" {
			t.Fatal(got)
		}
		result := make(chan error)
		go func() { result <- s.take(context.Background()) }()
		within(t, "both to sleep", s.c.asleep)
		p.Say("close")
		s.give()
		switch got := p.Line(); got {
		case "taken":
			s.give() // and one for us
		case "closed":
		default:
			t.Fatal(got)
		}
		select {
		case err := <-result:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(stuck):
			t.Fatalf("the notification is lost: %d permits", s.n.Load())
		}
		p.Done()
	}
}

// helperClose waits for a permit, and closes its handle when told to.
func helperClose([]string) int {
	s := inherited()
	result := make(chan error)
	go func() { result <- s.take(context.Background()) }()
	for !s.c.asleep() {
		runtime.Gosched()
	}
	fmt.Println("asleep")
	reexec.WaitToBeTold()
	s.h.Close(nil)
	switch err := <-result; {
	case err == nil:
		fmt.Println("taken")
	case errors.Is(err, os.ErrClosed):
		fmt.Println("closed")
	default:
		fmt.Println(err)
	}
	return 0
}

// A waiter that is killed with a notification in its hands costs the others one slice.
func TestKilledWaiter(t *testing.T) {
	defer func(a, b time.Duration) { minSlice, maxSlice = a, b }(minSlice, maxSlice)
	minSlice, maxSlice = time.Millisecond, 25*time.Millisecond
	s := newStore(t)
	p := reexec.Start(t, "take", s.file(t), "1", "1")
	p.Line()
	within(t, "the helper to be announced", s.c.Busy)
	result := make(chan error)
	go func() { result <- s.take(context.Background()) }()
	within(t, "both to wait", s.c.asleep)
	p.Cmd.Process.Signal(syscall.SIGSTOP)
	within(t, "it to stop", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Cmd.Process.Pid))
		return err == nil && bytes.Contains(stat, []byte(") T "))
	})
	s.n.Add(1)
	s.c.Notify() // it may be the stopped one that gets it
	p.Kill()
	select {
	case err := <-result:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(stuck):
		t.Fatal("the notification is lost for good")
	}
}

// helperEcho answers each permit in the first store with one in the second.
func helperEcho(args []string) int {
	NoSpin.Store(args[0] == "asleep")
	s := inherited()
	back := s.back()
	fmt.Println("ready")
	for {
		if err := s.take(context.Background()); err != nil {
			panic(err)
		}
		back.give()
	}
}

// back is a second store in the same segment.
func (s *store) back() *store {
	m := s.h.Mapping()
	at := m.MetaOffset() + 32
	return &store{h: s.h, c: At(m, at), n: m.Word(at + 8), taken: m.Word(at + 16)}
}

// A goroutine that is woken, wakes and sleeps, and does nothing else, gives the other threads of its process nothing to do. Without
// scheduleEach, sysmon wakes up 3,000 times a second here. With it there are 500 changes of thread, since the goroutine is tied to its own.
func TestSleeperIsLeftAlone(t *testing.T) {
	s := newStore(t)
	NoSpin.Store(true)
	defer NoSpin.Store(false)
	p := reexec.Start(t, "echo", s.file(t), "asleep")
	if got := p.Line(); got != "ready" {
		t.Fatal(got)
	}
	back := s.back()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	sleeps := func(who int) int64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err != nil {
			t.Fatal(err)
		}
		return u.Nvcsw
	}
	const thread = 1 // RUSAGE_THREAD
	undisturbed := 0
	for range 20 {
		all, mine, began := sleeps(syscall.RUSAGE_SELF), sleeps(thread), time.Now()
		for time.Since(began) < 300*time.Millisecond {
			s.give()
			if err := back.take(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		took := time.Since(began)
		mine = sleeps(thread) - mine
		others := sleeps(syscall.RUSAGE_SELF) - all - mine
		t.Logf("in %v this thread slept %d times, the others %d times", took, mine, others)
		if most := int64(took / (600 * time.Microsecond)); others <= most {
			p.Kill()
			return
		} else if mine >= 30*took.Milliseconds() {
			undisturbed++
		}
	}
	// Where others want the CPUs, the runtime has its reasons.
	if undisturbed < 3 {
		t.Skip("this machine is too busy for anybody to sleep as often as it takes")
	}
	t.Errorf("the others never slept as seldom as they should, in %d rounds that nobody disturbed either", undisturbed)
	p.Kill()
}

// A countedCtx counts who watches over it.
type countedCtx struct {
	context.Context
	begun, watching atomic.Int64
}

// Value hides that the ctx inside is one of package context, which would be watched directly.
func (c *countedCtx) Value(any) any { return nil }

func (c *countedCtx) AfterFunc(f func()) (stop func() bool) {
	c.begun.Add(1)
	c.watching.Add(1)
	end := context.AfterFunc(c.Context, f)
	return func() bool {
		c.watching.Add(-1)
		return end()
	}
}

func TestOneWatchForManyWaits(t *testing.T) {
	s := newStore(t)
	first, cancel := context.WithCancel(context.Background())
	defer cancel()
	second, cancel := context.WithCancel(context.Background())
	defer cancel()
	a, b := &countedCtx{Context: first}, &countedCtx{Context: second}
	sleep := func(ctx context.Context) {
		t.Helper()
		result := make(chan error)
		go func() { result <- s.take(ctx) }()
		within(t, "it to sleep", s.c.asleep)
		s.give()
		if err := <-result; err != nil {
			t.Fatal(err)
		}
	}
	check := func(what string, c *countedCtx, begun, watching int64) {
		t.Helper()
		if c.begun.Load() != begun || c.watching.Load() != watching {
			t.Errorf("%s: %d watches were begun, %d are left; want %d and %d", what, c.begun.Load(), c.watching.Load(), begun, watching)
		}
	}
	for range 5 {
		sleep(a)
	}
	check("five waits", a, 1, 1)
	sleep(context.Background())
	sleep(b)
	check("another ctx", a, 1, 0)
	check("another ctx", b, 1, 1)
	s.h.Close(nil)
	check("closed", b, 1, 0)
}

package verify_test

import (
	"errors"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-multiproc/multiproc/internal/verify"
)

// A test ends like a real one when it is failed, in its goroutine.
type failing struct {
	testing.TB
	failed bool
}

func (f *failing) Helper()               {}
func (f *failing) Fatalf(string, ...any) { f.failed = true; runtime.Goexit() }

func fails(t *testing.T, f func(testing.TB)) bool {
	tb := &failing{TB: t}
	var all sync.WaitGroup
	all.Go(func() { f(tb) })
	all.Wait()
	return tb.failed
}

func TestWaits(t *testing.T) {
	var mu, other sync.Mutex
	mu.Lock()
	r, w := net.Pipe()
	defer w.Close()
	never, alsoNever := make(chan int), make(chan int)
	for name, f := range map[string]func() error{
		"a channel": func() error { <-never; return nil },
		"a choice": func() error {
			select {
			case <-never:
			case <-alsoNever:
			}
			return nil
		},
		"a lock":       func() error { mu.Lock(); other.Lock(); return nil },
		"a connection": func() error { _, err := r.Read(make([]byte, 1)); return err },
	} {
		c := verify.Begin(f)
		for range 2 { // it may be asked again
			if !c.Waits(t) {
				t.Errorf("%s: it waits, and that is not seen", name)
			}
		}
	}
}

// Who is at work has not come to wait, however long it takes.
func TestWaitsForArrival(t *testing.T) {
	never := make(chan int)
	for range 20 {
		var arrived atomic.Bool
		c := verify.Begin(func() error {
			for range 1000 {
				runtime.Gosched()
			}
			arrived.Store(true)
			<-never
			return nil
		})
		if !c.Waits(t) || !arrived.Load() {
			t.Fatal("it was still at work")
		}
	}
}

func TestWaitsOfWhatReturns(t *testing.T) {
	want := errors.New("over")
	c := verify.Begin(func() error { return want })
	if c.Waits(t) || c.Waits(nil) {
		t.Error("waits after it returned")
	}
	if err := c.Result(t, "it"); err != want {
		t.Error(err)
	}
}

func TestWaiters(t *testing.T) {
	const n = 100
	var all sync.WaitGroup
	end := make(chan int)
	for range n {
		all.Go(func() { waitHere(end) })
	}
	for verify.Waiters("verify_test.waitHere") < n {
		runtime.Gosched()
	}
	close(end)
	all.Wait()
	if w := verify.Waiters("verify_test.waitHere"); w != 0 {
		t.Errorf("%d wait where nobody is", w)
	}
}

//go:noinline
func waitHere(end chan int) { <-end }

func TestBlocks(t *testing.T) {
	result := make(chan error)
	wait := verify.Blocks(t, "it", func() error { return <-result })
	want := errors.New("over")
	result <- want
	if err := wait(); err != want {
		t.Error(err)
	}
	if !fails(t, func(tb testing.TB) { verify.Blocks(tb, "it", func() error { return nil }) }) {
		t.Error("what returns is said to wait")
	}
	// It waits for a moment only, as a call does whose wait is a slice of time.
	if !fails(t, func(tb testing.TB) {
		stop := make(chan error)
		go func() { stop <- nil }()
		verify.Blocks(tb, "it", func() error { return <-stop })
	}) {
		t.Error("what returned after a moment is said to wait")
	}
}

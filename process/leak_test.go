//go:build linux

package process_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/go-multiproc/multiproc/process"
)

// A footprint is what this process holds of the system.
type footprint struct {
	descriptors, goroutines, children, threads int
}

func measure(t testing.TB) footprint {
	t.Helper()
	settleWarm(t)
	f := footprint{descriptors: descriptors(t), goroutines: runtime.NumGoroutine()}
	// Zombies included.
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	f.threads = len(tasks)
	for _, path := range tasks {
		b, _ := os.ReadFile(path)
		f.children += len(strings.Fields(string(b)))
	}
	return f
}

func TestNothingIsLeft(t *testing.T) { eachWay(t, testNothingIsLeft) }

func testNothingIsLeft(t *testing.T) {
	n, m := 200, 50
	if testing.Short() {
		n, m = 20, 10
	}
	join(t, start(t, nothing, struct{}{})) // what is set up once
	before := measure(t)

	// All are kept: what a Process has is given back when its child has ended, and not by the collector some time.
	var mu sync.Mutex
	var kept []*process.Process
	defer func() { runtime.KeepAlive(kept) }()
	once := func(i int) {
		how := []string{"nil", "error", "kill", "exit 3"}[i%4]
		p := process.New(end, how)
		mu.Lock()
		kept = append(kept, p)
		mu.Unlock()
		if err := p.Start(); err != nil {
			t.Error(err)
			return
		}
		if i%8 < 4 {
			p.Join(within(t))
		}
		<-p.Done()
		if i%16 == 0 {
			p.Close()
		}
	}
	for i := range n {
		once(i)
	}
	var wg sync.WaitGroup
	for i := range m {
		wg.Go(func() { once(i) })
	}
	wg.Wait()

	// Goroutines are gone a moment after their last word.
	waitUntil(t, "nothing is left", func() bool {
		after := measure(t)
		return after.descriptors <= before.descriptors && after.goroutines <= before.goroutines && after.children <= before.children
	})
	// Waiting costs no threads: what there are of them came from the simultaneous starts.
	if after := measure(t); after.threads > before.threads+20 {
		t.Errorf("%d threads, %d before", after.threads, before.threads)
	}
	if left := process.Children(); len(left) != 0 {
		t.Errorf("Children = %v", left)
	}
}

// Children that run cost a goroutine each, and no thread.
func TestWaitingTakesNoThreads(t *testing.T) { eachWay(t, testWaitingTakesNoThreads) }

func testWaitingTakesNoThreads(t *testing.T) {
	const n = 30
	join(t, start(t, nothing, struct{}{}))
	before := measure(t)
	for range n {
		start(t, stay, struct{}{})
	}
	after := measure(t)
	if d := after.threads - before.threads; d > n/2 {
		t.Errorf("%d children take %d threads", n, d)
	}
	if d := after.goroutines - before.goroutines; d > n {
		t.Errorf("%d children take %d goroutines", n, d)
	}
	if d := after.descriptors - before.descriptors; d > 3*n { // pidfd, control socket, crash file
		t.Errorf("%d children take %d descriptors", n, d)
	}
	if got := len(process.Children()); got != n {
		t.Errorf("Children has %d, want %d", got, n)
	}
}

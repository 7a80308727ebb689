//go:build linux

package pool_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/array"
	"github.com/go-multiproc/multiproc/pool"
	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/value"
)

type counted struct {
	Task int
	Runs *array.Array[int64]
	Dies bool // in its midst
}

var countRun = pool.Register(func(_ context.Context, c counted) (int, error) {
	array.Add(c.Runs, c.Task, 1)
	if c.Dies {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	return c.Task, nil
})

var number = pool.Register(func(_ context.Context, n int) (int, error) {
	if n%10 == 0 {
		time.Sleep(time.Millisecond)
	}
	return n, nil
})

// Of 10,000 tasks each has its result, or the error of a worker that died, while workers are killed all the time; each that has its result without retries was run
// once.
func TestStorm(t *testing.T) {
	for _, retries := range []int{0, 100} {
		t.Run(fmt.Sprintf("retries %d", retries), func(t *testing.T) { storm(t, retries) })
	}
}

func storm(t *testing.T, retries int) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	p := newPool(t, pool.Options{Workers: 4, Retries: retries})
	const n = 10_000
	began := time.Now()
	if _, err := square.Apply(within(t), p, 1); err != nil {
		t.Fatal(err)
	}
	// Where a start takes as long as that, nothing but starts would happen.
	interval := max(20*time.Millisecond, time.Since(began))
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(interval)
		defer tick.Stop()
		var done uint64
		inVain := 0 // kills since something was done
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				// Where others keep the CPUs from those who start, the pool would give up: ten in a row may die before they are ready.
				if now := p.Stats().Done; now != done {
					done, inVain = now, 0
				}
				if inVain++; inVain > 5 {
					continue
				}
				if pids := p.PIDs(); len(pids) > 0 {
					syscall.Kill(pids[random.IntN(len(pids))], syscall.SIGKILL)
				}
			}
		}
	}()
	fs := make([]*pool.Future[int], n)
	for i := range fs {
		var err error
		if fs[i], err = number.Submit(within(t), p, i); err != nil {
			t.Fatal(err)
		}
	}
	died := 0
	for i, f := range fs {
		v, err := f.Result(within(t))
		var dead *pool.WorkerDiedError
		switch {
		case err == nil && v != i:
			t.Fatalf("task %d has the result %d", i, v)
		case errors.As(err, &dead):
			died++
		case err != nil:
			t.Fatalf("task %d: %v", i, err)
		}
	}
	close(stop)
	<-stopped
	s := p.Stats()
	t.Logf("%d tasks failed; %+v", died, s)
	if retries > 0 && died > 0 {
		t.Errorf("%d tasks failed in spite of retries", died)
	}
	if died > s.Died {
		t.Errorf("%d workers died, and %d tasks failed", s.Died, died)
	}
	if v, err := square.With(pool.TaskOptions{Retries: 5}).Apply(within(t), p, 3); v != 9 || err != nil {
		t.Errorf("afterwards: %d %v", v, err)
	}
}

var onlyTheFirst = process.Register(func(ctx context.Context, started *value.Value[int64]) error {
	if value.Add(started, 1) > 1 {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	return nil
})

// A pool whose workers are killed while they start, many in a row, goes on with the one that works.
func TestOneWorkerIsEnough(t *testing.T) {
	started, err := value.New[int64](0)
	if err != nil {
		t.Fatal(err)
	}
	defer started.Close()
	p := newPool(t, pool.Options{Workers: 2, Initializer: pool.Init(onlyTheFirst, started)})
	for p.Stats().Started < 30 {
		var fs [4]*pool.Future[int]
		for i := range fs {
			if fs[i], err = number.Submit(within(t), p, i); err != nil {
				t.Fatal(err)
			}
		}
		for i, f := range fs {
			if v, err := f.Result(within(t)); v != i || err != nil {
				t.Fatalf("after %d starts: %d, %v", p.Stats().Started, v, err)
			}
		}
	}
}

// No task runs twice, and none is lost, with workers killed, also by what they run, and tasks taken back.
func TestNoTaskRunsTwice(t *testing.T) {
	p := newPool(t, pool.Options{Workers: 3})
	const n = 3000
	runs, err := array.New[int64](n)
	if err != nil {
		t.Fatal(err)
	}
	defer runs.Close()
	fs := make([]*pool.Future[int], n)
	for i := range fs {
		if fs[i], err = countRun.Submit(within(t), p, counted{Task: i, Runs: runs, Dies: i%300 == 150}); err != nil {
			t.Fatal(err)
		}
		if i%300 == 299 {
			if pids := p.PIDs(); len(pids) > 0 {
				syscall.Kill(pids[0], syscall.SIGKILL)
			}
		}
	}
	for i, f := range fs {
		_, err := f.Result(within(t))
		var dead *pool.WorkerDiedError
		switch ran := runs.Load(i); {
		case i%300 == 150 && (!errors.As(err, &dead) || ran != 1):
			t.Errorf("task %d, in which its worker dies, ran %d times: %v", i, ran, err)
		case err == nil && ran != 1:
			t.Errorf("task %d ran %d times", i, ran)
		case err != nil && ran > 1:
			t.Errorf("task %d failed and ran %d times", i, ran)
		}
	}
}

var killSelf = pool.Register(func(_ context.Context, s int) (int, error) {
	syscall.Kill(os.Getpid(), syscall.Signal(s))
	select {}
})

var goexit = pool.Register(func(_ context.Context, _ int) (int, error) { runtime.Goexit(); return 0, nil })

// A task that ends its goroutine is its own worker's end, or its own alone, and no other's.
func TestGoexit(t *testing.T) {
	executors(t, func(t *testing.T, e pool.Executor) {
		for range 3 {
			if v, err := goexit.Apply(within(t), e, 0); err == nil {
				t.Errorf("%d, and no error", v)
			}
			if v, err := square.Apply(within(t), e, 3); v != 9 || err != nil {
				t.Errorf("afterwards: %d, %v", v, err)
			}
		}
	})
}

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
)

type counted struct {
	Task int
	Runs *array.Array[int64]
}

var countRun = pool.Register(func(_ context.Context, c counted) (int, error) {
	array.Add(c.Runs, c.Task, 1)
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
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
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

// No task runs twice, and none is lost, with workers killed and tasks taken back.
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
		if fs[i], err = countRun.Submit(within(t), p, counted{i, runs}); err != nil {
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
		switch ran := runs.Load(i); {
		case err == nil && ran != 1:
			t.Errorf("task %d ran %d times", i, ran)
		case err != nil && ran > 1:
			t.Errorf("task %d failed and ran %d times", i, ran)
		}
	}
}

var (
	exits    = pool.Register(func(_ context.Context, code int) (int, error) { os.Exit(code); return 0, nil })
	killSelf = pool.Register(func(_ context.Context, s int) (int, error) {
		syscall.Kill(os.Getpid(), syscall.Signal(s))
		select {}
	})
	goPanic = pool.Register(func(_ context.Context, _ int) (int, error) { go panic("elsewhere"); select {} })
	fatal   = pool.Register(func(_ context.Context, _ int) (int, error) {
		m := map[int]int{}
		for range 2 {
			go func() {
				for {
					m[1]++
				}
			}()
		}
		select {}
	})
	goexit = pool.Register(func(_ context.Context, _ int) (int, error) { runtime.Goexit(); return 0, nil })
	eat    = pool.Register(func(_ context.Context, _ int) (int, error) {
		var kept [][]byte
		for range 1 << 14 {
			b := make([]byte, 1<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			kept = append(kept, b)
		}
		return len(kept), nil
	})
)

// crashes are ways for a task to end its worker, or not.
var crashes = []struct {
	name  string
	task  *pool.Task[int, int]
	arg   int
	dies  bool
	check func(*pool.WorkerDiedError) bool
}{
	{"SIGKILL", killSelf, int(syscall.SIGKILL), true, func(e *pool.WorkerDiedError) bool { return e.Signal == syscall.SIGKILL }},
	{"os.Exit", exits, 3, true, func(e *pool.WorkerDiedError) bool { return e.Code == 3 }},
	{"os.Exit(0)", exits, 0, true, func(e *pool.WorkerDiedError) bool { return e.Code == 0 }},
	{"panic elsewhere", goPanic, 0, true, func(e *pool.WorkerDiedError) bool { return e.Err == "elsewhere" && e.Stack != "" }},
	{"fatal error", fatal, 0, true, func(e *pool.WorkerDiedError) bool { return e.Code == 2 }},
	{"Goexit", goexit, 0, true, func(e *pool.WorkerDiedError) bool { return e.Code == 1 }},
	{"memory", eat, 0, true, func(e *pool.WorkerDiedError) bool { return e.MemoryKill }},
	{"hang", hang.With(pool.TaskOptions{Timeout: 20 * time.Millisecond}), 0, true, func(e *pool.WorkerDiedError) bool { return errors.Is(e, context.DeadlineExceeded) }},
	{"panic", panicsInt, 0, false, nil},
}

var panicsInt = pool.Register(func(context.Context, int) (int, error) { panic("here") })

// Each kind of crash fails its task, says why, and leaves all others alone: with one worker and with four, with tasks before it and behind it, in a pool that is closing.
func TestCrashes(t *testing.T) {
	for _, c := range crashes {
		for _, workers := range []int{1, 4} {
			for _, moment := range []string{"first", "amid", "closing"} {
				t.Run(fmt.Sprintf("%s/%d/%s", c.name, workers, moment), func(t *testing.T) {
					o := pool.Options{Workers: workers, Grace: 50 * time.Millisecond}
					if c.name == "memory" {
						o.MemoryLimit = 64 << 20
					}
					p := newPool(t, o)
					ctx := within(t)
					var others []*pool.Future[int]
					some := func() {
						for i := range 50 {
							f, err := square.Submit(ctx, p, i)
							if err != nil {
								t.Fatal(err)
							}
							others = append(others, f)
						}
					}
					if moment != "first" {
						some()
					}
					f, err := c.task.Submit(ctx, p, c.arg)
					if err != nil {
						t.Fatal(err)
					}
					some()
					if moment == "closing" {
						p.Close()
					}
					_, err = f.Result(ctx)
					var dead *pool.WorkerDiedError
					if errors.As(err, &dead) != c.dies || err == nil {
						t.Errorf("error %v", err)
					} else if c.dies && (!c.check(dead) || dead.PID == 0 || dead.Task != c.task.Name()) {
						t.Errorf("%+v: %v", dead, err)
					}
					for i, f := range others {
						if v, err := f.Result(ctx); v != i%50*(i%50) || err != nil {
							t.Fatalf("another task: %d %v", v, err)
						}
					}
				})
			}
		}
	}
}

// A mine goes off in a worker, when it is decoded or encoded there.
type mine struct{ When string }

func (m mine) MarshalText() ([]byte, error) {
	if m.When == "encoding" {
		m.goOff()
	}
	return []byte(m.When), nil
}

func (m *mine) UnmarshalText(b []byte) error {
	m.When = string(b)
	if m.When == "decoding" {
		m.goOff()
	}
	return nil
}

func (m *mine) goOff() {
	if _, child := process.Parent(); child {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

var (
	disarm = pool.Register(func(_ context.Context, m mine) (string, error) { return m.When, nil })
	lay    = pool.Register(func(_ context.Context, when string) (mine, error) { return mine{when}, nil })
)

// The moments of a death that no function of a task is there for.
func TestMomentsOfDeath(t *testing.T) {
	for _, workers := range []int{1, 4} {
		for _, limit := range []int{0, 1, 3} { // with a limit workers are replaced all the time
			t.Run(fmt.Sprintf("%d workers, %d tasks each", workers, limit), func(t *testing.T) {
				p := newPool(t, pool.Options{Workers: workers, MaxTasksPerWorker: limit})
				ctx := within(t)
				var others []*pool.Future[int]
				for i := range 20 {
					f, err := square.Submit(ctx, p, i)
					if err != nil {
						t.Fatal(err)
					}
					others = append(others, f)
				}
				var dead *pool.WorkerDiedError
				if _, err := disarm.Apply(ctx, p, mine{"decoding"}); !errors.As(err, &dead) {
					t.Errorf("while decoding: %v", err)
				}
				if _, err := lay.Apply(ctx, p, "encoding"); !errors.As(err, &dead) {
					t.Errorf("while encoding: %v", err)
				}
				if s, err := disarm.Apply(ctx, p, mine{"never"}); s != "never" || err != nil {
					t.Errorf("%q %v", s, err)
				}
				for i, f := range others {
					if v, err := f.Result(ctx); v != i*i || err != nil {
						t.Errorf("another task: %d %v", v, err)
					}
				}
				// Idle: a task that is sent to a worker that is dying has not begun, and runs elsewhere.
				well := 0
				for i := range 5 {
					for _, pid := range p.PIDs() {
						syscall.Kill(pid, syscall.SIGKILL)
					}
					v, err := square.Apply(ctx, p, i)
					switch {
					case err == nil && v == i*i:
						well++
					case !errors.As(err, &dead): // it has begun between the signal and its effect
						t.Errorf("after the death of idle workers: %d %v", v, err)
					}
				}
				if well < 3 {
					t.Errorf("%d of 5 tasks ran that were submitted after the death of idle workers", well)
				}
			})
		}
	}
}

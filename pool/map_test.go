//go:build linux

package pool_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/array"
	"github.com/go-multiproc/multiproc/pool"
	"github.com/go-multiproc/multiproc/value"
)

var errFirst = pool.RegisterError(errors.New("the first one"))

// A gated task is counted, and waits until it may.
type gated struct {
	Counted counted
	Gate    *value.Value[int64]
}

// failFirst counts its runs, and fails for the first task. The others take long enough for that to be known before they are all through.
var failFirst = pool.Register(func(ctx context.Context, c gated) (int, error) {
	array.Add(c.Counted.Runs, c.Counted.Task, 1)
	if c.Counted.Task == 0 {
		for c.Gate.Load() == 0 && ctx.Err() == nil {
			time.Sleep(100 * time.Microsecond)
		}
		return 0, errFirst
	}
	time.Sleep(time.Millisecond)
	return c.Counted.Task, nil
})

// After the first error a Map begins no more of its elements: neither of those that wait, nor of those that it has not submitted yet.
func TestMapStopsAtAnError(t *testing.T) {
	const n = 1000
	for name, backlog := range map[string]int{"all submitted": 0, "with a small backlog": 2} {
		for kind, e := range map[string]pool.Executor{
			"processes":  newPool(t, pool.Options{Workers: 1, Prefetch: 1, Backlog: backlog}),
			"goroutines": pool.NewGoroutines(1, pool.GoroutineOptions{Backlog: backlog}),
		} {
			t.Run(kind+"/"+name, func(t *testing.T) {
				defer e.Terminate()
				runs, err := array.New[int64](n)
				if err != nil {
					t.Fatal(err)
				}
				defer runs.Close()
				gate, err := value.New(int64(backlog)) // without a limit the first one fails when all are submitted, with one before
				if err != nil {
					t.Fatal(err)
				}
				defer gate.Close()
				in := make([]gated, n)
				for i := range in {
					in[i] = gated{counted{Task: i, Runs: runs}, gate}
				}
				f, err := failFirst.With(pool.TaskOptions{Chunk: 1}).MapAsync(within(t), e, in)
				if err != nil {
					t.Fatal(err)
				}
				gate.Store(1)
				out, err := f.Result(within(t))
				if !errors.Is(err, errFirst) || out != nil {
					t.Fatalf("%d results, %v", len(out), err)
				}
				e.Close()
				if err := e.Join(within(t)); err != nil {
					t.Fatal(err)
				}
				ran := 0
				for _, k := range runs.All() {
					ran += int(k)
				}
				// Some begin before the error is known.
				if ran > n/2 {
					t.Errorf("%d of %d elements ran, the first of which failed", ran, n)
				}
				if s := e.Stats(); s.Done != s.Submitted || s.Elements != s.ElementsDone {
					t.Errorf("%+v", s)
				}
			})
		}
	}
}

// A meeting is of two elements of a map that both fail, the second one first.
type meeting struct {
	N    int
	Step *value.Value[int64]
}

var failInTurn = pool.Register(func(ctx context.Context, m meeting) (int, error) {
	if m.N == 0 {
		m.Step.Store(1)
	}
	for m.Step.Load() < int64(2-m.N) && ctx.Err() == nil {
		time.Sleep(100 * time.Microsecond)
	}
	if m.N == 1 {
		m.Step.Store(2)
	}
	return 0, fmt.Errorf("element %d", m.N)
})

// Where several elements fail, a Map returns the error of the first of them by place.
func TestMapReturnsTheFirstError(t *testing.T) {
	executors(t, func(t *testing.T, e pool.Executor) {
		for range 20 {
			step, err := value.New[int64](0)
			if err != nil {
				t.Fatal(err)
			}
			_, err = failInTurn.With(pool.TaskOptions{Chunk: 1}).Map(within(t), e, []meeting{{0, step}, {1, step}})
			step.Close()
			var te *pool.TaskError
			if !errors.As(err, &te) || te.Err != "element 0" {
				t.Fatalf("%v", err)
			}
		}
	})
}

// A wander is a task that goes on until it is released, or its ctx ends, and says which.
type wander struct {
	N     int
	Steps *array.Array[int64] // of each task: 1 it has begun, 2 it was released, 3 its ctx has ended
	Free  *value.Value[int64]
}

var wanders = pool.Register(func(ctx context.Context, w wander) (int, error) {
	w.Steps.Store(w.N, 1)
	if w.N == 0 {
		return 0, nil
	}
	for w.Free.Load() == 0 {
		if err := ctx.Err(); err != nil {
			w.Steps.Store(w.N, 3)
			return 0, err
		}
		time.Sleep(100 * time.Microsecond)
	}
	w.Steps.Store(w.N, 2)
	return w.N, nil
})

// wanderers are the inputs of some of them, and an executor that runs one at a time.
func wanderers(t *testing.T, test func(t *testing.T, e pool.Executor, in []wander)) {
	for name, e := range map[string]pool.Executor{"processes": newPool(t, pool.Options{Workers: 1, Prefetch: 1}), "goroutines": pool.NewGoroutines(1)} {
		t.Run(name, func(t *testing.T) {
			steps, err := array.New[int64](20)
			if err != nil {
				t.Fatal(err)
			}
			defer steps.Close()
			free, err := value.New[int64](0)
			if err != nil {
				t.Fatal(err)
			}
			defer free.Close()
			in := make([]wander, steps.Len())
			for i := range in {
				in[i] = wander{i, steps, free}
			}
			test(t, e, in)
			e.Close()
			if err := e.Join(within(t)); err != nil {
				t.Errorf("%v, %+v", err, e.Stats())
			}
		})
	}
}

func (w wander) awaitBegin(t *testing.T) {
	t.Helper()
	for ctx := within(t); w.Steps.Load(w.N) == 0; time.Sleep(100 * time.Microsecond) {
		if ctx.Err() != nil {
			t.Fatalf("task %d does not begin", w.N)
		}
	}
}

// Who stops a stream early leaves the task that runs alone; those that have not begun never do.
func TestStreamStoppedEarly(t *testing.T) {
	wanderers(t, func(t *testing.T, e pool.Executor, in []wander) {
		for _, err := range wanders.IMap(within(t), e, slices.Values(in)) {
			if err != nil {
				t.Fatal(err)
			}
			in[1].awaitBegin(t)
			break
		}
		in[0].Free.Store(1)
		e.Close()
		if err := e.Join(within(t)); err != nil {
			t.Fatal(err)
		}
		if got, want := in[0].Steps.Slice(), append([]int64{1, 2}, make([]int64, len(in)-2)...); !slices.Equal(got, want) {
			t.Errorf("what became of the tasks: %v, want %v", got, want)
		}
	})
}

// The end of the ctx with which a result is waited for cancels all that was to lead to it.
func TestEndOfTheCallersContext(t *testing.T) {
	for name, wait := range map[string]func(ctx context.Context, e pool.Executor, in []wander) error{
		"Apply": func(ctx context.Context, e pool.Executor, in []wander) error {
			_, err := wanders.Apply(ctx, e, in[1])
			return err
		},
		"Map": func(ctx context.Context, e pool.Executor, in []wander) error {
			_, err := wanders.With(pool.TaskOptions{Chunk: 1}).Map(ctx, e, in)
			return err
		},
		"IMap": func(ctx context.Context, e pool.Executor, in []wander) (err error) {
			for _, err = range wanders.IMap(ctx, e, slices.Values(in)) {
			}
			return err
		},
		"IMapUnordered": func(ctx context.Context, e pool.Executor, in []wander) (err error) {
			for _, err = range wanders.IMapUnordered(ctx, e, slices.Values(in)) {
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			wanderers(t, func(t *testing.T, e pool.Executor, in []wander) {
				ctx, cancel := context.WithCancel(within(t))
				go func() {
					in[1].awaitBegin(t)
					cancel()
				}()
				if err := wait(ctx, e, in); err != context.Canceled {
					t.Errorf("%v", err)
				}
				e.Close()
				if err := e.Join(within(t)); err != nil {
					t.Fatal(err)
				}
				if got := in[0].Steps.Slice(); got[1] != 3 || slices.Max(got[2:]) > 0 {
					t.Errorf("what became of the tasks: %v", got)
				}
			})
		})
	}
}

// The ctx of Submit and of MapAsync is for the call only.
func TestContextOfSubmit(t *testing.T) {
	wanderers(t, func(t *testing.T, e pool.Executor, in []wander) {
		ctx, cancel := context.WithCancel(within(t))
		one, err := wanders.Submit(ctx, e, in[1])
		if err != nil {
			t.Fatal(err)
		}
		many, err := wanders.MapAsync(ctx, e, in[2:4])
		if err != nil {
			t.Fatal(err)
		}
		in[1].awaitBegin(t)
		cancel()
		if _, err := wanders.Submit(ctx, e, in[4]); err != context.Canceled {
			t.Errorf("Submit with a ctx that has ended: %v", err)
		}
		if _, err := wanders.MapAsync(ctx, e, in[4:]); err != context.Canceled {
			t.Errorf("MapAsync with a ctx that has ended: %v", err)
		}
		in[0].Free.Store(1)
		if n, err := one.Result(within(t)); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if n, err := many.Result(within(t)); !slices.Equal(n, []int{2, 3}) || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	})
}

// If nothing is said of it, a Map makes four chunks for each worker, and a stream none, but reads 64 elements for each ahead.
func TestDefaultsOfMaps(t *testing.T) {
	for name, e := range map[string]pool.Executor{"processes": newPool(t, pool.Options{Workers: 3}), "goroutines": pool.NewGoroutines(3)} {
		t.Run(name, func(t *testing.T) {
			defer e.Terminate()
			if _, err := square.Map(within(t), e, make([]int, 1200)); err != nil || e.Stats().Submitted != 12 {
				t.Errorf("%v, %+v", err, e.Stats())
			}
			var read atomic.Int64
			ctx := within(t)
			yielded := int64(0)
			for _, err := range square.IMap(ctx, e, func(yield func(int) bool) {
				for yield(1) {
					read.Add(1)
				}
			}) {
				if err != nil {
					t.Fatal(err)
				}
				for yielded == 0 && read.Load() < 3*64 { // as far as it goes
					if ctx.Err() != nil {
						t.Fatalf("%d elements are read ahead", read.Load())
					}
					time.Sleep(100 * time.Microsecond)
				}
				if n := read.Load() - yielded; n > 3*64+2 {
					t.Fatalf("%d elements read ahead", n)
				}
				if yielded++; yielded == 5000 {
					break
				}
			}
			if s := e.Stats(); s.Elements-1200 != s.Submitted-12 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// A future that is given twice is yielded twice; those that have ended come first.
func TestAsCompletedOfTheSame(t *testing.T) {
	wanderers(t, func(t *testing.T, e pool.Executor, in []wander) {
		ctx := within(t)
		done, err := wanders.Submit(ctx, e, in[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := done.Result(ctx); err != nil {
			t.Fatal(err)
		}
		later, err := wanders.Submit(ctx, e, in[1])
		if err != nil {
			t.Fatal(err)
		}
		var got []*pool.Future[int]
		for f, err := range pool.AsCompleted(ctx, []*pool.Future[int]{later, done, later, done}) {
			if err != nil {
				t.Fatal(err)
			}
			if got = append(got, f); len(got) == 2 {
				in[0].Free.Store(1)
			}
		}
		if !slices.Equal(got, []*pool.Future[int]{done, done, later, later}) {
			t.Errorf("%v", got)
		}
	})
}

// What a worker was sent and has not begun is not run any more after Terminate.
func TestTerminateRunsNoMore(t *testing.T) {
	ctx := within(t)
	p := newPool(t, pool.Options{Workers: 1})
	first, second, goOn := sentAhead(t, p, pool.TaskOptions{})
	before := p.Stats().Done
	for !first.Running() {
		if ctx.Err() != nil {
			t.Fatal("it does not run")
		}
		time.Sleep(time.Millisecond)
	}
	p.Terminate()
	if !isDone(second) {
		t.Error("a task that has not begun waits for the worker's end")
	}
	if _, err := second.Result(ctx); err != pool.ErrClosed {
		t.Errorf("%v", err)
	}
	goOn()
	if path, err := first.Result(ctx); path == "" || err != nil { // it does not heed its ctx, and has come to a result in time
		t.Errorf("%q, %v", path, err)
	}
	if s := p.Stats(); s.Done != before+2 || s.Failed != 1 {
		t.Errorf("%+v", s)
	}
}

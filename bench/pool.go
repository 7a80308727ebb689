package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/go-multiproc/multiproc/pool"
	"github.com/go-multiproc/multiproc/process"
)

var poolGroup = group{
	name:        "pool",
	experiments: poolExperiments,
	comparisons: []comparison{
		{what: "Map, chunks of 1", ours: "map 1", against: "Python Pool.map(chunksize=1)", theirs: "python map 1", faster: 15},
		{what: "Submit and Result, 20,000 tasks", ours: "submit", against: "Python ProcessPoolExecutor", theirs: "python submit", faster: 60},
		{what: "Map of 1,000,000 ints", ours: "map", against: "Python Pool.map", theirs: "python map", faster: 5},
		{what: "Apply, one at a time", ours: "apply", against: "Python Pool.apply", theirs: "python apply", faster: 8},
		{what: "", ours: "apply", against: "in goroutines", theirs: "apply goroutines"},
		{what: "Submit and Result, 20,000 tasks", ours: "submit", against: "in goroutines", theirs: "submit goroutines"},
		{what: "fib(25) to fib(34), two workers", ours: "fib", against: "greedy schedule", theirs: "fib bound", ask: 1 / 0.95},
		{what: "40 equal tasks, two workers", ours: "equal 2", against: "one worker", theirs: "equal 1", faster: 1.9},
		{what: "", ours: "equal 2", against: "in two goroutines, without a pool: what the machine gives", theirs: "equal bare", ask: 1.05},
		{what: "worker killed until another runs a task", ours: "replace", against: "start, run and join of a process", theirs: "process", ask: 2},
		{what: "IMap, one by one", ours: "imap", against: "Python Pool.imap", theirs: "python imap"},
		{what: "100,000 float64 to a task and back", ours: "floats", against: "Python Pool.apply with an array.array", theirs: "python floats"},
		{what: "the parent's heap after 1,000,000 tasks through IMap", ours: "imap late", against: "after 100,000", theirs: "imap early", ask: 1.25, unit: "KiB"},
	},
}

var (
	sameTask = pool.Register(func(_ context.Context, n int) (int, error) { return n, nil })
	fibTask  = pool.Register(func(_ context.Context, n int) (int, error) { return fib(n), nil })
	backTask = pool.Register(func(_ context.Context, fs []float64) ([]float64, error) { return fs, nil })
	nothing  = process.Register(func(context.Context, int) error { return nil })
)

func fib(n int) int {
	if n < 2 {
		return n
	}
	return fib(n-1) + fib(n-2)
}

func poolExperiments(ctx context.Context) ([]experiment, func(), error) {
	p, err := pool.New(pool.Options{Workers: 2})
	if err != nil {
		return nil, nil, err
	}
	one, err := pool.New(pool.Options{Workers: 1})
	if err != nil {
		return nil, nil, err
	}
	g := pool.NewGoroutines(2)
	numbers := make([]int, 1_000_000)
	for i := range numbers {
		numbers[i] = i
	}
	if _, err := sameTask.With(pool.TaskOptions{Chunk: 1}).Map(ctx, p, numbers[:1000]); err != nil {
		return nil, nil, err
	}
	if _, err := fibTask.Apply(ctx, one, 1); err != nil {
		return nil, nil, err
	}
	cleanUp := func() { p.Terminate(); one.Terminate(); p.Join(ctx); one.Join(ctx) }
	mapping := func(name string, task *pool.Task[int, int], n int) experiment {
		return experiment{name, func(ctx context.Context) (figures, error) {
			ns, err := perOp(n, func() error {
				out, err := task.Map(ctx, p, numbers[:n])
				if err == nil && !slices.Equal(out, numbers[:n]) {
					err = fmt.Errorf("wrong results")
				}
				return err
			})
			return figures{name: ns}, err
		}}
	}
	submitting := func(name string, e pool.Executor) experiment {
		return experiment{name, func(ctx context.Context) (figures, error) {
			const n = 20_000
			ns, err := perOp(n, func() error {
				fs := make([]*pool.Future[int], n)
				for i := range fs {
					var err error
					if fs[i], err = sameTask.Submit(ctx, e, i); err != nil {
						return err
					}
				}
				for i, f := range fs {
					if v, err := f.Result(ctx); err != nil || v != i {
						return fmt.Errorf("%d, %w", v, err)
					}
				}
				return nil
			})
			return figures{name: ns}, err
		}}
	}
	applying := func(name string, e pool.Executor) experiment {
		return experiment{name, func(ctx context.Context) (figures, error) {
			const n = 3000
			ns, err := perOp(n, func() error {
				for i := range n {
					if _, err := sameTask.Apply(ctx, e, i); err != nil {
						return err
					}
				}
				return nil
			})
			return figures{name: ns}, err
		}}
	}
	return []experiment{
		mapping("map 1", sameTask.With(pool.TaskOptions{Chunk: 1}), 20_000),
		submitting("submit", p), submitting("submit goroutines", g),
		mapping("map", sameTask, 1_000_000),
		applying("apply", p), applying("apply goroutines", g),
		python("pool.py"),
		{"fib", func(ctx context.Context) (figures, error) { return fibs(ctx, p, one) }},
		{"equal", func(ctx context.Context) (figures, error) { return equal(ctx, p, one) }},
		{"imap", func(ctx context.Context) (figures, error) { return iterating(ctx, p, numbers[:20_000]) }},
		{"floats", func(ctx context.Context) (figures, error) { return floats(ctx, p) }},
		{"imap memory", lazily},
		{"replace", func(ctx context.Context) (figures, error) { return replace(ctx) }},
	}, cleanUp, nil
}

// fibs runs tasks of very different lengths, and compares with the best that can be had without knowing them: each worker takes the next one when it has finished one. How long each
// takes is measured while the other worker runs the same.
func fibs(ctx context.Context, p, one *pool.Pool) (figures, error) {
	task := fibTask.With(pool.TaskOptions{Chunk: 1})
	var in []int
	var free [2]time.Duration
	for n := 25; n <= 34; n++ {
		in = append(in, n)
		began := time.Now()
		if _, err := task.Map(ctx, p, []int{n, n}); err != nil {
			return nil, err
		}
		took := time.Since(began)
		i := 0
		if free[1] < free[0] {
			i = 1
		}
		free[i] += took
	}
	ns, err := perOp(1, func() error {
		_, err := task.Map(ctx, p, in)
		return err
	})
	return figures{"fib": ns, "fib bound": float64(max(free[0], free[1]))}, err
}

// equal runs the same tasks on two workers, on one, and without either on two goroutines, which says how much faster than one this machine's two CPUs are together. They take turns, and the
// quickest of each counts: it is the least disturbed one.
func equal(ctx context.Context, two, one *pool.Pool) (figures, error) {
	const tasks, n = 40, 30
	in := slices.Repeat([]int{n}, tasks)
	onPool := func(p *pool.Pool) func() error {
		return func() error {
			_, err := fibTask.With(pool.TaskOptions{Chunk: 1}).Map(ctx, p, in)
			return err
		}
	}
	bare := func() error {
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for range tasks / 2 {
					sink.Store(uint64(fib(n)))
				}
			})
		}
		wg.Wait()
		return nil
	}
	found := figures{}
	for range 3 {
		for name, f := range map[string]func() error{"equal 2": onPool(two), "equal 1": onPool(one), "equal bare": bare} {
			ns, err := perOp(1, f)
			if err != nil {
				return nil, err
			}
			if best, ok := found[name]; !ok || ns < best {
				found[name] = ns
			}
		}
	}
	return found, nil
}

func iterating(ctx context.Context, p *pool.Pool, in []int) (figures, error) {
	ns, err := perOp(len(in), func() error {
		i := 0
		for v, err := range sameTask.IMap(ctx, p, slices.Values(in)) {
			if err != nil || v != in[i] {
				return fmt.Errorf("%d, %w", v, err)
			}
			i++
		}
		return nil
	})
	return figures{"imap": ns}, err
}

func floats(ctx context.Context, p *pool.Pool) (figures, error) {
	in := make([]float64, 100_000)
	for i := range in {
		in[i] = float64(i) / 3
	}
	const n = 20
	ns, err := perOp(n, func() error {
		for range n {
			if out, err := backTask.Apply(ctx, p, in); err != nil || len(out) != len(in) {
				return fmt.Errorf("%d results, %w", len(out), err)
			}
		}
		return nil
	})
	return figures{"floats": ns}, err
}

// lazily has a million tasks go through an IMap, and compares what the parent's heap holds early and late.
func lazily(ctx context.Context) (figures, error) {
	const tasks, early = 1_000_000, 100_000
	p, err := pool.New(pool.Options{Workers: 2})
	if err != nil {
		return nil, err
	}
	defer func() { p.Terminate(); p.Join(ctx) }()
	heap := func() float64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc) / 1024
	}
	found, got := figures{}, 0
	for v, err := range sameTask.IMap(ctx, p, func(yield func(int) bool) {
		for i := 0; i < tasks && yield(i); i++ {
		}
	}) {
		if err != nil {
			return nil, err
		}
		if v != got {
			return nil, fmt.Errorf("result %d is %d", got, v)
		}
		if got++; got == early {
			found["imap early"] = heap()
		}
	}
	if got != tasks {
		return nil, fmt.Errorf("%d results, want %d", got, tasks)
	}
	found["imap late"] = heap()
	return found, nil
}

// replace kills the only worker of a pool, and waits for a task that was submitted then.
func replace(ctx context.Context) (figures, error) {
	p, err := pool.New(pool.Options{Workers: 1})
	if err != nil {
		return nil, err
	}
	defer func() { p.Terminate(); p.Join(ctx) }()
	var ours, theirs []float64
	for range 10 {
		if _, err := sameTask.Apply(ctx, p, 1); err != nil {
			return nil, err
		}
		ns, err := perOp(1, func() error {
			for _, pid := range p.PIDs() {
				syscall.Kill(pid, syscall.SIGKILL)
			}
			_, err := sameTask.With(pool.TaskOptions{Retries: 1}).Apply(ctx, p, 2)
			return err
		})
		if err != nil {
			return nil, err
		}
		ours = append(ours, ns)
		ns, err = perOp(1, func() error {
			c := process.New(nothing, 1)
			if err := c.Start(); err != nil {
				return err
			}
			return c.Join(ctx)
		})
		if err != nil {
			return nil, err
		}
		theirs = append(theirs, ns)
	}
	return figures{"replace": median(ours), "process": median(theirs)}, nil
}

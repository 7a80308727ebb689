package main

import (
	"context"
	"sync/atomic"

	"github.com/go-multiproc/multiproc/value"
)

var valueGroup = group{
	name:        "value",
	experiments: valueExperiments,
	comparisons: []comparison{
		{what: "value.Add", ours: "value add", against: "atomic.AddInt64 on the heap", theirs: "heap add", ask: 2},
		{what: "value.Load", ours: "value load", against: "atomic.LoadInt64 on the heap", theirs: "heap load", ask: 2},
		{what: "Update of a Value[int64]", ours: "value update", against: "Python with v.get_lock(): v.value += 1", theirs: "python update", faster: 30},
		{ours: "value update", against: "the same by get_obj(), which locks once", theirs: "python update object"},
		{ours: "value update", against: "value.Add, which needs no lock", theirs: "value add"},
	},
}

func valueExperiments(context.Context) ([]experiment, func(), error) {
	v, err := value.New[int64](0)
	if err != nil {
		return nil, nil, err
	}
	heap := new(int64)
	const n = 5_000_000
	timed := func(name string, n int, f func(ctx context.Context, n int) error) experiment {
		return experiment{name, func(ctx context.Context) (figures, error) {
			ns, err := perOp(n, func() error { return f(ctx, n) })
			return figures{name: ns}, err
		}}
	}
	return []experiment{
		timed("value add", 4*n, func(_ context.Context, n int) error {
			for range n {
				value.Add(v, 1)
			}
			return nil
		}),
		timed("heap add", 4*n, func(_ context.Context, n int) error {
			for range n {
				atomic.AddInt64(heap, 1)
			}
			return nil
		}),
		timed("value load", 20*n, func(_ context.Context, n int) error {
			sum := int64(0)
			for range n {
				sum += v.Load()
			}
			sink.Store(uint64(sum))
			return nil
		}),
		timed("heap load", 20*n, func(_ context.Context, n int) error {
			sum := int64(0)
			for range n {
				sum += atomic.LoadInt64(heap)
			}
			sink.Store(uint64(sum))
			return nil
		}),
		timed("value update", n/10, func(ctx context.Context, n int) error {
			for range n {
				if _, err := v.Update(ctx, func(x int64) int64 { return x + 1 }); err != nil {
					return err
				}
			}
			return nil
		}),
		python("value.py"),
	}, func() { v.Close() }, nil
}

package main

import (
	"context"
	"runtime"
	"slices"

	"github.com/go-multiproc/multiproc/array"
	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/value"
)

// sums are shared: the child gets the same memory, not a copy.
type sums struct {
	Total   *value.Value[int64]
	Numbers *array.Array[int64]
}

// Four ways to add 1 a hundred times. The first is wrong.
var (
	addUnlocked = process.Register(func(_ context.Context, a sums) error {
		for range 100 {
			addSlowly(a)
		}
		return nil
	})
	addLocked = process.Register(func(ctx context.Context, a sums) error {
		for range 100 {
			if err := a.Total.Mutex().Lock(ctx); err != nil {
				return err
			}
			addSlowly(a)
			if err := a.Total.Mutex().Unlock(); err != nil {
				return err
			}
		}
		return nil
	})
	addAtomically = process.Register(func(_ context.Context, a sums) error {
		for range 100 {
			value.Add(a.Total, 1)
			for i := range a.Numbers.Len() {
				array.Add(a.Numbers, i, 1)
			}
		}
		return nil
	})
	addByUpdate = process.Register(func(ctx context.Context, a sums) error {
		for range 100 {
			if _, err := a.Total.Update(ctx, func(n int64) int64 { return n + 1 }); err != nil {
				return err
			}
			err := a.Numbers.Do(ctx, func(numbers []int64) error {
				for i := range numbers {
					numbers[i]++
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
)

// addSlowly loads, thinks a little, and stores: what another process added meanwhile is lost.
func addSlowly(a sums) {
	total, numbers := a.Total.Load(), slices.Clone(a.Numbers.Slice())
	for range 50 {
		runtime.Gosched()
	}
	a.Total.Store(total + 1)
	for i, n := range numbers {
		a.Numbers.Store(i, n+1)
	}
}

// race lets two processes at a time add to the same numbers.
func race(ctx context.Context, s *stage) error {
	total, numbers, err := addByTwo(ctx, addUnlocked)
	if err != nil {
		return err
	}
	// Luck may have it that nothing was lost, so there is nothing certain to check but this.
	s.check(total >= 1 && total <= 200, "without a lock: %d and %v of 200 and [200 300 400], it varies from run to run", total, numbers)

	for _, way := range []struct {
		name string
		add  *process.Func[sums]
	}{
		{"with a lock", addLocked},
		{"with Add", addAtomically},
		{"with Update and Do", addByUpdate},
	} {
		total, numbers, err := addByTwo(ctx, way.add)
		if err != nil {
			return err
		}
		s.check(total == 200 && slices.Equal(numbers, []int64{200, 300, 400}), "%s: %d and %v", way.name, total, numbers)
	}
	return nil
}

func addByTwo(ctx context.Context, add *process.Func[sums]) (int64, []int64, error) {
	total, err := value.New[int64](0)
	if err != nil {
		return 0, nil, err
	}
	defer total.Close()
	numbers, err := array.Of[int64](0, 100, 200)
	if err != nil {
		return 0, nil, err
	}
	defer numbers.Close()

	a, b := process.New(add, sums{total, numbers}), process.New(add, sums{total, numbers})
	if err := startAll(a, b); err != nil {
		return 0, nil, err
	}
	if err := joinAll(ctx, a, b); err != nil {
		return 0, nil, err
	}
	result, err := numbers.Snapshot(ctx)
	return total.Load(), result, err
}

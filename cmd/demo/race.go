package main

import (
	"context"
	"runtime"
	"slices"

	"github.com/spf13/cobra"

	"github.com/go-multiproc/multiproc/array"
	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/value"
)

// A sum is what two processes add to: the same memory for both, not a copy.
type sum struct {
	Times int
	Total *value.Value[int64]
	Both  *psync.Barrier // are there: one shall not be done before the other has begun
}

// A board is the same with several numbers.
type board struct {
	Times   int
	Numbers *array.Array[int64]
	Both    *psync.Barrier
}

// The wrong way to add 1: load, think a little, store. What the other process added meanwhile is lost.
var (
	addSlowly = process.Register(func(ctx context.Context, t sum) error {
		return repeat(ctx, t.Times, t.Both, func() error {
			n := t.Total.Load()
			think()
			t.Total.Store(n + 1)
			return nil
		})
	})
	addSlowlyToEach = process.Register(func(ctx context.Context, b board) error {
		return repeat(ctx, b.Times, b.Both, func() error {
			numbers := slices.Clone(b.Numbers.Slice())
			think()
			for i, n := range numbers {
				b.Numbers.Store(i, n+1)
			}
			return nil
		})
	})
)

// The same under the lock that every value and array has.
var (
	addLocked = process.Register(func(ctx context.Context, t sum) error {
		return repeat(ctx, t.Times, t.Both, func() error {
			if err := t.Total.Mutex().Lock(ctx); err != nil {
				return err
			}
			n := t.Total.Load()
			think()
			t.Total.Store(n + 1)
			return t.Total.Mutex().Unlock()
		})
	})
	addLockedToEach = process.Register(func(ctx context.Context, b board) error {
		return repeat(ctx, b.Times, b.Both, func() error {
			return b.Numbers.Do(ctx, func(numbers []int64) error { // holds it meanwhile
				for i, n := range numbers {
					think()
					numbers[i] = n + 1
				}
				return nil
			})
		})
	})
)

// In one step each, without a lock.
var (
	addAtomically = process.Register(func(ctx context.Context, t sum) error {
		return repeat(ctx, t.Times, t.Both, func() error { value.Add(t.Total, 1); return nil })
	})
	addAtomicallyToEach = process.Register(func(ctx context.Context, b board) error {
		return repeat(ctx, b.Times, b.Both, func() error {
			for i := range b.Numbers.Len() {
				array.Add(b.Numbers, i, 1)
			}
			return nil
		})
	})
)

// By a function of the old value, for what is more than an addition.
var addByUpdate = process.Register(func(ctx context.Context, t sum) error {
	return repeat(ctx, t.Times, t.Both, func() error {
		_, err := t.Total.Update(ctx, func(n int64) int64 { return n + 1 })
		return err
	})
})

func repeat(ctx context.Context, times int, both *psync.Barrier, f func() error) error {
	if _, err := both.Wait(ctx); err != nil {
		return err
	}
	for range times {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

func think() {
	for range 200 {
		runtime.Gosched()
	}
}

var raceTimes = 100

func raceFlags(cmd *cobra.Command) {
	countFlag(cmd, &raceTimes, "times", 1, "how often each process adds 1")
}

// race lets two processes add to one number, and two more to each of several.
func race(ctx context.Context, s *stage) error {
	want, wantEach := int64(2*raceTimes), []int64{int64(2 * raceTimes), int64(2*raceTimes) + 100, int64(2*raceTimes) + 200}
	for _, way := range []struct {
		name   string
		add    *process.Func[sum]
		toEach *process.Func[board]
	}{
		{"without a lock", addSlowly, addSlowlyToEach},
		{"with a lock", addLocked, addLockedToEach},
		{"with Add", addAtomically, addAtomicallyToEach},
		{"with Update", addByUpdate, nil},
	} {
		total, err := addByTwo(ctx, way.add)
		if err != nil {
			return err
		}
		var numbers []int64
		if way.toEach != nil {
			if numbers, err = addToEachByTwo(ctx, way.toEach); err != nil {
				return err
			}
		}
		switch {
		case way.add == addSlowly:
			// Luck may have it that nothing was lost, so there is nothing certain to check but this.
			s.check(total > 0 && total <= want && numbers[0] > 0, "%s: %d and %v of %d and %v, it varies from run to run", way.name, total, numbers, want, wantEach)
		case way.toEach == nil:
			s.check(total == want, "%s: %d", way.name, total)
		default:
			s.check(total == want && slices.Equal(numbers, wantEach), "%s: %d and %v", way.name, total, numbers)
		}
	}
	return nil
}

func addByTwo(ctx context.Context, add *process.Func[sum]) (int64, error) {
	total, err := value.New[int64](0)
	if err != nil {
		return 0, err
	}
	defer total.Close()
	both, err := psync.NewBarrier(2)
	if err != nil {
		return 0, err
	}
	defer both.Close()
	t := sum{raceTimes, total, both}
	if err := runAll(ctx, process.New(add, t), process.New(add, t)); err != nil {
		return 0, err
	}
	return total.Load(), nil
}

func addToEachByTwo(ctx context.Context, add *process.Func[board]) ([]int64, error) {
	numbers, err := array.Of[int64](0, 100, 200)
	if err != nil {
		return nil, err
	}
	defer numbers.Close()
	both, err := psync.NewBarrier(2)
	if err != nil {
		return nil, err
	}
	defer both.Close()
	b := board{raceTimes, numbers, both}
	if err := runAll(ctx, process.New(add, b), process.New(add, b)); err != nil {
		return nil, err
	}
	return numbers.Snapshot(ctx)
}

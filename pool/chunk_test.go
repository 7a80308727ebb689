//go:build linux

package pool_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/pool"
)

// Numbers of many sizes: chunks of them are read and written where they travel.
var (
	toWide   = pool.Register(func(_ context.Context, n uint8) (int64, error) { return int64(n) * 3, nil })
	toNarrow = pool.Register(func(_ context.Context, n int64) (uint8, error) { return uint8(n >> 1), nil })
	halved   = pool.Register(func(_ context.Context, n float32) (float32, error) { return n / 2, nil })
	turned   = pool.Register(func(_ context.Context, a [3]byte) ([3]byte, error) { return [3]byte{a[2], a[1], a[0]}, nil })
	spread   = pool.Register(func(_ context.Context, n int16) ([5]float64, error) { return [5]float64{float64(n), 4: 1}, nil })
	worded   = pool.Register(func(_ context.Context, n int) (string, error) { return fmt.Sprint(n), nil })
	measured = pool.Register(func(_ context.Context, s string) (int, error) { return len(s), nil })

	panicsBelow = pool.Register(func(_ context.Context, n int) (int, error) {
		if n < 0 {
			panic("below zero")
		}
		return n, nil
	})
	deaf = pool.Register(func(_ context.Context, n int) (int, error) { time.Sleep(10 * time.Millisecond); return n, nil })
)

// mapped has a subtest check Map against calls, with inputs that make gives, by chunks that fit in a ring many times, just, and not.
func mapped[In any, Out comparable](t *testing.T, e pool.Executor, name string, task *pool.Task[In, Out], make func(i int) In) {
	t.Run(name, func(t *testing.T) {
		t.Parallel() // so that a worker has chunks of all kinds in turn
		for _, n := range []int{1, 2, 1000, 40_000} {
			var in []In
			var want []Out
			for i := range n {
				in = append(in, make(i))
				out, err := task.Call(t.Context(), in[i])
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, out)
			}
			for _, chunk := range []int{0, 7, 4091, 4093, n} {
				out, err := task.With(pool.TaskOptions{Chunk: chunk}).Map(within(t), e, in)
				if err != nil || !slices.Equal(out, want) {
					t.Fatalf("%d by %d: wrong results, %v", n, chunk, err)
				}
			}
		}
	})
}

func TestMapOfNumbers(t *testing.T) {
	executors(t, func(t *testing.T, e pool.Executor) {
		mapped(t, e, "uint8 to int64", toWide, func(i int) uint8 { return uint8(i) })
		mapped(t, e, "int64 to uint8", toNarrow, func(i int) int64 { return int64(i) })
		mapped(t, e, "float32", halved, func(i int) float32 { return float32(i) })
		mapped(t, e, "[3]byte", turned, func(i int) [3]byte { return [3]byte{byte(i), byte(i >> 8), 1} })
		mapped(t, e, "int16 to [5]float64", spread, func(i int) int16 { return int16(i) })
		mapped(t, e, "int to string", worded, func(i int) int { return i })
		mapped(t, e, "string to int", measured, func(i int) string { return fmt.Sprint(i) })
		mapped(t, e, "int", square, func(i int) int { return i })
	})
}

// Chunks that Map makes by itself go through the rings, unless each of them costs a part of a worker's life, or nothing travels.
func TestChunksAreSmall(t *testing.T) {
	const n = 200_000
	for name, c := range map[string]struct {
		e           pool.Executor
		least, most uint64
	}{
		"processes":                   {newPool(t, pool.Options{Workers: 2}), n * 8 / (32 << 10), n / 1000},
		"processes of so many chunks": {newPool(t, pool.Options{Workers: 2, MaxTasksPerWorker: 3}), 8, 8},
		"goroutines":                  {pool.NewGoroutines(2), 8, 8},
	} {
		t.Run(name, func(t *testing.T) {
			defer c.e.Terminate()
			if _, err := square.Map(within(t), c.e, make([]int, n)); err != nil {
				t.Fatal(err)
			}
			if s := c.e.Stats(); s.Submitted < c.least || s.Submitted > c.most || s.ElementsDone != n {
				t.Errorf("%d chunks, want %d to %d; %+v", s.Submitted, c.least, c.most, s)
			}
		})
	}
}

// A chunk whose task panics half-way fails, and leaves nothing behind in the memory that the next ones are read in and written to.
func TestPanicInAChunk(t *testing.T) {
	p := newPool(t, pool.Options{Workers: 1})
	in := make([]int, 4000)
	in[2000] = -1
	task := panicsBelow.With(pool.TaskOptions{Chunk: len(in)})
	for i := range 50 {
		var te *pool.TaskError
		if _, err := task.Map(within(t), p, in); !errors.As(err, &te) || te.Err != "below zero" {
			t.Fatalf("map %d: %v", i, err)
		}
	}
	in[2000] = 1
	if out, err := task.Map(within(t), p, in); err != nil || !slices.Equal(out, in) || p.Stats().Died != 0 {
		t.Errorf("%v, %+v", err, p.Stats())
	}
}

// A cancelled chunk ends after the element that it is at, whatever the task makes of its ctx.
func TestCancelWithinAChunk(t *testing.T) {
	p := newPool(t, pool.Options{Workers: 1, Grace: deadline / 2})
	f, err := deaf.With(pool.TaskOptions{Chunk: 100_000}).MapAsync(within(t), p, make([]int, 100_000))
	if err != nil {
		t.Fatal(err)
	}
	for ctx := within(t); !f.Running(); time.Sleep(time.Millisecond) {
		if ctx.Err() != nil {
			t.Fatal("it does not begin")
		}
	}
	f.Cancel()
	if _, err := f.Result(within(t)); !errors.Is(err, pool.ErrCancelled) || p.Stats().Died != 0 {
		t.Errorf("%v, %+v", err, p.Stats())
	}
}

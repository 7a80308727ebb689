//go:build linux

package pool_test

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"
	"testing"

	"github.com/go-multiproc/multiproc/pool"
)

// streams are both ways to stream.
func streams(t *testing.T, test func(t *testing.T, stream func(context.Context, iter.Seq[int]) iter.Seq2[int, error])) {
	executors(t, func(t *testing.T, e pool.Executor) {
		t.Run("IMap", func(t *testing.T) {
			test(t, func(ctx context.Context, in iter.Seq[int]) iter.Seq2[int, error] { return square.IMap(ctx, e, in) })
		})
		t.Run("IMapUnordered", func(t *testing.T) {
			test(t, func(ctx context.Context, in iter.Seq[int]) iter.Seq2[int, error] {
				return square.IMapUnordered(ctx, e, in)
			})
		})
	})
}

// A result is there before the next element is: an input that takes its time holds up nothing.
func TestStreamFromAChannel(t *testing.T) {
	streams(t, func(t *testing.T, stream func(context.Context, iter.Seq[int]) iter.Seq2[int, error]) {
		c := make(chan int)
		go func() { c <- 1 }()
		n := 1
		for v, err := range stream(within(t), pool.Channel(c)) {
			if err != nil || v != n*n {
				t.Fatalf("%d: %d, %v", n, v, err)
			}
			if n++; n > 50 {
				close(c)
			} else {
				go func(n int) { c <- n }(n)
			}
		}
		if n != 51 {
			t.Errorf("%d results", n-1)
		}
	})
}

// Who stops, or whose ctx ends, is not held up by an input that has nothing to give. No more of it is run then.
func TestStreamStops(t *testing.T) {
	streams(t, func(t *testing.T, stream func(context.Context, iter.Seq[int]) iter.Seq2[int, error]) {
		c := make(chan int, 1)
		c <- 3
		for v, err := range stream(within(t), pool.Channel(c)) {
			if err != nil || v != 9 {
				t.Fatalf("%d, %v", v, err)
			}
			break
		}
		ctx, cancel := context.WithCancel(within(t))
		none := make(chan int)
		results, last := 0, error(nil)
		go cancel()
		for _, err := range stream(ctx, pool.Channel(none)) {
			results++
			last = err
		}
		if results != 1 || !errors.Is(last, context.Canceled) {
			t.Errorf("%d results, the last %v", results, last)
		}
		close(none)
		close(c)
	})
}

// What the input panics with reaches who iterates, after the results of what it gave before.
func TestStreamOfAnInputThatPanics(t *testing.T) {
	streams(t, func(t *testing.T, stream func(context.Context, iter.Seq[int]) iter.Seq2[int, error]) {
		n := 0
		defer func() {
			if v := recover(); v != "no more" || n != 5 {
				t.Errorf("%v after %d results", v, n)
			}
		}()
		for _, err := range stream(within(t), func(yield func(int) bool) {
			for i := range 5 {
				yield(i)
			}
			panic("no more")
		}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
	})
}

// The window is how far the input is read ahead.
func TestWindow(t *testing.T) {
	executors(t, func(t *testing.T, e pool.Executor) {
		for _, chunk := range []int{1, 3} {
			var read atomic.Int64
			yielded := int64(0)
			task := square.With(pool.TaskOptions{Window: 12, Chunk: chunk})
			for _, err := range task.IMap(within(t), e, func(yield func(int) bool) {
				for i := 0; i < 300; i++ {
					read.Add(1)
					if !yield(i) {
						return
					}
				}
			}) {
				if err != nil {
					t.Fatal(err)
				}
				// One more chunk is there, and waits for its place, and one element more was read.
				if n := read.Load() - yielded; n > 12+2*int64(chunk)+1 {
					t.Fatalf("%d elements read ahead", n)
				}
				yielded++
			}
			if yielded != 300 {
				t.Errorf("%d results", yielded)
			}
		}
	})
}

package main

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/go-multiproc/multiproc/pool"
	"github.com/go-multiproc/multiproc/process"
)

var fibonacci = pool.Register(func(_ context.Context, n int) (int, error) { return fib(n), nil })

func fib(n int) int {
	if n < 2 {
		return n
	}
	return fib(n-1) + fib(n-2)
}

var fibTo = 34

func fibFlags(cmd *cobra.Command) {
	countFlag(cmd, &fibTo, "to", 9, "the last of the ten numbers")
}

// fibs runs work for the CPUs, and waiting, on goroutines and on processes. In Go both use all CPUs.
func fibs(ctx context.Context, s *stage) error {
	var numbers, want []int
	for n := fibTo - 9; n <= fibTo; n++ {
		numbers, want = append(numbers, n), append(want, fib(n))
	}
	processes, err := pool.New(pool.Options{})
	if err != nil {
		return err
	}
	defer processes.Terminate()
	waiters, err := pool.New(pool.Options{Workers: 10})
	if err != nil {
		return err
	}
	defer waiters.Terminate()
	for _, kind := range []struct {
		name          string
		work, waiting pool.Executor
	}{
		{"goroutines", pool.NewGoroutines(process.CPUCount()), pool.NewGoroutines(10)},
		{"processes", processes, waiters},
	} {
		began := time.Now()
		got, err := fibonacci.With(pool.TaskOptions{Chunk: 1}).Map(ctx, kind.work, numbers)
		s.check(err == nil && slices.Equal(got, want), "fib(%d) to fib(%d) on %d %s: %v", fibTo-9, fibTo, process.CPUCount(), kind.name, time.Since(began).Round(time.Millisecond))
		began = time.Now()
		naps, err := nap.With(pool.TaskOptions{Chunk: 1}).Map(ctx, kind.waiting, slices.Repeat([]int{1}, 30))
		s.check(err == nil && len(naps) == 30, "30 naps of %v on 10 %s: %v", napUnit, kind.name, time.Since(began).Round(time.Millisecond))
	}
	return nil
}

//go:build linux

package pool_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/array"
	"github.com/go-multiproc/multiproc/pool"
)

// four are two tasks that end at once, one of them with an error, and two that do not.
func four(t *testing.T, e pool.Executor) []*pool.Future[int] {
	t.Helper()
	ctx := within(t)
	var fs []*pool.Future[int]
	for _, task := range []*pool.Task[int, int]{square, empty, block, block} {
		f, err := task.Submit(ctx, e, 3)
		if err != nil {
			t.Fatal(err)
		}
		fs = append(fs, f)
	}
	t.Cleanup(func() {
		for _, f := range fs {
			f.Cancel()
		}
	})
	return fs
}

// Wait waits for what its condition says, and tells who has ended in the order in which they were given.
func TestWait(t *testing.T) {
	executors(t, func(t *testing.T, e pool.Executor) {
		ctx := within(t)
		fs := four(t, e)
		done, pending, err := pool.Wait(ctx, fs, pool.FirstCompleted)
		if err != nil || len(done) == 0 || len(done)+len(pending) != 4 || slices.Contains(done, fs[2]) {
			t.Errorf("FirstCompleted: %d, %d, %v", len(done), len(pending), err)
		}
		done, pending, err = pool.Wait(ctx, []*pool.Future[int]{fs[2], fs[1], fs[0]}, pool.FirstError)
		if err != nil || !slices.Contains(done, fs[1]) || !slices.Contains(pending, fs[2]) {
			t.Errorf("FirstError: %d, %d, %v", len(done), len(pending), err)
		}
		// One that is there twice counts twice, one that has ended already is done.
		done, pending, err = pool.Wait(ctx, []*pool.Future[int]{fs[0], fs[0], fs[1]}, pool.AllCompleted)
		if err != nil || !slices.Equal(done, []*pool.Future[int]{fs[0], fs[0], fs[1]}) || len(pending) != 0 {
			t.Errorf("AllCompleted: %d, %d, %v", len(done), len(pending), err)
		}
		if done, pending, err := pool.Wait(ctx, []*pool.Future[int]{}, pool.FirstCompleted); err != nil || len(done)+len(pending) != 0 {
			t.Errorf("of none: %v", err)
		}
		// Without errors FirstError is all.
		done, _, err = pool.Wait(ctx, []*pool.Future[int]{fs[0], fs[0]}, pool.FirstError)
		if err != nil || len(done) != 2 {
			t.Errorf("FirstError without one: %d, %v", len(done), err)
		}
		short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		done, pending, err = pool.Wait(short, fs, pool.AllCompleted)
		var u *pool.UnfinishedError
		if !errors.As(err, &u) || u.Unfinished != 2 || u.Of != 4 || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "2 (of 4) futures unfinished") ||
			!slices.Equal(done, fs[:2]) || !slices.Equal(pending, fs[2:]) {
			t.Errorf("%v: %d done, %d pending", err, len(done), len(pending))
		}
		seen := 0
		short, cancel = context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		for f, err := range pool.AsCompleted(short, fs) {
			if err == nil {
				seen++
				continue
			}
			if f != nil || !errors.As(err, &u) || u.Unfinished != 2 || u.Of != 4 {
				t.Errorf("AsCompleted: %v", err)
			}
		}
		if seen != 2 {
			t.Errorf("AsCompleted yielded %d", seen)
		}
	})
}

// What waits goes by priority, and then by age, in both kinds of pool.
func TestPriority(t *testing.T) {
	ctx := within(t)
	for name, e := range map[string]pool.Executor{"processes": newPool(t, pool.Options{Workers: 1, Prefetch: 1}), "goroutines": pool.NewGoroutines(1)} {
		t.Run(name, func(t *testing.T) {
			defer e.Terminate()
			tickets = 0 // of the goroutines; a worker begins with none
			first, err := block.Submit(ctx, e, 0)
			if err != nil {
				t.Fatal(err)
			}
			for !first.Running() {
				if ctx.Err() != nil {
					t.Fatal("it does not run")
				}
				time.Sleep(time.Millisecond)
			}
			priorities := []int{0, 5, -5, 5, 0}
			fs := make([]*pool.Future[int], len(priorities))
			for i, priority := range priorities {
				if fs[i], err = ticket.With(pool.TaskOptions{Priority: priority}).Submit(ctx, e, i); err != nil {
					t.Fatal(err)
				}
			}
			first.Cancel()
			want := []int{3, 1, 5, 2, 4}
			for i, f := range fs {
				if n, err := f.Result(ctx); n != want[i] || err != nil {
					t.Errorf("the task of priority %d that was submitted as number %d ran as number %d, want %d: %v", priorities[i], i+1, n, want[i], err)
				}
			}
		})
	}
}

var tickets int

var ticket = pool.Register(func(context.Context, int) (int, error) {
	tickets++
	return tickets, nil
})

// An error of 100 MB arrives whole.
func TestLargeError(t *testing.T) {
	executors(t, func(t *testing.T, e pool.Executor) {
		const n = 100 << 20
		_, err := long.Apply(within(t), e, n)
		var te *pool.TaskError
		if !errors.As(err, &te) || len(te.Err) != n || strings.Trim(te.Err, "e") != "" {
			t.Errorf("%d bytes: %.100v", len(te.Err), err)
		}
		if v, err := square.Apply(within(t), e, 2); v != 4 || err != nil {
			t.Errorf("afterwards: %d, %v", v, err)
		}
	})
}

var dieCounted = pool.Register(func(_ context.Context, c counted) (int, error) {
	array.Add(c.Runs, c.Task, 1)
	detonate("SIGKILL")
	return 0, nil
})

// A task that kills every worker is run once and as often again as Retries says, and is then its own failure. So options of the call come before those of the pool.
func TestRetriesEnd(t *testing.T) {
	runs, err := array.New[int64](3)
	if err != nil {
		t.Fatal(err)
	}
	defer runs.Close()
	p := newPool(t, pool.Options{Workers: 1, Retries: 2})
	for i, c := range []struct {
		retries int
		runs    int64
	}{{0, 3}, {4, 5}, {-1, 1}} {
		_, err := dieCounted.With(pool.TaskOptions{Retries: c.retries}).Apply(within(t), p, counted{Task: i, Runs: runs})
		var dead *pool.WorkerDiedError
		if !errors.As(err, &dead) || runs.Load(i) != c.runs {
			t.Errorf("Retries %d: ran %d times, want %d: %v", c.retries, runs.Load(i), c.runs, err)
		}
	}
}

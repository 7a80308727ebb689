package pool_test

import (
	"context"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/pool"
	"golang.org/x/sys/unix"
)

// A stay is what a task has seen of itself: whether the thread that it began on is the one that it ended on, and for how long it was busy.
type stay struct {
	Moved bool
	Took  time.Duration
}

var staysBusy = pool.Register(func(_ context.Context, d time.Duration) (stay, error) {
	began, thread := time.Now(), unix.Gettid()
	for time.Since(began) < d {
	}
	return stay{unix.Gettid() != thread, time.Since(began)}, nil
})

// Go's runtime leaves a task alone that takes less than the 5 ms that are left of its 10, although the worker has run one after the other before, or has slept: without serve.go's pass, one task in twenty or so
// moves to another thread here.
func TestTasksAreNotInterrupted(t *testing.T) {
	p := newPool(t, pool.Options{Workers: 1})
	task := staysBusy.With(pool.TaskOptions{Chunk: 1})
	const n, rounds, d = 50, 6, 2 * time.Millisecond
	tasks := make([]time.Duration, n)
	for i := range tasks {
		tasks[i] = d
	}
	if _, err := task.Map(within(t), p, tasks[:5]); err != nil { // now it knows how long they take
		t.Fatal(err)
	}
	quiet := 0
	for range 5 {
		moved, judged := 0, 0
		for range rounds {
			stays, err := task.Map(within(t), p, tasks)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range stays {
				if s.Took > 2*d {
					continue // somebody else has had the CPU
				}
				judged++
				if s.Moved {
					moved++
				}
			}
		}
		t.Logf("%d of %d tasks moved", moved, judged)
		switch {
		case moved <= judged/100 && judged > n:
			return
		case judged > n*rounds*9/10:
			quiet++
		}
	}
	// Where others want the CPU, it is longer from one task to the next than either of them takes.
	if quiet < 3 {
		t.Skip("this machine is too busy to say")
	}
	t.Errorf("tasks have moved to other threads, in %d rounds that nobody disturbed either", quiet)
}

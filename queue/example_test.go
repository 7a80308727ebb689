package queue_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-multiproc/multiproc/queue"
)

// Work goes through one Queue to whoever is free, and results come back through another. In a
// program, the worker is a function that package process runs in children.
func Example() {
	ctx := context.Background()
	jobs, err := queue.New[int](queue.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer jobs.Close()
	squares, err := queue.New[int](queue.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer squares.Close()

	worker := func(jobs, squares *queue.Queue[int]) error {
		for {
			n, err := jobs.Get(ctx)
			if errors.Is(err, queue.ErrClosed) {
				return nil
			}
			if err != nil {
				return err
			}
			if err := squares.Put(ctx, n*n); err != nil {
				return err
			}
		}
	}
	if _, err := jobs.PutMany(ctx, []int{1, 2, 3}); err != nil {
		fmt.Println(err)
		return
	}
	if err := jobs.Shutdown(); err != nil { // no more to come
		fmt.Println(err)
		return
	}
	if err := worker(jobs, squares); err != nil {
		fmt.Println(err)
		return
	}
	buf := make([]int, 10)
	n, err := squares.GetMany(ctx, buf)
	fmt.Println(buf[:n], err)
	// Output: [1 4 9] <nil>
}

// A message that is leased comes back until somebody acknowledges it.
func ExampleQueue_Lease() {
	ctx := context.Background()
	q, err := queue.New[string](queue.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer q.Close()
	if err := q.Put(ctx, "a letter"); err != nil {
		fmt.Println(err)
		return
	}
	for {
		l, err := q.Lease(ctx)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(l.Value(), l.Deliveries())
		if l.Deliveries() < 2 {
			l.Nack() // or the process dies
			continue
		}
		fmt.Println(l.Ack())
		return
	}
	// Output:
	// a letter 1
	// a letter 2
	// <nil>
}

// Reserve and Lease of a Queue of bytes copy nothing: the message is written and read where it is.
func ExampleReserve() {
	ctx := context.Background()
	q, err := queue.New[[]byte](queue.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer q.Close()
	r, err := queue.Reserve(ctx, q, 5)
	if err != nil {
		fmt.Println(err)
		return
	}
	copy(r.Bytes(), "hello")
	if err := r.Commit(); err != nil {
		fmt.Println(err)
		return
	}
	l, err := q.Lease(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s\n", l.Value())
	fmt.Println(l.Ack())
	// Output:
	// hello
	// <nil>
}

// Join waits until everything that was put is dealt with.
func ExampleQueue_Join() {
	ctx := context.Background()
	jobs, err := queue.New[string](queue.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer jobs.Close()
	if _, err := jobs.PutMany(ctx, []string{"a", "b"}); err != nil {
		fmt.Println(err)
		return
	}

	go func() { // in a program, a child process
		for {
			job, err := jobs.Get(ctx)
			if err != nil {
				return
			}
			fmt.Println(job)
			if err := jobs.TaskDone(); err != nil {
				return
			}
		}
	}()
	fmt.Println(jobs.Join(ctx))
	// Output:
	// a
	// b
	// <nil>
}

// A message that nobody can deal with gets out of the others' way.
func ExampleQueue_DeadLetters() {
	ctx := context.Background()
	jobs, err := queue.New[string](queue.Options{MaxDeliveries: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer jobs.Close()
	if err := jobs.Put(ctx, "poison"); err != nil {
		fmt.Println(err)
		return
	}
	for range 2 {
		l, err := jobs.Lease(ctx)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("delivery", l.Deliveries())
		l.Nack() // or its process dies
	}
	letter, err := jobs.DeadLetters().Get(ctx)
	fmt.Println(letter, jobs.Len(), err)
	// Output:
	// delivery 1
	// delivery 2
	// poison 0 <nil>
}

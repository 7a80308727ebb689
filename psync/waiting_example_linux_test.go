package psync_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync"

	"github.com/go-multiproc/multiproc/psync"
)

// In these examples goroutines stand for processes: all of them could be elsewhere.

// A flag that others wait for.
func ExampleEvent() {
	ready, err := psync.NewEvent() // pass it to child processes, as an argument
	if err != nil {
		log.Fatal(err)
	}
	defer ready.Close()

	go func() {
		fmt.Println("the table is laid")
		ready.Set()
	}()
	if err := ready.Wait(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println("dinner:", ready.IsSet())
	// Output:
	// the table is laid
	// dinner: true
}

// A function that locks calls another one that does, too.
func ExampleRMutex() {
	mu, err := psync.NewRMutex()
	if err != nil {
		log.Fatal(err)
	}
	defer mu.Close()

	add := func(ctx context.Context, what string) error {
		ctx, err := mu.Lock(ctx)
		if err != nil {
			return err
		}
		defer mu.Unlock(ctx)
		fmt.Println("added", what)
		return nil
	}
	addBoth := func(ctx context.Context) error {
		ctx, err := mu.Lock(ctx) // from here on, ctx owns the lock
		if err != nil {
			return err
		}
		defer mu.Unlock(ctx)
		return errors.Join(add(ctx, "one"), add(ctx, "two"))
	}
	if err := addBoth(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output:
	// added one
	// added two
}

// A consumer waits for what a producer makes.
func ExampleCond_WaitFor() {
	ctx := context.Background()
	mu, err := psync.NewMutex()
	if err != nil {
		log.Fatal(err)
	}
	defer mu.Close()
	cond, err := psync.NewCond(mu)
	if err != nil {
		log.Fatal(err)
	}
	defer cond.Close()
	made := 0 // a value.Value, if the two are in different processes

	go func() {
		if err := mu.Lock(ctx); err != nil {
			log.Fatal(err)
		}
		made = 3
		if err := mu.Unlock(); err != nil {
			log.Fatal(err)
		}
		cond.Signal()
	}()

	if err := mu.Lock(ctx); err != nil {
		log.Fatal(err)
	}
	defer mu.Unlock()
	if err := cond.WaitFor(ctx, func() bool { return made > 0 }); err != nil {
		log.Fatal(err)
	}
	fmt.Println("made:", made)
	// Output: made: 3
}

// Three workers do each step together.
func ExampleBarrier() {
	const workers = 3
	step, err := psync.NewBarrier(workers)
	if err != nil {
		log.Fatal(err)
	}
	defer step.Close()

	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for i := range 2 {
				index, err := step.Wait(context.Background())
				if err != nil {
					log.Fatal(err)
				}
				if index == 0 { // one of them speaks for all
					fmt.Println("step", i)
				}
				if _, err := step.Wait(context.Background()); err != nil {
					log.Fatal(err)
				}
			}
		})
	}
	all.Wait()
	// Output:
	// step 0
	// step 1
}

// All want the table, and one makes it.
func ExampleOnce() {
	once, err := psync.NewOnce()
	if err != nil {
		log.Fatal(err)
	}
	defer once.Close()

	for range 3 {
		err := once.Do(context.Background(), func() error {
			fmt.Println("making the table")
			return nil
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	// Output: making the table
}

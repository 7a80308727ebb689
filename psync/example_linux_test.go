package psync_test

import (
	"context"
	"fmt"
	"log"

	"github.com/go-multiproc/multiproc/psync"
)

// A lock guards something that a process may leave half changed when it dies in
// the middle. Who comes next repairs that, and goes on.
func ExampleMutex_LockOrRecover() {
	ctx := context.Background()
	mu, err := psync.NewMutex() // pass it to child processes, as an argument
	if err != nil {
		log.Fatal(err)
	}
	defer mu.Close()

	repair := func() error {
		fmt.Println("a process died while it held the lock")
		return nil
	}
	if err := mu.LockOrRecover(ctx, repair); err != nil {
		log.Fatal(err)
	}
	fmt.Println("inside, for the first time:", mu.Fence() == 1)
	if err := mu.Unlock(); err != nil {
		log.Fatal(err)
	}
	// Output: inside, for the first time: true
}

// Lock waits as long as its context allows.
func ExampleMutex_Lock() {
	mu, err := psync.NewMutex()
	if err != nil {
		log.Fatal(err)
	}
	defer mu.Close()

	if err := mu.Lock(context.Background()); err != nil {
		log.Fatal(err)
	}
	impatient, cancel := context.WithTimeout(context.Background(), 1)
	defer cancel()
	fmt.Println(mu.Lock(impatient))
	fmt.Println(mu.Unlock())
	fmt.Println(mu.Unlock())
	// Output:
	// context deadline exceeded
	// <nil>
	// psync: this process does not hold the lock
}

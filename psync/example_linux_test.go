package psync_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/shm"
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

// At most three at a time, in all processes together. A process that dies gives its
// permits back.
func ExampleSemaphore() {
	ctx := context.Background()
	s, err := psync.NewSemaphore(3) // pass it to child processes, as an argument
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	if err := s.Acquire(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(s.Value(), "permits are free")
	if err := s.Release(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(s.Release())
	// Output:
	// 2 permits are free
	// psync: Release: this process has no permit of the semaphore
}

// A counting Semaphore is a signal: one process releases what another acquires.
func ExampleSemaphoreOptions() {
	done, err := psync.NewSemaphore(0, psync.SemaphoreOptions{Counting: true, Max: 2})
	if err != nil {
		log.Fatal(err)
	}
	defer done.Close()

	for range 3 {
		if err := done.Release(); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(done.Value(), "are done")
	// Output:
	// psync: Release: the semaphore is at its maximum
	// 2 are done
}

// Many read at a time, one writes. Who comes after a writer that died repairs what he
// left.
func ExampleRWMutex() {
	ctx := context.Background()
	m, err := psync.NewRWMutex() // pass it to child processes, as an argument
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()

	for range 2 {
		if err := m.RLock(ctx); err != nil {
			log.Fatal(err)
		}
	}
	ok, err := m.TryLock()
	fmt.Println("a writer beside two readers:", ok, err)
	for range 2 {
		if err := m.RUnlock(); err != nil {
			log.Fatal(err)
		}
	}
	repair := func() error { return nil }
	if err := m.LockOrRecover(ctx, repair); err != nil {
		log.Fatal(err)
	}
	fmt.Println("alone:", m.Unlock())
	// Output:
	// a writer beside two readers: false <nil>
	// alone: <nil>
}

// A lock and what it guards in one segment. All processes make the same calls; the first
// one makes the lock of the zeros that it finds.
func ExampleMutexAt() {
	s, err := shm.New(4096) // or shm.Create and shm.Open, with a name
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	mu, err := psync.MutexAt(s, 0)
	if err != nil {
		log.Fatal(err)
	}
	defer mu.Close()
	data := s.Bytes()[psync.MutexSize:]

	if err := mu.Lock(context.Background()); err != nil {
		log.Fatal(err)
	}
	copy(data, "guarded")
	if err := mu.Unlock(); err != nil {
		log.Fatal(err)
	}
	_, err = psync.EventAt(s, 0)
	fmt.Println(err)
	// Output: psync: shm: segment holds something else: a Mutex stands at byte 0, not an Event
}

// A lock is passed to child processes as an argument, and is one lock for all of them.
func Example() {
	ctx := context.Background()
	mu, err := psync.NewMutex()
	if err != nil {
		log.Fatal(err)
	}
	defer mu.Close()

	// In any process that was given mu:
	if err := mu.Lock(ctx); err != nil { // psync.ErrOwnerDied after a holder was killed
		log.Fatal(err)
	}
	fmt.Println("inside")
	if err := mu.Unlock(); err != nil {
		log.Fatal(err)
	}
	// Output: inside
}

// What the lock guards may be elsewhere: the store at the other end keeps the highest fence that it has seen, and
// refuses whoever comes with an older one, since he has lost the lock meanwhile.
func ExampleMutex_Fence() {
	ctx := context.Background()
	mu, err := psync.NewMutex()
	if err != nil {
		log.Fatal(err)
	}
	defer mu.Close()
	var highest uint64
	store := func(fence uint64, what string) {
		if fence < highest {
			fmt.Println("refused:", what)
			return
		}
		highest = fence
		fmt.Println("stored:", what)
	}

	if err := mu.Lock(ctx); err != nil {
		log.Fatal(err)
	}
	first := mu.Fence()
	mu.Unlock()
	if err := mu.Lock(ctx); err != nil {
		log.Fatal(err)
	}
	store(mu.Fence(), "by the second holder")
	store(first, "late, by the first")
	mu.Unlock()
	// Output:
	// stored: by the second holder
	// refused: late, by the first
}

// An operator takes a lock away from who will never give it back. It is abandoned then, as after a death, and the former
// holder is told.
func ExampleForceUnlock() {
	ctx := context.Background()
	name := fmt.Sprint("multiproc-example-lock-", os.Getpid())
	mu, err := psync.CreateMutex(name)
	if err != nil {
		log.Fatal(err)
	}
	defer psync.Remove(name)
	defer mu.Close()
	if err := mu.Lock(ctx); err != nil {
		log.Fatal(err)
	}

	if err := psync.ForceUnlock(name); err != nil { // in the operator's program
		log.Fatal(err)
	}

	fmt.Println(errors.Is(mu.Unlock(), psync.ErrLockLost))
	fmt.Println(errors.Is(mu.Lock(ctx), psync.ErrOwnerDied))
	fmt.Println(mu.Recover(ctx, nil))
	// Output:
	// true
	// true
	// <nil>
}

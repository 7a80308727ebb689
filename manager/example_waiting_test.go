package manager_test

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/go-multiproc/multiproc/manager"
	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/queue"
)

type exchange struct {
	Jobs    *manager.Queue[int]
	Results *manager.Queue[int]
}

var squareJobs = process.Register(func(ctx context.Context, x exchange) error {
	for {
		job, err := x.Jobs.Lease(ctx) // if this process dies over it, another one gets it
		if errors.Is(err, queue.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := x.Results.Put(ctx, job.Value()*job.Value()); err != nil {
			return err
		}
		if err := job.Ack(ctx); err != nil {
			return err
		}
	}
})

func ExampleQueue() {
	ctx := context.Background()
	m, err := manager.Start(manager.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	jobs, err1 := manager.NewQueue[int](m)
	results, err2 := manager.NewQueue[int](m)
	if err := errors.Join(err1, err2); err != nil {
		fmt.Println(err)
		return
	}
	p := process.New(squareJobs, exchange{jobs, results})
	if err := p.Start(); err != nil {
		fmt.Println(err)
		return
	}
	if _, err := jobs.PutMany(ctx, []int{1, 2, 3}); err != nil {
		fmt.Println(err)
	}
	if err := jobs.Join(ctx); err != nil { // all are dealt with
		fmt.Println(err)
	}
	for range 3 {
		fmt.Println(results.Get(ctx))
	}
	if err := jobs.Shutdown(ctx); err != nil {
		fmt.Println(err)
	}
	fmt.Println(p.Join(ctx))
	// Output:
	// 1 <nil>
	// 4 <nil>
	// 9 <nil>
	// <nil>
}

var dieLocked = process.Register(func(ctx context.Context, mu *manager.Mutex) error {
	if err := mu.Lock(ctx); err != nil {
		return err
	}
	panic("in the middle")
})

func ExampleMutex() {
	ctx := context.Background()
	m, err := manager.Start(manager.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	mu, err := manager.NewMutex(m)
	if err != nil {
		fmt.Println(err)
		return
	}
	p := process.New(dieLocked, mu)
	p.Stderr, err = os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := p.Start(); err != nil {
		fmt.Println(err)
		return
	}
	<-p.Done()
	for err == nil { // until the server has heard of its death
		if err = mu.Lock(ctx); err == nil {
			err = mu.Unlock()
		}
	}
	fmt.Println(errors.Is(err, psync.ErrOwnerDied))
	fmt.Println(mu.LockOrRecover(ctx, func() error {
		fmt.Println("putting things right")
		return nil
	}))
	fmt.Println(mu.Unlock())
	// Output:
	// true
	// putting things right
	// <nil>
	// <nil>
}

// A tally lives in the server's process. Its methods need no lock.
type tally struct{ n map[string]int }

var (
	tallies = manager.Register("tally", func() *tally { return &tally{map[string]int{}} })
	count   = manager.RegisterMethod(tallies, func(t *tally, _ context.Context, what string) (int, error) {
		t.n[what]++
		return t.n[what], nil
	})
)

func ExampleRegister() {
	ctx := context.Background()
	m, err := manager.Start(manager.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	t, err := tallies.New(m)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(count.Call(ctx, t, "sheep"))
	fmt.Println(count.Call(ctx, t, "sheep"))
	// Output:
	// 1 <nil>
	// 2 <nil>
}

// An inventory is kept: what is encoded of it outlives the server.
type inventory struct{ Apples int }

var (
	inventories = manager.Register[inventory]("inventory", nil).Durable()
	deliver     = manager.RegisterMethod(inventories, func(i *inventory, _ context.Context, n int) (int, error) {
		i.Apples += n
		return i.Apples, nil
	})
)

func ExampleType_Durable() {
	ctx := context.Background()
	path, err := os.MkdirTemp("", "inventory")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(path)
	for range 2 { // the second server goes on where the first one ended
		m, err := manager.Start(manager.Options{Path: path})
		if err != nil {
			fmt.Println(err)
			return
		}
		i, err := inventories.Open(m, "inventory")
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(deliver.Call(ctx, i, 12))
		if err := m.Close(); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// 12 <nil>
	// 24 <nil>
}

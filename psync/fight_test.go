package psync_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/go-multiproc/multiproc/internal/reexec"
)

func init() {
	helpers["fight"] = helperFight
	helpers["hold"] = helperHold
	helpers["count"] = helperCount
}

// once takes the lock, checks that nobody else is inside, and counts.
func (s *shared) once(ctx context.Context) error {
	if err := s.LockOrRecover(ctx, s.repair); err != nil {
		return err
	}
	if err := s.enter(); err != nil {
		return err
	}
	return s.Unlock()
}

// repair is what a holder that died inside leaves to do.
func (s *shared) repair() error {
	atomic.StoreUint64(s.inside, 0)
	return nil
}

func (s *shared) enter() error {
	me := uint64(os.Getpid())
	if was := atomic.SwapUint64(s.inside, me); was != 0 {
		return fmt.Errorf("process %d is inside together with %d", me, was)
	}
	if f := s.Fence(); f <= *s.fence {
		return fmt.Errorf("fence went from %d to %d", *s.fence, f)
	} else {
		*s.fence = f
	}
	*s.count++
	if was := atomic.SwapUint64(s.inside, 0); was != me {
		return fmt.Errorf("process %d came inside together with %d", was, me)
	}
	return nil
}

// helperFight takes the lock over and over until its input ends, or it is killed.
func helperFight(args []string) int {
	s, err := inherited()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	ctx := reexec.UntilTold()
	fmt.Println("fighting")
	return overAndOver(ctx, 1, func(int, int) error { return s.once(ctx) })
}

// overAndOver calls f in some goroutines until ctx ends, with the number of the goroutine and of the call. It prints what
// goes wrong, which the test takes for a violation, and returns a helper's exit code.
func overAndOver(ctx context.Context, goroutines int, f func(g, i int) error) (code int) {
	var all sync.WaitGroup
	var failed atomic.Bool
	for g := range goroutines {
		all.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if err := f(g, i); err != nil && ctx.Err() == nil {
					fmt.Println("violation:", err)
					failed.Store(true)
					return
				}
			}
		})
	}
	all.Wait()
	if failed.Load() {
		return 1
	}
	return 0
}

// helperCount takes the lock a number of times.
func helperCount(args []string) int {
	s, err := inherited()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	n, _ := strconv.Atoi(args[0])
	for range n {
		if err := s.once(context.Background()); err != nil {
			fmt.Println("violation:", err)
			return 1
		}
	}
	return 0
}

// helperHold takes the lock, says so, and does what its input says until that
// ends: "unlock", "lock".
func helperHold(args []string) int {
	s, err := inherited()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	ctx := context.Background()
	fmt.Println("lock", s.Lock(ctx))
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		switch in.Text() {
		case "unlock":
			fmt.Println("unlock", s.Unlock())
		case "lock":
			fmt.Println("lock", s.Lock(ctx))
		}
	}
	return 0
}

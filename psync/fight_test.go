package psync_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
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
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		bufio.NewReader(os.Stdin).ReadString('\n')
		cancel()
	}()
	fmt.Println("fighting")
	for ctx.Err() == nil {
		if err := s.once(ctx); err != nil && ctx.Err() == nil {
			fmt.Println("violation:", err)
			return 1
		}
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

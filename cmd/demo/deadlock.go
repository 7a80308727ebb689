package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/psync"
)

var deadlockPatience = 100 * time.Millisecond

func deadlockFlags(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&deadlockPatience, "patience", deadlockPatience, "how long to wait for a lock")
}

// A pair of locks, and the order in which to take them.
type pair struct {
	First, Second *psync.Mutex
	Meet          *psync.Barrier // both have their first one
	Patience      time.Duration
}

// lockBoth takes two locks. It is patient, but not for ever.
var lockBoth = process.Register(func(ctx context.Context, p pair) error {
	if err := p.First.Lock(ctx); err != nil {
		return err
	}
	defer p.First.Unlock()
	if _, err := p.Meet.Wait(ctx); err != nil {
		return err
	}
	patience, cancel := context.WithTimeout(ctx, p.Patience)
	defer cancel()
	err := p.Second.Lock(patience)
	// Together again, or the other one would get what this one gives back.
	if _, meetErr := p.Meet.Wait(ctx); meetErr != nil {
		return meetErr
	}
	if err == nil {
		err = p.Second.Unlock()
	}
	return err
})

// deadlock shows the two classic ones, which a deadline ends, and how a lock that its owner
// may take again avoids the first.
func deadlock(ctx context.Context, s *stage) error {
	mu, err := psync.NewMutex()
	if err != nil {
		return err
	}
	defer mu.Close()
	other, err := psync.NewMutex()
	if err != nil {
		return err
	}
	defer other.Close()

	if err := mu.Lock(ctx); err != nil {
		return err
	}
	patience, cancel := context.WithTimeout(ctx, deadlockPatience)
	defer cancel()
	err = mu.Lock(patience)
	s.check(errors.Is(err, context.DeadlineExceeded), "locking a Mutex twice: %v", err)
	if err := mu.Unlock(); err != nil {
		return err
	}

	meet, err := psync.NewBarrier(2)
	if err != nil {
		return err
	}
	defer meet.Close()
	there, back := process.New(lockBoth, pair{mu, other, meet, deadlockPatience}), process.New(lockBoth, pair{other, mu, meet, deadlockPatience})
	if err := startAll(there, back); err != nil {
		return err
	}
	for i, p := range []*process.Process{there, back} {
		var exit *process.ExitError
		err := p.Join(ctx)
		late := errors.As(err, &exit) && exit.Err == context.DeadlineExceeded.Error()
		s.check(late, "two locks in opposite order, process %d: %v", i+1, err)
	}

	again, err := psync.NewRMutex()
	if err != nil {
		return err
	}
	defer again.Close()
	ctx, err = again.Lock(ctx)
	if err != nil {
		return err
	}
	ctx, err = again.Lock(ctx) // the same owner
	s.works(err, "locking an RMutex twice, along its ctx")
	return errors.Join(again.Unlock(ctx), again.Unlock(ctx))
}

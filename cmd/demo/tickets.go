package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/go-multiproc/multiproc/array"
	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/psync"
)

var tickets, sellers = 40, 10

func ticketsFlags(cmd *cobra.Command) {
	countFlag(cmd, &tickets, "tickets", 1, "how many are for sale")
	countFlag(cmd, &sellers, "sellers", 1, "how many processes sell them")
}

// counter is where tickets are sold: the file says how many are left, and one of the two
// locks, or none, lets one seller at a time at it.
type counter struct {
	Path     string
	RMutex   *psync.RMutex
	FileLock *psync.FileLock
	Open     *psync.Barrier      // all sellers are there
	Sold     *array.Array[int64] // how often each ticket was sold
}

// wrongCounter has a lock that works in one process only.
type wrongCounter struct{ Mu *sync.Mutex }

var sellWrongly = process.Register(func(context.Context, wrongCounter) error { return nil })

var sell = process.Register(func(ctx context.Context, c counter) error {
	if _, err := c.Open.Wait(ctx); err != nil {
		return err
	}
	for {
		sold, err := c.sellOne(ctx)
		if err != nil || !sold {
			return err
		}
	}
})

// sellOne takes the lock, if there is one. The context says that it has.
func (c counter) sellOne(ctx context.Context) (sold bool, err error) {
	unlock := func() error { return nil }
	switch {
	case c.RMutex != nil:
		if ctx, err = c.RMutex.Lock(ctx); err != nil {
			return false, err
		}
		unlock = func() error { return c.RMutex.Unlock(ctx) }
	case c.FileLock != nil:
		if err := c.FileLock.Lock(ctx); err != nil {
			return false, err
		}
		unlock = c.FileLock.Unlock
	}
	defer func() { err = errors.Join(err, unlock()) }()
	left, err := c.left(ctx)
	if err != nil || left == 0 {
		return false, err
	}
	for range 100 { // the customer looks for the money
		runtime.Gosched()
	}
	// Renamed into place, since without a lock another seller may be reading.
	next := fmt.Sprintf("%s.%d", c.Path, os.Getpid())
	if err := os.WriteFile(next, fmt.Appendln(nil, left-1), 0o600); err != nil {
		return false, err
	}
	if err := os.Rename(next, c.Path); err != nil {
		return false, err
	}
	array.Add(c.Sold, left-1, 1)
	return true, nil
}

// left is how many tickets there are. It takes the lock as well: an RMutex allows that to who
// has it.
func (c counter) left(ctx context.Context) (left int, err error) {
	if c.RMutex != nil {
		if ctx, err = c.RMutex.Lock(ctx); err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, c.RMutex.Unlock(ctx)) }()
	}
	text, err := os.ReadFile(c.Path)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// sellTickets opens ten counters for the same tickets: without a lock, under a lock that is
// passed to the sellers, and under a lock on a file.
func sellTickets(ctx context.Context, s *stage) error {
	dir, err := os.MkdirTemp("", "demo-tickets-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	mu, err := psync.NewRMutex()
	if err != nil {
		return err
	}
	defer mu.Close()
	fileLock, err := psync.NewFileLock(filepath.Join(dir, "lock"))
	if err != nil {
		return err
	}
	defer fileLock.Close()

	for _, way := range []struct {
		name     string
		mu       *psync.RMutex
		fileLock *psync.FileLock
	}{
		{"without a lock", nil, nil},
		{"with an RMutex", mu, nil},
		{"with a FileLock", nil, fileLock},
	} {
		path := filepath.Join(dir, "tickets")
		if err := os.WriteFile(path, fmt.Appendln(nil, tickets), 0o600); err != nil {
			return err
		}
		sold, err := array.New[int64](tickets)
		if err != nil {
			return err
		}
		defer sold.Close()
		open, err := psync.NewBarrier(sellers)
		if err != nil {
			return err
		}
		defer open.Close()
		var selling []*process.Process
		for range sellers {
			selling = append(selling, process.New(sell, counter{path, way.mu, way.fileLock, open, sold}))
		}
		if err := runAll(ctx, selling...); err != nil {
			return err
		}
		once, twice := 0, 0
		for _, n := range sold.All() {
			switch {
			case n == 1:
				once++
			case n > 1:
				twice++
			}
		}
		if way.mu == nil && way.fileLock == nil {
			s.check(once+twice == tickets, "%s: %d of %d tickets were sold more than once, it varies", way.name, twice, tickets)
		} else {
			s.check(once == tickets, "%s: %d of %d tickets were sold exactly once", way.name, once, tickets)
		}
	}

	// A copy of it in another process would lock nobody out.
	err = process.New(sellWrongly, wrongCounter{Mu: new(sync.Mutex)}).Start()
	s.say("%v", err)
	s.check(err != nil && strings.Contains(err.Error(), "args.Mu"), "a *sync.Mutex in the arguments is refused, with its place")
	return nil
}

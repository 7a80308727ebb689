package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/go-multiproc/multiproc/pipe"
	"github.com/go-multiproc/multiproc/process"
)

// Package variables are not shared with a child, and under Spawn not even copied: the child
// is the same program from its beginning. An Inherit variable is what Fork copies.
var (
	diary   = process.Inherit([]string{})
	logbook = process.Inherit[*os.File](nil)
)

type visitor struct {
	File  *os.File // an argument: it arrives under every method
	Reply *pipe.Conn
}

// observed is what a child found, and when it got there.
type observed struct {
	Method  process.Method
	Diary   []string
	Logbook bool
	Began   time.Time
}

var visit = process.Register(func(_ context.Context, v visitor) error {
	saw := observed{process.Current().Method, diary.Get(), logbook.Get() != nil, time.Now()}
	diary.Set(append(diary.Get(), "the child was here"))
	if f := logbook.Get(); f != nil {
		fmt.Fprintln(f, "inherited")
	}
	if _, err := fmt.Fprintln(v.File, "passed"); err != nil {
		return err
	}
	return v.Reply.Send(saw)
})

// methods starts the same child in each way that there is, and compares what it finds.
func methods(ctx context.Context, s *stage) error {
	dir, err := os.MkdirTemp("", "demo-methods-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	mine := []string{"the parent's entry"}
	diary.Set(mine)
	book, err := os.Create(filepath.Join(dir, "logbook"))
	if err != nil {
		return err
	}
	defer book.Close()
	logbook.Set(book)
	defer logbook.Set(nil)

	for _, way := range []struct {
		name    string
		method  process.Method
		inherit bool
	}{
		{"spawn", process.Spawn, false},
		{"fork", process.Fork, true},
		{"forkserver", process.ForkServer, false},
	} {
		if way.method == process.ForkServer {
			// The children that are kept ready. Without this call they would be made ready after the first start.
			if err := process.WarmUp(ctx); err != nil {
				return err
			}
		}
		if err := book.Truncate(0); err != nil {
			return err
		}
		passed, err := os.Create(filepath.Join(dir, "argument"))
		if err != nil {
			return err
		}
		defer passed.Close()
		r, w, err := pipe.NewOneWay()
		if err != nil {
			return err
		}
		defer r.Close()

		p := process.New(visit, visitor{passed, w})
		p.Method = way.method
		began := time.Now()
		if err := p.Start(); err != nil {
			return err
		}
		var saw observed
		if err := r.Recv(&saw); err != nil {
			return fmt.Errorf("%w: %w", err, p.Join(ctx))
		}
		if err := p.Join(ctx); err != nil {
			return err
		}
		inherited, err := os.ReadFile(book.Name())
		if err != nil {
			return err
		}
		argument, err := os.ReadFile(passed.Name())
		if err != nil {
			return err
		}

		s.say("%s: the child began %v after Start, and saw the diary %q", way.name, saw.Began.Sub(began).Round(100*time.Microsecond), saw.Diary)
		holds := saw.Method == way.method && string(argument) == "passed\n" && slices.Equal(diary.Get(), mine)
		if way.inherit {
			holds = holds && slices.Equal(saw.Diary, mine) && saw.Logbook && string(inherited) == "inherited\n"
			s.check(holds, "%s: the child sees the parent's list and open file, and its argument; the parent's list stays", way.name)
		} else {
			holds = holds && len(saw.Diary) == 0 && !saw.Logbook && len(inherited) == 0
			s.check(holds, "%s: the child sees the empty initial list, no file, and its argument; the parent's list stays", way.name)
		}
	}
	return compareStarts(ctx, s)
}

var doNothing = process.Register(func(context.Context, struct{}) error { return nil })

var methodsRounds = 20

func methodsFlags(cmd *cobra.Command) {
	countFlag(cmd, &methodsRounds, "rounds", 1, "how many starts of each method to time")
}

// compareStarts measures how long a child takes that does nothing, from Start to the end of Join. With forkserver it was
// executed before, in the background.
func compareStarts(ctx context.Context, s *stage) error {
	rounds := methodsRounds
	methods := []process.Method{process.Spawn, process.Fork, process.ForkServer}
	times := make(map[process.Method][]time.Duration)
	for range rounds {
		for _, m := range methods { // in turn, so that what else the machine does hits all of them
			if m == process.ForkServer {
				if err := process.WarmUp(ctx); err != nil {
					return err
				}
			}
			p := process.New(doNothing, struct{}{})
			p.Method = m
			began := time.Now()
			if err := p.Start(); err != nil {
				return err
			}
			if err := p.Join(ctx); err != nil {
				return err
			}
			times[m] = append(times[m], time.Since(began))
		}
	}
	median := func(m process.Method) time.Duration {
		slices.Sort(times[m])
		return times[m][rounds/2].Round(10 * time.Microsecond)
	}
	spawn, fork, server := median(process.Spawn), median(process.Fork), median(process.ForkServer)
	s.check(server < spawn, "start and join: spawn %v, fork %v, forkserver %v, whose child was ready", spawn, fork, server)
	return nil
}

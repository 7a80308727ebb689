package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/shm"
)

const psShort = "named objects: who has, holds and waits for them"

// inspectAll looks at every named object.
func inspectAll() ([]*shm.Status, error) {
	all := []*shm.Status{} // an empty list in JSON, not null
	infos, err := shm.List()
	if err != nil {
		return nil, err
	}
	for _, i := range infos {
		st, err := shm.Inspect(i.Name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, st)
	}
	return all, nil
}

func psCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "ps", Short: psShort, Args: noArgs,
		Long: `Lists the named objects of this machine with package shm's List and Inspect: who
has them open, who holds them, and who waits for them. A lock that will never be
given back can be taken away with psync.ForceUnlock.`,
		RunE: func(*cobra.Command, []string) error {
			all, err := inspectAll()
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(os.Stdout).Encode(all)
			}
			w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tKIND\tTYPE\tBYTES\tOPEN IN\tSTATE")
			for _, st := range all {
				fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\n", st.Name, st.Kind, st.Type, st.Bytes, users(st.Users), state(st.Parts))
			}
			return w.Flush()
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON for programs")
	return c
}

// users are the processes as "pid command", joined.
func users(us []shm.User) string {
	var s []string
	for _, u := range us {
		s = append(s, fmt.Sprintf("%d %s", u.PID, u.Command))
	}
	return strings.Join(s, ", ")
}

// state says what there is to say of an object's parts.
func state(parts []shm.Part) string {
	var s []string
	for _, p := range parts {
		var f []string
		if p.All > 0 {
			f = append(f, fmt.Sprintf("%d of %d free", p.Free, p.All))
		}
		for _, h := range p.Holders {
			f = append(f, fmt.Sprintf("held by %d", h.PID))
		}
		if p.HeldFor > 0 {
			f = append(f, fmt.Sprintf("for %v", p.HeldFor.Round(time.Millisecond)))
		}
		if p.Abandoned {
			f = append(f, "abandoned by a process that died")
		}
		for _, u := range p.Waiters {
			f = append(f, fmt.Sprintf("%d waits", u.PID))
		}
		if p.WaitedFor > 0 {
			f = append(f, fmt.Sprintf("for %v", p.WaitedFor.Round(time.Millisecond)))
		}
		if len(f) > 0 {
			s = append(s, p.What+": "+strings.Join(f, ", "))
		}
	}
	return strings.Join(s, "; ")
}

// holdIt takes a named lock and keeps it until it is told to end.
var holdIt = process.Register(func(ctx context.Context, name string) error {
	mu, err := psync.OpenMutex(name)
	if err != nil {
		return err
	}
	defer mu.Close()
	if err := mu.Lock(ctx); err != nil {
		return err
	}
	defer mu.Unlock()
	<-ctx.Done()
	return nil
})

// psTour has one process hold a lock, and another one wait for it.
func psTour(ctx context.Context, s *stage) error {
	name := fmt.Sprintf("demo-ps-%d", os.Getpid())
	mu, err := psync.CreateMutex(name)
	if err != nil {
		return err
	}
	defer psync.Remove(name)
	holder, waiter := process.New(holdIt, name), process.New(holdIt, name)
	var p shm.Part
	for _, child := range []*process.Process{holder, waiter} {
		if err := child.Start(); err != nil {
			return err
		}
		defer child.Kill()
		for { // until the first one holds it, the second one waits
			st, err := shm.Inspect(name)
			if err != nil {
				return err
			}
			p = st.Parts[0]
			if child == holder && len(p.Holders) > 0 || len(p.Waiters) > 0 {
				break
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Millisecond):
			}
		}
	}
	s.check(p.Holders[0].PID == holder.PID() && len(p.Waiters) == 1 && p.Waiters[0].PID == waiter.PID(),
		"ps sees who holds a lock (%s) and who waits for it (%s)", holder.Name, waiter.Name)

	if err := psync.ForceUnlock(name); err != nil {
		return err
	}
	err = mu.Lock(ctx)
	s.check(errors.Is(err, psync.ErrOwnerDied), "taken away by force, it is as abandoned as by a death")
	return nil
}

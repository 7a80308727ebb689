package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/go-multiproc/multiproc/array"
	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/psync"
)

const meetings = 3

var hikers = 4

func barrierFlags(cmd *cobra.Command) {
	countFlag(cmd, &hikers, "parties", 2, "how many processes meet this one")
}

// A hike is what a hiker is given.
type hike struct {
	Me      int
	Summit  *psync.Barrier
	Reached *array.Array[int64] // how many meetings each hiker has been at
	Waits   bool                // for a fourth meeting, which not all come to
}

// walk meets the others three times. After each meeting, all of them must have got as far.
var walk = process.Register(func(ctx context.Context, h hike) error {
	for m := int64(1); m <= meetings; m++ {
		h.Reached.Store(h.Me, m)
		if _, err := h.Summit.Wait(ctx); err != nil {
			return err
		}
		for i, n := range h.Reached.All() {
			if n < m || n > m+1 { // the fastest may be on the way to the next one already
				return fmt.Errorf("at meeting %d, hiker %d is at %d", m, i, n)
			}
		}
	}
	if !h.Waits {
		select {} // until it is killed
	}
	if _, err := h.Summit.Wait(ctx); !errors.Is(err, psync.ErrBroken) {
		return fmt.Errorf("the fourth meeting: %w", err)
	}
	return nil
})

// barriers has processes wait for each other, and then one of them die.
func barriers(ctx context.Context, s *stage) error {
	summit, err := psync.NewBarrier(hikers + 1) // and this process
	if err != nil {
		return err
	}
	defer summit.Close()
	reached, err := array.New[int64](hikers)
	if err != nil {
		return err
	}
	defer reached.Close()
	all := make([]*process.Process, hikers)
	for i := range all {
		all[i] = process.New(walk, hike{i, summit, reached, i > 0})
	}
	if err := startAll(all...); err != nil {
		return err
	}
	var indices []int
	for range meetings {
		i, err := summit.Wait(ctx)
		if err != nil {
			return err
		}
		indices = append(indices, i)
	}
	s.check(slices.Max(indices) <= hikers, "%d processes met %d times; this one was number %v of 0 to %d", hikers+1, meetings, indices, hikers)

	all[0].Kill()
	_, err = summit.Wait(ctx)
	s.check(errors.Is(err, psync.ErrBroken), "one was killed: %v", err)
	err = joinAll(ctx, all[1:]...)
	s.works(err, "the others were in step, and got to know")
	if err := all[0].Join(ctx); err == nil {
		return errors.New("the one that was killed ended well")
	}
	if err := summit.Reset(); err != nil {
		return err
	}
	s.check(!summit.Broken(), "Reset makes it whole again")
	return nil
}

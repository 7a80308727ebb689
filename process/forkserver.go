package process

import (
	"context"
	"fmt"
	"time"
)

// ForkServerOptions say how many children [ForkServer] keeps ready in this process, and for how long. The zero value
// suits programs that start children rarely as well as those that start many.
//
// A child that is ready is a process of its own: it has been executed, its packages are initialised, it waits. It takes no
// processor time, and somewhat less than a megabyte of memory beyond what all processes of one program share. It
// ends with this process, whatever ends that.
type ForkServerOptions struct {
	// Warm is how many children are kept ready. Zero is as many as it takes: two at first, more (up to twice the number of CPUs,
	// but at least four) when a Start finds none, and two again after MaxIdle. Below zero, none: each is executed when it is started.
	Warm int

	// MaxIdle is for how long children are kept ready when none is started; after that they are let go, and the next
	// Start begins anew. Zero is DefaultMaxIdle; below zero there is no end to it.
	MaxIdle time.Duration
}

// DefaultMaxIdle is what a zero MaxIdle stands for.
const DefaultMaxIdle = time.Minute

// SetForkServer sets how many children [ForkServer] keeps ready in this process. It may be called at any time, and
// has no effect on children that were started. It does not begin to make children ready: the first Start does, or
// [WarmUp], or [SetStartMethod].
func SetForkServer(o ForkServerOptions) { warm.setOptions(o) }

// WarmUp returns when as many children are ready as [SetForkServer] asks for, so that the next starts by [ForkServer] find them.
// Nobody has to call it: they are made ready in the background anyway.
//
// It returns ctx's error when ctx ends first, [ErrNoMain] before [Main] or [Init], and the reason why no child can be
// executed, or why those that are end before they are ready. Where there is no [ForkServer] it is [errors.ErrUnsupported].
func WarmUp(ctx context.Context) error {
	if !begun.Load() {
		return ErrNoMain
	}
	if err := warm.fillAndWait(ctx); err != nil {
		if err == ctx.Err() {
			return err
		}
		return fmt.Errorf("process: make children ready: %w", explain(err))
	}
	return nil
}

package torture_test

import (
	"context"
	"errors"
	"testing"

	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/psync"
)

const parties = 3

type party struct {
	Barrier *psync.Barrier
	Event   *psync.Event
	Slot    slot
}

// guests meet over and over. One who finds that a round broke makes the barrier whole again.
var guests = process.Register(func(ctx context.Context, w party) error {
	for ctx.Err() == nil {
		index, err := w.Barrier.Wait(ctx)
		switch {
		case errors.Is(err, psync.ErrBroken):
			err = w.Barrier.Reset()
		case err == nil && (index < 0 || index >= parties):
			return violated("party %d of %d", index, parties)
		}
		if err != nil {
			return ignoreEnd(ctx, err)
		}
		w.Slot.step()
	}
	return nil
})

func TestBarrier(t *testing.T) {
	b, err := psync.NewBarrier(parties)
	keep(t, b, err)
	a := &act{name: "barrier", needed: true}
	for range parties {
		a.slots = append(a.slots, func(s slot) *process.Process {
			return process.New(guests, party{Barrier: b, Slot: s})
		})
	}
	storm(t, a)
	if err := b.Reset(); err != nil {
		t.Fatal(err)
	}
	if b.Broken() || b.Waiting() != 0 {
		t.Errorf("after Reset: broken %v, %d waiting", b.Broken(), b.Waiting())
	}
}

// bells are rung by some and waited for by others: a set event lets everybody through, and who
// has come through takes it back.
var bells = process.Register(func(ctx context.Context, w party) error {
	for ctx.Err() == nil {
		if w.Slot.N%2 == 0 {
			if err := w.Event.Set(); err != nil {
				return err
			}
		} else {
			if err := w.Event.Wait(ctx); err != nil {
				return ignoreEnd(ctx, err)
			}
			if err := w.Event.Clear(); err != nil {
				return err
			}
		}
		w.Slot.step()
	}
	return nil
})

func TestEvent(t *testing.T) {
	e, err := psync.NewEvent()
	keep(t, e, err)
	a := &act{name: "event"}
	for range 4 {
		a.slots = append(a.slots, func(s slot) *process.Process {
			return process.New(bells, party{Event: e, Slot: s})
		})
	}
	storm(t, a)
}

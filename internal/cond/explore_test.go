//go:build multiproc_explore

package cond

import (
	"context"
	"testing"

	"github.com/go-multiproc/multiproc/internal/explore"
	"github.com/go-multiproc/multiproc/internal/mem"
	"github.com/go-multiproc/multiproc/internal/seg"
)

// The model's memory: the condition that all wait for, the lock that guards it, and the
// Cond, with a record for each actor.
const (
	conditionAt = 0
	lockAt      = 8
	usedAt      = 16
	nextAt      = 24
	recordsAt   = 32
)

func condOf(p *explore.Process, actors int) *Cond {
	m := p.Handle().Mapping()
	c := New(m.Word(usedAt), m.Word(nextAt), actors, func(i int) Record {
		at := recordsAt + recordSize*i
		return Record{Owner: m.Word(at), Counts: m.Word(at + countsOffset), Sleep: m.Word(at + sleepOffset)}
	}, p.Token(), m.Alive)
	c.own(p.ID) // see register
	p.Digest(func() []uint64 {
		d := []uint64{mem.Flags(c.suspended), uint64(c.epoch), uint64(c.asked)}
		for w := c.first; w != nil; w = w.next {
			d = append(d, mem.Flags(true, w.signalled.Load(), len(w.ready) > 0))
		}
		if c.count != nil {
			d = append(d, c.count.Digest()...)
		}
		return d
	})
	return c
}

// register gives each actor its record, as opening a Cond does.
func register(actors int) func(memory []byte) {
	return func(memory []byte) {
		seg.WordOf(memory[usedAt:]).Store(uint64(actors))
		for i := range actors {
			seg.WordOf(memory[recordsAt+recordSize*i:]).Store(uint64(i + 1))
		}
	}
}

// waiter waits until the condition is above zero, and takes one off it, as users do: under
// the lock, which is another package's to explore, and stands here for any.
func waiter(actors int, patient bool) explore.Actor {
	return explore.Actor{Run: func(p *explore.Process) {
		c, condition := condOf(p, actors), p.Word(conditionAt)
		p.At(0)
		p.Acquire(lockAt)
		for {
			mem.Mark("waiter")
			if n := condition.Load(); n > 0 {
				condition.Store(n - 1)
				break
			}
			w, err := c.Enter()
			if err != nil {
				p.Failf("Enter: %v", err)
				return
			}
			p.Release(lockAt)
			ctx := Context{Context: context.Background()}
			if !patient {
				ctx.Context = p.Context()
			}
			mem.Enter() // w
			err = c.Await(ctx, w)
			mem.Leave()
			p.Acquire(lockAt)
			if err != nil {
				if patient || err != context.Canceled {
					p.Failf("Await: %v", err)
				}
				break
			}
		}
		p.Release(lockAt)
		p.At(99)
	}}
}

// signaller makes the condition true, and says so.
func signaller(actors int, n uint64, say func(c *Cond)) explore.Actor {
	return explore.Actor{Run: func(p *explore.Process) {
		c, condition := condOf(p, actors), p.Word(conditionAt)
		p.At(0)
		p.Acquire(lockAt)
		condition.Store(condition.Load() + n)
		p.Release(lockAt)
		say(c)
		p.At(99)
	}}
}

func TestExploreCond(t *testing.T) {
	for _, tt := range []struct {
		name                              string
		deaths, spurious, cancels, slices int
		long                              bool
		actors                            []explore.Actor
	}{
		{"2 wait, a broadcast", 0, 1, 0, -1, false, []explore.Actor{waiter(3, true), waiter(3, true), signaller(3, 2, (*Cond).Broadcast)}},
		{"2 wait, a broadcast, a death", 1, 0, 0, 2, false, []explore.Actor{waiter(3, true), waiter(3, true), signaller(3, 2, (*Cond).Broadcast)}},
		{"2 signal, one waits, a death", 1, 0, 0, 2, false, []explore.Actor{waiter(3, true), signaller(3, 1, (*Cond).Signal), signaller(3, 1, (*Cond).Signal)}},
		{"one waits, one gives up", 0, 0, 1, -1, false, []explore.Actor{waiter(3, true), waiter(3, false), signaller(3, 1, (*Cond).Signal)}},
		// The one that gives up is signalled first.
		{"one gives up, one waits", 0, 0, 1, -1, false, []explore.Actor{waiter(3, false), waiter(3, true), signaller(3, 1, (*Cond).Signal)}},
		{"one waits, one gives up, a death", 1, 0, 1, 2, false, []explore.Actor{waiter(3, true), waiter(3, false), signaller(3, 1, (*Cond).Signal)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.long && testing.Short() {
				t.Skip("takes long")
			}
			explore.Check(t, explore.Model{
				Name: "cond: " + tt.name, Actors: tt.actors, Size: recordsAt + recordSize*len(tt.actors), Init: register(len(tt.actors)),
				Deaths: tt.deaths, Spurious: tt.spurious, Cancels: tt.cancels, Slices: tt.slices, Late: max(tt.slices-1, 0),
				// Nobody is left to make it true, or one took what another was to have.
				Settled: func(v *explore.View) bool {
					return (v.Deaths() > 0 || tt.cancels > 0) && v.Word(conditionAt) == 0
				},
			})
		})
	}
}

//go:build multiproc_explore

package eventcount

import (
	"context"
	"testing"

	"github.com/go-multiproc/multiproc/internal/explore"
	"github.com/go-multiproc/multiproc/internal/mem"
)

// The model's memory: the count, and how many permits there are.
const (
	countAt   = 0
	permitsAt = 8
)

// The model's notes.
const (
	given = iota
	taken
	ghosts
)

// taker takes permits, or gives up when its context ends.
func taker(rounds int, patient bool) explore.Actor {
	return explore.Actor{Run: func(p *explore.Process) {
		c, n := At(p.Handle().Mapping(), countAt), p.Word(permitsAt)
		p.Digest(c.Digest)
		ctx := context.Background()
		if !patient {
			ctx = p.Context()
		}
		for i := range uint64(rounds) {
			p.At(i)
			err := c.Wait(ctx, Wanted{Try: func() (bool, error) {
				for {
					mem.Mark("taker")
					v := n.Load()
					if v == 0 {
						return false, nil
					}
					if n.CompareAndSwap(v, v-1) {
						p.Note(func(v *explore.View) { v.Ghost.Add(taken, 1) })
						return true, nil
					}
				}
			}})
			if err != nil && (patient || err != context.Canceled) {
				p.Failf("Wait: %v", err)
			}
		}
		p.At(99)
	}}
}

// giver puts permits there.
func giver(each ...uint64) explore.Actor {
	return explore.Actor{Run: func(p *explore.Process) {
		c, n := At(p.Handle().Mapping(), countAt), p.Word(permitsAt)
		p.Digest(c.Digest)
		for i, k := range each {
			p.At(uint64(i))
			n.Add(k)
			p.Note(func(v *explore.View) { v.Ghost.Add(given, k) })
			if k == 1 {
				c.Notify()
			} else {
				c.Broadcast()
			}
		}
		p.At(99)
	}}
}

func countModel(name string, actors ...explore.Actor) explore.Model {
	return explore.Model{
		Name: "eventcount: " + name, Size: 16, Ghost: ghosts, Slices: 3, Actors: actors,
		// Who waits for permits that a dead one did not give waits for ever.
		Settled: func(v *explore.View) bool {
			return v.Deaths() > 0 && v.Word(permitsAt) == 0
		},
		Always: func(v *explore.View) {
			if g, t, n := v.Ghost.Get(given), v.Ghost.Get(taken), v.Word(permitsAt); g != t+n {
				v.Failf("%d permits given, %d taken, %d there", g, t, n)
			}
		},
	}
}

func TestExploreEventcount(t *testing.T) {
	for _, tt := range []struct {
		name                      string
		deaths, spurious, cancels int
		long                      bool
		actors                    []explore.Actor
	}{
		{"two wait, notified twice", 0, 1, 0, true, []explore.Actor{taker(1, true), taker(1, true), giver(1, 1)}},
		{"two wait, notified twice, a death", 1, 0, 0, false, []explore.Actor{taker(1, true), taker(1, true), giver(1, 1)}},
		{"two wait, told at once", 1, 0, 0, false, []explore.Actor{taker(1, true), taker(1, true), giver(2)}},
		{"two give", 1, 0, 0, false, []explore.Actor{taker(2, true), giver(1), giver(1)}},
		{"one gives up", 0, 0, 1, true, []explore.Actor{taker(1, true), taker(1, false), giver(1, 1)}},
		{"one gives up, a death", 1, 0, 1, true, []explore.Actor{taker(1, true), taker(1, false), giver(1, 1)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.long && testing.Short() {
				t.Skip("takes long")
			}
			m := countModel(tt.name, tt.actors...)
			m.Deaths, m.Spurious, m.Cancels = tt.deaths, tt.spurious, tt.cancels
			explore.Check(t, m)
		})
	}
}

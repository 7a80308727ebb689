//go:build multiproc_explore

package barrier

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/go-multiproc/multiproc/internal/eventcount"
	"github.com/go-multiproc/multiproc/internal/explore"
	"github.com/go-multiproc/multiproc/internal/mem"
)

// The model's memory: the state, the eventcount, and a table of members with a place for
// each.
const (
	stateAt = 0
	countAt = 8
	tableAt = 16
)

// The model's notes: how many have arrived for each round, and who has what index.
const (
	arrivals = iota // of all rounds
	indexes         // a bit for each index that was given out in the round that all are in
	ghosts
)

// party arrives for some rounds.
func party(parties, rounds int, ctx func(p *explore.Process) context.Context) explore.Actor {
	return explore.Actor{Run: func(p *explore.Process) {
		m := p.Handle().Mapping()
		var entries []*mem.Uint64
		for i := range parties {
			entries = append(entries, m.Word(tableAt+8*i))
		}
		count := eventcount.At(m, countAt)
		b := New(m.Word(stateAt), count, entries, parties, p.Token(), m.Alive)
		p.Digest(func() []uint64 { return append(count.Digest(), uint64(b.entry)) })
		for i := range uint64(rounds) {
			p.At(i, 0)
			p.Note(func(v *explore.View) { v.Ghost.Add(arrivals, 1) })
			index, err := b.Wait(ctx(p), nil)
			p.At(i, 1, uint64(index), mem.Flags(err != nil))
			if errors.Is(err, ErrBroken) {
				p.Note(func(v *explore.View) {
					if why := reason(v.Word(stateAt) & reasonMask); v.Deaths() == 0 && why != left && why != aborted {
						v.Failf("broken, and nobody died, left or aborted")
					}
				})
				return
			}
			if err != nil {
				if err != context.Canceled {
					p.Failf("Wait: %v", err)
				}
				return
			}
			p.Note(func(v *explore.View) {
				if n := v.Ghost.Get(arrivals); n < uint64(parties)*(i+1) {
					v.Failf("passed round %d after %d arrivals", i, n)
				}
				bit := uint64(1) << (uint64(index) + 8*i)
				if v.Ghost.Get(indexes)&bit != 0 {
					v.Failf("two have index %d in round %d", index, i)
				}
				v.Ghost.Set(indexes, v.Ghost.Get(indexes)|bit)
			})
		}
		p.At(99)
	}}
}

func patient(*explore.Process) context.Context { return context.Background() }

func fickle(p *explore.Process) context.Context { return p.Context() }

// aborter breaks the barrier, at any moment.
func aborter() explore.Actor {
	return explore.Actor{Run: func(p *explore.Process) {
		m := p.Handle().Mapping()
		b := New(m.Word(stateAt), eventcount.At(m, countAt), []*mem.Uint64{m.Word(tableAt)}, 2, p.Token(), m.Alive)
		p.At(0)
		b.Abort()
		p.At(99)
	}}
}

func TestExploreBarrier(t *testing.T) {
	for _, tt := range []struct {
		name                              string
		deaths, spurious, cancels, slices int
		long                              bool
		actors                            []explore.Actor
	}{
		{"3 parties", 0, 1, 0, -1, false, []explore.Actor{party(3, 1, patient), party(3, 1, patient), party(3, 1, patient)}},
		{"3 parties, a death", 1, 0, 0, 3, false, []explore.Actor{party(3, 1, patient), party(3, 1, patient), party(3, 1, patient)}},
		{"3 parties, one gives up", 0, 0, 1, -1, false, []explore.Actor{party(3, 1, patient), party(3, 1, fickle), party(3, 1, patient)}},
		{"2 parties, somebody aborts", 0, 1, 0, -1, false, []explore.Actor{party(2, 1, patient), party(2, 1, patient), aborter()}},
		{"2 parties, 3 rounds, a death", 1, 1, 0, 3, false, []explore.Actor{party(2, 3, patient), party(2, 3, patient)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.long && testing.Short() {
				t.Skip("takes long")
			}
			explore.Check(t, explore.Model{
				// A round whose wake-up was lost and one whose party died take a slice each.
				AnySlices: strings.Contains(tt.name, "rounds"),
				Name:      "barrier: " + tt.name, Actors: tt.actors, Ghost: ghosts, Size: tableAt + 8*len(tt.actors),
				Deaths: tt.deaths, Spurious: tt.spurious, Cancels: tt.cancels, Slices: tt.slices, Late: max(tt.slices-1, 0),
				// Who never came is not missed: the others wait as they would for anybody
				// who has not come yet.
				Settled: func(v *explore.View) bool {
					if v.Deaths() == 0 {
						return false
					}
					for off := tableAt; off < tableAt+8*len(tt.actors); off += 8 {
						if m := member(v.Word(off)); m.token() != 0 && v.Dead(int(m.token())-1) {
							return false
						}
					}
					return true
				},
			})
		})
	}
}

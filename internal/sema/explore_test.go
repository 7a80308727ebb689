//go:build multiproc_explore

package sema

import (
	"testing"

	"github.com/go-multiproc/multiproc/internal/explore"
)

// digest is what the process knows, for the explorer.
func (s *Semaphore) digest() []uint64 {
	d := []uint64{uint64(s.hint.Load())}
	if t := s.turn; t != nil {
		d = append(d, 1)
		for _, f := range []bool{t.slept, t.hungry} {
			if f {
				d = append(d, 1)
			} else {
				d = append(d, 0)
			}
		}
	}
	return d
}

// visitor is an actor that takes a permit some times. The model's words are the number
// of permits that each actor has.
func visitor(p Param, rounds, deaths int) func(*explore.Process) {
	return func(q *explore.Process) {
		s, err := At(q.Handle().Mapping(), 0, p, 0)
		if err != nil {
			q.Failf("At: %v", err)
			return
		}
		q.Digest(s.digest)
		for i := range uint64(rounds) {
			q.At(i, 0)
			if err := s.Acquire(q.Context(), q.Handle()); err != nil {
				q.Failf("Acquire: %v", err)
				return
			}
			q.Note(func(v *explore.View) {
				v.Ghost.Add(q.ID, 1)
				n := uint64(0)
				for j := range 3 {
					n += v.Ghost.Get(j)
				}
				if n > uint64(p.Start()) {
					v.Failf("%d are inside", n)
				}
			})
			q.At(i, 1)
			q.Step()
			q.Note(func(v *explore.View) { v.Ghost.Set(q.ID, 0) })
			if err := s.Release(q.Handle()); err != nil {
				q.Failf("Release: %v", err)
			}
		}
		q.At(99)
	}
}

func TestExploreSemaphore(t *testing.T) {
	patience = 0
	for _, tt := range []struct {
		name                        string
		param                       Param
		n, rounds, deaths, spurious int
		slices                      int
		long                        bool
	}{
		{"1 permit, 2 actors, 2 rounds", Slots(1), 2, 2, 0, 0, -1, false},
		{"1 permit, 2 actors, a death, a spurious wake-up", Slots(1), 2, 1, 1, 1, 2, false},
		{"1 permit, 3 actors", Slots(1), 3, 1, 0, 0, -1, false},
		{"1 permit, 3 actors, a death", Slots(1), 3, 1, 1, 0, 1, true},
		{"2 permits, 3 actors", Slots(2), 3, 1, 0, 0, -1, false},
		{"2 permits, 3 actors, a death", Slots(2), 3, 1, 1, 0, 1, true},
		{"counting from 1, 3 actors", Counting(1), 3, 1, 0, 0, -1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.long && testing.Short() {
				t.Skip("takes long")
			}
			size, err := tt.param.Size()
			if err != nil {
				t.Fatal(err)
			}
			m := explore.Model{
				Name: "semaphore, " + tt.name, Size: size, Ghost: 3,
				MaxStates: 3e6,
				Deaths:    tt.deaths, Spurious: tt.spurious, Slices: tt.slices,
				Died: func(v *explore.View, actor int) { v.Ghost.Set(actor, 0) },
				Init: func(b []byte) { Init(b, tt.param.Start()) },
				Finally: func(v *explore.View) {
					if tt.deaths > 0 {
						return // what a dead one has, who comes next finds
					}
					for i := range tt.param.slots() {
						if v.Word(slotOffset(i, tt.param.slots())) != 0 {
							v.Failf("permit %d is gone", i)
						}
					}
				},
			}
			for range tt.n {
				m.Actors = append(m.Actors, explore.Actor{Run: visitor(tt.param, tt.rounds, tt.deaths)})
			}
			explore.Check(t, m)
		})
	}
}

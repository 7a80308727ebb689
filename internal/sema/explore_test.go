//go:build multiproc_explore

package sema

import (
	"context"
	"testing"

	"github.com/go-multiproc/multiproc/internal/explore"
)

// acquirer takes and gives back a permit some times.
func acquirer(s Param, rounds int, acquire func(p *explore.Process, s *Semaphore) bool) explore.Actor {
	return explore.Actor{Run: func(p *explore.Process) {
		h := p.Handle()
		s, err := At(h.Mapping(), 0, s, 0)
		if err != nil {
			panic(err)
		}
		p.Digest(func() []uint64 { return append(s.count.Digest(), uint64(s.hint.Load())) })
		for i := range uint64(rounds) {
			p.At(i, 0)
			got := acquire(p, s)
			p.At(i, 1)
			if !got {
				continue
			}
			p.Note(func(v *explore.View) {
				v.Ghost.Add(p.ID, 1)
				if n := inside(v); n > s.start {
					v.Failf("%d inside a semaphore of %d", n, s.start)
				}
			})
			p.Step()
			p.Note(func(v *explore.View) { v.Ghost.Set(p.ID, 0) })
			if err := s.Release(h); err != nil {
				p.Failf("Release: %v", err)
			}
		}
		p.At(99)
	}}
}

// inside is how many are, by the model's notes: a word for each actor.
func inside(v *explore.View) (n int64) {
	for i := range 3 {
		n += int64(v.Ghost.Get(i))
	}
	return n
}

func patient(p *explore.Process, s *Semaphore) bool {
	err := s.Acquire(context.Background(), p.Handle())
	if err != nil {
		p.Failf("Acquire: %v", err)
	}
	return err == nil
}

func fickle(p *explore.Process, s *Semaphore) bool {
	err := s.Acquire(p.Context(), p.Handle())
	if err != nil && err != context.Canceled {
		p.Failf("Acquire: %v", err)
	}
	return err == nil
}

func trier(p *explore.Process, s *Semaphore) bool {
	ok, err := s.TryAcquire(p.Handle())
	if err != nil {
		p.Failf("TryAcquire: %v", err)
	}
	return ok
}

func TestExploreSemaphore(t *testing.T) {
	one, two := Slots(1), Slots(2)
	for _, tt := range []struct {
		name                              string
		param                             Param
		deaths, spurious, cancels, slices int
		long                              bool
		actors                            []explore.Actor
	}{
		{"3 for a permit", one, 0, 0, 0, -1, false, []explore.Actor{acquirer(one, 1, patient), acquirer(one, 1, patient), acquirer(one, 1, patient)}},
		{"3 for a permit, a death", one, 1, 0, 0, 2, true, []explore.Actor{acquirer(one, 1, patient), acquirer(one, 1, patient), acquirer(one, 1, patient)}},
		{"3 for two permits, a death", two, 1, 0, 0, 2, true, []explore.Actor{acquirer(two, 1, patient), acquirer(two, 1, patient), acquirer(two, 1, patient)}},
		{"2 rounds, a death", one, 1, 1, 0, 2, false, []explore.Actor{acquirer(one, 2, patient), acquirer(one, 1, patient)}},
		{"one gives up, a death", one, 1, 0, 1, 2, true, []explore.Actor{acquirer(one, 1, patient), acquirer(one, 1, fickle), acquirer(one, 1, patient)}},
		{"one tries, a death", one, 1, 0, 0, 2, true, []explore.Actor{acquirer(one, 1, patient), acquirer(one, 1, trier), acquirer(one, 1, patient)}},
		{"counting", Counting(1), 0, 0, 0, -1, false, []explore.Actor{acquirer(Counting(1), 1, patient), acquirer(Counting(1), 1, patient), acquirer(Counting(1), 1, patient)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.long && testing.Short() {
				t.Skip("takes long")
			}
			m := explore.Model{
				Name: "semaphore: " + tt.name, Ghost: 3, Actors: tt.actors,
				Deaths: tt.deaths, Spurious: tt.spurious, Cancels: tt.cancels, Slices: tt.slices, Late: max(tt.slices-1, 0),
				// Permits that have owners come back.
				Died: func(v *explore.View, actor int) { v.Ghost.Set(actor, 0) },
			}
			// Who is hungry keeps others out, which multiplies the states.
			m.Patient = tt.deaths > 0 && len(tt.actors) > 2
			m.Size, _ = tt.param.Size()
			m.Keep = [][2]int{{0, 24}}
			for i := range tt.param.slots() {
				at := slotOffset(i, tt.param.slots())
				m.Keep = append(m.Keep, [2]int{at, at + 8})
			}
			m.Init = func(memory []byte) { Init(memory, 3) }
			m.Finally = func(v *explore.View) {
				if tt.param.Counts() && v.Word(balanceOffset) != 0 {
					v.Failf("%d permits at the end", int64(v.Word(balanceOffset))+int64(tt.param.Start()))
				}
				for i := range tt.param.slots() {
					if owner := int(v.Word(slotOffset(i, tt.param.slots()))); owner != 0 && !v.Dead(owner-1) {
						v.Failf("actor %d has a permit at the end", owner-1)
					}
				}
				if hungry := int(v.Word(hungryOffset)); hungry != 0 && !v.Dead(hungry-1) {
					v.Failf("actor %d is hungry at the end", hungry-1)
				}
			}
			explore.Check(t, m)
		})
	}
}

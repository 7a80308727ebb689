//go:build multiproc_explore

package lock

import (
	"errors"
	"testing"

	"github.com/go-multiproc/multiproc/internal/explore"
)

// digest is what the queue knows, for the explorer.
func (q *queue) digest() []uint64 {
	var d []uint64
	add := func(b bool) {
		if b {
			d = append(d, 1)
		} else {
			d = append(d, 0)
		}
	}
	d = append(d, uint64(q.starving.Load()), uint64(q.menders), uint64(q.streak))
	add(q.asleep != nil)
	add(q.suspended)
	if q.mu.TryLock() {
		q.mu.Unlock()
	} else {
		add(true)
	}
	for w := q.first; w != nil; w = w.next {
		add(w.mender)
	}
	return d
}

// What the model notes.
const (
	inside = iota // a bit for each who is inside
	dirty         // somebody died inside, and nobody repaired it yet
	ghosts
)

func enter(p *explore.Process) {
	p.Note(func(v *explore.View) {
		if v.Ghost.Get(inside) != 0 {
			v.Failf("two are inside")
		}
		if v.Ghost.Get(dirty) != 0 {
			v.Failf("inside what a death left behind, and not told")
		}
		v.Ghost.Set(inside, 1<<p.ID)
	})
}

func leave(p *explore.Process) {
	p.Note(func(v *explore.View) { v.Ghost.Set(inside, v.Ghost.Get(inside)&^(1<<p.ID)) })
}

func repair(p *explore.Process) func() error {
	return func() error {
		p.Note(func(v *explore.View) {
			if v.Ghost.Get(inside) != 0 {
				v.Failf("repaired while somebody is inside")
			}
			if v.Deaths() == 0 {
				v.Failf("repaired though nobody died")
			}
			v.Ghost.Set(inside, 1<<p.ID)
		})
		p.Step()
		p.Note(func(v *explore.View) {
			v.Ghost.Set(inside, 0)
			v.Ghost.Set(dirty, 0)
		})
		return nil
	}
}

// locker is an actor that takes the lock some times, with user code in it.
func locker(rounds int) func(p *explore.Process) {
	return func(p *explore.Process) {
		m := At(p.Handle(), 0)
		p.Digest(m.q.digest)
		for i := range uint64(rounds) {
			p.At(i, 0)
			err := m.Lock(p.Context(), User)
			for errors.Is(err, ErrOwnerDied) {
				p.At(i, 1)
				err = m.LockOrRecover(p.Context(), User, repair(p))
			}
			p.At(i, 2)
			if err != nil {
				p.Failf("Lock: %v", err)
				return
			}
			enter(p)
			p.Step()
			leave(p)
			if err := m.Unlock(); err != nil {
				p.Failf("Unlock: %v", err)
			}
		}
		p.At(99)
	}
}

func mutexModel(name string, actors ...func(*explore.Process)) explore.Model {
	manyCPUs = false // no spinning: it makes the attempts that newcomers make anyway
	m := explore.Model{Name: name, Size: 16, Ghost: ghosts}
	for _, a := range actors {
		m.Actors = append(m.Actors, explore.Actor{Run: a})
	}
	m.Died = func(v *explore.View, actor int) {
		if v.Ghost.Get(inside) == 1<<actor {
			v.Ghost.Set(inside, 0)
			v.Ghost.Set(dirty, 1)
		}
	}
	return m
}

func TestExploreMutex(t *testing.T) {
	for _, tt := range []struct {
		name                        string
		n, rounds, deaths, spurious int
		long                        bool
	}{
		{"2 actors, 2 rounds, a death, a spurious wake-up", 2, 2, 1, 1, false},
		{"3 actors, a round", 3, 1, 0, 0, false},
		{"3 actors, a round, a death", 3, 1, 1, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.long && testing.Short() {
				t.Skip("takes long")
			}
			m := mutexModel("mutex, " + tt.name)
			for range tt.n {
				m.Actors = append(m.Actors, explore.Actor{Run: locker(tt.rounds)})
			}
			m.Deaths, m.Spurious = tt.deaths, tt.spurious
			explore.Check(t, m)
		})
	}
}

//go:build multiproc_explore

package lock

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/go-multiproc/multiproc/internal/explore"
)

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
			if v.Deaths() == 0 && v.Ghost.Get(dirty) == 0 {
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

// lock takes m in one of the ways that there are, and reports whether it got it.
type lockFunc func(p *explore.Process, m *Mutex, round uint64) bool

// patient takes it, whatever it takes.
func patient(mode Mode) lockFunc {
	return func(p *explore.Process, m *Mutex, round uint64) bool {
		err := m.Lock(context.Background(), mode)
		if errors.Is(err, ErrOwnerDied) {
			p.At(round, 1)
			err = m.LockOrRecover(context.Background(), mode, repair(p))
		}
		if err != nil {
			p.Failf("Lock: %v", err)
		}
		return err == nil
	}
}

// fickle gives up when its context ends.
func fickle(p *explore.Process, m *Mutex, round uint64) bool {
	err := m.Lock(p.Context(), User)
	if err != nil && err != context.Canceled && !errors.Is(err, ErrOwnerDied) {
		p.Failf("Lock: %v", err)
	}
	return err == nil
}

// trier does not wait for a holder.
func trier(p *explore.Process, m *Mutex, round uint64) bool {
	ok, err := m.LockIfFree(User)
	if err != nil && !errors.Is(err, ErrOwnerDied) {
		p.Failf("TryLock: %v", err)
	}
	return ok
}

// mender only repairs.
func mender(p *explore.Process, m *Mutex, round uint64) bool {
	if err := m.Recover(context.Background(), repair(p)); err != nil {
		p.Failf("Recover: %v", err)
	}
	return false
}

// actor takes the lock in some ways, one after the other, and gives it back.
func actor(ways ...lockFunc) explore.Actor {
	return explore.Actor{Run: func(p *explore.Process) {
		m := At(p.Handle(), 0)
		m.q.notes = nil // these are for people, and full of times
		p.Digest(m.q.digest)
		for i, lock := range ways {
			p.At(uint64(i), 0)
			got := lock(p, m, uint64(i))
			p.At(uint64(i), 2)
			if !got {
				continue
			}
			enter(p)
			p.Step()
			leave(p)
			if err := m.Unlock(); err != nil {
				p.Failf("Unlock: %v", err)
			}
		}
		p.At(99)
	}}
}

func mutexModel(name string, actors ...explore.Actor) explore.Model {
	manyCPUs = false // no spinning: it makes the attempts that newcomers make anyway
	return explore.Model{
		Name: "mutex: " + name, Size: 24, Ghost: ghosts, Actors: actors,
		Died: func(v *explore.View, actor int) {
			if v.Ghost.Get(inside) == 1<<actor {
				v.Ghost.Set(inside, 0)
				if word(v.Word(0)).diedOn().abandoned() {
					v.Ghost.Set(dirty, 1)
				}
			}
		},
		Finally: func(v *explore.View) {
			w := word(v.Word(0))
			if w.abandoned() != (v.Ghost.Get(dirty) == 1) && w.abandoned() && v.Deaths() == 0 {
				v.Failf("abandoned though nobody died: %#x", w)
			}
			if v.Ghost.Get(dirty) == 1 && !w.abandoned() && w.diedOn().abandoned() == false {
				v.Failf("what a death left behind is forgotten: %#x", w)
			}
		},
	}
}

func TestExploreMutex(t *testing.T) {
	lock, section := patient(User), patient(Scoped)
	for _, tt := range []struct {
		name                      string
		deaths, spurious, cancels int
		long                      bool
		actors                    []explore.Actor
	}{
		{"2 rounds", 1, 1, 0, false, []explore.Actor{actor(lock, lock), actor(lock, lock)}},
		{"3 of them", 0, 0, 0, true, []explore.Actor{actor(lock), actor(lock), actor(lock)}},
		{"3 of them, a death", 1, 0, 0, true, []explore.Actor{actor(lock), actor(lock), actor(lock)}},
		{"sections", 1, 0, 0, true, []explore.Actor{actor(section), actor(section), actor(section)}},
		{"one gives up", 0, 0, 1, false, []explore.Actor{actor(lock), actor(fickle), actor(lock)}},
		{"one gives up, a death", 1, 0, 1, true, []explore.Actor{actor(lock), actor(fickle), actor(lock)}},
		{"one tries, a death", 1, 0, 0, true, []explore.Actor{actor(lock), actor(lock), actor(trier)}},
		{"abandoned, 2", 1, 0, 0, false, []explore.Actor{actor(lock), actor(mender)}},
		{"abandoned, 3", 0, 0, 0, true, []explore.Actor{actor(lock), actor(lock), actor(mender)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.long && testing.Short() {
				t.Skip("takes long")
			}
			m := mutexModel(tt.name, tt.actors...)
			m.MaxStates = 8e6
			m.Deaths, m.Spurious, m.Cancels = tt.deaths, tt.spurious, tt.cancels
			if strings.HasPrefix(tt.name, "abandoned") {
				m.Init = func(memory []byte) { memory[0] = byte(abandoned) }
				m.Start = func(v *explore.View) { v.Ghost.Set(dirty, 1) }
			}
			explore.Check(t, m)
		})
	}
}

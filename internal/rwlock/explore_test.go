//go:build multiproc_explore

package rwlock

import (
	"errors"
	"testing"

	"github.com/go-multiproc/multiproc/internal/explore"
	"github.com/go-multiproc/multiproc/internal/lock"
	"github.com/go-multiproc/multiproc/internal/seg"
)

// few is the number of slots that are explored: they are in the memory that makes a state.
const few = 4

// claimed says that the processes have their slots in the beginning.
var claimed bool

// claimAll gives actors their slots.
func claimAll(b []byte, actors int) {
	if !claimed {
		return
	}
	seg.WordOf(b[topOffset:]).Store(uint64(actors))
	for i := range actors {
		seg.WordOf(b[slotOffset(i, few):]).Store(uint64(i+1) << tokenShift)
	}
}

// What the model notes.
const (
	writers = iota // a bit for each who writes, or repairs
	readers        // a bit for each who reads
	dirty          // somebody died while he wrote, and nobody has repaired it yet
	ghosts
)

// at is At for a process under the explorer.
func at(p *explore.Process) *RWMutex {
	h := p.Handle()
	l := &RWMutex{p: processAt(h.Mapping(), 0, few), w: lock.At(h, 0), h: h}
	if claimed {
		l.p.mine.Store(&l.p.slots[p.ID])
	}
	p.Digest(func() []uint64 {
		d := l.w.Digest()
		if s := l.p.mine.Load(); s != nil {
			for i, t := range l.p.slots {
				if t == *s {
					d = append(d, uint64(i))
				}
			}
		}
		return d
	})
	return l
}

func repair(p *explore.Process) func() error {
	return func() error {
		p.Note(func(v *explore.View) {
			if v.Ghost.Get(writers) != 0 || v.Ghost.Get(readers) != 0 {
				v.Failf("repaired while somebody is inside")
			}
			if v.Deaths() == 0 {
				v.Failf("repaired though nobody died")
			}
			v.Ghost.Set(writers, 1<<p.ID)
		})
		p.Step()
		p.Note(func(v *explore.View) {
			v.Ghost.Set(writers, 0)
			v.Ghost.Set(dirty, 0)
		})
		return nil
	}
}

func writer(rounds int) func(*explore.Process) {
	return func(p *explore.Process) {
		l := at(p)
		for i := range uint64(rounds) {
			p.At(i, 0)
			err := l.Lock(p.Context())
			for errors.Is(err, lock.ErrOwnerDied) {
				p.At(i, 1)
				err = l.LockOrRecover(p.Context(), repair(p))
			}
			if err != nil {
				p.Failf("Lock: %v", err)
				return
			}
			p.Note(func(v *explore.View) {
				switch {
				case v.Ghost.Get(writers) != 0 || v.Ghost.Get(readers) != 0:
					v.Failf("a writer is inside, and not alone")
				case v.Ghost.Get(dirty) != 0:
					v.Failf("a writer is inside what a death left behind, and not told")
				}
				v.Ghost.Set(writers, 1<<p.ID)
			})
			p.At(i, 2)
			p.Step()
			p.Note(func(v *explore.View) { v.Ghost.Set(writers, 0) })
			if err := l.Unlock(); err != nil {
				p.Failf("Unlock: %v", err)
			}
		}
		p.At(99)
	}
}

func reader(rounds int) func(*explore.Process) {
	return func(p *explore.Process) {
		l := at(p)
		for i := range uint64(rounds) {
			p.At(i, 0)
			err := l.RLock(p.Context())
			for errors.Is(err, lock.ErrOwnerDied) {
				p.At(i, 1)
				if err = l.Recover(p.Context(), repair(p)); err == nil {
					p.At(i, 2)
					err = l.RLock(p.Context())
				}
			}
			if err != nil {
				p.Failf("RLock: %v", err)
				return
			}
			p.Note(func(v *explore.View) {
				switch {
				case v.Ghost.Get(writers) != 0:
					v.Failf("a reader is inside with a writer")
				case v.Ghost.Get(dirty) != 0:
					v.Failf("a reader is inside what a death left behind, and not told")
				}
				v.Ghost.Set(readers, v.Ghost.Get(readers)|1<<p.ID)
			})
			p.At(i, 3)
			p.Step()
			p.Note(func(v *explore.View) { v.Ghost.Set(readers, v.Ghost.Get(readers)&^(1<<p.ID)) })
			if err := l.RUnlock(); err != nil {
				p.Failf("RUnlock: %v", err)
			}
		}
		p.At(99)
	}
}

func TestExploreRWMutex(t *testing.T) {
	lock.NoSpinning()
	for _, tt := range []struct {
		name   string
		actors []func(*explore.Process)
		deaths int
		slices int
		long   bool // and the slots are claimed
	}{
		{"a writer and a reader", []func(*explore.Process){writer(1), reader(1)}, 0, -1, false},
		{"a writer and a reader, two rounds", []func(*explore.Process){writer(2), reader(2)}, 0, -1, true},
		{"a writer and a reader, a death", []func(*explore.Process){writer(1), reader(1)}, 1, 2, false},
		{"two writers", []func(*explore.Process){writer(1), writer(1)}, 1, 2, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.long && testing.Short() {
				t.Skip("takes long")
			}
			claimed = tt.long
			m := explore.Model{
				Init: func(b []byte) { claimAll(b, len(tt.actors)) },
				Name: "rwmutex, " + tt.name, Size: slotsOffset + few*slotSize, Ghost: ghosts,
				Deaths: tt.deaths, Slices: tt.slices, MaxStates: 4e6,
				Died: func(v *explore.View, actor int) {
					if v.Ghost.Get(writers) == 1<<actor {
						v.Ghost.Set(writers, 0)
						v.Ghost.Set(dirty, 1)
					}
					v.Ghost.Set(readers, v.Ghost.Get(readers)&^(1<<actor))
				},
			}
			for _, f := range tt.actors {
				m.Actors = append(m.Actors, explore.Actor{Run: f})
			}
			explore.Check(t, m)
		})
	}
}

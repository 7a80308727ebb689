//go:build multiproc_explore

package rwlock

import (
	"context"
	"errors"
	"testing"

	"github.com/go-multiproc/multiproc/internal/explore"
	"github.com/go-multiproc/multiproc/internal/lock"
	"github.com/go-multiproc/multiproc/internal/seg"
)

// few is the number of slots that are explored: they are in the memory that makes a state.
const few = 4

// What the model notes.
const (
	writers = iota // a bit for each who writes, or repairs
	readers        // a bit for each who reads
	dirty          // somebody died while he wrote, and nobody has repaired it yet
	left           // the one who was inside in the beginning is not any more
	ghosts
)

// first is what actor A is in the beginning.
type first int

const (
	outside first = iota
	reading
	writing
)

// begin makes it so.
func (f first) begin(b []byte) {
	h := seg.Simulate(b, 1)
	l := &RWMutex{p: processAt(h.Mapping(), 0, few), w: lock.At(h, 0), h: h}
	var err error
	switch f {
	case reading:
		err = l.RLock(context.Background())
	case writing:
		err = l.Lock(context.Background())
	}
	if err != nil {
		panic(err)
	}
}

// leaver is who was inside in the beginning.
func leaver(f first) func(*explore.Process) {
	return func(p *explore.Process) {
		l := at(p)
		p.At(0)
		p.Step()
		p.Note(func(v *explore.View) { v.Ghost.Set(left, 1) })
		var err error
		if f == reading {
			l.p.mine.Store(&l.p.slots[0])
			err = l.RUnlock()
		} else {
			err = l.Unlock()
		}
		if err != nil {
			p.Failf("unlocking: %v", err)
		}
		p.At(99)
	}
}

// at is At for a process under the explorer.
func at(p *explore.Process) *RWMutex {
	h := p.Handle()
	l := &RWMutex{p: processAt(h.Mapping(), 0, few), w: lock.At(h, 0), h: h}
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

// rwmutexModel has some actors, and before them one that was inside in the beginning, if any.
func rwmutexModel(name string, was first, actors ...func(*explore.Process)) explore.Model {
	m := explore.Model{
		Name: "rwmutex, " + name, Size: slotsOffset + few*slotSize, Ghost: ghosts, MaxStates: 6e6,
		Keep: [][2]int{{0, 16}, {gateOffset, gateOffset + 16}, {openedOffset, openedOffset + 16}, {slotsOffset, slotsOffset + 3*slotSize}},
		Init: was.begin,
		Died: func(v *explore.View, actor int) {
			if v.Ghost.Get(writers) == 1<<actor || was == writing && actor == 0 && v.Ghost.Get(left) == 0 {
				v.Ghost.Set(writers, 0)
				v.Ghost.Set(dirty, 1)
			}
			v.Ghost.Set(readers, v.Ghost.Get(readers)&^(1<<actor))
			if actor == 0 {
				v.Ghost.Set(left, 1)
			}
		},
		Always: func(v *explore.View) {
			w, r := v.Ghost.Get(writers) != 0, v.Ghost.Get(readers) != 0
			if v.Ghost.Get(left) == 0 && (was == writing && (w || r) || was == reading && w) {
				v.Failf("somebody is inside with the one who was there in the beginning")
			}
		},
	}
	if was != outside {
		m.Actors = append(m.Actors, explore.Actor{Run: leaver(was)})
	}
	for _, f := range actors {
		m.Actors = append(m.Actors, explore.Actor{Run: f})
	}
	return m
}

func TestExploreRWMutex(t *testing.T) {
	lock.NoSpinning()
	type actors = []func(*explore.Process)
	for _, tt := range []struct {
		name   string
		first  first // of the first actor, who only leaves
		actors actors
		deaths int
		slices int
		long   bool
	}{
		{"a writer and a reader", outside, actors{writer(1), reader(1)}, 0, -1, false},
		{"a writer and a reader, two rounds", outside, actors{writer(2), reader(2)}, 0, -1, true},
		{"a writer and a reader, a death", outside, actors{writer(1), reader(1)}, 1, 2, false},
		{"two writers, a death", outside, actors{writer(1), writer(1)}, 1, 2, false},
		{"a writer and a reader, while one leaves who reads", reading, actors{writer(1), reader(1)}, 0, -1, true},
		{"a writer and a reader, while one leaves who writes", writing, actors{writer(1), reader(1)}, 0, -1, true},
		{"a writer and a reader, while one leaves who reads, a death", reading, actors{writer(1), reader(1)}, 1, 1, true},
		{"a reader, while one leaves who writes, a death", writing, actors{reader(1)}, 1, 2, false},
		{"a writer, while one leaves who reads, a death", reading, actors{writer(1)}, 1, 2, false},
		{"a writer, while one leaves who writes, a death", writing, actors{writer(1)}, 1, 2, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.long && testing.Short() {
				t.Skip("takes long")
			}
			m := rwmutexModel(tt.name, tt.first, tt.actors...)
			m.Deaths, m.Slices, m.Late = tt.deaths, tt.slices, max(tt.slices-1, 0)
			explore.Check(t, m)
		})
	}
}

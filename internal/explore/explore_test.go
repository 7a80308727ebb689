//go:build multiproc_explore

package explore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/explore"
	"github.com/go-multiproc/multiproc/internal/mem"
)

// A bit is the smallest lock: 0 free, 1 held, 2 held and somebody may sleep.
type bit struct {
	w *mem.Uint64
	// what is left out
	noRecheck, wakeFirst, noWake bool
}

func (b bit) lock() {
	if b.w.CompareAndSwap(0, 1) {
		return
	}
	for {
		mem.Mark("lock")
		if b.noRecheck {
			b.w.Store(2)
			mem.Wait(b.w, 2, time.Second)
			if b.w.CompareAndSwap(0, 2) {
				return
			}
			continue
		}
		if b.w.Swap(2) == 0 {
			return
		}
		mem.Wait(b.w, 2, time.Second)
	}
}

func (b bit) unlock() {
	if b.wakeFirst {
		if b.w.Load() == 2 {
			mem.Wake(b.w, 1)
		}
		b.w.Store(0)
		return
	}
	if b.w.Swap(0) == 2 && !b.noWake {
		mem.Wake(b.w, 1)
	}
}

func bits(b bit, actors, rounds int) explore.Model {
	m := explore.Model{Name: "bit", Size: 16, Ghost: 1, Spurious: 1}
	for range actors {
		m.Actors = append(m.Actors, explore.Actor{Run: func(p *explore.Process) {
			b := b
			b.w = p.Word(0)
			n := p.Word(8)
			for i := range rounds {
				p.At(uint64(i), 0)
				b.lock()
				p.At(uint64(i), 1)
				p.Note(func(v *explore.View) {
					if v.Ghost.Add(0, 1) > 1 {
						v.Failf("two are inside")
					}
				})
				n.Store(n.Load() + 1)
				p.Note(func(v *explore.View) { v.Ghost.Add(0, ^uint64(0)) })
				b.unlock()
			}
		}})
	}
	m.Finally = func(v *explore.View) {
		if n := v.Word(8); n != uint64(actors*rounds) {
			v.Failf("counted to %d", n)
		}
	}
	return m
}

func TestExploreBit(t *testing.T) {
	r, v := explore.Run(bits(bit{}, 3, 2))
	if v != nil {
		t.Fatal(v)
	}
	t.Logf("explored %s: %v", "bit", r)
}

func TestExploreFindsFaultsInBit(t *testing.T) {
	for _, tt := range []struct {
		name string
		b    bit
		want string
	}{
		{"no wake-up", bit{noWake: true}, "end of a slice"},
		{"wake-up first", bit{wakeFirst: true}, "end of a slice"},
		{"no look before sleeping", bit{noRecheck: true}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, v := explore.Run(bits(tt.b, 2, 1))
			if v == nil {
				t.Fatal("not found")
			}
			t.Log(v)
			if !strings.Contains(v.What, tt.want) {
				t.Errorf("found %q", v.What)
			}
		})
	}
}

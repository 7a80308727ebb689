//go:build multiproc_explore

package explore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/explore"
	"github.com/go-multiproc/multiproc/internal/mem"
)

// What is wrong with code, or with what is said about it, is found.
func TestExploreFinds(t *testing.T) {
	actors := func(n int, run func(p *explore.Process)) (a []explore.Actor) {
		for range n {
			a = append(a, explore.Actor{Run: run})
		}
		return a
	}
	for _, tt := range []struct {
		name  string
		model explore.Model
		want  string
	}{
		{"a mark that leaves something out", explore.Model{Size: 16, Actors: actors(2, func(p *explore.Process) {
			p.At(0)
			seen := p.Word(0).Add(1)
			mem.Mark("too little")
			p.Step()
			p.Word(8).Store(seen)
		})}, "a Mark, At or Digest leaves out what matters"},
		{"a mark in a callback that nobody has shielded", explore.Model{Size: 16, Actors: actors(2, func(p *explore.Process) {
			p.At(0)
			seen := p.Word(0).Add(1)
			func() {
				mem.Mark("callback")
				p.Step()
			}()
			p.Word(8).Store(seen)
		})}, "a Mark, At or Digest leaves out what matters"},
		{"half of a copy", explore.Model{Size: 8, Actors: []explore.Actor{
			{Run: func(p *explore.Process) { mem.Copy(p.Handle().Meta(), []byte{1, 1, 1, 1}) }},
			{Run: func(p *explore.Process) {
				b := make([]byte, 4)
				mem.Copy(b, p.Handle().Meta())
				if b[0] != b[3] {
					p.Failf("saw half")
				}
			}},
		}}, "saw half"},
		{"a lost update", explore.Model{Size: 8, Actors: actors(2, func(p *explore.Process) {
			n := p.Word(0)
			n.Store(n.Load() + 1)
		}), Finally: func(v *explore.View) {
			if v.Word(0) != 2 {
				v.Failf("counted to %d", v.Word(0))
			}
		}}, "counted to 1"},
		{"waiting for the dead", explore.Model{Size: 16, Deaths: 1, Actors: []explore.Actor{
			{Run: func(p *explore.Process) { p.Step(); p.Word(0).Store(1); mem.Wake(p.Word(0), 1) }},
			{Run: func(p *explore.Process) {
				for {
					p.At()
					if p.Word(0).Load() == 1 {
						return
					}
					mem.Wait(p.Word(0), 0, time.Second)
				}
			}},
		}}, "a slice has ended for everybody"},
		{"an endless loop", explore.Model{Size: 8, Deaths: 1, Actors: []explore.Actor{
			{Run: func(p *explore.Process) { p.Word(0).Store(1) }},
			{Run: func(p *explore.Process) {
				for p.Word(0).Load() == 0 {
					p.At()
				}
			}},
		}}, "a slice has ended for everybody"},
		{"a panic", explore.Model{Size: 8, Actors: actors(1, func(p *explore.Process) {
			p.Step()
			panic("at the disco")
		})}, "at the disco"},
		{"a write to what is said to be constant", explore.Model{Size: 16, Keep: [][2]int{{0, 8}}, Actors: actors(1, func(p *explore.Process) {
			p.Word(8).Store(1)
		})}, "the model does not keep it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.model.Name = tt.name
			_, v := explore.Run(tt.model)
			if v == nil {
				t.Fatal("not found")
			}
			if !strings.Contains(v.What, tt.want) {
				t.Errorf("found something else: %v", v)
			}
		})
	}
}

// A callback's marks between Enter and Leave keep what its caller knows.
func TestExploreShieldsCallers(t *testing.T) {
	m := explore.Model{Name: "shielded", Size: 16}
	for range 2 {
		m.Actors = append(m.Actors, explore.Actor{Run: func(p *explore.Process) {
			p.At(0)
			seen := p.Word(0).Add(1)
			mem.Enter()
			mem.Mark("callback")
			p.Step()
			mem.Leave()
			p.Word(8).Store(seen)
		}})
	}
	explore.Check(t, m)
}

// Process-local goroutines are explored with what they wait for each other by.
func TestExploreGoroutines(t *testing.T) {
	m := explore.Model{Name: "goroutines", Size: 8}
	for range 2 {
		m.Actors = append(m.Actors, explore.Actor{Run: func(p *explore.Process) {
			n, done := p.Word(0), make(chan struct{}, 1)
			var mu mem.Mutex
			work := func() {
				mu.Lock()
				defer mu.Unlock()
				for v := n.Load(); !n.CompareAndSwap(v, v+1); v = n.Load() {
				}
			}
			mem.Go(func() { work(); done <- struct{}{} })
			work()
			mem.Await(done, nil)
		}})
	}
	m.Finally = func(v *explore.View) {
		if v.Word(0) != 4 {
			v.Failf("counted to %d", v.Word(0))
		}
	}
	explore.Check(t, m)
}

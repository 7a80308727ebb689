//go:build multiproc_explore

package sema

import (
	"strings"
	"testing"

	"github.com/go-multiproc/multiproc/internal/explore"
	"github.com/go-multiproc/multiproc/internal/mem"
)

// A fault is one that the explorer has to find: it stands between the code and its
// steps.
type fault struct {
	mem.Scheduler
	word func(real mem.Scheduler, op mem.Op, w *mem.Uint64, a, b uint64) uint64
	wake func(real mem.Scheduler, w *mem.Uint64, n int) int
}

func (f fault) Word(op mem.Op, w *mem.Uint64, a, b uint64) uint64 {
	if f.word != nil {
		return f.word(f.Scheduler, op, w, a, b)
	}
	return f.Scheduler.Word(op, w, a, b)
}

func (f fault) Wake(w *mem.Uint64, n int) int {
	if f.wake != nil {
		return f.wake(f.Scheduler, w, n)
	}
	return f.Scheduler.Wake(w, n)
}

// Faults that semaphores between processes have had, elsewhere, are found.
func TestExploreFindsFaultsInSemaphore(t *testing.T) {
	for _, tt := range []struct {
		name   string
		fault  fault
		deaths int
		found  string
	}{
		{"a dead one's permit is freed without the exact word", fault{
			word: func(real mem.Scheduler, op mem.Op, w *mem.Uint64, a, b uint64) uint64 {
				if op == mem.CompareAndSwap && b == 0 && a != 0 && a < 4 {
					real.Word(mem.Store, w, 0, 0)
					return 1
				}
				return real.Word(op, w, a, b)
			},
		}, 1, "2 inside a semaphore of 1"},
		{"a permit is taken without the exact word", fault{
			word: func(real mem.Scheduler, op mem.Op, w *mem.Uint64, a, b uint64) uint64 {
				if op == mem.CompareAndSwap && a == 0 && b < 4 {
					real.Word(mem.Store, w, b, 0)
					return 1
				}
				return real.Word(op, w, a, b)
			},
		}, 0, "2 inside a semaphore of 1"},
		{"no wake-up", fault{
			wake: func(real mem.Scheduler, w *mem.Uint64, n int) int { return 0 },
		}, 0, "only the end of a slice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			one := acquirer(Slots(1), 1, patient)
			m := explore.Model{
				Name: tt.name, Size: Size(1), Ghost: 3, Actors: []explore.Actor{one, one, one},
				Deaths: tt.deaths, Slices: 2*tt.deaths - 1,
				Died: func(v *explore.View, actor int) { v.Ghost.Set(actor, 0) },
			}
			m.Plant = func(real mem.Scheduler) mem.Scheduler {
				f := tt.fault
				f.Scheduler = real
				return f
			}
			r, v := explore.Run(m)
			if v == nil {
				t.Fatalf("not found in %v", r)
			}
			t.Logf("found among %d states:\n%v", r.States, v)
			if !strings.Contains(v.What, tt.found) {
				t.Errorf("found something else: %s", v.What)
			}
		})
	}
}

//go:build multiproc_explore

package sema

import (
	"testing"

	"github.com/go-multiproc/multiproc/internal/explore"
	"github.com/go-multiproc/multiproc/internal/mem"
)

// Faults that semaphores between processes have had, elsewhere, are found.
func TestExploreFindsFaultsInSemaphore(t *testing.T) {
	for _, tt := range []struct {
		name   string
		fault  explore.Fault
		deaths int
		found  string
	}{
		{"a dead one's permit is freed without the exact word", explore.Fault{
			Word: func(real mem.Scheduler, op mem.Op, w *mem.Uint64, a, b uint64) uint64 {
				if op == mem.CompareAndSwap && b == 0 && a != 0 && a < 4 {
					real.Word(mem.Store, w, 0, 0)
					return 1
				}
				return real.Word(op, w, a, b)
			},
		}, 1, "2 inside a semaphore of 1"},
		{"a permit is taken without the exact word", explore.Fault{
			Word: func(real mem.Scheduler, op mem.Op, w *mem.Uint64, a, b uint64) uint64 {
				if op == mem.CompareAndSwap && a == 0 && b < 4 {
					real.Word(mem.Store, w, b, 0)
					return 1
				}
				return real.Word(op, w, a, b)
			},
		}, 0, "2 inside a semaphore of 1"},
		{"no wake-up", explore.Fault{
			Wake: func(real mem.Scheduler, w *mem.Uint64, n int) int { return 0 },
		}, 0, "only the end of a slice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			one := acquirer(Slots(1), 1, patient)
			m := explore.Model{
				Name: tt.name, Size: Size(1), Ghost: 3, Actors: []explore.Actor{one, one, one},
				Deaths: tt.deaths, Slices: 2*tt.deaths - 1,
				Died: func(v *explore.View, actor int) { v.Ghost.Set(actor, 0) },
			}
			explore.Find(t, m, tt.fault, tt.found)
		})
	}
}

//go:build multiproc_explore

package lock

import (
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/explore"
	"github.com/go-multiproc/multiproc/internal/mem"
)

// Faults that locks between processes have had, elsewhere, are found.
func TestExploreFindsFaultsInMutex(t *testing.T) {
	one := actor(patient(User))
	for _, tt := range []struct {
		name   string
		fault  explore.Fault
		deaths int
		actors int
		found  string
	}{
		{"owner written after the lock bit", explore.Fault{
			Word: func(real mem.Scheduler, op mem.Op, w *mem.Uint64, a, b uint64) uint64 {
				if op != mem.CompareAndSwap || word(a).held() || !word(b).held() {
					return real.Word(op, w, a, b)
				}
				const tokens = (1<<(64-tokenShift) - 1) << tokenShift
				if real.Word(op, w, a, b&^tokens) == 0 {
					return 0
				}
				real.Word(mem.Or, w, b&tokens, 0)
				return 1
			},
		}, 0, 2, "Unlock: psync: this process does not hold"},
		{"stolen without the exact word", explore.Fault{
			Word: func(real mem.Scheduler, op mem.Op, w *mem.Uint64, a, b uint64) uint64 {
				if op == mem.CompareAndSwap && word(a).held() && word(b) == word(a).diedOn() {
					real.Word(mem.Store, w, b, 0)
					return 1
				}
				return real.Word(op, w, a, b)
			},
		}, 1, 3, "Unlock: psync: this process does not hold"},
		{"woken before the lock is free", explore.Fault{
			Word: func(real mem.Scheduler, op mem.Op, w *mem.Uint64, a, b uint64) uint64 {
				if op == mem.CompareAndSwap && word(a).held() && !word(b).held() && word(a).waiters() {
					real.Wake(w, 1)
				}
				return real.Word(op, w, a, b)
			},
			Wake: func(real mem.Scheduler, w *mem.Uint64, n int) int { return 0 },
		}, 0, 2, "only the end of a slice"},
		{"asleep without another look", explore.Fault{
			Wait: func(real mem.Scheduler, w *mem.Uint64, seen uint64, d time.Duration) mem.End {
				for {
					if end := real.Wait(w, real.Word(mem.Load, w, 0, 0), d); end != mem.Skipped {
						return end
					}
				}
			},
		}, 0, 2, "only the end of a slice"},
		{"no wake-up", explore.Fault{
			Wake: func(real mem.Scheduler, w *mem.Uint64, n int) int { return 0 },
		}, 0, 2, "only the end of a slice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := mutexModel(tt.name)
			for range tt.actors {
				m.Actors = append(m.Actors, one)
			}
			m.Deaths = tt.deaths
			explore.Find(t, m, tt.fault, tt.found)
		})
	}
}

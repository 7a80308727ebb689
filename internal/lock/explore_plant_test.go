//go:build multiproc_explore

package lock

import (
	"strings"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/explore"
	"github.com/go-multiproc/multiproc/internal/mem"
)

// A fault is one that the explorer has to find: it stands between the code and its
// steps.
type fault struct {
	mem.Scheduler
	word func(real mem.Scheduler, op mem.Op, w *mem.Uint64, a, b uint64) uint64
	wait func(real mem.Scheduler, w *mem.Uint64, seen uint64, d time.Duration) mem.End
	wake func(real mem.Scheduler, w *mem.Uint64, n int) int
}

func (f fault) Word(op mem.Op, w *mem.Uint64, a, b uint64) uint64 {
	if f.word != nil {
		return f.word(f.Scheduler, op, w, a, b)
	}
	return f.Scheduler.Word(op, w, a, b)
}

func (f fault) Wait(w *mem.Uint64, seen uint64, d time.Duration) mem.End {
	if f.wait != nil {
		return f.wait(f.Scheduler, w, seen, d)
	}
	return f.Scheduler.Wait(w, seen, d)
}

func (f fault) Wake(w *mem.Uint64, n int) int {
	if f.wake != nil {
		return f.wake(f.Scheduler, w, n)
	}
	return f.Scheduler.Wake(w, n)
}

// Faults that locks between processes have had, elsewhere, are found.
func TestExploreFindsFaultsInMutex(t *testing.T) {
	one := actor(patient(User))
	for _, tt := range []struct {
		name   string
		fault  fault
		deaths int
		actors int
		found  string
	}{
		{"owner written after the lock bit", fault{
			word: func(real mem.Scheduler, op mem.Op, w *mem.Uint64, a, b uint64) uint64 {
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
		{"stolen without the exact word", fault{
			word: func(real mem.Scheduler, op mem.Op, w *mem.Uint64, a, b uint64) uint64 {
				if op == mem.CompareAndSwap && word(a).held() && word(b) == word(a).diedOn() {
					real.Word(mem.Store, w, b, 0)
					return 1
				}
				return real.Word(op, w, a, b)
			},
		}, 1, 3, "Unlock: psync: this process does not hold"},
		{"woken before the lock is free", fault{
			word: func(real mem.Scheduler, op mem.Op, w *mem.Uint64, a, b uint64) uint64 {
				if op == mem.CompareAndSwap && word(a).held() && !word(b).held() && word(a).waiters() {
					real.Wake(w, 1)
				}
				return real.Word(op, w, a, b)
			},
			wake: func(real mem.Scheduler, w *mem.Uint64, n int) int { return 0 },
		}, 0, 2, "only the end of a slice"},
		{"asleep without another look", fault{
			wait: func(real mem.Scheduler, w *mem.Uint64, seen uint64, d time.Duration) mem.End {
				for {
					if end := real.Wait(w, real.Word(mem.Load, w, 0, 0), d); end != mem.Skipped {
						return end
					}
				}
			},
		}, 0, 2, "only the end of a slice"},
		{"no wake-up", fault{
			wake: func(real mem.Scheduler, w *mem.Uint64, n int) int { return 0 },
		}, 0, 2, "only the end of a slice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := mutexModel(tt.name)
			for range tt.actors {
				m.Actors = append(m.Actors, one)
			}
			m.Deaths = tt.deaths
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

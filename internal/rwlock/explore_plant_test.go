//go:build multiproc_explore

package rwlock

import (
	"strings"
	"testing"

	"github.com/go-multiproc/multiproc/internal/explore"
	"github.com/go-multiproc/multiproc/internal/lock"
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

// What could go wrong between readers and writers is found.
func TestExploreFindsFaultsInRWMutex(t *testing.T) {
	lock.NoSpinning()
	const user, scoped = uint64(lock.User), uint64(lock.Scoped)
	for _, tt := range []struct {
		name   string
		first  first
		deaths int
		fault  fault
		found  string
	}{
		{"the gate stays open", outside, 0, fault{
			word: func(real mem.Scheduler, op mem.Op, w *mem.Uint64, a, b uint64) uint64 {
				if op == mem.Store && a == shut {
					return 0
				}
				return real.Word(op, w, a, b)
			},
		}, "inside with a writer"},
		{"a user's hold while the gate is opened", writing, 1, fault{
			word: func(real mem.Scheduler, op mem.Op, w *mem.Uint64, a, b uint64) uint64 {
				if op == mem.CompareAndSwap && a&(user|scoped) == user && b&(user|scoped) == scoped {
					return 1
				}
				return real.Word(op, w, a, b)
			},
		}, "inside"},
		{"no wake-up", outside, 0, fault{
			wake: func(real mem.Scheduler, w *mem.Uint64, n int) int { return 0 },
		}, "only the end of a slice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := rwmutexModel(tt.name, tt.first, writer(1), reader(1))
			m.Deaths, m.Slices = tt.deaths, 2*tt.deaths-1
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

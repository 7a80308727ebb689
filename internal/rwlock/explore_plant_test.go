//go:build multiproc_explore

package rwlock

import (
	"testing"

	"github.com/go-multiproc/multiproc/internal/explore"
	"github.com/go-multiproc/multiproc/internal/lock"
	"github.com/go-multiproc/multiproc/internal/mem"
)

// What could go wrong between readers and writers is found.
func TestExploreFindsFaultsInRWMutex(t *testing.T) {
	lock.NoSpinning()
	const user, scoped = uint64(lock.User), uint64(lock.Scoped)
	for _, tt := range []struct {
		name   string
		first  first
		deaths int
		fault  explore.Fault
		found  string
	}{
		{"the gate stays open", outside, 0, explore.Fault{
			Word: func(real mem.Scheduler, op mem.Op, w *mem.Uint64, a, b uint64) uint64 {
				if op == mem.Store && a == shut {
					return 0
				}
				return real.Word(op, w, a, b)
			},
		}, "inside with a writer"},
		{"a user's hold while the gate is opened", writing, 1, explore.Fault{
			Word: func(real mem.Scheduler, op mem.Op, w *mem.Uint64, a, b uint64) uint64 {
				if op == mem.CompareAndSwap && a&(user|scoped) == user && b&(user|scoped) == scoped {
					return 1
				}
				return real.Word(op, w, a, b)
			},
		}, "inside"},
		{"no wake-up", outside, 0, explore.Fault{
			Wake: func(real mem.Scheduler, w *mem.Uint64, n int) int { return 0 },
		}, "only the end of a slice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := rwmutexModel(tt.name, tt.first, writer(1), reader(1))
			m.Deaths, m.Slices = tt.deaths, 2*tt.deaths-1
			explore.Find(t, m, tt.fault, tt.found)
		})
	}
}

package process

import (
	"fmt"
	"runtime"
	"sync"
	"time"
)

// A memoryGuard ends this process when what is in use of its memory is beyond the limit. It looks after each collection, which is when that
// is known, and when the collector runs all the time because the limit is near.
type memoryGuard struct {
	given int64  // what the user said
	limit uint64 // as the collector was told it, the runtime's own memory included

	mu    sync.Mutex
	later *time.Timer // to look once more
	wait  time.Duration
}

// How long after a collection the guard looks once more, each time twice as long after the time before, until the Go runtime makes a collection of its own
// accord (two minutes after the last).
const (
	guardSoon = 100 * time.Millisecond
	guardLate = 2 * time.Minute
)

func newMemoryGuard(given int64, limit uint64) *memoryGuard {
	g := &memoryGuard{given: given, limit: limit}
	g.later = time.AfterFunc(guardLate, func() {
		g.look()
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.wait *= 2; g.wait < guardLate {
			g.later.Reset(g.wait)
		}
	})
	return g
}

// arm sees to it that the next collection is looked at: whatever nobody refers to is found by it.
//
// But a collection that is under way by now does not find it, since it takes for used what is allocated beside it; and if the program does nothing from
// then on, there is no other one. Hence the timer, which a program that goes on puts off with each collection.
func (g *memoryGuard) arm() {
	// Not smaller, and not without a pointer: such objects live together, and die together.
	type sentinel struct{ self *memoryGuard }
	runtime.AddCleanup(&sentinel{g}, func(g *memoryGuard) {
		g.look()
		g.arm()
	}, g)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.wait = guardSoon
	g.later.Reset(g.wait)
}

// look ends the process if it is beyond the limit. What was allocated while a collection ran counts as in use, and on a busy
// machine that may be much; so it takes several collections to be sure.
func (g *memoryGuard) look() {
	const sure = 4
	for n := 1; ; n++ {
		used := g.used()
		if used <= g.limit {
			return
		}
		if n == sure {
			// An end like any other fatal error: nothing deferred runs, the text is on standard error and in the crash file.
			panic(outOfMemoryError{used, g.given})
		}
		runtime.GC()
	}
}

// used is what is in use, or less if that is below the limit. The collector's target for the heap is below the limit, stacks and the runtime's
// own memory subtracted, as long as what is reachable leaves it the choice. So a target that is above says that reachable data alone are.
// (Package runtime/metrics would tell directly, but takes a tenth of a millisecond to initialise, in every process.)
func (g *memoryGuard) used() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.NextGC + m.StackInuse
}

type outOfMemoryError struct {
	used  uint64
	given int64
}

// outOfMemoryText is how the parent knows the end.
const outOfMemoryText = "process: out of memory: "

func (e outOfMemoryError) Error() string {
	const mib = 1 << 20
	return fmt.Sprintf("%s%.1f MiB are in use, Limits.Memory is %.1f MiB", outOfMemoryText, float64(e.used)/mib, float64(e.given)/mib)
}

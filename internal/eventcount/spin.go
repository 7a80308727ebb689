package eventcount

import (
	"runtime"
	"sync/atomic"
	"time"

	"github.com/go-multiproc/multiproc/internal/mem"
	"github.com/go-multiproc/multiproc/internal/sys"
)

// Going to sleep and being woken takes 5 to 50 µs, and what one waits for is often half a
// microsecond away. So a wait looks for spinTime before it sleeps, as long as that has
// paid: one in vain halves how often it is tried, down to one wait in 64, and one that
// succeeds restores it. PAUSE takes from 10 to 140 cycles, so the clock decides, and is
// read after every spinLooks looks only.
const (
	spinTime   = 20 * time.Microsecond
	spinLooks  = 16
	spinPause  = 2
	spinMisses = 6 // 1 << spinMisses waits without spinning, at most

	// After spinAlone, the CPU is offered to others between looks: it may be the very one that
	// the other side needs.
	spinAlone = 3 * time.Microsecond

	// Looks that take longer than this have lost their CPU: there are more who want to run
	// than CPUs, and who sleeps is served sooner there than who spins.
	spinLost = 100 * time.Microsecond
)

// A spinner decides whether to spin for one count.
type spinner struct {
	spinning atomic.Bool // one goroutine at a time; protects what follows
	misses   int         // in a row
	skip     int         // waits to go without
}

// spinners counts the goroutines that spin in this process, so that they leave a CPU to those
// who work.
var spinners atomic.Int32

func maxSpinners() int32 { return int32(max(1, min(runtime.NumCPU(), runtime.GOMAXPROCS(0))-1)) }

// NoSpin turns it off, for tests and benchmarks.
var NoSpin atomic.Bool

// Spin looks until ready reports true or it is no longer worth it, and reports which. A caller that
// begins with it has a wait that ends at once for nothing: Wait needs memory. ready changes nothing.
func (c *Count) Spin(ready func() bool) bool {
	done, _ := c.spinner.spin(func() (bool, error) { return ready(), nil })
	return done
}

// look is what spin calls.
func (w *Wanted) look() (done bool, err error) {
	if w.Ready != nil && !w.Ready() {
		return false, nil
	}
	return w.Try()
}

// spin calls look until it is done or it is no longer worth it.
func (s *spinner) spin(look func() (done bool, err error)) (done bool, err error) {
	if mem.Explored || runtime.NumCPU() == 1 || NoSpin.Load() || !s.spinning.CompareAndSwap(false, true) {
		return false, nil
	}
	defer s.spinning.Store(false)
	if s.skip > 0 {
		s.skip--
		return false, nil
	}
	defer spinners.Add(-1)
	if spinners.Add(1) > maxSpinners() {
		return false, nil
	}
	begin := time.Now()
	var last time.Duration
	for {
		for range spinLooks {
			sys.Pause(spinPause)
			if done, err := look(); done || err != nil {
				s.misses = 0
				return done, err
			}
		}
		now := time.Since(begin)
		if now > spinTime || now-last > spinLost {
			s.misses = min(s.misses+1, spinMisses)
			s.skip = 1<<s.misses - 1
			return false, nil
		}
		last = now
		if now > spinAlone {
			sys.Yield()
		}
	}
}

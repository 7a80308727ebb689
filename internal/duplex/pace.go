package duplex

import (
	"runtime"
	"sync/atomic"
	"time"

	"github.com/go-multiproc/multiproc/internal/sys"
	"github.com/go-multiproc/multiproc/internal/wire"
)

// Waiting by looking. A reply through the rings is half a microsecond away if the other side is awake and has a CPU; going to sleep and
// being woken costs 5 to 20 µs on both sides. So a wait looks for a while before it sleeps.
//
// In the first microseconds it only looks. Then it yields the CPU between looks (sched_yield, half a microsecond if nobody wants it): the other
// side may be waiting for this very CPU. If a yield takes more than twice as long as the shortest ever did, others have run here (that takes two switches, each of which
// is longer than a yield; less is the processor's clock), and the CPU counts as crowded: from then on waits yield
// from the beginning, until crowdedFor yields in a row have come back at once (one is not enough: the scheduler is fair, and
// lets whoever has had less of the CPU go on for a while). So four clients and a server on two CPUs hand them around, some
// two microseconds each, instead of looking out for somebody who waits for the CPU that they look with.
//
// Who yields on a machine with other work loses the CPU for milliseconds, where one that sleeps is served when its message comes. After such
// a loss nobody in this process yields for a while (pauseMin); waits then only look (pausedTime), and sleep when that was not enough. When the next loss comes soon
// after (pauseMemory), the pause is twice as long, up to pauseMax. Losses that are rare are not worth more: each machine has a housekeeper now and then, and for two who share a CPU a pause
// is the worst there is, since each then keeps it from the other for as long as it looks.
const (
	lookTime   = 4 * time.Microsecond  // looking only
	pausedTime = 20 * time.Microsecond // likewise, while nobody may yield: as long as it takes to wake the other side
	spinTime   = 50 * time.Microsecond // looking and yielding
	yieldLost  = 300 * time.Microsecond
	pauseMin   = time.Millisecond
	pauseMax   = 100 * time.Millisecond

	pauseMemory = 4 // pauses

	crowdedFor  = 32
	looksAtOnce = 8
	spinMisses  = 6 // 1 << spinMisses waits without a look, at most
)

var (
	crowded     atomic.Int32 // counts down from crowdedFor
	pausedUntil atomic.Int64 // on the clock of now: no yields until then
	pause       atomic.Int64
	spinners    atomic.Int32 // goroutines that look now; they leave a CPU to those who work
	quickest    atomic.Int64 // of all yields
	start       = time.Now()
)

func init() { quickest.Store(int64(time.Millisecond)) }

func now() int64 { return int64(time.Since(start)) }

func maxSpinners() int32 { return int32(min(runtime.NumCPU(), runtime.GOMAXPROCS(0))) - 1 }

// StartLooking counts the caller among those who look, until StopLooking, or reports that there are enough of them: each CPU
// but one may be looked away.
func StartLooking() bool {
	if wire.NoSpin.Load() {
		return false
	}
	if spinners.Add(1) > maxSpinners() {
		spinners.Add(-1)
		return false
	}
	return true
}

// StopLooking ends StartLooking.
func StopLooking() { spinners.Add(-1) }

// A Pace says how to go on after looks in vain. Its zero value is a wait that begins.
type Pace struct {
	begin int64 // when the first look was in vain
}

// Reset begins a new wait.
func (p *Pace) Reset() { p.begin = 0 }

// Next is to be called after some looks in vain. It reports whether to look again; if not, sleeping is better.
func (p *Pace) Next() bool {
	t := now()
	if p.begin == 0 {
		p.begin = t
	}
	waited := t - p.begin
	switch {
	case waited > int64(spinTime):
		return false
	case waited < int64(lookTime) && crowded.Load() == 0:
		return true
	case t < pausedUntil.Load():
		return waited < int64(pausedTime)
	}
	sys.Yield()
	took := now() - t
	q := quickest.Load()
	if took < q {
		quickest.Store(took) // another may do so at the same time: then it is the next one
	}
	if took > 2*q {
		crowded.Store(crowdedFor)
	} else if n := crowded.Load(); n > 0 {
		crowded.Store(n - 1)
	}
	if took > int64(yieldLost) {
		d := int64(pauseMin)
		if last := pause.Load(); t < pausedUntil.Load()+pauseMemory*last {
			d = min(max(2*last, d), int64(pauseMax))
		}
		pause.Store(d)
		pausedUntil.Store(t + took + d)
		return false
	}
	return true
}

// A spinner decides for one direction of a connection whether to look before sleeping: each wait in vain in a row but the first halves how often that is tried, and one that
// was not restores it. The first is often an accident of the other side (garbage collected, a disk synced), and sleeping is not only slow itself: who is woken may be
// put on the CPU of the one who wakes it, where both stay for ten milliseconds. It is for one goroutine at a time.
type spinner struct {
	misses int // in a row
	skip   int // waits to go without
}

func (s *spinner) spin(ready func() bool) bool {
	if s.skip > 0 {
		s.skip--
		return false
	}
	if !StartLooking() {
		return false
	}
	defer StopLooking()
	var p Pace
	for {
		for range looksAtOnce {
			if ready() {
				s.hit()
				return true
			}
			sys.Pause(1)
		}
		if !p.Next() {
			s.miss()
			return false
		}
	}
}

func (s *spinner) miss() {
	s.skip = 1<<s.misses - 1
	s.misses = min(s.misses+1, spinMisses)
}

func (s *spinner) hit() {
	s.misses = 0
	if d := pause.Load(); d != 0 {
		pause.Store(d - d/32 - 1)
	}
}

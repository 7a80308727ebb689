package wire

import (
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-multiproc/multiproc/internal/sys"
)

// A message that answers one just sent is often a few microseconds away. Parking the goroutine and waking it up through
// the poller costs 20 to 40 µs; trying again for a while costs about 6. So a read tries for spinTime before it parks,
// as long as that has paid: a try in vain halves how often it is tried, down to one read in 64, and one that
// succeeds restores it. A read that waits for long costs one spinTime and then nothing.
//
// After the first few tries the thread yields its CPU between them by the system call, because on a busy machine the peer may be waiting for this very
// CPU. runtime.Gosched would not do that, and takes three times as long. Where nobody wants the CPU a yield takes longer than a try, and the message
// waits for it: a round trip of objects, which are not answered within four tries, was a tenth slower for it. So a Spinner learns how soon to yield:
// from yields that took no time, that the CPU is not wanted, and it may try on for the time of a whole round trip; from one that did, that it is.
const (
	spinTime         = 50 * time.Microsecond
	spinEager        = 4                      // tries before the first yield, to begin with
	spinEagerLeast   = 2                      // and in the end, where others want the CPU
	spinEagerMost    = 24                     // and where nobody does
	spinYield        = 1200 * time.Nanosecond // what a yield takes, at most, if nobody does
	spinMisses       = 6                      // 1 << spinMisses reads without a try, at most
	persistentMisses = 2                      // likewise, for a Spinner that is Persistent

	// A try that takes longer than spinStall has lost its CPU: to the peer, perhaps, but then parking is as good. One that takes longer than
	// spinLost has lost it for a whole time slice: there are more who want to run than CPUs, and there who yields waits for milliseconds, where one that
	// sleeps is served at once when its message comes. (Seen: 10 ms per round trip against 35 µs.) Then nobody in this process
	// spins for pauseMin, doubled each time up to pauseMax; every try that pays takes back a little of that, because
	// the garbage collector and a virtual machine's host take the CPU now and then on an idle machine, too.
	spinStall = 20 * time.Microsecond
	spinLost  = 200 * time.Microsecond
	pauseMin  = time.Millisecond
	pauseMax  = 2 * time.Second
)

// NoSpin turns it off in this process, to compare.
var NoSpin atomic.Bool

// spinners counts the goroutines that spin now, so that they leave a CPU to those who work.
var spinners atomic.Int32

func maxSpinners() int32 {
	return int32(min(runtime.NumCPU(), runtime.GOMAXPROCS(0))) - 1
}

// Where several conversations are under way, the CPU that one of them spins away is what the others need: eight on two
// CPUs get along nearly twice as fast when all park. So every read that waits says so here, in its Conn's slot (Conns that
// share one are not told apart), with the time since when. What has waited for longer than warmFor is idle and needs no CPU.
var (
	waits    [16]atomic.Int64 // on the clock of sinceStart; 0 = nobody
	nextSlot atomic.Uint32
	start    = time.Now()
)

// pausedUntil, on the same clock, is when this process may spin again after it lost its CPU; pause is for how long it was told not to.
var pausedUntil, pause atomic.Int64

const warmFor = 500 * time.Microsecond

func sinceStart() int64 { return int64(time.Since(start)) }

// A Spinner decides, for one connection, whether to spin. Its zero value is ready for use, by one goroutine at a time. A Conn has its own;
// it is exported for those who read their descriptor themselves, so that all of a process share what is known of the others.
type Spinner struct {
	// Persistent is for conversations that others share the CPUs with: a try may take twice as long before it counts as one in vain, and those
	// that were in vain keep it from spinning for a few reads only. Who sleeps among processes that hand the CPUs around is the last to
	// get one again: with four clients of one server on two CPUs that takes twice as long.
	Persistent bool

	misses int // in a row
	skip   int // reads to go without a try
	slot   *atomic.Int64
	eager  int // tries before the first yield; 0 = spinEager
}

// others counts the other reads that have begun to wait not long ago.
func (s *Spinner) others(now int64) (n int32) {
	for i := range waits {
		if since := waits[i].Load(); since != 0 && now-since < int64(warmFor) && &waits[i] != s.slot {
			n++
		}
	}
	return n
}

// Spin calls try, which must not block, until it reports true or it is no longer worth it, and reports which. It is for a read that has just found nothing. In any case
// the read counts as waiting, until Done is called.
func (s *Spinner) Spin(try func() bool) bool {
	if s.slot == nil {
		s.slot = &waits[nextSlot.Add(1)%uint32(len(waits))]
	}
	begin := sinceStart()
	s.slot.Store(begin)
	if s.skip > 0 {
		s.skip--
		return false
	}
	if NoSpin.Load() || begin < pausedUntil.Load() {
		return false
	}
	defer spinners.Add(-1)
	limit := maxSpinners()
	if spinners.Add(1) > limit {
		return false
	}
	if s.eager == 0 {
		s.eager = spinEager
	}
	eager := s.eager
	for n, now := 0, begin; ; n++ {
		if s.others(now) >= limit {
			return false
		}
		if n >= eager {
			sys.Yield()
			s.yielded(sinceStart() - now)
		}
		ok := try()
		last := now
		now = sinceStart()
		switch took := now - last; {
		case took > int64(spinLost):
			p := min(max(2*pause.Load(), int64(pauseMin)), int64(pauseMax))
			pause.Store(p)
			pausedUntil.Store(now + p)
			return ok
		case took > int64(s.stall()):
			s.miss()
			return ok
		case ok:
			s.misses = 0
			if p := pause.Load(); p != 0 {
				pause.Store(p - p/32 - 1)
			}
			return true
		case now-begin > int64(spinTime):
			s.miss()
			return false
		}
	}
}

// yielded learns from the time that a yield took.
func (s *Spinner) yielded(took int64) {
	if took > int64(spinYield) {
		s.eager = max(s.eager/2, spinEagerLeast)
	} else {
		s.eager = min(s.eager+1, spinEagerMost)
	}
}

func (s *Spinner) stall() time.Duration {
	if s.Persistent {
		return 2 * spinStall
	}
	return spinStall
}

// miss counts a try that did not pay.
func (s *Spinner) miss() {
	limit := spinMisses
	if s.Persistent {
		limit = persistentMisses
	}
	s.misses = min(s.misses+1, limit)
	s.skip = 1<<s.misses - 1
}

// Done says that the read no longer waits. Without a Spin before it does nothing.
func (s *Spinner) Done() {
	if s.slot != nil {
		s.slot.Store(0)
	}
}

// syscallError is os.NewSyscallError for an errno that is not zero.
func syscallError(call string, errno syscall.Errno) error { return os.NewSyscallError(call, errno) }

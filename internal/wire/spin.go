package wire

import (
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
)

// A message that answers one just sent is often a few microseconds away. Parking the goroutine and waking it up through
// the poller costs 20 to 40 µs; trying again for a while costs about 6. So a read tries for spinTime before it parks,
// as long as that has paid: a try in vain halves how often it is tried, down to one read in 64, and one that
// succeeds restores it. A read that waits for long costs one spinTime and then nothing.
//
// Between tries the thread yields its CPU by the system call, because on a busy machine the peer may be waiting for this very
// CPU. runtime.Gosched would not do that, and takes three times as long.
const (
	spinTime   = 50 * time.Microsecond
	spinEager  = 4 // tries before the first yield
	spinMisses = 6 // 1 << spinMisses reads without a try, at most
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

const warmFor = 500 * time.Microsecond

func sinceStart() int64 { return int64(time.Since(start)) }

// A Spinner decides, for one connection, whether to spin. Its zero value is ready for use, by one goroutine at a time. A Conn has its own;
// it is exported for those who read their descriptor themselves, so that all of a process share what is known of the others.
type Spinner struct {
	misses int // in a row
	skip   int // reads to go without a try
	slot   *atomic.Int64
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
	if NoSpin.Load() {
		return false
	}
	defer spinners.Add(-1)
	limit := maxSpinners()
	if spinners.Add(1) > limit {
		return false
	}
	for n, now := 0, begin; ; n++ {
		if s.others(now) >= limit {
			return false
		}
		if n >= spinEager {
			yieldCPU()
		}
		if try() {
			s.misses = 0
			return true
		}
		if now = sinceStart(); now-begin > int64(spinTime) {
			break
		}
	}
	s.misses = min(s.misses+1, spinMisses)
	s.skip = 1<<s.misses - 1
	return false
}

// Done says that the read no longer waits. Without a Spin before it does nothing.
func (s *Spinner) Done() {
	if s.slot != nil {
		s.slot.Store(0)
	}
}

// syscallError is os.NewSyscallError for an errno that is not zero.
func syscallError(call string, errno syscall.Errno) error { return os.NewSyscallError(call, errno) }

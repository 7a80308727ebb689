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

// spinners counts the goroutines that spin now, so that they leave a CPU to those who work.
var spinners atomic.Int32

func maxSpinners() int32 {
	return int32(min(runtime.NumCPU(), runtime.GOMAXPROCS(0))) - 1
}

// A spinner decides, for one Conn, whether to spin.
type spinner struct {
	misses int // in a row
	skip   int // reads to go without a try
}

// spin calls try until it reports true or it is no longer worth it, and reports which.
func (s *spinner) spin(try func() bool) bool {
	if s.skip > 0 {
		s.skip--
		return false
	}
	if spinners.Add(1) > maxSpinners() {
		spinners.Add(-1)
		return false
	}
	defer spinners.Add(-1)
	start := time.Now()
	for n := 0; ; n++ {
		if n >= spinEager {
			yieldCPU()
		}
		if try() {
			s.misses = 0
			return true
		}
		if time.Since(start) > spinTime {
			break
		}
	}
	s.misses = min(s.misses+1, spinMisses)
	s.skip = 1<<s.misses - 1
	return false
}

// syscallError is os.NewSyscallError for an errno that is not zero.
func syscallError(call string, errno syscall.Errno) error { return os.NewSyscallError(call, errno) }

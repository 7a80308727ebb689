package wire

import (
	"runtime"
	"runtime/metrics"
	"sync/atomic"
)

// Where a payload is given memory of its own, that is garbage soon after. A process whose heap is small otherwise is then collected each time that
// 4 MiB have come, which is every fourth message of 1 MiB, and on two CPUs one collection takes as long as two such messages. So while
// large payloads keep coming, a piece of memory is held that nobody touches: it takes addresses and no memory, and has the collector
// wait for ballastSize more of them. There was a third less throughput without it. A list of buffers that come back by finalizers costs as
// much memory, which stays taken, and gains less.
//
// What it costs is that so much more garbage may stand in memory. It is let go when such payloads have become few, and not held where
// it would be of no use, or do harm; see ballastHelps.
const (
	ballastSize = 16 << 20
	ballastIdle = 2                // collections in a row without many payloads, after which it is let go
	ballastRoom = 16 * ballastSize // the least that the program's memory limit has to be
)

var ballast struct {
	held  atomic.Pointer[byte]
	bytes atomic.Int64 // of payloads: since the last collection if it is held, else since it was last thought of
}

// countPayload is told of every large payload that is given memory of its own.
func countPayload(n int) {
	if ballast.bytes.Add(int64(n)) < ballastSize || ballast.held.Load() != nil {
		return
	}
	ballast.bytes.Store(0)
	if ballastHelps(0) && ballast.held.CompareAndSwap(nil, untouched(ballastSize)) {
		new(ballastWatch).wait()
	}
}

// A ballastWatch is unreachable from the beginning, so that each collection finds it.
type ballastWatch struct {
	idle int
	_    *byte // else several could share one allocation
}

func (w *ballastWatch) wait() { runtime.SetFinalizer(w, (*ballastWatch).collected) }

func (w *ballastWatch) collected() {
	if ballast.bytes.Swap(0) < ballastSize/4 {
		w.idle++
	} else {
		w.idle = 0
	}
	if w.idle == ballastIdle || !ballastHelps(ballastSize) {
		ballast.held.Store(nil)
		return
	}
	w.wait()
}

// ballastHelps reports whether the heap, which has held bytes of ballast in it, is small enough for ballast to matter, and the program's memory limit, if it
// has one, large enough.
func ballastHelps(held uint64) bool {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/gomemlimit:bytes"}}
	metrics.Read(s)
	for i := range s {
		if s[i].Value.Kind() != metrics.KindUint64 {
			return false
		}
	}
	return s[0].Value.Uint64() < held+ballastSize && s[1].Value.Uint64() >= ballastRoom
}

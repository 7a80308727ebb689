//go:build race

package cell

import (
	"sync/atomic"
	"unsafe"
)

// RaceEnabled tells whether the race detector is there.
const RaceEnabled = true

// The race detector sees the Go heap and nothing of a mapping, where the words
// are that order what one goroutine does before what another does. Without
// stand-ins on the heap, it would report everything that is ordered by them.
//
// Words share stand-ins, which makes the detector see order where there is none
// now and then, and miss a race; it never invents one.
var standIns [1024]atomic.Uint64

func standIn(p unsafe.Pointer) *atomic.Uint64 { return &standIns[uintptr(p)/8%1024] }

// RaceAcquire tells the race detector that what was written before RaceRelease of
// the same address happened before now.
func RaceAcquire(p unsafe.Pointer) { standIn(p).Load() }

// RaceRelease is the other half of RaceAcquire.
func RaceRelease(p unsafe.Pointer) { standIn(p).Add(1) }

//go:build !race

package cell

import "unsafe"

// RaceEnabled tells whether the race detector is there.
const RaceEnabled = false

// RaceAcquire does nothing without the race detector.
func RaceAcquire(p unsafe.Pointer) {}

// RaceRelease does nothing without the race detector.
func RaceRelease(p unsafe.Pointer) {}

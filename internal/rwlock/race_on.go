//go:build race

package rwlock

import "sync/atomic"

// A raceWord tells the race detector what the lock orders. The detector sees
// only the Go heap and not the mapping where the lock itself is, so without this
// it would report every piece of heap that a lock guards.
type raceWord struct{ n atomic.Uint64 }

func (r *raceWord) raceAcquire() { r.n.Add(1) }
func (r *raceWord) raceRelease() { r.n.Add(1) }

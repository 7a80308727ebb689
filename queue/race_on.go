//go:build race

package queue

import "sync/atomic"

// A raceWord tells the race detector that what was done before a Put happened before
// what is done after the Get. The detector sees only the Go heap, and not the mapping
// where the words are that order it.
type raceWord struct{ n atomic.Uint64 }

func (r *raceWord) release() { r.n.Add(1) }
func (r *raceWord) acquire() { r.n.Load() }

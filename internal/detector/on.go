//go:build race

package detector

import "sync/atomic"

// Enabled: this is a build with the race detector, which takes several times the memory and the time.
const Enabled = true

// An Order is one thing that orders: what came before a Release comes before
// what follows a later Acquire. It must be the same one for all goroutines of the
// process, however they came by the shared object.
type Order struct{ n atomic.Uint64 }

// Acquire stands behind the step that finds what others released.
func (o *Order) Acquire() { o.n.Add(1) }

// Release stands before the step that others find.
func (o *Order) Release() { o.n.Add(1) }

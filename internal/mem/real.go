//go:build !multiproc_explore

package mem

import "sync/atomic"

// A Uint64 is a 64-bit word in shared memory.
type Uint64 = atomic.Uint64

// Copy copies payload bytes, as many as fit. One of dst and src is in shared
// memory; whoever looks at it meanwhile sees any mixture of old and new.
func Copy(dst, src []byte) { copy(dst, src) }

// Mark does nothing. To the explorer it says that from here on, what its caller
// does depends on nothing that it has seen before but locals.
func Mark(label string, locals ...uint64) {}

// Enter does nothing. To the explorer it says that until Leave, Marks forget nothing that
// was known before: it stands around calls of functions that one does not know.
func Enter() {}

// Leave ends what Enter began.
func Leave() {}

// Explored tells whether steps may go to a scheduler: then nothing may depend on the
// clock.
const Explored = false

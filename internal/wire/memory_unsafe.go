package wire

import (
	"strings"
	"unsafe"
)

// unzeroed is from which size on memory for a payload is not cleared first: it is about to be overwritten, and clearing
// takes as long as everything else that an allocation of 1 MiB does.
const unzeroed = 32 << 10

// Allocate returns an empty slice with room for n bytes. What is between its length and its capacity may be anything, and must not be
// shown to anybody. It is exported for those who have the results of others to fill.
func Allocate(n int) []byte {
	if n < unzeroed {
		return make([]byte, 0, n)
	}
	countPayload(n)
	return unsafe.Slice(untouched(n), n)[:0]
}

// untouched returns memory of n bytes that nothing was written to.
func untouched(n int) *byte {
	// A strings.Builder promises room for n bytes in one piece, and does not clear it. The byte written makes
	// its String point there.
	var b strings.Builder
	b.Grow(n)
	b.WriteByte(0)
	return unsafe.StringData(b.String())
}

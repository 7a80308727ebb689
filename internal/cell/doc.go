// Package cell reads and writes single elements in shared memory so that nobody
// ever sees half of one: the mechanism behind packages value and array.
//
// Elements of 1, 2, 4 and 8 bytes are single atomic accesses, the two small ones
// by way of the aligned 32-bit word that they stand in. See [LoadBits] and its
// neighbours.
//
// Elements of any other size are protected by a stripe, a record in the meta area
// of the segment; a Value has one, an Array up to 64, which its elements share.
// The place in the data area is canonical. A writer takes the stripe's lock, puts
// the new content into the stripe's shadow, makes the stripe's sequence number
// odd, copies the shadow into the data, and makes the number even. Whoever reads
// takes the data when the number is even, and the shadow when it is odd and the
// shadow is of the same element; and starts over unless the number is unchanged
// afterwards. Readers take no lock, and write nothing.
//
// A writer that dies with an even number has changed nothing. One that dies with
// an odd number has finished, as far as readers are concerned: its shadow is
// complete. The next writer, to whom the lock goes silently, copies the shadow
// once more before it begins. So death at no step leaves half an element, and
// nobody waits for the dead, writers for as long as it takes to notice the death
// excepted. See [Stripes].
//
// Processes that share a segment trust each other, and the protocol covers those
// who follow it: plain stores by way of a slice, or by another program, can be
// seen half-done in elements that are no single word.
//
// For single words without a typed face, use sync/atomic on seg.Mapping.Word.
package cell

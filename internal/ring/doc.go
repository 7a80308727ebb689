// Package ring is the queue of byte messages behind package queue: the steps that
// are taken on the shared memory, and nothing else. It knows no goroutines, no
// waiting and no handles; its callers hold the lock of the side that they are on.
//
// # The ring
//
// The ring is a power of two of bytes, used in words of eight. A position counts
// words modulo 2^31; its low bits are the offset. Two words move, each on a cache
// line of its own: the tail, which only a producer stores, under the producers'
// lock, and the head, which only a consumer stores, under the consumers' lock. See
// [Place] for their bits: position and number of messages are one word, so that no
// death tears them apart, and the tail has the bit that says that the queue is
// shut. A message becomes visible by the one store of the tail, after all of it
// was written; its bytes are free again with the one store of the head, after all
// of it was copied out.
//
// A record is two words and the payload, which starts on a multiple of eight and
// never runs around the end of the ring:
//
//	word
//	   0  bits 0-7: flags (pad, big); bits 8-55: length of the payload in bytes
//	   1  bits 0-3: kind; bits 8-23: deliveries so far; bits 24-63: token
//	   2  the payload; of a big message: where it starts in the overflow area
//
// A pad is one word that fills the ring to its end.
//
// Each side remembers what it last saw of the other's word in a word of its own,
// so that it fetches the other's cache line only when the ring seems full, or
// empty. These copies are in the segment and not in the processes' memory: what is
// old in there is never more than one lap old.
//
// # Leases
//
// As long as nobody leases, everything before the head is gone and everything
// after it waits. A lease leaves the message where it is: the head stays, with its
// bit "behind" set, and the word next says from where on nobody has taken
// anything. Between head and next stand records that are leased, done, or ready
// again: returned, since they were given back or their holder died. The head moves
// on over those that are done.
//
// # Big messages
//
// A message that is larger than half of the ring stands in the overflow area, which is
// sparse: memory is put behind it by the Put, and taken away when the head moves on. It is
// used in the order of the records, whole pages at a time.
//
// # Death
//
// Every step is one store, and each state between two steps is one that the next
// holder of the lock can go on from: see the tests of package queue, which kill a
// process at each. What is left to be found by a sweep is what a dead process
// owned: leases and reservations, which name their owner by its token.
//
// # Trust
//
// Positions and lengths that were read from the segment are checked before they
// are used. What contradicts itself is [ErrDamaged], never a panic, nor an access
// outside the ring.
package ring

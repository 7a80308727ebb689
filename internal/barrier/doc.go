// Package barrier is the mechanism of psync.Barrier: a number of parties, in any
// processes, wait until all have arrived.
//
// # Rounds
//
// One word says which round is on, how many have arrived in it, and whether the
// barrier is broken; see [state]. To arrive is one compare-and-swap, whose count is
// the party's index. The last one starts the next round in the same step, so there
// is no state in which a round is complete and parties are still to be let go: who
// finds another round than his own on has passed. The parties wait by way of an
// eventcount and not on that word.
//
// # Who is missed
//
// Each process writes its token into a table of members, with the round that it is
// about to arrive in, before it arrives. A member of this round or of the one before
// that is dead will not come, or not come again: then the others break the barrier.
// A member that leaves in good order takes itself out; so does, in effect, one
// that stays away for a whole round while others take part in its place.
//
// Since a process is a member before it arrives, it does not matter at which step it
// dies. Nor does it matter that an arrival does not say whose it was: the death of
// any member breaks the barrier. A rejected design has the arrivals stand
// in slots, with their owners; it must undo half an arrival, and needs two sets
// of slots to remember those of the last round.
package barrier

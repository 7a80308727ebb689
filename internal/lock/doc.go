// Package lock is the robust lock word: mutual exclusion between processes that
// survives the death of a holder.
//
// # The word
//
// A lock is one 64-bit word in a segment. A single compare-and-swap takes both
// the lock and the ownership, so there is no instant at which it is held by
// nobody in particular. See [word] for its bits. Beside it stands the fence, a
// 64-bit count of holds.
//
// # Waiting
//
// Who finds the lock taken spins briefly, then queues up in its own process. One
// goroutine for each process and lock, the sleeper, waits in futex(2) on behalf
// of all that are queued, in slices of 1 to 25 ms; the others wait on channels,
// so that a ctx that ends is obeyed at once and ten thousand waiters cost one
// thread. While a sleeper may be asleep, the waiters bit is set, or a wake-up is on
// its way: unlocking clears the bit and wakes one sleeper, whose process then owes
// the others to take the lock with the bit, to set it again when somebody else has
// taken the lock, or, when it does not want the lock any more, to pass the wake-up
// on. The bit may be set too often, which costs one wake-up. No state needs a slice
// to end while all processes live and run. A process that is killed, or stopped,
// between unlocking and waking, or with a wake-up in its hands, takes that with it:
// then the others go on at the end of their slice, and no later.
//
// Newcomers may take a free lock before those who wait, which keeps the lock in use
// while a waiter wakes up. A waiter that has been woken in vain for some
// milliseconds sets the hungry bit: then only who was woken takes the lock, until
// one of these has it.
//
// # Closing
//
// When the last handle of a process closes, its sleeper ends before the memory is
// taken away, so that it swallows no wake-up; and when the memory is gone from this
// process, what it had of the lock is given back through another mapping. See
// [seg.Handle.Close].
//
// # Death
//
// At the end of a slice, the sleeper asks whether the holder is alive
// ([seg.Mapping.Alive]). If not, it compare-and-swaps exactly the word that it
// asked about: to free, when the holder was one of the library's own sections,
// which are written so that any prefix of them is consistent or is completed by
// the next holder; to abandoned, when it was user code. An abandoned lock is
// taken only to be repaired.
package lock

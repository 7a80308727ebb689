package lock

// A word is the state of a lock:
//
//	bit  0      held
//	bit  1      waiters: some process's sleeper may be asleep
//	bit  2      abandoned: a holder died, and what the lock guards is in doubt
//	bit  3      user: the hold is user code's
//	bit  4      scoped: the hold ends by itself, when a function of ours returns
//	bit  5      hungry: somebody has waited for long; newcomers have to queue up
//	bits 6-23   count of acquisitions, and of other changes that a sleeper must see
//	bits 24-63  token of the holder; 0 when not held
//
// The kernel compares the low half when it puts a sleeper to sleep; the bits
// that a sleeper waits for are all there. (Which half is the low one is decided
// by the byte order; multiproc runs on little-endian machines only.)
type word uint64

const (
	held word = 1 << iota
	waiters
	abandoned
	user
	scoped
	hungry

	seqOne     word = 1 << 6
	seqMask    word = (1<<18 - 1) << 6
	tokenShift      = 24
)

func (w word) token() uint64   { return uint64(w >> tokenShift) }
func (w word) held() bool      { return w&held != 0 }
func (w word) abandoned() bool { return w&abandoned != 0 }
func (w word) waiters() bool   { return w&waiters != 0 }
func (w word) hungry() bool    { return w&hungry != 0 }

// free reports whether anybody may take the lock.
func (w word) free() bool { return w&(held|abandoned|hungry) == 0 }

// due reports whether somebody who has waited for it may take the lock.
func (w word) due() bool { return w&(held|abandoned) == 0 }

// takenBy is the word after its lock was taken; own is the holder's token and
// mode. Waiters and abandoned stay as they are; who is still hungry says so again.
func (w word) takenBy(own word) word {
	return w&(waiters|abandoned) | (w+seqOne)&seqMask | held | own
}

// renumbered is the same state, as another word.
func (w word) renumbered() word { return w&^seqMask | (w+seqOne)&seqMask }

// released is the word after the holder let go. Abandoned and hungry stay as they
// are.
func (w word) released() word { return w & (abandoned | hungry | seqMask) }

// diedOn is the word after its holder was found dead: free again if the hold
// was a section that others can take up, abandoned if it was not.
func (w word) diedOn() word {
	n := w & (abandoned | seqMask)
	if w&user != 0 {
		n |= abandoned
	}
	return n
}

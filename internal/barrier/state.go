package barrier

// A state is what the barrier's word holds:
//
//	bits 0-1    why it is broken; 0 while it is whole
//	bits 2-17   how many have arrived in this round
//	bits 18-33  count of resets that sent somebody away
//	bits 34-63  number of the round
//
// Round numbers and resets wrap, which somebody would notice who sleeps through
// exactly 2^30 rounds or 2^16 resets.
type state uint64

// A reason is why a barrier is broken.
type reason state

const (
	whole   reason = iota
	aborted        // somebody called Abort
	lost           // a party died
	left           // a party that had arrived went away: its ctx ended, or it closed the barrier
)

const (
	reasonMask = 1<<2 - 1

	arrivedShift = 2
	arrivedBits  = 16

	resetShift = arrivedShift + arrivedBits
	resetBits  = 16

	roundShift = resetShift + resetBits
)

// MaxParties is the largest number of parties.
const MaxParties = 1<<arrivedBits - 1

func (s state) reason() reason { return reason(s & reasonMask) }
func (s state) broken() bool   { return s&reasonMask != 0 }
func (s state) arrived() int   { return int(s >> arrivedShift & (1<<arrivedBits - 1)) }
func (s state) resets() uint64 { return uint64(s >> resetShift & (1<<resetBits - 1)) }
func (s state) round() uint64  { return uint64(s >> roundShift) }

func makeState(round, resets uint64, arrived int) state {
	return state(round<<roundShift | resets&(1<<resetBits-1)<<resetShift | uint64(arrived)<<arrivedShift)
}

// arrival is the state after one more of the parties has arrived.
func (s state) arrival(parties int) state {
	if s.arrived()+1 == parties {
		return makeState(s.round()+1, s.resets(), 0)
	}
	return s + 1<<arrivedShift
}

// breaking is the state after a whole barrier was broken.
func (s state) breaking(r reason) state { return s | state(r) }

// reset is the state of an empty barrier. It is two rounds on, so that nobody who
// took part before is missed. Those who wait, if there are any, must be able to
// tell that from a round that was completed.
func (s state) reset() state {
	resets := s.resets()
	if s.arrived() > 0 {
		resets++
	}
	return makeState(s.round()+2, resets, 0)
}

// An outcome is what has become of a round.
type outcome int

const (
	pending outcome = iota
	passed
	broken
)

// outcomeOf says what has become of the round that was on in before, in which the
// caller had arrived, when now is the state. After a reset, nothing tells a
// round that was complete before from one that was reset: it counts as broken.
func (now state) outcomeOf(before state) outcome {
	switch {
	case now.resets() != before.resets():
		return broken
	case now.round() != before.round():
		return passed
	case now.broken():
		return broken
	}
	return pending
}

// A member is an entry of the table of members:
//
//	bits 0-39   token of a process; 0: the entry is free
//	bits 40-63  low bits of the number of the latest round that it was about to arrive in
type member uint64

const (
	tokenBits = 40
	tagBits   = 24
	tagMask   = 1<<tagBits - 1
)

func makeMember(token, round uint64) member { return member(token | round&tagMask<<tokenBits) }

func (m member) token() uint64 { return uint64(m) & (1<<tokenBits - 1) }

// age is how many rounds before the given one m took part for the last time. It is
// negative for one that knows of a later round than the caller.
func (m member) age(round uint64) int {
	d := round - uint64(m)>>tokenBits
	return int(int32(d<<(32-tagBits)) >> (32 - tagBits))
}

const (
	// tidyEvery is after how many rounds old entries are cleared, long before the
	// numbers wrap and they seem to be new.
	tidyEvery = 1 << 20
	// ahead is how many rounds others can be ahead of a caller that was stopped
	// between two steps.
	ahead = 1 << 22
)

// missed reports whether the round can not do without m.
func (m member) missed(round uint64) bool {
	age := m.age(round)
	return m != 0 && age <= 1 && age > -ahead
}

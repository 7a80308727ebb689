package sema

import "fmt"

// A semaphore starts on a cache line:
//
//	offset size
//	     0    8  eventcount: who waits for a permit
//	     8    8  hungry: token of a process of which somebody has waited for long; 0
//	    16    8  counting mode: permits taken less permits given back
//	    24    8  counting mode: the most permits there may be
//	    32   24  zero
//	    56    8  not the semaphore's
//	    64    …  slots, lines of eight; slot i is in line i modulo the number of lines
//
// In counting mode there are no slots.
const (
	countOffset   = 0
	hungryOffset  = 8
	balanceOffset = 16
	limitOffset   = 24
	headSize      = 64

	lineSize = 64
	perLine  = lineSize / 8
	// ownLines is up to how many slots have a line each.
	ownLines = 64
)

// These are the most permits that there can be.
const (
	MaxSlots = 4096
	MaxCount = 1<<31 - 1
)

// Size is the number of bytes for n slots; 0 for the counting mode.
func Size(slots int) int { return headSize + lines(slots)*lineSize }

func lines(slots int) int { return max(min(slots, ownLines), (slots+perLine-1)/perLine) }

// slotOffset is where slot i of n stands.
func slotOffset(i, n int) int {
	l := lines(n)
	return headSize + i%l*lineSize + i/l*8
}

// A Param says what a semaphore is like, in 31 bits of number and one that says that
// it counts.
type Param uint32

const countingBit Param = 1 << 31

// Slots is the parameter for n permits that have owners.
func Slots(n int) Param { return Param(n) }

// Counting is the parameter for a counter that starts at n.
func Counting(n int) Param { return Param(n) | countingBit }

// Counts reports whether it is a plain counter.
func (p Param) Counts() bool { return p&countingBit != 0 }

// Start is the number of permits in the beginning.
func (p Param) Start() int { return int(p &^ countingBit) }

// slots is how many slots there are.
func (p Param) slots() int {
	if p.Counts() {
		return 0
	}
	return int(p)
}

// Size is the number of bytes that such a semaphore takes; an error if there is none.
func (p Param) Size() (int, error) {
	if n := p.Start(); !p.Counts() && (n < 1 || n > MaxSlots) {
		return 0, fmt.Errorf("%d permits: from 1 to %d can have owners; a counting one can have up to %d", n, MaxSlots, MaxCount)
	}
	return Size(p.slots()), nil
}

// String says what the semaphore is.
func (p Param) String() string {
	if p.Counts() {
		return fmt.Sprintf("a counting Semaphore that starts at %d", p.Start())
	}
	return fmt.Sprintf("a Semaphore of %d", p.Start())
}

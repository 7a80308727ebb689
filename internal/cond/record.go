package cond

import (
	"github.com/go-multiproc/multiproc/internal/eventcount"
	"github.com/go-multiproc/multiproc/internal/mem"
)

// A Record is one process's place in a Cond:
//
//	offset size
//	     0    8  token of the process; 0: the record is free
//	     8    8  counts
//	    16    8  eventcount
//	    24    8  zero
//
// Counts are those of the owner and of nobody before: a free record has none, and who
// frees one clears them first.
type Record struct {
	Owner, Counts, Sleep *mem.Uint64
}

const (
	recordSize = 32

	ownerOffset  = 0
	countsOffset = 8
	sleepOffset  = 16
)

func (r Record) counts() counts { return counts(r.Counts.Load()) }

func (r Record) cas(old, new counts) bool {
	return r.Counts.CompareAndSwap(uint64(old), uint64(new))
}

// wake wakes the goroutine that sleeps for the record's process.
func (r Record) wake() { eventcount.New(r.Sleep, 0).Notify() }

// Counts are the numbers in a record:
//
//	bits 0-19   goroutines that wait and were not signalled
//	bits 20-39  signals that the process has not taken in yet
//	bits 40-63  low bits of the owner's token, so that who means another owner finds another word
//
// Their sum is at most maxNumber, so that neither runs over.
type counts uint64

const (
	numberBits = 20
	maxNumber  = 1<<numberBits - 1
	oneSignal  = 1 << numberBits
	tagShift   = 2 * numberBits
	tagMask    = 1<<(64-tagShift) - 1
)

func (c counts) waiting() int   { return int(c & maxNumber) }
func (c counts) signalled() int { return int(c >> numberBits & maxNumber) }

// of reports whether they are counts of the process with that token.
func (c counts) of(token uint64) bool { return uint64(c>>tagShift) == token&tagMask }

// plusWaiting are the counts of the process with that token when one more waits.
func (c counts) plusWaiting(token uint64) counts {
	if !c.of(token) {
		c = counts(token << tagShift)
	}
	return c + 1
}

// signal are the counts after n of those that wait were signalled.
func (c counts) signal(n int) counts { return c - counts(n) + counts(n)*oneSignal }

// taken are the counts after the process has taken in all signals.
func (c counts) taken() counts { return c - counts(c.signalled())*oneSignal }

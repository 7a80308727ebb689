package ring

import (
	"errors"
	"fmt"

	"github.com/go-multiproc/multiproc/internal/mem"
)

// A slot is what a process that takes messages owes: how many it took by Get and
// has not called TaskDone for. Messages that are neither in the ring nor owed are
// finished. What is owed is counted before the message leaves the ring: who dies in
// between owes one too many, which is found with its death; the other way round a
// message would be lost, and everybody would be told that all is done.
type slot struct{ token, owed *mem.Uint64 }

// ErrNotTaken is returned by TaskDone when nothing is owed.
var ErrNotTaken = errors.New("queue: TaskDone called more often than this process took messages")

// ErrSlots is returned when more processes take messages than there are slots.
var ErrSlots = fmt.Errorf("queue: %d processes that are alive have taken messages from it: there is no room for one more; use Lease, which has no such limit", Slots)

// Register makes sure that this process has a slot.
//
// Preconditions: the consumers' lock is held.
func (r *Ring) Register() error {
	if r.mine.Load() != 0 {
		return nil
	}
	if r.find() != 0 {
		return nil
	}
	used := int(min(r.slotsUsed.Load(), uint64(len(r.slots))))
	free := -1
	if used < len(r.slots) {
		free = used
		r.slotsUsed.Store(uint64(used + 1))
	}
	dead := r.obituary()
	debtor := -1
	for i := 0; free < 0 && i < used; i++ {
		s := r.slots[i]
		if !dead(s.token.Load()) {
			continue
		}
		switch owed := s.owed.Load(); {
		case owed == 0:
			free = i
		case debtor < 0:
			debtor = i
		default:
			// One slot can say what both owed, so that a queue whose consumers never call
			// TaskDone does not run out of them. In this order: who dies in between leaves
			// a sum that is too large, and nobody ever finds nothing owed.
			r.slots[debtor].owed.Add(owed)
			s.owed.Store(0)
			free = i
		}
	}
	if free < 0 {
		return ErrSlots
	}
	r.slots[free].token.Store(r.token)
	r.mine.Store(int32(free) + 1)
	return nil
}

// Slot is the number of this process's slot, from 1, or 0: what a Ring keeps in its process's own
// memory.
func (r *Ring) Slot() int { return int(r.mine.Load()) }

// owe counts what this process takes.
func (r *Ring) owe(n uint32) { r.slots[r.mine.Load()-1].owed.Add(uint64(n)) }

// TaskDone says that one of the messages that this process took is dealt with. It
// reports whether everything may be finished now.
func (r *Ring) TaskDone() (idle bool, err error) {
	mine := r.mine.Load()
	if mine == 0 {
		if mine = r.find(); mine == 0 {
			return false, ErrNotTaken
		}
	}
	owed := r.slots[mine-1].owed
	for {
		n := owed.Load()
		if n == 0 {
			return false, ErrNotTaken
		}
		if owed.CompareAndSwap(n, n-1) {
			return n == 1 && r.drained(), nil
		}
	}
}

// find looks for the slot that this process has by way of another handle.
func (r *Ring) find() int32 {
	used := int(min(r.slotsUsed.Load(), uint64(len(r.slots))))
	for i := range used {
		if r.slots[i].token.Load() == r.token {
			r.mine.Store(int32(i) + 1)
			break
		}
	}
	return r.mine.Load()
}

func (r *Ring) drained() bool {
	_, n := Place(r.tail.Load()).since(Place(r.head.Load()))
	return n == 0
}

// Unfinished is how many messages are in the ring, or owed by somebody. dead is how
// many are owed by processes that died. It takes no lock: a zero says that all that
// was put before the call is finished.
func (r *Ring) Unfinished(findDead bool) (n, dead int) {
	// The ring first: what leaves it is owed before.
	_, in := Place(r.tail.Load()).since(Place(r.head.Load()))
	n = int(in)
	isDead := r.obituary()
	used := int(min(r.slotsUsed.Load(), uint64(len(r.slots))))
	for i := range used {
		s := r.slots[i]
		owed := int(min(s.owed.Load(), countLimit))
		if owed == 0 {
			continue
		}
		n += owed
		if findDead && isDead(s.token.Load()) {
			dead += owed
		}
	}
	return n, dead
}

// WriteOff counts what dead processes owe as dealt with, and returns how many that
// were.
//
// Preconditions: the consumers' lock is held.
func (r *Ring) WriteOff() (n int) {
	isDead := r.obituary()
	used := int(min(r.slotsUsed.Load(), uint64(len(r.slots))))
	for i := range used {
		s := r.slots[i]
		if owed := s.owed.Load(); owed != 0 && isDead(s.token.Load()) {
			s.owed.Store(0)
			n += int(min(owed, countLimit))
		}
	}
	return n
}

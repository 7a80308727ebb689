package ring

import (
	"errors"

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
var ErrSlots = errors.New("queue: 1024 processes take messages from it, or died without TaskDone; call Recover")

// Register makes sure that this process has a slot.
//
// Preconditions: the consumers' lock is held.
func (r *Ring) Register() error {
	if r.mine >= 0 {
		return nil
	}
	used := int(min(r.slotsUsed.Load(), uint64(len(r.slots))))
	free := -1
	for i := range used {
		switch r.slots[i].token.Load() {
		case r.token: // this process closed its handle and opened another
			r.mine = i
			return nil
		case 0:
			if free < 0 {
				free = i
			}
		}
	}
	if free < 0 && used < len(r.slots) {
		free = used
		r.slotsUsed.Store(uint64(used + 1))
	}
	dead := r.obituary()
	for i := 0; free < 0 && i < used; i++ {
		if s := r.slots[i]; s.owed.Load() == 0 && dead(s.token.Load()) {
			free = i
		}
	}
	if free < 0 {
		return ErrSlots
	}
	r.slots[free].token.Store(r.token)
	r.mine = free
	return nil
}

// owe counts what this process takes.
func (r *Ring) owe(n uint32) { r.slots[r.mine].owed.Add(uint64(n)) }

// TaskDone says that one of the messages that this process took is dealt with. It
// reports whether everything may be finished now.
func (r *Ring) TaskDone() (idle bool, err error) {
	mine := r.slotOfOwn()
	if mine < 0 {
		return false, ErrNotTaken
	}
	owed := r.slots[mine].owed
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

// slotOfOwn is mine, for who does not hold the lock.
func (r *Ring) slotOfOwn() int {
	used := int(min(r.slotsUsed.Load(), uint64(len(r.slots))))
	for i := range used {
		if r.slots[i].token.Load() == r.token {
			return i
		}
	}
	return -1
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

package rwlock

import (
	"errors"
	"fmt"

	"github.com/go-multiproc/multiproc/internal/crash"
	"github.com/go-multiproc/multiproc/internal/lock"
	"github.com/go-multiproc/multiproc/internal/mem"
)

// Size is the number of bytes that a lock takes.
//
//	offset size
//	     0   64  the writers' lock word, as in package lock
//	    64    8  gate: 0 while readers may come in
//	    72    8  top: this many slots have ever been used
//	   128    8  eventcount of the readers who wait for the gate
//	   136    8  eventcount of the writer who waits for the slots
//	   192 8192  slots: four to a line; slot i is in line i modulo 128
const Size = slotsOffset + MaxProcesses*slotSize

const (
	gateOffset    = lock.Size
	topOffset     = lock.Size + 8
	openedOffset  = lock.Size + 64
	drainedOffset = lock.Size + 72
	slotsOffset   = lock.Size + 128
	slotSize      = 16
)

// MaxProcesses is how many processes can have used the lock to read at a time; what a
// dead one had is used again.
const MaxProcesses = 512

// ErrTooMany is returned to a reader for whom there is no slot.
var ErrTooMany = fmt.Errorf("psync: %d processes that are alive have read under this RWMutex: there is no room for one more; use several RWMutexes, or a Mutex", MaxProcesses)

var errTooDeep = errors.New("psync: this process holds the RWMutex for reading 2^24-1 times, and cannot once more")

// A slot is one process's readers. Its first word is
//
//	bits  0-23  number of readers who are inside, or look whether they are
//	bits 24-63  token of the process; 0: the slot is free
//
// and its second one
//
//	bits  0-62  number of readers who wait for the gate
//	bit  63     writers do not wait for these any more
//
// Only its process adds to them. Whoever finds the process dead clears the first, and
// the second counts for nothing then.
type slot struct {
	word    *mem.Uint64
	waiting *mem.Uint64
}

const (
	tokenShift = 24
	countMask  = 1<<tokenShift - 1
	passedOver = 1 << 63
)

// slotOffset is where slot i of n stands.
func slotOffset(i, n int) int {
	lines := n * slotSize / 64
	return slotsOffset + i%lines*64 + i/lines*slotSize
}

// awaited reports whether readers wait whom a writer lets in first.
func (s slot) awaited() bool {
	n := s.waiting.Load()
	return n != 0 && n&passedOver == 0 && s.word.Load() != 0
}

// enter counts a reader.
func (s slot) enter(own uint64) (ok bool, err error) {
	for {
		mem.Mark("rwlock.enter")
		w := s.word.Load()
		switch {
		case w>>tokenShift != own:
			return false, nil
		case w&countMask == countMask:
			return false, errTooDeep
		case s.word.CompareAndSwap(w, w+1):
			crash.At("rwlock.entered")
			return true, nil
		}
	}
}

// leave takes a reader out, if there is one. last says that there are no more.
func (s slot) leave(own uint64) (ok, last bool) {
	for {
		mem.Mark("rwlock.leave")
		w := s.word.Load()
		if w>>tokenShift != own || w&countMask == 0 {
			return false, false
		}
		if s.word.CompareAndSwap(w, w-1) {
			crash.At("rwlock.left")
			return true, w&countMask == 1
		}
	}
}

// used are the slots that anybody may have used.
func (p *process) used() []slot {
	return p.slots[:min(p.top.Load(), uint64(len(p.slots)))]
}

// claimLocked finds a slot for this process.
//
// Preconditions: p.mu is locked.
func (p *process) claimLocked() (*slot, error) {
	// First of all one that is free: asking who is alive costs a system call each.
	for _, dead := range []bool{false, true} {
		for i, s := range p.slots {
			w := s.word.Load()
			if w != 0 && (!dead || w>>tokenShift == p.own || p.m.Alive(w>>tokenShift)) {
				continue
			}
			// Writers look at used slots only, so it has to be one before anybody
			// is in it.
			for t := p.top.Load(); t <= uint64(i) && !p.top.CompareAndSwap(t, uint64(i)+1); t = p.top.Load() {
			}
			if !s.word.CompareAndSwap(w, p.own<<tokenShift) {
				continue
			}
			crash.At("rwlock.claimed")
			// What a dead process has left: a writer may be waiting for that.
			if s.waiting.Load() != 0 {
				s.waiting.Store(0)
			}
			p.drained.Notify()
			return &s, nil
		}
	}
	return nil, ErrTooMany
}

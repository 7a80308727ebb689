package store

import "fmt"

// MaxParties is the largest number of parties of a Barrier.
const MaxParties = 1 << 20

// The errors of broken barriers, by reason.
var (
	errReset   = fmt.Errorf("%w: it was reset", ErrBroken)
	errAborted = fmt.Errorf("%w: it was aborted; Reset makes it usable again", ErrBroken)
	errLost    = fmt.Errorf("%w: a process that took part died; Reset makes it usable again", ErrBroken)
	errStopped = fmt.Errorf("%w: a party stopped waiting; Reset makes it usable again", ErrBroken)
)

// A Barrier lets a number of parties wait for each other. It breaks when a session that takes part dies, or stops waiting. A
// session takes part from its first Wait until a round is completed without it, it lets go of the barrier, or Reset. Its
// methods are safe for concurrent use.
type Barrier struct {
	self    *object
	parties int

	hall
	broken  error // why; nil = whole
	lost    bool  // somebody who took part has died while nobody waited
	round   uint64
	waiting waitList
	members map[*Session]uint64 // who takes part, and since which round
}

// newBarrier makes one of one parameter: how many parties there are.
func newBarrier(params []uint64) (body, error) {
	if len(params) < 1 || params[0] < 1 || params[0] > MaxParties {
		return nil, fmt.Errorf("%w: a barrier has 1 to %d parties", ErrInvalid, MaxParties)
	}
	return &Barrier{parties: int(params[0]), members: map[*Session]uint64{}}, nil
}

func (b *Barrier) place(self *object, _ *graph) { b.self = self }
func (b *Barrier) object() *object              { return b.self }
func (b *Barrier) size() (entries, bytes int64) { return 0, 0 }
func (b *Barrier) confirm(*Wait)                {}

// Barrier returns the barrier with that id, to which the session must hold a reference.
func (s *Session) Barrier(id ID) (*Barrier, error) { return bodyOf[*Barrier](s, id, KindBarrier) }

// Wait waits until all parties have come. N is the number of the session's party, 0 for the first that came.
func (b *Barrier) Wait(s *Session, w *Wait) error {
	b.lock()
	defer b.unlock()
	if b.lost && b.broken == nil {
		b.breakUp(errLost)
	}
	if b.broken != nil {
		return b.broken
	}
	if b.waiting.n+1 < b.parties {
		err := s.park(w, b, &b.waiting)
		if err == ErrParked {
			b.members[s] = b.round
		}
		return err
	}
	b.members[s] = b.round
	w.N = uint64(b.parties - 1)
	for i := uint64(0); b.waiting.first != nil; i++ {
		v := b.waiting.pop()
		v.disclaim()
		v.N = i
		b.wake(v, nil)
	}
	for m, round := range b.members {
		if round != b.round {
			delete(b.members, m)
		}
	}
	b.round++
	return nil
}

// breakUp ends the round for all who wait.
func (b *Barrier) breakUp(why error) {
	if b.broken == nil {
		b.broken = why
	}
	b.dismiss(why)
}

func (b *Barrier) dismiss(why error) {
	for w := b.waiting.pop(); w != nil; w = b.waiting.pop() {
		w.disclaim()
		b.wake(w, why)
	}
}

// Abort breaks the barrier.
func (b *Barrier) Abort() {
	b.lock()
	defer b.unlock()
	b.breakUp(errAborted)
}

// Reset makes the barrier empty and whole.
func (b *Barrier) Reset() {
	b.lock()
	defer b.unlock()
	b.dismiss(errReset)
	b.broken, b.lost = nil, false
	clear(b.members)
	b.round++
}

// State returns how many parties there are, how many of them wait, and whether the barrier is broken.
func (b *Barrier) State() (parties, waiting int, broken bool) {
	b.lock()
	defer b.unlock()
	return b.parties, b.waiting.n, b.broken != nil || b.lost
}

func (b *Barrier) giveUp(w *Wait) { b.stop(w, ErrCancelled, errStopped) }
func (b *Barrier) abort(w *Wait)  { b.stop(w, ErrCancelled, errStopped) }

func (b *Barrier) forsake(w *Wait, died bool) {
	why := errStopped
	if died {
		why = errLost
	}
	b.stop(w, unlessDied(died, errLetGo), why)
}

// stop ends one party's wait, and so the round for all.
func (b *Barrier) stop(w *Wait, err, why error) {
	b.lock()
	defer b.unlock()
	if w.state != stateWaiting {
		return
	}
	w.unlist()
	w.disclaim()
	if err != nil {
		b.wake(w, err)
	}
	b.breakUp(why)
}

func (b *Barrier) left(s *Session, died bool) {
	b.lock()
	defer b.unlock()
	if _, ok := b.members[s]; !ok {
		return
	}
	delete(b.members, s)
	switch {
	case !died:
	case b.waiting.n > 0:
		b.breakUp(errLost)
	default:
		b.lost = true
	}
}

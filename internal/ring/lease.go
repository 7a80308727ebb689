package ring

import "github.com/go-multiproc/multiproc/internal/crash"

// returned looks for a message that was leased and is to be taken again.
func (rd *Reader) returned() (Outcome, error) {
	r := rd.r
	if r.returned.Load() == 0 {
		return Empty, nil
	}
	found := false
	err := r.taken(func(rec Record, s state) bool {
		if s.kind() == ready {
			rd.cur, rd.old, found = rec, true, true
		}
		return !found
	})
	switch {
	case err != nil:
		return Empty, err
	case found:
		return Done, nil
	}
	r.returned.Store(0)
	return Empty, nil
}

// taken calls f with what stands between head and next, in order, until f returns
// false.
//
// Preconditions: the consumers' lock is held.
func (r *Ring) taken(f func(Record, state) bool) error {
	h := Place(r.head.Load())
	if !h.flag() {
		return nil
	}
	h = h.plain()
	n := Place(r.next.Load()).plain()
	if !between(h, n, Place(r.tail.Load())) {
		return damaged("next is not between head and tail: %v", r)
	}
	for h != n {
		rec, err := r.record(h, n)
		if err != nil {
			return err
		}
		if !f(rec, r.state(&rec)) {
			return nil
		}
		h = rec.to
	}
	return nil
}

// leasedElsewhere reports whether another process has a lease, which may come back.
func (r *Ring) leasedElsewhere() (found bool) {
	// What can not be read will be found by who takes it.
	_ = r.taken(func(_ Record, s state) bool {
		found = s.kind() == leased && s.token() != r.token
		return !found
	})
	return found
}

// Lease makes the message that Next found this process's until Ack or Nack, and
// returns how often it was delivered, this time included. Nothing needs to be
// published.
func (rd *Reader) Lease() (rec Record, deliveries int) {
	r := rd.r
	rec = rd.cur
	if !rd.behind {
		_, _ = rd.Publish() // what was passed over
		rd.fallBehind()
	}
	s := r.state(&rec).leasedBy(r.token)
	r.setState(&rec, s)
	crash.At("queue.lease.taken")
	if !rd.old {
		rd.h = rec.to | behind
		r.next.Store(uint64(rec.to))
	}
	crash.At("queue.lease.moved")
	return rec, s.deliveries()
}

// holds reports whether the lease is still this process's.
func (r *Ring) holds(rec *Record) bool {
	s := r.state(rec)
	return s.kind() == leased && s.token() == r.token
}

// Ack ends a lease: the message is dealt with. It reports whether there is more
// room now.
//
// Preconditions: the consumers' lock is held.
func (r *Ring) Ack(rec *Record) (room bool, err error) {
	if !r.holds(rec) {
		return false, damaged("a lease that is not there any more")
	}
	r.setState(rec, done)
	crash.At("queue.lease.acked")
	return r.reclaim()
}

// Nack ends a lease: the message is to be taken again, unless that was tried often
// enough, and then bury is given it. It reports whether the message is there again.
//
// Preconditions: the consumers' lock is held.
func (r *Ring) Nack(rec *Record, bury Bury) (again, room bool, err error) {
	if !r.holds(rec) {
		return false, false, damaged("a lease that is not there any more")
	}
	if again, err = r.giveBack(rec, bury); err != nil || again {
		return again, false, err
	}
	room, err = r.reclaim()
	return false, room, err
}

// Bury takes a message that was delivered too often. After it has returned nil, the
// message is gone from the ring.
type Bury func(payload []byte, deliveries int) error

// giveBack makes a leased record ready again, or done.
func (r *Ring) giveBack(rec *Record, bury Bury) (again bool, err error) {
	s := r.state(rec)
	if r.max > 0 && s.deliveries() >= r.max {
		if err := bury(r.Payload(rec), s.deliveries()); err != nil {
			return false, err
		}
		crash.At("queue.buried")
		r.setState(rec, done)
		return false, nil
	}
	r.returned.Store(1) // before the state, or nobody would look for it
	crash.At("queue.return.flagged")
	r.setState(rec, s.as(ready))
	crash.At("queue.returned")
	return true, nil
}

// A Swept says what a sweep found.
type Swept struct {
	Returned int  // messages that are to be taken again
	Passed   bool // a reservation whose owner died is out of the way
	Room     bool // there is more room
}

// Sweep gives back what dead processes had leased, and passes over what they had
// reserved.
//
// Preconditions: the consumers' lock is held.
func (r *Ring) Sweep(bury Bury) (found Swept, err error) {
	dead := r.obituary()
	var failed error
	err = r.taken(func(rec Record, s state) bool {
		switch {
		case s.kind() == leased && dead(s.token()):
			again, err := r.giveBack(&rec, bury)
			if err != nil {
				failed = err
				return false
			}
			if again {
				found.Returned++
			}
		case s.kind() == ready:
			// Its holder was about to give it back, or to take it, and died.
			r.returned.Store(1)
			found.Returned++
		}
		return true
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return found, err
	}
	h := Place(r.head.Load())
	if h.flag() {
		if found.Room, err = r.reclaim(); err != nil {
			return found, err
		}
		h = Place(r.next.Load())
	}
	h = h.plain()
	t := Place(r.tail.Load()).plain()
	_, n, err := r.distance(h, t)
	if n == 0 || err != nil {
		return found, err
	}
	rec, err := r.record(h, t)
	if err != nil {
		return found, err
	}
	if s := r.state(&rec); s.kind() == reserved && dead(s.token()) {
		r.setState(&rec, done)
		found.Passed = true
	}
	return found, nil
}

// obituary asks about each token once.
func (r *Ring) obituary() func(token uint64) bool {
	var last uint64
	var lastDead bool
	return func(token uint64) bool {
		if token == r.token {
			return false
		}
		if token != last {
			last, lastDead = token, token == 0 || !r.alive(token)
		}
		return lastDead
	}
}

package store

import "fmt"

// What Semaphores can be.
const (
	// MaxPermits is the most permits that a Semaphore can have which is not counting.
	MaxPermits = 1 << 20
	// MaxCount is the most that a counting one can count to.
	MaxCount = 1<<31 - 1
)

// A Semaphore is a number of permits. A permit is held by a session, and returns when that dies or lets go of it. A counting
// one has no holders: anybody may add to it. Who waits gets a permit in turn. Its methods are safe for concurrent use.
type Semaphore struct {
	self     *object
	counting bool
	limit    uint64

	hall
	free    uint64
	waiting waitList
}

// newSemaphore makes one of three parameters: the permits, 1 for a plain and 2 for a counting one, and the limit of that (0 = MaxCount).
func newSemaphore(params []uint64) (body, error) {
	var p [3]uint64
	copy(p[:], params)
	s := &Semaphore{free: p[0], limit: p[0]}
	switch {
	case p[1] <= 1 && (p[0] < 1 || p[0] > MaxPermits || p[2] != 0):
		return nil, fmt.Errorf("%w: a semaphore has 1 to %d permits, not %d, and no other limit", ErrInvalid, MaxPermits, p[0])
	case p[1] <= 1:
		return s, nil
	case p[1] > 2:
		return nil, fmt.Errorf("%w: there are no semaphores of sort %d", ErrInvalid, p[1])
	}
	s.counting, s.limit = true, p[2]
	if s.limit == 0 {
		s.limit = MaxCount
	}
	if s.limit > MaxCount || s.free > s.limit {
		return nil, fmt.Errorf("%w: a counting semaphore that starts at %d, with a maximum of %d: both are at most %d, and the first is not the larger", ErrInvalid, s.free, s.limit, MaxCount)
	}
	return s, nil
}

func (m *Semaphore) place(self *object, _ *graph) { m.self = self }
func (m *Semaphore) object() *object              { return m.self }
func (m *Semaphore) size() (entries, bytes int64) { return 0, 0 }
func (m *Semaphore) left(*Session, bool)          {}

// Semaphore returns the semaphore with that id, to which the session must hold a reference.
func (s *Session) Semaphore(id ID) (*Semaphore, error) {
	return bodyOf[*Semaphore](s, id, KindSemaphore)
}

// Counting reports whether anybody may release.
func (m *Semaphore) Counting() bool { return m.counting }

// Acquire takes a permit. Flag says that it had to wait: see Queue.Get.
func (m *Semaphore) Acquire(s *Session, w *Wait) error {
	m.lock()
	defer m.unlock()
	if m.free == 0 {
		return s.park(w, m, &m.waiting)
	}
	return m.take(s, w)
}

// TryAcquire is Acquire that returns ErrBusy instead of waiting.
func (m *Semaphore) TryAcquire(s *Session, w *Wait) error {
	m.lock()
	defer m.unlock()
	if m.free == 0 {
		return ErrBusy
	}
	return m.take(s, w)
}

func (m *Semaphore) take(s *Session, w *Wait) error {
	if err := s.claim(w, m); err != nil {
		return err
	}
	m.free--
	w.state = stateHolding
	return nil
}

// Release gives back the permit that the session's operation of that id got. To a counting semaphore it adds one, and
// the id means nothing.
func (m *Semaphore) Release(s *Session, id uint64) error {
	m.lock()
	defer m.unlock()
	if m.counting {
		if m.free >= m.limit {
			return fmt.Errorf("%w: its maximum is %d", ErrTooMany, m.limit)
		}
		m.giveBack()
		return nil
	}
	w, on := s.claimOf(id)
	if w == nil || on != claimed(m) || w.state != stateHolding {
		return ErrNotHeld
	}
	w.disclaim()
	m.giveBack()
	return nil
}

// giveBack gives a permit to who has waited longest.
func (m *Semaphore) giveBack() {
	if w := m.waiting.pop(); w != nil {
		w.state, w.Flag = stateHolding, true
		m.wake(w, nil)
		return
	}
	m.free++
}

// Value returns how many permits are free.
func (m *Semaphore) Value() uint64 {
	m.lock()
	defer m.unlock()
	return m.free
}

// confirm forgets who has the permit of a counting semaphore.
func (m *Semaphore) confirm(w *Wait) {
	m.lock()
	defer m.unlock()
	if m.counting && w.state == stateHolding {
		w.disclaim()
	}
}

func (m *Semaphore) giveUp(w *Wait) {
	m.lock()
	defer m.unlock()
	if w.state == stateWaiting {
		w.unlist()
		w.disclaim()
		m.wake(w, ErrCancelled)
	}
}

func (m *Semaphore) abort(w *Wait) {
	m.lock()
	defer m.unlock()
	switch w.state {
	case stateWaiting:
		w.unlist()
		w.disclaim()
		m.wake(w, ErrCancelled)
	case stateHolding:
		w.disclaim()
		m.giveBack()
	}
}

func (m *Semaphore) forsake(w *Wait, died bool) {
	m.lock()
	defer m.unlock()
	switch w.state {
	case stateWaiting:
		w.unlist()
		w.disclaim()
		if !died {
			m.wake(w, errLetGo)
		}
	case stateHolding:
		w.disclaim()
		if !m.counting || w.waited { // who waited and has not said that he has it never got it
			m.giveBack()
		}
	}
}

package store

// A LockMode says what is to become of a Mutex that is abandoned.
type LockMode uint8

// The modes of Mutex.Lock.
const (
	// LockPlain fails with ErrOwnerDied.
	LockPlain LockMode = 0
	// LockToRecover takes the lock if it is abandoned, and otherwise does nothing.
	LockToRecover LockMode = 1
	// LockOrRecover takes the lock in either case.
	LockOrRecover LockMode = 2
)

// A Mutex is held by one session at a time, and abandoned if that dies or lets go of it. Who waits gets it in turn. Its
// methods are safe for concurrent use.
type Mutex struct {
	self  *object
	graph *graph

	hall
	holder     *Wait // nil: nobody
	abandoned  bool  // with a holder: that is repairing
	fence      uint64
	waiting    waitList
	recoverers int                // of waiting: LockToRecover
	conds      map[*Cond]struct{} // of this Mutex on which somebody waits
}

func newMutex([]uint64) (body, error) { return &Mutex{conds: map[*Cond]struct{}{}}, nil }

func (m *Mutex) place(self *object, g *graph) { m.self, m.graph = self, g }
func (m *Mutex) object() *object              { return m.self }
func (m *Mutex) size() (entries, bytes int64) { return 0, 0 }
func (m *Mutex) confirm(*Wait)                {}
func (m *Mutex) left(*Session, bool)          {}

// Mutex returns the mutex with that id, to which the session must hold a reference.
func (s *Session) Mutex(id ID) (*Mutex, error) {
	m, err := bodyOf[*Mutex](s, id, KindMutex)
	if err != nil {
		if r, e := bodyOf[*Mutex](s, id, KindRMutex); e == nil {
			return r, nil
		}
	}
	return m, err
}

// Lock takes the lock. N is the number of this hold, larger than that of every one before; 0 is for LockToRecover where
// there is nothing to recover, and then the lock is not held. Flag says that the lock is abandoned, and held to be repaired.
func (m *Mutex) Lock(s *Session, w *Wait, mode LockMode) error {
	m.lock()
	defer m.unlock()
	if busy, err := m.look(s, w, mode); !busy {
		return err
	}
	if err := s.park(w, m, &m.waiting); err != ErrParked {
		return err
	}
	if mode == LockToRecover {
		m.recoverers++
	}
	return ErrParked
}

// TryLock is Lock that returns ErrBusy instead of waiting.
func (m *Mutex) TryLock(s *Session, w *Wait) error {
	m.lock()
	defer m.unlock()
	busy, err := m.look(s, w, LockPlain)
	if busy {
		return ErrBusy
	}
	return err
}

// look does a Lock that need not wait.
func (m *Mutex) look(s *Session, w *Wait, mode LockMode) (busy bool, err error) {
	w.mode = mode
	switch {
	case m.holder == nil && m.abandoned && mode == LockPlain:
		return false, ErrOwnerDied
	case !m.abandoned && mode == LockToRecover:
		return false, nil
	case m.holder != nil:
		return true, nil
	}
	if err := s.claim(w, m); err != nil {
		return false, err
	}
	m.grant(w)
	return false, nil
}

func (m *Mutex) grant(w *Wait) {
	m.fence++
	m.holder = w
	w.state, w.N, w.Flag = stateHolding, m.fence, m.abandoned
}

// State reports whether somebody holds the lock, and whether it is abandoned.
func (m *Mutex) State() (held, abandoned bool) {
	m.lock()
	defer m.unlock()
	return m.holder != nil, m.abandoned
}

// Unlock gives back what the session's operation of that id got. If the lock is abandoned it stays so, unless mended.
func (m *Mutex) Unlock(s *Session, id uint64, mended bool) error {
	m.lock()
	defer m.unlock()
	if m.holder == nil || m.holder.session != s || m.holder.ID != id {
		return ErrNotHeld
	}
	if mended {
		m.abandoned = false
	}
	m.giveBack()
	return nil
}

// Mend says that what an abandoned lock guards is in order again. It stays held.
func (m *Mutex) Mend(s *Session, id uint64) error {
	m.lock()
	defer m.unlock()
	if m.holder == nil || m.holder.session != s || m.holder.ID != id {
		return ErrNotHeld
	}
	m.abandoned = false
	m.passOn()
	return nil
}

// giveBack ends the present hold.
func (m *Mutex) giveBack() {
	m.holder.disclaim()
	m.holder = nil
	m.passOn()
}

// passOn tells those who wait what the lock's state means for them.
func (m *Mutex) passOn() {
	switch {
	case !m.abandoned:
		m.each(LockToRecover, func(w *Wait) { // somebody else has recovered it
			w.N = 0
			m.wake(w, nil)
		})
	case m.holder == nil:
		m.each(LockPlain, func(w *Wait) { m.wake(w, ErrOwnerDied) })
	}
	if m.holder != nil {
		return
	}
	if w := m.waiting.pop(); w != nil {
		if w.mode == LockToRecover {
			m.recoverers--
		}
		m.grant(w)
		m.wake(w, w.Err) // of a Wait on a Cond: why it ended
	}
}

// each ends the waits of one mode.
func (m *Mutex) each(mode LockMode, end func(w *Wait)) {
	if mode == LockToRecover && m.recoverers == 0 {
		return
	}
	for w := m.waiting.first; w != nil; {
		next := w.next
		if w.mode == mode && w.cond == nil {
			w.unlist()
			w.disclaim()
			end(w)
		}
		w = next
	}
	if mode == LockToRecover {
		m.recoverers = 0
	}
}

// leaveQueue takes w out of those who wait.
func (m *Mutex) leaveQueue(w *Wait) {
	w.unlist()
	w.disclaim()
	if w.mode == LockToRecover {
		m.recoverers--
	}
}

func (m *Mutex) giveUp(w *Wait) {
	m.lock()
	defer m.unlock()
	if w.cond != nil { // one who waits on a Cond must have the lock again
		if w.state == stateWaiting && w.list == &w.cond.waiting {
			w.Err = ErrCancelled
			w.cond.moveOn(w, false)
			m.passOn()
		}
		return
	}
	if w.state == stateWaiting {
		m.leaveQueue(w)
		m.wake(w, ErrCancelled)
	}
}

func (m *Mutex) abort(w *Wait) {
	m.lock()
	defer m.unlock()
	switch w.state {
	case stateWaiting:
		m.withdraw(w)
		m.wake(w, ErrCancelled)
	case stateHolding:
		m.giveBack()
	}
}

// withdraw takes w out of wherever it waits. A signal that it has got goes to somebody else.
func (m *Mutex) withdraw(w *Wait) {
	c, onCond := w.cond, w.cond != nil && w.list == &w.cond.waiting
	if onCond {
		w.unlist()
		w.disclaim()
		c.tidy()
		return
	}
	m.leaveQueue(w)
	if c != nil && w.signalled {
		c.notify(1)
	}
}

func (m *Mutex) forsake(w *Wait, died bool) {
	m.lock()
	defer m.unlock()
	switch w.state {
	case stateWaiting:
		m.withdraw(w)
		if !died {
			m.wake(w, errLetGo)
		}
	case stateHolding:
		m.abandon()
	}
}

// abandon ends the present hold as the death of its holder does.
func (m *Mutex) abandon() {
	m.abandoned = true
	for c := range m.conds { // nobody else will tell them
		for v := c.waiting.first; v != nil; v = c.waiting.first {
			c.moveOn(v, false)
		}
	}
	m.giveBack()
}

// Force takes the lock away from whoever holds it, and leaves it abandoned. What the former holder says of its hold from now on is ErrNotHeld.
func (m *Mutex) Force() error {
	m.lock()
	defer m.unlock()
	if m.holder == nil {
		return ErrNotHeld
	}
	m.abandon()
	return nil
}

package store

import (
	"fmt"
	"sync"
)

// A Cond is where sessions wait for what a Mutex guards to change. It has the lock of its Mutex, so that releasing the
// one and waiting for the other is one step, and so are a signal and getting in line for the Mutex. Its methods are safe for
// concurrent use.
type Cond struct {
	self   *object
	graph  *graph
	params []uint64
	lock   *object // of the mutex; nil: it was freed while the Cond was being made
	once   sync.Once
	mutex  *Mutex // set by the first who finds the Cond: while a journal is read the lock may not be there yet

	waiting waitList // guarded by the mutex's lock
}

func newCond(params []uint64) (body, error) { return &Cond{params: params}, nil }

// place finds the Mutex, which is the first parameter, or makes one if that is 0. The graph's lock is held.
func (c *Cond) place(self *object, g *graph) {
	c.self, c.graph = self, g
	var id ID
	if len(c.params) > 0 {
		id = ID(c.params[0])
	}
	switch c.lock = g.objects[id]; {
	case c.lock != nil:
	case id == 0:
		m, _ := newMutex(nil)
		c.lock = g.addLocked("", KindMutex, "", nil, m)
		c.lock.ext = 0 // the Cond keeps it
	case g.ledger.loading: // it comes later
		c.lock = g.expect(id)
	default:
		return
	}
	g.linkLocked(self, c.lock, 1)
	self.params = []uint64{uint64(c.lock.id)}
}

func (c *Cond) object() *object              { return c.self }
func (c *Cond) size() (entries, bytes int64) { return 0, 0 }
func (c *Cond) confirm(*Wait)                {}
func (c *Cond) left(*Session, bool)          {}

func (c *Cond) giveUp(w *Wait)             { c.mutex.giveUp(w) }
func (c *Cond) abort(w *Wait)              { c.mutex.abort(w) }
func (c *Cond) forsake(w *Wait, died bool) { c.mutex.forsake(w, died) }

// Cond returns the cond with that id, to which the session must hold a reference.
func (s *Session) Cond(id ID) (*Cond, error) {
	c, err := bodyOf[*Cond](s, id, KindCond)
	if err != nil {
		return nil, err
	}
	c.once.Do(func() {
		if c.lock != nil {
			c.mutex, _ = c.lock.body.(*Mutex)
		}
	})
	if c.mutex == nil {
		return nil, fmt.Errorf("%w: the mutex of cond %d", ErrNotFound, id)
	}
	return c, nil
}

// checkParams makes sure that the session may make an object of that kind of what the parameters name.
func (s *Session) checkParams(k Kind, params []uint64) error {
	switch {
	case k == KindCond && len(params) > 0 && params[0] != 0:
		_, err := s.object(ID(params[0]), KindMutex)
		return err
	case k == KindQueue && len(params) > 2:
		return fmt.Errorf("%w: a queue of %d parameters", ErrInvalid, len(params))
	}
	return nil
}

// Mutex returns the cond's Mutex, and a reference to it for the session.
func (c *Cond) Mutex(s *Session) (ID, error) {
	m := &mentions{[]*object{c.lock}}
	if err := s.retain(m); err != nil {
		return 0, err
	}
	return c.lock.id, nil
}

// Wait releases the Mutex, which the session's operation hold got, waits until it is notified, and takes the Mutex again,
// under w's id. N and Flag are as for Mutex.Lock. The Mutex is held also if the wait was given up; then Err is
// ErrCancelled. If the Mutex is abandoned meanwhile, the wait ends, and Flag says so. An error
// that Wait itself returns, other than ErrParked, has changed nothing.
func (c *Cond) Wait(s *Session, w *Wait, hold uint64) error {
	m := c.mutex
	m.lock()
	defer m.unlock()
	if m.holder == nil || m.holder.session != s || m.holder.ID != hold {
		return ErrNotHeld
	}
	if m.abandoned {
		return ErrOwnerDied
	}
	w.cond, w.mode = c, LockOrRecover
	if err := s.park(w, c, &c.waiting); err != ErrParked {
		return err
	}
	m.conds[c] = struct{}{}
	m.giveBack()
	return ErrParked
}

// Notify lets up to n of those who wait go on, in the order in which they came, and returns how many these are.
func (c *Cond) Notify(n uint64) uint64 {
	c.mutex.lock()
	defer c.mutex.unlock()
	told := c.notify(n)
	if told > 0 {
		c.mutex.passOn()
	}
	return told
}

func (c *Cond) notify(n uint64) (told uint64) {
	for told < n && c.waiting.first != nil {
		if c.moveOn(c.waiting.first, true) {
			told++
		}
	}
	return told
}

// moveOn has w wait for the Mutex, and no longer for a signal.
func (c *Cond) moveOn(w *Wait, signalled bool) bool {
	w.unlist()
	c.tidy()
	if !w.transfer(c.mutex) {
		w.state = stateOver // its session is ending
		return false
	}
	w.signalled = signalled
	c.mutex.waiting.push(w)
	return true
}

// tidy forgets the cond if nobody waits on it any more.
func (c *Cond) tidy() {
	if c.waiting.n == 0 {
		delete(c.mutex.conds, c)
	}
}

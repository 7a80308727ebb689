package store

import (
	"fmt"
	"sync"
)

// A Wait is one operation of a session that may have to wait for others, and afterwards what the session got by it: a
// lock, a permit, a message. It is a record and no goroutine, so that any number may wait.
//
// An operation that takes a Wait either comes to its end at once, and returns nil or an error, or returns ErrParked. Then
// Done is called when it has come to its end, with what it came to in the other fields.
type Wait struct {
	// ID is the front end's name for the operation, different from those of all others of the session that have not
	// ended, and of what the session has been granted.
	ID uint64

	// Done is called once after ErrParked, by any goroutine, maybe before the operation has returned. No lock of the store
	// is held; it must not block. It is not called if the session ends first.
	Done func(*Wait)

	// Size is how many bytes of the front end's wait with it. Put sets it.
	Size int

	// Stop has what the operation has begun in the front end come to its end; of a call of an Own only.
	Stop func()

	// Full, if not nil, reports whether the client has left so much unread that it must not be sent more. It is called with a lock of the store held, and
	// only where the operation has waited.
	Full func() bool

	// What came of it. Each operation says which of these it sets.
	Value  Value
	Values []Value
	N      uint64
	Flag   bool
	Err    error

	session *Session
	on      claimed
	state   waitState // guarded by the lock of on, like all that follows
	waited  bool      // it did not come to its end at once

	list       *waitList // that it stands in
	prev, next *Wait

	mode      LockMode // of a Mutex
	cond      *Cond    // it waits for the Mutex after a Wait on this
	signalled bool     // cond has sent it here

	want  int     // messages of a Queue
	lease bool    // and as a lease
	items []qitem // what it puts or has got
	size  int     // bytes of what it has got and not confirmed
}

type waitState uint8

const (
	stateNew waitState = iota
	stateWaiting
	stateHolding // it has what it waited for, and owes it
	stateOver
)

// maxClaims bounds what one session waits for and holds.
const maxClaims = 1 << 20

// claimed is the body of an object on which sessions wait and of which they hold parts.
type claimed interface {
	body
	object() *object
	// giveUp ends a wait, if it is one still. What was granted stays.
	giveUp(w *Wait)
	// abort ends it whatever it is, as if it had not begun.
	abort(w *Wait)
	// forsake ends it because its session has died, or has let go of the object.
	forsake(w *Wait, died bool)
	// confirm says that what was granted has reached its client.
	confirm(w *Wait)
	// left tells that a session has nothing to do with the object any more. All of its Waits are over.
	left(s *Session, died bool)
}

// A hall is the lock of a body on which sessions wait. Those whose waits have come to their end are told when it is released.
type hall struct {
	mu       sync.Mutex
	woken    []*Wait
	drafting // what is noted becomes a record before anybody is told
}

func (h *hall) lock() { h.mu.Lock() }

func (h *hall) unlock() {
	woken := h.woken
	h.woken = nil
	h.commit()
	h.mu.Unlock()
	for _, w := range woken {
		w.Done(w)
	}
}

// wake has w told that it has come to its end, with err.
func (h *hall) wake(w *Wait, err error) {
	w.Err = err
	h.woken = append(h.woken, w)
}

// A waitList is those who wait, in the order in which they came.
type waitList struct {
	first, last *Wait
	n           int
}

func (l *waitList) push(w *Wait) {
	w.list, w.prev, w.next = l, l.last, nil
	if l.last == nil {
		l.first = w
	} else {
		l.last.next = w
	}
	l.last = w
	l.n++
	w.session.count(1, w.Size)
}

func (l *waitList) pop() *Wait {
	w := l.first
	if w != nil {
		w.unlist()
	}
	return w
}

// unlist takes w out of the list that it stands in, if it does.
func (w *Wait) unlist() {
	l := w.list
	if l == nil {
		return
	}
	if w.prev == nil {
		l.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		l.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	l.n--
	w.session.count(-1, -w.Size)
	w.list, w.prev, w.next = nil, nil, nil
}

// count counts calls that wait.
func (s *Session) count(n, bytes int) {
	s.store.waiting.Add(int64(n))
	s.run(n, bytes)
}

// run counts calls under way whose requests are kept meanwhile: they wait, or run.
func (s *Session) run(n, bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waits += n
	s.waitBytes += bytes
}

// Limit bounds how many calls of the session wait at a time, and how many bytes of messages they bring; 0 is no limit.
func (s *Session) Limit(waits, bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.maxWaits, s.maxWaitBytes = waits, bytes
}

// mayWaitLocked says why no more calls of the session may wait, if so.
func (s *Session) mayWaitLocked(bytes int) error {
	switch {
	case s.maxWaits > 0 && s.waits >= s.maxWaits:
		return fmt.Errorf("%w: %d calls of this connection are waiting or running already, which is all that the server's Options.MaxWaiting allows", ErrOverload, s.waits)
	case s.maxWaitBytes > 0 && s.waitBytes > 0 && s.waitBytes+bytes > s.maxWaitBytes:
		return fmt.Errorf("%w: the calls of this connection that are waiting or running have so many bytes already that this one would exceed the server's Options.MaxBuffered, %d", ErrOverload, s.maxWaitBytes)
	}
	return nil
}

// BeginWait counts a call that is going to wait without a Wait, for keys, unless the session's limit forbids it. EndWait is to be called in the end.
func (s *Session) BeginWait(bytes int) error {
	s.mu.Lock()
	err := s.mayWaitLocked(bytes)
	s.mu.Unlock()
	if err == nil {
		s.count(1, bytes)
	}
	return err
}

// EndWait says that such a call is over.
func (s *Session) EndWait(bytes int) { s.count(-1, -bytes) }

// claim notes that w waits for, or holds, a part of on, whose lock is held. The session must hold a reference to that.
func (s *Session) claim(w *Wait, on claimed) error { return s.claimFor(w, on, false) }

// claimFor is claim; waits says that w is going to wait, which is limited.
func (s *Session) claimFor(w *Wait, on claimed, waits bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return ErrEnded
	}
	h := s.held[on.object().id]
	switch {
	case h == nil:
		return fmt.Errorf("%w: the session holds no reference to object %d", ErrNotFound, on.object().id)
	case s.claims[w.ID] != nil || s.leases[w.ID] != nil:
		return fmt.Errorf("%w: %d is in use", ErrInvalid, w.ID)
	case len(s.claims) >= maxClaims:
		return fmt.Errorf("%w: a client can wait for and hold %d things at a time", ErrOverload, maxClaims)
	}
	if waits {
		if err := s.mayWaitLocked(w.Size); err != nil {
			return err
		}
	}
	if s.claims == nil {
		s.claims = map[uint64]*Wait{}
	}
	h.claims++
	s.claims[w.ID] = w
	w.session, w.on = s, on
	return nil
}

// disclaim undoes claim: w is over.
func (w *Wait) disclaim() {
	w.state = stateOver
	s := w.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.claims[w.ID] != w {
		return // the session has ended, or let go of the object
	}
	delete(s.claims, w.ID)
	if h := s.held[w.on.object().id]; h != nil {
		h.claims--
	}
}

// transfer makes w a claim on another body. Both have the same lock, which is held.
func (w *Wait) transfer(to claimed) bool {
	s := w.session
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.held[to.object().id]
	if h == nil || s.claims[w.ID] != w {
		return false
	}
	if from := s.held[w.on.object().id]; from != nil {
		from.claims--
	}
	h.claims++
	w.on = to
	return true
}

// park has w wait in a list of on, whose lock is held.
func (s *Session) park(w *Wait, on claimed, l *waitList) error {
	if err := s.claimFor(w, on, true); err != nil {
		return err
	}
	w.state, w.waited = stateWaiting, true
	l.push(w)
	return ErrParked
}

// claimOf returns what the session has begun under that id, or nil, and on what.
func (s *Session) claimOf(id uint64) (*Wait, claimed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.claims[id]; w != nil {
		return w, w.on
	}
	return nil, nil
}

// GiveUp ends the session's wait of that id, with ErrCancelled. If it has come to its end already, that stands.
func (s *Session) GiveUp(id uint64) {
	if w, on := s.claimOf(id); w != nil {
		on.giveUp(w)
	}
}

// Confirm says that what was granted under that id has reached the client, where it is not known otherwise: that of messages
// taken, and of permits of a counting semaphore. What is not confirmed can be aborted, and then was never granted.
func (s *Session) Confirm(id uint64) {
	if w, on := s.claimOf(id); w != nil {
		on.confirm(w)
	}
}

// forsakeAll ends claims of the session.
func forsakeAll(claims []*Wait, died bool) {
	for _, w := range claims {
		w.session.mu.Lock()
		on := w.on
		w.session.mu.Unlock()
		on.forsake(w, died)
	}
}

// takeClaimsLocked takes the claims on one object away from the session.
func (s *Session) takeClaimsLocked(o *object) (claims []*Wait) {
	for id, w := range s.claims {
		if w.on.object() == o {
			claims = append(claims, w)
			delete(s.claims, id)
		}
	}
	return claims
}

// Leave says that the session's client is about to end in good order: a Barrier will not miss it.
func (s *Session) Leave() {
	s.mu.Lock()
	s.leaving = true
	objs := make([]claimed, 0)
	for _, h := range s.held {
		if b, ok := h.obj.body.(*Barrier); ok {
			objs = append(objs, b)
		}
	}
	s.mu.Unlock()
	for _, b := range objs {
		b.left(s, false)
	}
}

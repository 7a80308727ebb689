package store

import (
	"sync"
	"sync/atomic"
)

// An Own is an object of a front end's own type. The store keeps it, and has calls of its methods run one after another, in
// the order in which they came, or side by side. If the front end says what state it has, that is kept as a container's values are. Its methods are safe for
// concurrent use.
type Own struct {
	self  *object
	graph *graph

	making sync.Mutex // what makes it is not ours, and may block
	value  any        // nil: nobody has asked yet

	state atomic.Pointer[ownState] // nil: none is kept; changed with the hall locked

	hall
	busy    *Wait
	waiting waitList
}

func newOwn([]uint64) (body, error) { return &Own{}, nil }

func (o *Own) place(self *object, g *graph) { o.self, o.graph = self, g }
func (o *Own) object() *object              { return o.self }
func (o *Own) confirm(*Wait)                {}
func (o *Own) left(*Session, bool)          {}

// Own returns the object of a front end's own type with that id, to which the session must hold a reference.
func (s *Session) Own(id ID) (*Own, error) { return bodyOf[*Own](s, id, KindOwn) }

// Type returns the type as it was given to Create.
func (o *Own) Type() string { return o.self.typ }

// Value returns what the object is, and has it made if it is not yet there. It is called between Enter and Leave.
func (o *Own) Value(create func() any) any {
	o.making.Lock()
	defer o.making.Unlock()
	if o.value == nil {
		o.value = create()
	}
	return o.value
}

// Live returns what SetLive was given, nil at first: the object of which the state is kept, as long as the front end has it at hand.
func (o *Own) Live() any { return o.Value(func() any { return nil }) }

// SetLive sets what the object is, between Enter and Leave of a call that is alone.
func (o *Own) SetLive(value any) {
	o.making.Lock()
	defer o.making.Unlock()
	o.value = value
}

// Enter begins a call; alone, it waits until all earlier ones that are alone have ended. When it has begun it is to be ended by Leave.
func (o *Own) Enter(s *Session, w *Wait, alone bool) error {
	o.lock()
	defer o.unlock()
	if alone && o.busy != nil {
		return s.park(w, o, &o.waiting)
	}
	if err := s.claimFor(w, o, true); err != nil { // it takes as much as one that waits
		return err
	}
	s.run(1, w.Size)
	w.state = stateHolding
	if alone {
		o.busy = w
	}
	return nil
}

// Leave ends a call.
func (o *Own) Leave(w *Wait) {
	o.lock()
	defer o.unlock()
	w.disclaim()
	w.session.run(-1, -w.Size)
	if o.busy != w {
		return
	}
	if o.busy = o.waiting.pop(); o.busy != nil {
		o.busy.session.run(1, o.busy.Size)
		o.busy.state = stateHolding
		o.wake(o.busy, nil)
	}
}

// end ends a call that waits, and has one that runs told to end.
func (o *Own) end(w *Wait, err error) {
	o.lock()
	defer o.unlock()
	switch w.state {
	case stateWaiting:
		w.unlist()
		w.disclaim()
		if err != nil {
			o.wake(w, err)
		}
	case stateHolding:
		w.Stop()
	}
}

func (o *Own) giveUp(w *Wait)             { o.end(w, ErrCancelled) }
func (o *Own) abort(w *Wait)              { o.end(w, ErrCancelled) }
func (o *Own) forsake(w *Wait, died bool) { o.end(w, unlessDied(died, errLetGo)) }

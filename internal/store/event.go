package store

// An Event is a flag that sessions wait for. Its methods are safe for concurrent use.
type Event struct {
	self *object

	hall
	set     bool
	waiting waitList
}

func newEvent([]uint64) (body, error) { return &Event{}, nil }

func (e *Event) place(self *object, _ *graph) { e.self = self }
func (e *Event) object() *object              { return e.self }
func (e *Event) size() (entries, bytes int64) { return 0, 0 }
func (e *Event) confirm(*Wait)                {}
func (e *Event) left(*Session, bool)          {}

// Event returns the event with that id, to which the session must hold a reference.
func (s *Session) Event(id ID) (*Event, error) { return bodyOf[*Event](s, id, KindEvent) }

// Set sets the event, and lets all go on who wait.
func (e *Event) Set() {
	e.lock()
	defer e.unlock()
	e.set = true
	for w := e.waiting.pop(); w != nil; w = e.waiting.pop() {
		w.disclaim()
		e.wake(w, nil)
	}
}

// Clear clears the event.
func (e *Event) Clear() {
	e.lock()
	defer e.unlock()
	e.set = false
}

// IsSet reports whether the event is set.
func (e *Event) IsSet() bool {
	e.lock()
	defer e.unlock()
	return e.set
}

// Wait waits until the event is set.
func (e *Event) Wait(s *Session, w *Wait) error {
	e.lock()
	defer e.unlock()
	if e.set {
		return nil
	}
	return s.park(w, e, &e.waiting)
}

func (e *Event) giveUp(w *Wait)             { e.end(w, ErrCancelled) }
func (e *Event) abort(w *Wait)              { e.end(w, ErrCancelled) }
func (e *Event) forsake(w *Wait, died bool) { e.end(w, unlessDied(died, errLetGo)) }

// end ends a wait. It is not told if err is nil.
func (e *Event) end(w *Wait, err error) {
	e.lock()
	defer e.unlock()
	if w.state == stateWaiting {
		w.unlist()
		w.disclaim()
		if err != nil {
			e.wake(w, err)
		}
	}
}

// unlessDied is err for a session that is there to hear it.
func unlessDied(died bool, err error) error {
	if died {
		return nil
	}
	return err
}

package manager

import (
	"context"
	"errors"

	"github.com/go-multiproc/multiproc/internal/store"
)

// A request that waits for another client in a queue, for a lock or the like is a record in the store and costs no goroutine: its
// reply is made by whoever ends the wait.

// await does what may have to wait, and replies when it is done; reply adds what the reply says, and may be nil.
func (r *request) await(do func(w *store.Wait) error, reply func(p *replier, w *store.Wait)) error {
	s := r.session
	return r.awaitEnd(do, reply, func(w *store.Wait) {
		if w.Err != nil {
			s.refuse(w.ID, w.Err)
		} else {
			s.reply(w, reply)
		}
	})
}

// awaitEnd is await where the end of a wait is told in another way.
func (r *request) awaitEnd(do func(w *store.Wait) error, reply func(p *replier, w *store.Wait), ended func(w *store.Wait)) error {
	s := r.session
	w := &store.Wait{ID: r.id, Full: s.full, Done: func(w *store.Wait) {
		ended(w)
		s.flushSoon()
	}}
	switch err := do(w); {
	case errors.Is(err, store.ErrParked): // maybe it has been answered already
		return nil
	case err != nil:
		return err
	}
	s.reply(w, reply)
	return nil
}

func (s *session) reply(w *store.Wait, reply func(p *replier, w *store.Wait)) {
	var p replier
	if n := len(w.Values); n > 16 {
		p = s.newLongReply(w.ID, 0)
	} else {
		p = s.newReply(w.ID)
	}
	if reply != nil {
		reply(&p, w)
	}
	if !p.send() {
		s.store.Abort(w.ID) // a message that nobody can have stays where it was
	}
}

// full reports whether more is unread than the client may leave so. What it has asked for itself, one after another, is bounded otherwise: its requests are left unread.
func (s *session) full() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.out) > max(s.server.options.maxBuffered(), flushSize)
}

// flushSoon has what was gathered written, by another goroutine: the caller works for another session, which this one's
// slow reader must not hold up.
func (s *session) flushSoon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.writing || s.flushing { // who writes goes on until nothing is left
		return
	}
	s.flushing = true
	s.work.Go(func() {
		s.mu.Lock()
		s.flushing = false
		s.mu.Unlock()
		s.flush()
	})
}

func (r *request) giveUp(context.Context) error {
	id := r.uint()
	if !r.ok() {
		return nil
	}
	r.store.GiveUp(id)
	return r.done()
}

func (r *request) confirm(context.Context) error {
	for range r.items {
		id := r.uint()
		if r.err != nil {
			return nil
		}
		r.store.Confirm(id)
	}
	if r.ok() {
		return r.done()
	}
	return nil
}

func (r *request) leave(context.Context) error {
	if !r.ok() {
		return nil
	}
	r.store.Leave()
	return r.done()
}

// onObject reads an object and does something with it that has no result.
func onObject[B any](r *request, find func(store.ID) (B, error), do func(B) error) error {
	id := store.ID(r.uint())
	if !r.ok() {
		return nil
	}
	b, err := find(id)
	if err == nil {
		err = do(b)
	}
	if err != nil {
		return err
	}
	return r.done()
}

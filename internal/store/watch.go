package store

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
)

// A Watch tells one session what changes in one container: which keys, or which range of a list.
//
// It keeps no history. What has changed is noted once, however often it changes, and what is there now is
// looked up when it is told: a reader that is slow learns less often, and costs no more than
// maxNoted keys. Beyond that it is told only that it must look at everything again.
//
// What was told is noted again unless the next call says that it arrived. So nothing is lost if a reply is.
type Watch struct {
	graph *graph
	obj   *object
	keys  map[string]struct{} // to be watched; nil = all

	keyBytes int // what these take

	mu    sync.Mutex
	news  notes
	told  notes
	seq   uint64        // of what was told last
	wake  chan struct{} // holds one element while there may be news
	ended chan struct{}
}

// notes are what has changed.
type notes struct {
	all      bool // everything may have
	keys     map[string]struct{}
	order    []string
	bytes    int
	from, to int // of a list, if from < to
}

const (
	// maxNoted and maxNotedBytes bound the keys that a watch notes.
	maxNoted      = 4096
	maxNotedBytes = 1 << 20
)

func (n *notes) empty() bool { return !n.all && len(n.order) == 0 && n.from >= n.to }

func (n *notes) key(k string) {
	if n.all {
		return
	}
	if _, ok := n.keys[k]; ok {
		return
	}
	if len(n.order) >= maxNoted || n.bytes+len(k) > maxNotedBytes {
		*n = notes{all: true}
		return
	}
	if n.keys == nil {
		n.keys = map[string]struct{}{}
	}
	n.keys[k] = struct{}{}
	n.order = append(n.order, k)
	n.bytes += len(k)
}

func (n *notes) span(from, to int) {
	if n.from >= n.to {
		n.from, n.to = from, to
		return
	}
	n.from, n.to = min(n.from, from), max(n.to, to)
}

// add adds what is noted elsewhere.
func (n *notes) add(m notes) {
	if m.all {
		*n = notes{all: true}
		return
	}
	for _, k := range m.order {
		n.key(k)
	}
	if m.from < m.to {
		n.span(m.from, m.to)
	}
}

// A watching is the watches of one container. It is guarded by the container's lock.
type watching struct{ watches []*Watch }

// changed notes that a key has a new value, or none any more.
func (ws *watching) changed(key string) {
	for _, w := range ws.watches {
		if _, ok := w.keys[key]; ok || w.keys == nil {
			w.note(func(n *notes) { n.key(key) })
		}
	}
}

// changedAll notes that any key may have changed.
func (ws *watching) changedAll() {
	for _, w := range ws.watches {
		w.note(func(n *notes) { *n = notes{all: true} })
	}
}

// changedSpan notes that a list is another one from an index up to before another. toEnd is the latter where the length has changed.
func (ws *watching) changedSpan(from, to int) {
	for _, w := range ws.watches {
		w.note(func(n *notes) { n.span(from, to) })
	}
}

const toEnd = math.MaxInt

func (w *Watch) note(f func(n *notes)) {
	w.mu.Lock()
	f(&w.news)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (ws *watching) begin(g *graph, obj *object, keys [][]byte) *Watch {
	w := &Watch{graph: g, obj: obj, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	if keys != nil {
		w.keys = make(map[string]struct{}, len(keys))
		for _, k := range keys {
			w.keys[string(k)] = struct{}{}
			w.keyBytes += len(k) + watchKeyBytes
		}
	}
	if !g.hold(obj) {
		w.obj = nil // it was freed under the caller; nothing will ever change
		return w
	}
	ws.watches = append(ws.watches, w)
	return w
}

func (ws *watching) end(w *Watch) {
	ws.watches = slices.DeleteFunc(ws.watches, func(x *Watch) bool { return x == w })
	if len(ws.watches) == 0 {
		ws.watches = nil
	}
}

// size is about how many bytes the watch takes, without what it notes.
func (w *Watch) size() int { return watchBytes + w.keyBytes }

// A watched is a body that can be watched.
type watched interface {
	unwatch(w *Watch)
}

// wait waits until there are news. If the report before did not arrive, what it said is. ctx ends the wait.
func (w *Watch) wait(ctx context.Context, arrived uint64) error {
	for {
		w.mu.Lock()
		if arrived != w.seq {
			w.news.add(w.told)
		}
		w.told = notes{}
		news := !w.news.empty()
		w.mu.Unlock()
		if news {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		select {
		case <-w.wake:
		case <-w.ended:
			return fmt.Errorf("%w: the watch was ended", ErrNotFound)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// take takes the news, which are told from then on.
func (w *Watch) take() (n notes, seq uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told, w.news = w.news, notes{}
	w.seq++
	return w.told, w.seq
}

// putBack notes again what did not fit in a reply.
func (w *Watch) putBack(seq uint64, keys []string) {
	w.note(func(n *notes) {
		if w.seq == seq { // else it was put back as a whole
			w.told.order = w.told.order[:len(w.told.order)-len(keys)]
			for _, k := range keys {
				n.key(k)
			}
		}
	})
}

// A Report is what a Watch has to tell.
type Report struct {
	// Seq is the number that the next call has to show.
	Seq uint64
	// Keyed says that the object has keys, and is not a list.
	Keyed bool
	// All says that everything may have changed.
	All bool
	// From and To are the range of a list in which values may have changed, and Len how many it has now.
	From, To, Len int
}

// Next waits until something has changed. arrived is the Seq of the report before, 0 at first: with any other the same is told again.
// For containers with keys it calls f for the keys that have changed, with the values that they have now, until f returns false; the rest is told
// the next time. f runs under the container's lock: it must not block. ctx ends the wait.
func (w *Watch) Next(ctx context.Context, s *Session, arrived uint64, f func(key string, v Value, ok bool) bool) (r Report, err error) {
	if err := w.wait(ctx, arrived); err != nil {
		return r, err
	}
	// The news are taken under the lock under which they are noted: what is looked up is what they were about, and not what will be told the next time.
	switch b := w.obj.body.(type) {
	case *Dict:
		b.rlock()
		defer b.mu.RUnlock()
		told, seq := w.take()
		for i, k := range told.order {
			v, ok, err := b.getLocked(s, []byte(k))
			if err != nil {
				return r, err
			}
			if !f(k, v, ok) {
				w.putBack(seq, told.order[i+1:])
				break
			}
		}
		return Report{Seq: seq, All: told.all, Keyed: true}, nil
	case *Set:
		b.mu.RLock()
		defer b.mu.RUnlock()
		told, seq := w.take()
		for i, k := range told.order {
			if !f(k, Value{}, b.table.get([]byte(k)) != nil) {
				w.putBack(seq, told.order[i+1:])
				break
			}
		}
		return Report{Seq: seq, All: told.all, Keyed: true}, nil
	case *List:
		b.mu.RLock()
		defer b.mu.RUnlock()
		told, seq := w.take()
		n := b.rope.n
		return Report{Seq: seq, All: told.all, From: min(told.from, n), To: min(told.to, n), Len: n}, nil
	}
	return r, fmt.Errorf("%w: a %v cannot be watched", ErrKind, w.obj.kind)
}

// end ends the watch. It is called once.
func (w *Watch) end() {
	close(w.ended)
	if w.obj != nil {
		w.obj.body.(watched).unwatch(w)
		w.graph.drop(w.obj)
	}
}

// Watch begins to watch the object for the session, under an id of the front end's choice that must be free (ErrInvalid), until Unwatch or
// the end of the session. Without keys it is told of all; with keys, which only objects that have some take (ErrInvalid), of those.
func (s *Session) Watch(obj ID, id uint64, keys [][]byte) error {
	s.mu.Lock()
	o, err := s.objectLocked(obj)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	var w *Watch
	switch b := o.body.(type) {
	case *Dict:
		w = b.watch(keys)
	case *Set:
		w = b.watch(keys)
	case *List:
		if keys != nil {
			return fmt.Errorf("%w: a %v has no keys to be watched", ErrInvalid, o.kind)
		}
		w = b.watch()
	default:
		return fmt.Errorf("%w: a %v cannot be watched", ErrKind, o.kind)
	}
	s.mu.Lock()
	switch {
	case w.obj == nil:
		err = fmt.Errorf("%w: object %d is gone", ErrNotFound, obj)
	case s.ended:
		err = ErrEnded
	case s.watches[id] != nil:
		err = fmt.Errorf("%w: watch %d is in use", ErrInvalid, id)
	default:
		if err = s.stakeLocked(w.size()); err == nil {
			s.watches[id] = w
		}
	}
	s.mu.Unlock()
	if err != nil {
		w.end()
	}
	return err
}

// Watching returns the session's watch with that id.
func (s *Session) Watching(id uint64) (*Watch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.watches[id]; w != nil {
		return w, nil
	}
	return nil, fmt.Errorf("%w: the session has no watch %d", ErrNotFound, id)
}

// Unwatch ends a watch. If there is none it does nothing.
func (s *Session) Unwatch(id uint64) {
	s.mu.Lock()
	w := s.watches[id]
	if w != nil {
		delete(s.watches, id)
		s.unstakeLocked(w.size())
	}
	s.mu.Unlock()
	if w != nil {
		w.end()
	}
}

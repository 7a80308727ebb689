package store

import (
	"fmt"
	"sync"
)

// A List is a sequence of values. A negative index counts from the end, as in Python: -1
// is the last. An index that the list does not have is ErrRange. Its methods are safe for
// concurrent use and never wait for anybody; sessions are passed as to a Dict's.
type List struct {
	self  *object
	graph *graph

	mu    sync.RWMutex
	rope  rope
	bytes int64
}

func newList([]uint64) (body, error) { return &List{}, nil }

func (l *List) place(self *object, g *graph) { l.self, l.graph = self, g }

// List returns the list with that id, to which the session must hold a reference.
func (s *Session) List(id ID) (*List, error) { return bodyOf[*List](s, id, KindList) }

// Len returns the number of values.
func (l *List) Len() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.rope.n
}

func (l *List) size() (entries, bytes int64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return int64(l.rope.n), l.bytes
}

// index makes an index of one that may be negative; limit is how many there are.
func index(i int64, limit int) (int, error) {
	at := i
	if at < 0 {
		at += int64(limit)
	}
	if at < 0 || at >= int64(limit) {
		return 0, fmt.Errorf("%w: index %d of a list of %d", ErrRange, i, limit)
	}
	return int(at), nil
}

// Get returns the value at i.
func (l *List) Get(s *Session, i int64) (Value, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	at, err := index(i, l.rope.n)
	if err != nil {
		return Value{}, err
	}
	it := l.rope.get(at)
	return s.value(it.data, it.refs)
}

// Append adds values at the end, all at one moment.
func (l *List) Append(s *Session, values []Value) error {
	items := make([]item, len(values))
	for i, v := range values {
		m, err := s.mention(v.Refs)
		if err != nil {
			return err
		}
		items[i] = item{v.Data, m}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, it := range items {
		l.graph.link(l.self, it.refs)
		l.rope.append(it)
		l.bytes += int64(len(it.data))
	}
	return nil
}

// Set replaces the value at i.
func (l *List) Set(s *Session, i int64, v Value) error {
	m, err := s.mention(v.Refs)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	at, err := index(i, l.rope.n)
	if err != nil {
		return err
	}
	l.graph.link(l.self, m) // before the old ones go: the two may be the same
	old := l.rope.set(at, item{v.Data, m})
	l.bytes += int64(len(v.Data) - len(old.data))
	l.graph.unlink(l.self, old.refs)
	return nil
}

// Insert puts a value before the one at i; i may be the length, which appends.
func (l *List) Insert(s *Session, i int64, v Value) error {
	m, err := s.mention(v.Refs)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.rope.n
	if i != int64(at) {
		if at, err = index(i, l.rope.n); err != nil {
			return err
		}
	}
	l.graph.link(l.self, m)
	l.rope.insert(at, item{v.Data, m})
	l.bytes += int64(len(v.Data))
	return nil
}

// Pop takes the value at i out.
func (l *List) Pop(s *Session, i int64) (Value, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, err := index(i, l.rope.n)
	if err != nil {
		return Value{}, err
	}
	it := l.rope.get(at)
	v, err := s.value(it.data, it.refs) // before the list lets go of its references
	if err != nil {
		return Value{}, err
	}
	old := l.rope.remove(at)
	l.bytes -= int64(len(old.data))
	l.graph.unlink(l.self, old.refs)
	return v, nil
}

// Snapshot returns the list as it is now, in time that hardly depends on its size.
func (l *List) Snapshot() *Snapshot {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &Snapshot{
		graph: l.graph,
		pin:   l.graph.pin(l.self),
		size:  l.rope.n,
		items: l.rope.snapshot(),
	}
}

func (l *List) String() string { return fmt.Sprintf("list %d", l.self.id) }

package store

import (
	"fmt"
	"sync"
)

// A Snapshot is a container as it was at one moment, to be read in pages. It keeps
// alive what it shows. Its methods are safe for concurrent use.
type Snapshot struct {
	graph  *graph
	pin    *object // nil if nothing is mentioned
	size   int
	keyed  bool
	valued bool
	cost   int // what the session that keeps it is charged

	mu      sync.Mutex
	entries [][]entry // of a dict
	from    Cursor
	items   [][]item // of a list
}

// Len returns the number of entries at that moment.
func (n *Snapshot) Len() int { return n.size }

// Keyed reports whether the entries have keys: a dict's do, a list's do not.
func (n *Snapshot) Keyed() bool { return n.keyed }

// Valued reports whether the entries have values: a set's do not.
func (n *Snapshot) Valued() bool { return n.valued }

// Page calls f for the next entries until f returns false, and reports whether the end
// was reached. The keys of a list's values are "".
func (n *Snapshot) Page(s *Session, f func(key string, v Value) bool) (end bool, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.keyed {
		n.from, end, err = page(s, n.entries, n.from, f)
		return end, err
	}
	for len(n.items) > 0 {
		chunk := n.items[0]
		for i := range chunk {
			v, err := s.value(chunk[i].data, chunk[i].refs)
			if err != nil {
				return false, err
			}
			if !f("", v) {
				n.items[0] = chunk[i+1:]
				return false, nil
			}
		}
		n.items = n.items[1:]
	}
	return true, nil
}

// free lets go of everything. It is called once.
func (n *Snapshot) free() {
	n.mu.Lock()
	pin := n.pin
	n.pin, n.entries, n.items = nil, nil, nil
	n.mu.Unlock()
	if pin != nil {
		n.graph.drop(pin)
	}
}

// Free lets go of a snapshot that no session keeps. It is safe to call twice.
func (n *Snapshot) Free() { n.free() }

// Keep makes a snapshot the session's, under an id of the front end's choice that must be
// free (ErrInvalid), until Discard or the end of the session. On error it is freed.
func (s *Session) Keep(id uint64, n *Snapshot) error {
	s.mu.Lock()
	switch {
	case s.ended:
		s.mu.Unlock()
		n.free()
		return ErrEnded
	case s.snapshots[id] != nil:
		s.mu.Unlock()
		n.free()
		return fmt.Errorf("%w: snapshot %d is in use", ErrInvalid, id)
	}
	n.cost = n.weight()
	if err := s.stakeLocked(n.cost); err != nil {
		s.mu.Unlock()
		n.free()
		return err
	}
	s.snapshots[id] = n
	s.mu.Unlock()
	return nil
}

// weight is about how many bytes the snapshot takes, without the values.
func (n *Snapshot) weight() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	bytes := snapshotBytes + 24*(len(n.entries)+len(n.items))
	if n.pin != nil {
		n.graph.mu.Lock()
		bytes += pinBytes * len(n.pin.out)
		n.graph.mu.Unlock()
	}
	return bytes
}

// Kept returns the snapshot that the session keeps under that id.
func (s *Session) Kept(id uint64) (*Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.snapshots[id]; n != nil {
		return n, nil
	}
	return nil, fmt.Errorf("%w: the session keeps no snapshot %d", ErrNotFound, id)
}

// Discard frees a kept snapshot. If there is none it does nothing.
func (s *Session) Discard(id uint64) {
	s.mu.Lock()
	n := s.snapshots[id]
	if n != nil {
		delete(s.snapshots, id)
		s.unstakeLocked(n.cost)
	}
	s.mu.Unlock()
	if n != nil {
		n.free()
	}
}

// SnapshotOf makes a snapshot of values that stand in no container.
func SnapshotOf(values []string) *Snapshot {
	items := make([]item, len(values))
	for i, v := range values {
		items[i].data = v
	}
	return &Snapshot{size: len(items), valued: true, items: [][]item{items}}
}

package store

import (
	"fmt"
	"maps"
)

// growth is what a change may add that puts all of some bodies into another one. It is admitted for itself: the request for it says nothing of its size.
func growth(of ...body) (d Demand) {
	for _, b := range of {
		entries, bytes := b.size()
		d.Entries += entries
		d.Bytes += bytes + entries*entryBytes
		d.Record += bytes + 16*entries
	}
	return d
}

// A copier is a body that can be copied.
type copier interface {
	// copyTo fills a new body of the same kind, which nobody else can reach yet, with what stands in this one at one moment.
	copyTo(b body)
}

// Copy makes an object that has what another one has at this moment: the same kind, type, parameters, values, and times to live. It has no name. The session
// holds one reference to it.
func (s *Session) Copy(id ID) (ID, error) {
	s.mu.Lock()
	o, err := s.objectLocked(id)
	s.mu.Unlock()
	if err != nil {
		return 0, err
	}
	from, ok := o.body.(copier)
	if !ok {
		return 0, fmt.Errorf("%w: a %v cannot be copied", ErrKind, o.kind)
	}
	demand := growth(o.body)
	if err := s.store.Admit(demand); err != nil {
		return 0, err
	}
	defer s.store.Done(demand)
	to, err := s.store.graph.create(o.kind, o.typ, o.params)
	if err != nil {
		return 0, err
	}
	from.copyTo(to.body)
	return s.adopt(to)
}

func (d *Dict) copyTo(b body) {
	to := b.(*Dict)
	d.lock()
	snap := d.snapshotLocked()
	var ends map[string]*deadline
	if d.expiry != nil {
		ends = maps.Clone(d.expiry.ends)
	}
	d.mu.Unlock()
	defer snap.free()
	to.mu.Lock()
	defer to.mu.Unlock()
	scan(snap.entries, 0, func(e *entry) bool {
		to.putLocked([]byte(e.key), e.data, e.refs)
		return true
	})
	for key, e := range ends {
		to.liveLocked(key, e.at)
	}
}

func (t *Set) copyTo(b body) {
	to := b.(*Set)
	snap := t.Snapshot()
	to.mu.Lock()
	defer to.mu.Unlock()
	scan(snap.entries, 0, func(e *entry) bool {
		to.addLocked([]byte(e.key))
		return true
	})
}

func (l *List) copyTo(b body) {
	to := b.(*List)
	snap := l.Snapshot()
	defer snap.free()
	to.mu.Lock()
	defer to.mu.Unlock()
	var items []item
	for _, c := range snap.items {
		items = append(items, c...)
	}
	to.spliceLocked(0, to.rope.n, items)
}

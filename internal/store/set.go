package store

import (
	"cmp"
	"fmt"
	"slices"
)

// A Set is a set of keys, in the order in which they first came. Two keys are the same if their bytes are. Its methods are safe for
// concurrent use and never wait for anybody. Slices that are passed in may be used again after the return.
type Set struct {
	self  *object
	graph *graph

	mu    guard
	table table // without data
	bytes int64

	watching
}

func newSet([]uint64) (body, error) { return &Set{table: newTable()}, nil }

func (t *Set) place(self *object, g *graph) {
	t.self, t.graph = self, g
	t.mu.place(self, t)
}

// Set returns the set with that id, to which the session must hold a reference.
func (s *Session) Set(id ID) (*Set, error) { return bodyOf[*Set](s, id, KindSet) }

// Len returns the number of keys.
func (t *Set) Len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.table.len()
}

func (t *Set) size() (entries, bytes int64) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return int64(t.table.len()), t.bytes
}

// Contains says of each key whether it is there, at one moment.
func (t *Set) Contains(keys [][]byte) []bool {
	in := make([]bool, len(keys))
	t.mu.RLock()
	defer t.mu.RUnlock()
	for i, k := range keys {
		in[i] = t.table.get(k) != nil
	}
	return in
}

// Add adds keys at one moment, and returns how many were not there.
func (t *Set) Add(keys [][]byte) (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range keys {
		if t.addLocked(k) {
			n++
		}
	}
	return n
}

// Remove removes keys at one moment, and returns how many were there.
func (t *Set) Remove(keys [][]byte) (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range keys {
		if t.removeLocked(k) {
			n++
		}
	}
	return n
}

// PopNewest removes the key that came last and returns it; ok is false if there is none.
func (t *Set) PopNewest() (key string, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.table.newest(func(*entry) bool { return true })
	if e == nil {
		return "", false
	}
	key = e.key
	t.removeLocked([]byte(key))
	return key, true
}

// Clear removes everything.
func (t *Set) Clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clearLocked()
}

// Every change of a set is one of the following.

func (t *Set) addLocked(key []byte) bool {
	if t.table.get(key) != nil {
		return false
	}
	t.mu.note(effectSetAdd).Bytes(key)
	t.table.put(key, "", nil)
	t.bytes += int64(len(key))
	if t.watches != nil {
		t.changed(string(key))
	}
	return true
}

func (t *Set) removeLocked(key []byte) bool {
	old := t.table.remove(key)
	if old == nil {
		return false
	}
	t.mu.note(effectSetRemove).Bytes(key)
	t.bytes -= int64(len(old.key))
	if t.watches != nil {
		t.changed(old.key)
	}
	return true
}

func (t *Set) clearLocked() {
	t.mu.note(effectSetClear)
	t.table.reset()
	t.bytes = 0
	t.changedAll()
}

// An Algebra is an operation on sets.
type Algebra uint64

// Operations on sets. The numbers stand in the protocol: they are never reassigned.
const (
	Union               Algebra = 1 // what is in any
	Intersection        Algebra = 2 // what is in all
	Difference          Algebra = 3 // what is in the first and in none of the others
	SymmetricDifference Algebra = 4 // what is in an odd number of them: of two, in one and not in the other
)

func (a Algebra) check() error {
	if a < Union || a > SymmetricDifference {
		return fmt.Errorf("%w: there is no operation %d on sets", ErrInvalid, a)
	}
	return nil
}

// distinct returns others without those that make no difference, so that naming one a million times takes no longer than naming it once.
func (a Algebra) distinct(others []*Set) []*Set {
	odd := make(map[*Set]bool, len(others))
	for _, o := range others {
		odd[o] = !odd[o]
	}
	var some []*Set
	for _, o := range others {
		if single, left := odd[o]; left && (single || a != SymmetricDifference) {
			some = append(some, o)
		}
		delete(odd, o)
	}
	return some
}

// growth is what the operation may add: what is in the first, if that is copied, and in the others, if they are added.
func (a Algebra) growth(copied *Set, others []*Set) Demand {
	var of []body
	if copied != nil {
		of = append(of, copied)
	}
	if a == Union || a == SymmetricDifference {
		for _, o := range others {
			of = append(of, o)
		}
	}
	return growth(of...)
}

// Combine makes t what the operation makes of t and the others, at one moment.
func (t *Set) Combine(a Algebra, others []*Set) error {
	if err := a.check(); err != nil {
		return err
	}
	others = a.distinct(others)
	demand := a.growth(nil, others)
	if err := t.self.ledger.admit(demand); err != nil {
		return err
	}
	defer t.self.ledger.done(demand)
	defer lockSets(t, others)()
	t.combineLocked(a, others)
	return nil
}

// Combined makes a set of what the operation makes of a set and others, at one moment. The session holds one reference to it.
func (s *Session) Combined(id ID, a Algebra, others []*Set) (ID, error) {
	if err := a.check(); err != nil {
		return 0, err
	}
	o, err := s.object(id, KindSet)
	if err != nil {
		return 0, err
	}
	others = a.distinct(others)
	demand := a.growth(o.body.(*Set), others)
	if err := s.store.Admit(demand); err != nil {
		return 0, err
	}
	defer s.store.Done(demand)
	made, err := s.store.graph.create(KindSet, o.typ, nil)
	if err != nil {
		return 0, err
	}
	from, to := o.body.(*Set), made.body.(*Set)
	unlock := lockSets(to, append(slices.Clone(others), from))
	to.combineLocked(Union, []*Set{from})
	to.combineLocked(a, others)
	unlock()
	return s.adopt(made)
}

func (t *Set) combineLocked(a Algebra, others []*Set) {
	if a == Intersection {
		scan(t.table.snapshot(), 0, func(e *entry) bool {
			key := []byte(e.key)
			if slices.ContainsFunc(others, func(o *Set) bool { return o.table.get(key) == nil }) {
				t.removeLocked(key)
			}
			return true
		})
		return
	}
	// Itself first, while it still is what it was: the order of the others does not matter.
	self := 0
	for _, o := range others {
		if o == t {
			self++
		}
	}
	if a == Difference && self > 0 || a == SymmetricDifference && self%2 == 1 {
		t.clearLocked()
	}
	for _, o := range others {
		if o == t {
			continue
		}
		scan(o.table.chunks, 0, func(e *entry) bool {
			key := []byte(e.key)
			if a == Union || a == SymmetricDifference && t.table.get(key) == nil {
				t.addLocked(key)
			} else {
				t.removeLocked(key)
			}
			return true
		})
	}
}

// A Relation is what holds between two sets.
type Relation uint64

// Relations. The numbers stand in the protocol: they are never reassigned.
const (
	Subset   Relation = 1 // all of the first is in the second
	Disjoint Relation = 2 // nothing is in both
	Same     Relation = 3 // they have the same keys
)

// Relates reports whether a relation holds between t and another set, at one moment.
func (t *Set) Relates(r Relation, o *Set) (bool, error) {
	if r < Subset || r > Same {
		return false, fmt.Errorf("%w: there is no relation %d of sets", ErrInvalid, r)
	}
	defer lockSets(nil, []*Set{t, o})()
	if r == Disjoint && o.table.len() < t.table.len() {
		t, o = o, t
	}
	if n, m := t.table.len(), o.table.len(); r == Subset && n > m || r == Same && n != m {
		return false, nil
	}
	holds := true
	scan(t.table.chunks, 0, func(e *entry) bool {
		holds = (o.table.get([]byte(e.key)) != nil) != (r == Disjoint)
		return holds
	})
	return holds, nil
}

// lockSets locks one set for changes and others for reading, in the order of their ids, which is the same for everybody.
func lockSets(change *Set, read []*Set) (unlock func()) {
	all := slices.Clone(read)
	if change != nil {
		all = append(all, change)
	}
	slices.SortFunc(all, func(a, b *Set) int { return cmp.Compare(a.self.id, b.self.id) })
	all = slices.Compact(all)
	for _, s := range all {
		if s == change {
			s.mu.Lock()
		} else {
			s.mu.RLock()
		}
	}
	return func() {
		for _, s := range all {
			if s == change {
				s.mu.Unlock()
			} else {
				s.mu.RUnlock()
			}
		}
	}
}

// Page calls f for keys that follow from, as a Dict's does.
func (t *Set) Page(from Cursor, f func(key string, v Value) bool) (next Cursor, end bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	next, end, _ = page(nil, t.table.chunks, from, f)
	return next, end
}

// Snapshot returns the set as it is now, in time that hardly depends on its size.
func (t *Set) Snapshot() *Snapshot {
	t.mu.Lock()
	defer t.mu.Unlock()
	return &Snapshot{graph: t.graph, size: t.table.len(), keyed: true, entries: t.table.snapshot()}
}

func (t *Set) watch(keys [][]byte) *Watch {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.watching.begin(t.graph, t.self, keys)
}

func (t *Set) unwatch(w *Watch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.watching.end(w)
}

func (t *Set) String() string { return fmt.Sprintf("set %d", t.self.id) }

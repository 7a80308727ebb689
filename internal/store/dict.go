package store

import (
	"context"
	"fmt"
	"sync"
)

// A Dict maps keys to values, in the order in which the keys first came. Two keys are
// the same if their bytes are. Its methods are safe for concurrent use.
//
// Methods that return values take the session that receives them, and with them the
// references that they carry; for a nil session no references are counted.
// Methods that change a key wait while somebody else holds a lease on it: ctx ends the
// wait, and NoWait makes it ErrBusy. Slices that are passed in may be used again
// after the return.
type Dict struct {
	self  *object
	graph *graph

	mu     sync.RWMutex
	table  table
	bytes  int64
	leases map[string]*leaseQueue
}

func newDict([]uint64) (body, error) {
	return &Dict{table: newTable(), leases: map[string]*leaseQueue{}}, nil
}

func (d *Dict) place(self *object, g *graph) { d.self, d.graph = self, g }

// Dict returns the dict with that id, to which the session must hold a reference.
func (s *Session) Dict(id ID) (*Dict, error) { return bodyOf[*Dict](s, id, KindDict) }

// A Pair is a key and its value.
type Pair struct {
	// Key is the key's bytes.
	Key []byte
	// Value is what stands there.
	Value Value
}

// Len returns the number of keys.
func (d *Dict) Len() int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.table.len()
}

func (d *Dict) size() (entries, bytes int64) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return int64(d.table.len()), d.bytes
}

// Get returns the value of key; ok is false if there is none. It never waits: while the
// key is leased it returns the value from before.
func (d *Dict) Get(s *Session, key []byte) (v Value, ok bool, err error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.getLocked(s, key)
}

func (d *Dict) getLocked(s *Session, key []byte) (v Value, ok bool, err error) {
	e := d.table.get(key)
	if e == nil {
		return Value{}, false, nil
	}
	v, err = s.value(e.data, e.refs)
	return v, err == nil, err
}

// GetMany returns the values of the keys at one moment. Those without one are nil.
func (d *Dict) GetMany(s *Session, keys [][]byte) ([]*Value, error) {
	values := make([]*Value, len(keys))
	d.mu.RLock()
	defer d.mu.RUnlock()
	for i, k := range keys {
		v, ok, err := d.getLocked(s, k)
		if err != nil {
			return nil, err
		}
		if ok {
			values[i] = &v
		}
	}
	return values, nil
}

// Set gives key a value.
func (d *Dict) Set(ctx context.Context, s *Session, key []byte, v Value) error {
	m, err := s.mention(v.Refs)
	if err != nil {
		return err
	}
	if err := d.begin(ctx, key); err != nil {
		return err
	}
	defer d.mu.Unlock()
	d.putLocked(key, v.Data, m)
	return nil
}

// SetMany gives all keys their values at one moment. While it waits for the lease of one
// of them it holds none of the others, so it can be part of no deadlock.
func (d *Dict) SetMany(ctx context.Context, s *Session, pairs []Pair) error {
	ms := make([]*mentions, len(pairs))
	for i, p := range pairs {
		m, err := s.mention(p.Value.Refs)
		if err != nil {
			return err
		}
		ms[i] = m
	}
	if err := d.beginMany(ctx, len(pairs), func(i int) []byte { return pairs[i].Key }); err != nil {
		return err
	}
	defer d.mu.Unlock()
	for i, p := range pairs {
		d.putLocked(p.Key, p.Value.Data, ms[i])
	}
	return nil
}

// Delete removes a key and reports whether it was there.
func (d *Dict) Delete(ctx context.Context, key []byte) (existed bool, err error) {
	if err := d.begin(ctx, key); err != nil {
		return false, err
	}
	defer d.mu.Unlock()
	return d.removeLocked(key), nil
}

// DeleteMany removes all the keys at one moment and returns how many were there. It waits
// as SetMany does.
func (d *Dict) DeleteMany(ctx context.Context, keys [][]byte) (n int, err error) {
	if err := d.beginMany(ctx, len(keys), func(i int) []byte { return keys[i] }); err != nil {
		return 0, err
	}
	defer d.mu.Unlock()
	for _, k := range keys {
		if d.removeLocked(k) {
			n++
		}
	}
	return n, nil
}

// putLocked and removeLocked take new references before they drop old ones: what is
// mentioned by both must not be freed in between.

func (d *Dict) putLocked(key []byte, data string, m *mentions) {
	d.graph.link(d.self, m)
	old := d.table.put(key, data, m)
	d.bytes += int64(len(data) - len(old.data))
	if old.seq == 0 {
		d.bytes += int64(len(key))
	}
	d.graph.unlink(d.self, old.refs)
}

func (d *Dict) removeLocked(key []byte) bool {
	old := d.table.remove(key)
	if old == nil {
		return false
	}
	d.bytes -= int64(len(old.key) + len(old.data))
	d.graph.unlink(d.self, old.refs)
	return true
}

// A Cursor is a place in a dict's order, from which Page goes on. The zero Cursor is
// the beginning.
type Cursor uint64

// Page calls f for entries that follow from, in the dict's order, until f returns false.
// It returns where to go on, and whether the end was reached. A reader that goes from
// page to page sees every entry that is there all the time exactly once; one that comes
// or goes meanwhile it sees once or not at all. f runs under the dict's lock: it must not
// block.
func (d *Dict) Page(s *Session, from Cursor, f func(key string, v Value) bool) (next Cursor, end bool, err error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return page(s, d.table.chunks, from, f)
}

func page(s *Session, chunks [][]entry, from Cursor, f func(key string, v Value) bool) (next Cursor, end bool, err error) {
	next, end = from, true
	scan(chunks, uint64(from), func(e *entry) bool {
		var v Value
		if v, err = s.value(e.data, e.refs); err != nil {
			return false
		}
		next = Cursor(e.seq)
		end = f(e.key, v)
		return end
	})
	return next, end && err == nil, err
}

// Snapshot returns the dict as it is now, in time that hardly depends on its size.
func (d *Dict) Snapshot() *Snapshot {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &Snapshot{
		graph:   d.graph,
		pin:     d.graph.pin(d.self),
		size:    d.table.len(),
		keyed:   true,
		entries: d.table.snapshot(),
	}
}

func (d *Dict) String() string { return fmt.Sprintf("dict %d", d.self.id) }

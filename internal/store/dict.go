package store

import (
	"context"
	"fmt"
	"time"
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

	mu     guard
	table  table
	bytes  int64
	leases map[string]*leaseQueue
	expiry *expiry // nil while no key has a time to live

	watching
}

func newDict([]uint64) (body, error) {
	return &Dict{table: newTable(), leases: map[string]*leaseQueue{}}, nil
}

func (d *Dict) place(self *object, g *graph) {
	d.self, d.graph = self, g
	d.mu.place(self, d)
}

// Dict returns the dict with that id, to which the session must hold a reference.
func (s *Session) Dict(id ID) (*Dict, error) { return bodyOf[*Dict](s, id, KindDict) }

// Namespace returns the dict that is the content of a namespace.
func (s *Session) Namespace(id ID) (*Dict, error) { return bodyOf[*Dict](s, id, KindNamespace) }

// Cell returns the dict that is the content of a value. Its only key is CellKey.
func (s *Session) Cell(id ID) (*Dict, error) { return bodyOf[*Dict](s, id, KindValue) }

// CellKey is the key of what a value holds.
var CellKey = []byte{}

// A Pair is a key and its value.
type Pair struct {
	// Key is the key's bytes.
	Key []byte
	// Value is what stands there.
	Value Value
}

// Len returns the number of keys.
func (d *Dict) Len() int {
	d.rlock()
	defer d.mu.RUnlock()
	return d.table.len()
}

func (d *Dict) size() (entries, bytes int64) {
	d.rlock()
	defer d.mu.RUnlock()
	return int64(d.table.len()), d.bytes
}

// Get returns the value of key; ok is false if there is none. It never waits: while the
// key is leased it returns the value from before.
func (d *Dict) Get(s *Session, key []byte) (v Value, ok bool, err error) {
	d.rlock()
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
	d.rlock()
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

// Has reports whether key is there. It never waits.
func (d *Dict) Has(key []byte) bool {
	d.rlock()
	defer d.mu.RUnlock()
	return d.table.get(key) != nil
}

// Set gives key a value. A time to live that it had ends.
func (d *Dict) Set(ctx context.Context, s *Session, key []byte, v Value) error {
	m, err := s.mention(v.Refs)
	if err != nil {
		return err
	}
	if err := d.begin(ctx, key); err != nil {
		return err
	}
	defer d.mu.Unlock()
	d.setLocked(key, v.Data, m)
	return nil
}

// SetFor gives key a value, and removes it when that time has passed.
func (d *Dict) SetFor(ctx context.Context, s *Session, key []byte, v Value, ttl time.Duration) error {
	at, err := until(ttl)
	if err != nil {
		return err
	}
	m, err := s.mention(v.Refs)
	if err != nil {
		return err
	}
	if err := d.begin(ctx, key); err != nil {
		return err
	}
	defer d.mu.Unlock()
	d.putLocked(key, v.Data, m)
	d.liveLocked(string(key), at)
	return nil
}

// Expire lets key, if it is there, live for that time only, or for ever if ttl is 0, and reports whether it is there.
func (d *Dict) Expire(ctx context.Context, key []byte, ttl time.Duration) (ok bool, err error) {
	var at time.Time
	if ttl != 0 {
		if at, err = until(ttl); err != nil {
			return false, err
		}
	}
	if err := d.begin(ctx, key); err != nil {
		return false, err
	}
	defer d.mu.Unlock()
	if d.table.get(key) == nil {
		return false, nil
	}
	d.liveLocked(string(key), at)
	return true, nil
}

// TTL returns how long key has to live, 0 if that is for ever; ok is false if it is not there.
func (d *Dict) TTL(key []byte) (left time.Duration, ok bool) {
	d.rlock()
	defer d.mu.RUnlock()
	if d.table.get(key) == nil {
		return 0, false
	}
	if d.expiry != nil {
		if e := d.expiry.ends[string(key)]; e != nil {
			return max(time.Until(e.at), 1), true
		}
	}
	return 0, true
}

// Edit lets f decide what becomes of key, and returns the value that was there if the verdict asks for it.
func (d *Dict) Edit(ctx context.Context, s *Session, key []byte, f Editor) (old Value, ok bool, err error) {
	if err := d.begin(ctx, key); err != nil {
		return Value{}, false, err
	}
	defer d.mu.Unlock()
	var there Value
	e := d.table.get(key)
	if e != nil {
		there = Value{e.data, e.refs.ids()}
	}
	verdict, err := f(there, e != nil)
	if err != nil {
		return Value{}, false, err
	}
	var m *mentions
	if verdict.Do == Put {
		if m, err = s.mention(verdict.Value.Refs); err != nil {
			return Value{}, false, err
		}
	}
	if verdict.Fetch {
		if old, ok, err = d.getLocked(s, key); err != nil {
			return Value{}, false, err
		}
	}
	switch verdict.Do {
	case Put:
		if verdict.Fresh {
			d.setLocked(key, verdict.Value.Data, m)
		} else {
			d.putLocked(key, verdict.Value.Data, m)
		}
	case Remove:
		d.removeLocked(key)
	}
	return old, ok, nil
}

// PopNewest removes the entry whose key came last, and returns it; ok is false if there is none. It passes over leased keys, and waits if there
// are no others.
func (d *Dict) PopNewest(ctx context.Context, s *Session) (key string, v Value, ok bool, err error) {
	for {
		d.lock()
		e := d.table.newest(func(e *entry) bool { return d.leases[e.key] == nil })
		if e != nil {
			defer d.mu.Unlock()
			key = e.key
			if v, _, err = d.getLocked(s, []byte(key)); err != nil {
				return "", Value{}, false, err
			}
			d.removeLocked([]byte(key))
			return key, v, true, nil
		}
		e = d.table.newest(func(*entry) bool { return true })
		if e == nil {
			d.mu.Unlock()
			return "", Value{}, false, nil
		}
		key = e.key
		d.mu.Unlock()
		if err := d.begin(ctx, []byte(key)); err != nil {
			return "", Value{}, false, err
		}
		d.mu.Unlock()
	}
}

// Clear removes everything at one moment, once no key is leased.
func (d *Dict) Clear(ctx context.Context) error {
	for {
		d.lock()
		leased := ""
		for key := range d.leases {
			leased = key
			break
		}
		if len(d.leases) == 0 {
			d.clearLocked()
			d.mu.Unlock()
			return nil
		}
		d.mu.Unlock()
		if err := d.begin(ctx, []byte(leased)); err != nil {
			return err
		}
		d.mu.Unlock()
	}
}

// Merge gives all keys of another dict the values that they have there at this moment, at one moment. It waits as SetMany does.
func (d *Dict) Merge(ctx context.Context, from *Dict) error {
	demand := growth(from)
	if err := d.self.ledger.admit(demand); err != nil {
		return err
	}
	defer d.self.ledger.done(demand)
	n := from.Snapshot()
	defer n.Free()
	var entries []*entry
	scan(n.entries, 0, func(e *entry) bool { entries = append(entries, e); return true })
	if err := d.beginMany(ctx, len(entries), func(i int) []byte { return []byte(entries[i].key) }); err != nil {
		return err
	}
	defer d.mu.Unlock()
	for _, e := range entries {
		d.setLocked([]byte(e.key), e.data, e.refs)
	}
	return nil
}

// watch begins to watch keys, or all if they are nil.
func (d *Dict) watch(keys [][]byte) *Watch {
	d.lock()
	defer d.mu.Unlock()
	return d.watching.begin(d.graph, d.self, keys)
}

func (d *Dict) unwatch(w *Watch) {
	d.lock()
	defer d.mu.Unlock()
	d.watching.end(w)
}

// SetMany gives all keys their values at one moment, as Set does. While it waits for the lease of one
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
		d.setLocked(p.Key, p.Value.Data, ms[i])
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

// setLocked is putLocked for a value that has nothing to do with the one before: a time to live ends.
func (d *Dict) setLocked(key []byte, data string, m *mentions) {
	d.putLocked(key, data, m)
	if d.expiry != nil && d.expiry.ends[string(key)] != nil {
		d.noteLifeLocked(string(key), time.Time{})
		d.expiry.drop(string(key))
	}
}

// Every change of the entries is one of the following. They take new references before they drop old ones: what is
// mentioned by both must not be freed in between.

func (d *Dict) putLocked(key []byte, data string, m *mentions) {
	if w := d.mu.note(effectDictPut); w != nil {
		w.Bytes(key)
		noteValue(w, data, m)
	}
	d.graph.link(d.self, m)
	old := d.table.put(key, data, m)
	d.bytes += sizeOf(data, m) - sizeOf(old.data, old.refs)
	if old.seq == 0 {
		d.bytes += int64(len(key))
	}
	d.graph.unlink(d.self, old.refs)
	if d.watches != nil {
		d.changed(string(key))
	}
}

func (d *Dict) removeLocked(key []byte) bool {
	old := d.table.remove(key)
	if old == nil {
		return false
	}
	d.mu.note(effectDictRemove).Bytes(key)
	d.bytes -= int64(len(old.key)) + sizeOf(old.data, old.refs)
	d.graph.unlink(d.self, old.refs)
	if d.expiry != nil {
		d.expiry.drop(old.key)
	}
	if d.watches != nil {
		d.changed(old.key)
	}
	return true
}

func (d *Dict) clearLocked() {
	d.mu.note(effectDictClear)
	for _, c := range d.table.chunks {
		for i := range c {
			d.graph.unlink(d.self, c[i].refs)
		}
	}
	d.table.reset()
	d.bytes = 0
	if x := d.expiry; x != nil {
		clear(x.ends)
		x.heap = nil
		d.wakeLocked()
	}
	d.changedAll()
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
	d.rlock()
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
	d.lock()
	defer d.mu.Unlock()
	return d.snapshotLocked()
}

func (d *Dict) snapshotLocked() *Snapshot {
	return &Snapshot{
		graph:   d.graph,
		pin:     d.graph.pin(d.self),
		size:    d.table.len(),
		keyed:   true,
		valued:  true,
		entries: d.table.snapshot(),
	}
}

func (d *Dict) String() string { return fmt.Sprintf("dict %d", d.self.id) }

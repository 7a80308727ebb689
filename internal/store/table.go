package store

import "slices"

// A table is an insertion-ordered map that can be read in pages while it changes, and
// copied in no time. It is not safe for concurrent use.
//
// Entries stand in chunks in the order in which their keys first came; a deleted one
// leaves a hole until there are more holes than entries. Each entry carries a sequence
// number, so a reader that remembers the last number it saw goes on from there, whatever
// was added, deleted or compacted meanwhile. A snapshot takes the slice headers of the
// chunks; a chunk is copied before it is changed in place if a snapshot may see it.
// Appending needs no copy: a snapshot's slice ends before.
type table struct {
	index  index     // key -> place: chunk·chunkLen + offset
	chunks [][]entry // all but the last have chunkLen entries, holes included
	copied []uint64  // by chunk: the epoch in which it was made or last copied
	epoch  uint64    // counts snapshots
	used   int       // places taken, holes included
	seq    uint64    // of the newest entry
}

const chunkLen = 256

type entry struct {
	key, data string
	refs      *mentions
	seq       uint64 // hole marks a deleted entry
}

const hole = 1 << 63

func (e *entry) order() uint64 { return e.seq &^ hole }
func (e *entry) gone() bool    { return e.seq&hole != 0 }

func newTable() table { return table{} }

func (t *table) len() int { return t.index.n }

// get returns the entry of key, or nil. It is good until the next change.
func (t *table) get(key []byte) *entry {
	place, ok := t.find(hashOf(key), key)
	if !ok {
		return nil
	}
	return t.at(place)
}

func (t *table) at(place uint32) *entry { return &t.chunks[place/chunkLen][place%chunkLen] }

func (t *table) find(hash uint32, key []byte) (place uint32, ok bool) {
	return t.index.find(hash, func(place uint32) bool { return t.at(place).key == string(key) })
}

// put sets a key and returns what its entry was before: zero if it is new.
func (t *table) put(key []byte, data string, refs *mentions) (old entry) {
	hash := hashOf(key)
	if place, ok := t.find(hash, key); ok {
		e := t.writable(place)
		old = *e
		e.data, e.refs = data, refs
		return old
	}
	if t.used%chunkLen == 0 && t.used/chunkLen == len(t.chunks) {
		t.chunks = append(t.chunks, nil)
		t.copied = append(t.copied, t.epoch)
	}
	t.seq++
	k := string(key)
	last := len(t.chunks) - 1
	t.chunks[last] = append(t.chunks[last], entry{k, data, refs, t.seq})
	t.index.add(hash, uint32(t.used))
	t.used++
	return entry{}
}

// remove deletes a key and returns what its entry was, nil if there was none.
func (t *table) remove(key []byte) *entry {
	hash := hashOf(key)
	place, ok := t.find(hash, key)
	if !ok {
		return nil
	}
	e := t.writable(place)
	old := *e
	*e = entry{seq: old.seq | hole}
	t.index.remove(hash, place)
	if int(place) == t.used-1 {
		t.trim()
	}
	if holes := t.used - t.len(); holes > t.len()+chunkLen {
		t.compact()
	}
	return &old
}

// trim drops the holes at the end, so that what is taken from there leaves none.
func (t *table) trim() {
	for last := len(t.chunks) - 1; last >= 0; last-- {
		c := t.chunks[last]
		n := len(c)
		for n > 0 && c[n-1].gone() {
			n--
		}
		t.used -= len(c) - n
		if n > 0 {
			t.chunks[last] = c[:n:n] // a snapshot may see what stands behind
			return
		}
		t.chunks[last] = nil
		t.chunks = t.chunks[:last]
		t.copied = t.copied[:last]
	}
}

// newest returns the last entry for which f is true, or nil.
func (t *table) newest(f func(e *entry) bool) *entry {
	for i := len(t.chunks) - 1; i >= 0; i-- {
		for j := len(t.chunks[i]) - 1; j >= 0; j-- {
			if e := &t.chunks[i][j]; !e.gone() && f(e) {
				return e
			}
		}
	}
	return nil
}

// reset removes everything. Numbers go on, and so do readers.
func (t *table) reset() {
	*t = table{epoch: t.epoch, seq: t.seq}
}

// writable returns the entry at a place, in a chunk that no snapshot sees.
func (t *table) writable(place uint32) *entry {
	c := place / chunkLen
	if t.copied[c] != t.epoch {
		t.chunks[c] = append(make([]entry, 0, cap(t.chunks[c])), t.chunks[c]...)
		t.copied[c] = t.epoch
	}
	return &t.chunks[c][place%chunkLen]
}

// compact closes the holes. The order, and so every reader's position, stays.
func (t *table) compact() {
	var chunks [][]entry
	var places index
	used := 0
	for _, c := range t.chunks {
		for i := range c {
			if c[i].gone() {
				continue
			}
			if used%chunkLen == 0 {
				chunks = append(chunks, make([]entry, 0, min(chunkLen, t.len()-used)))
			}
			last := len(chunks) - 1
			chunks[last] = append(chunks[last], c[i])
			places.add(hashOfString(c[i].key), uint32(used))
			used++
		}
	}
	t.index, t.chunks, t.used = places, chunks, used
	t.copied = make([]uint64, len(chunks))
	for i := range t.copied {
		t.copied[i] = t.epoch
	}
}

// snapshot returns the entries as they are now; it will not see later changes.
func (t *table) snapshot() [][]entry {
	t.epoch++
	return slices.Clone(t.chunks)
}

// scan calls f for the entries that came after the given sequence number, in order, until
// f returns false.
func scan(chunks [][]entry, after uint64, f func(e *entry) bool) {
	byOrder := func(e entry, seq uint64) int {
		if e.order() <= seq {
			return -1
		}
		return 1
	}
	first, _ := slices.BinarySearchFunc(chunks, after, func(c []entry, seq uint64) int {
		return byOrder(c[len(c)-1], seq)
	})
	for i, c := range chunks[first:] {
		from := 0
		if i == 0 {
			from, _ = slices.BinarySearchFunc(c, after, byOrder)
		}
		for j := from; j < len(c); j++ {
			if !c[j].gone() && !f(&c[j]) {
				return
			}
		}
	}
}

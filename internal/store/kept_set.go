package store

// The effects on a set.
const (
	effectSetAdd    = firstEffect     // key
	effectSetRemove = firstEffect + 1 // key
	effectSetClear  = firstEffect + 2
)

func (t *Set) weight() (entries, bytes int64) {
	n := int64(t.table.len())
	return n, t.bytes + n*entryBytes
}

func (t *Set) dump(w *dump) {
	t.mu.Lock()
	w.begin()
	chunks := t.table.snapshot()
	t.mu.Unlock()
	scan(chunks, 0, func(e *entry) bool {
		w.note(effectSetAdd).Text(e.key)
		return w.ok()
	})
}

func (t *Set) replay(e effect, r *replayer) error {
	if e == effectSetClear {
		t.clearLocked()
		return nil
	}
	key := r.Bytes()
	switch {
	case r.Err() != nil:
	case e == effectSetAdd:
		t.addLocked(key)
	case e == effectSetRemove:
		t.removeLocked(key)
	default:
		return errEffect
	}
	return r.Err()
}

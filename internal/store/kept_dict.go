package store

import "time"

// The effects on a dict.
const (
	effectDictPut    = firstEffect     // key, value
	effectDictRemove = firstEffect + 1 // key
	effectDictClear  = firstEffect + 2
	effectDictLive   = firstEffect + 3 // key, until when in nanoseconds since 1970; 0: for ever
)

func (d *Dict) weight() (entries, bytes int64) {
	n := int64(d.table.len())
	return n, d.bytes + n*entryBytes
}

// noteLifeLocked notes until when a key lives.
func (d *Dict) noteLifeLocked(key string, at time.Time) {
	w := d.mu.note(effectDictLive)
	w.Text(key)
	noteTime(w, at)
}

func (d *Dict) dump(w *dump) {
	d.mu.Lock()
	w.begin()
	chunks := d.table.snapshot()
	ends := map[string]time.Time{}
	if d.expiry != nil {
		for key, e := range d.expiry.ends {
			ends[key] = e.at
		}
	}
	d.mu.Unlock()
	scan(chunks, 0, func(e *entry) bool {
		r := w.note(effectDictPut)
		r.Text(e.key)
		noteValue(r, e.data, e.refs)
		return w.ok()
	})
	for key, at := range ends {
		r := w.note(effectDictLive)
		r.Text(key)
		noteTime(r, at)
	}
}

func (d *Dict) replay(e effect, r *replayer) error {
	switch e {
	case effectDictPut:
		key := r.Bytes()
		data, m := r.value()
		if r.Err() == nil {
			d.putLocked(key, data, m)
		}
	case effectDictRemove:
		if key := r.Bytes(); r.Err() == nil {
			d.removeLocked(key)
		}
	case effectDictClear:
		d.clearLocked()
	case effectDictLive:
		key, at := r.Text(), r.time()
		if r.Err() == nil && d.table.get([]byte(key)) != nil {
			d.liveLocked(key, at)
		}
	default:
		return errEffect
	}
	return r.Err()
}

// loaded lets the times to live go on. What has come to its end meanwhile goes now.
func (d *Dict) loaded() {
	d.lock()
	defer d.mu.Unlock()
	if d.expiry != nil {
		d.wakeLocked()
	}
}

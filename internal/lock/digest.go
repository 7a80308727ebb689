//go:build multiproc_explore

package lock

// Digest is what the process has of the lock in its own memory: see explore.Process.Digest.
func (m *Mutex) Digest() []uint64 { return m.q.digest() }

// NoSpinning leaves out the spinning: it makes the attempts that newcomers make anyway.
func NoSpinning() { manyCPUs = false }

// NoPatience has who waits lose his patience at once.
func NoPatience() { patience = 0 }

// digest is what the queue knows, for the explorer.
func (q *queue) digest() []uint64 {
	var d []uint64
	add := func(b bool) {
		if b {
			d = append(d, 1)
		} else {
			d = append(d, 0)
		}
	}
	d = append(d, uint64(q.starving.Load()), uint64(q.menders), uint64(q.streak))
	add(q.asleep != nil)
	add(q.suspended)
	if q.mu.TryLock() {
		q.mu.Unlock()
	} else {
		add(true)
	}
	for w := q.first; w != nil; w = w.next {
		add(w.mender)
	}
	return d
}

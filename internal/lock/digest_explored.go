//go:build multiproc_explore

package lock

// Digest is what this process knows of the lock beyond the memory, for models of the objects that
// have one.
func (m *Mutex) Digest() []uint64 {
	bit := map[bool]uint64{true: 1}
	q := m.q
	free := q.mu.TryLock()
	if free {
		q.mu.Unlock()
	}
	d := []uint64{
		uint64(q.starving.Load()), uint64(q.menders), uint64(q.streak),
		bit[q.asleep != nil], bit[q.suspended], bit[free],
	}
	for w := q.first; w != nil; w = w.next {
		d = append(d, bit[w.mender])
	}
	return d
}

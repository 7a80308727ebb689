//go:build multiproc_explore

package eventcount

// Digest is what the process has of the count in its own memory, for the explorer.
func (c *Count) Digest() []uint64 {
	var d [4]uint64
	if c.leader != nil {
		d[0] = 1 + uint64(len(c.leader.ready))
	}
	for w := c.queue.first; w != nil; w = w.next {
		d[1] = 4*d[1] + 1 + uint64(len(w.ready))
	}
	if c.sleeping {
		d[2] = 1
	}
	if c.suspended {
		d[3] = 1
	}
	if c.watched != nil {
		d[3] += 2
	}
	return d[:]
}

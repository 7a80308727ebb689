package duplex

// Reset takes c back to the beginning, where its memory is zero.
func (c *Conn) Reset() {
	c.in.at, c.in.written, c.out.at, c.out.taken = 0, 0, 0, 0
}

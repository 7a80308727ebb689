package wire

import "golang.org/x/sys/unix"

// Park blocks, in the poller and without spinning, until a read would find something: bytes, or the end of the
// stream. It is for streams on which, as a rule, nothing comes any more.
func (c *Conn) Park() error {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	if c.reader.start != c.reader.end {
		return nil
	}
	err := c.raw.Read(func(fd uintptr) bool {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, 0)
		return n != 0 && err == nil
	})
	return c.closedError(err)
}

package pipe

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/waitable"
)

// Poll reports whether there is something to receive within d: a message, the beginning of one, or the end of the stream. 0 looks
// and returns at once; a negative d waits for ever. It leaves everything where it is and heeds no deadline. After Close
// the error is fs.ErrClosed.
func (c *Conn) Poll(d time.Duration) (bool, error) {
	if err := c.receiving(); err != nil {
		return false, err
	}
	ready, err := c.pollNow()
	if ready || err != nil || d == 0 {
		return ready, err
	}
	if c.pollMu.TryLock() { // see package wire: what is awaited is often near
		near := c.pollSpin.Spin(func() bool {
			ready, err = c.pollNow()
			return ready || err != nil
		})
		c.pollSpin.Done()
		c.pollMu.Unlock()
		if near {
			return ready, err
		}
	}
	ctx := context.Background()
	if d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	switch _, err := waitFor(ctx, []waitable.Source{c.w.Source()}); {
	case errors.Is(err, context.DeadlineExceeded):
		return c.pollNow()
	case err != nil:
		return false, err
	}
	if c.w.Closed() {
		return c.pollNow()
	}
	return true, nil
}

func (c *Conn) pollNow() (ready bool, err error) {
	err = c.w.Control(func(fd int) error {
		if c.w.Ready() {
			ready = true
			return nil
		}
		for {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
			if err == unix.EINTR {
				continue
			}
			ready = n > 0
			return err
		}
	})
	return ready, public("poll", err)
}

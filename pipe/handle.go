package pipe

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/wire"
)

// moved is what travels beside a connection's descriptor.
type moved struct {
	Direction direction
	Max       int
	Unread    []byte // received and not read here
	Starts    []int  // of the messages in Unread that have descriptors
	Counts    []int  // how many each of them has; they follow the connection's own
}

// marshal describes v for this connection.
func (c *Conn) marshal(v any) (*handover.Message, error) {
	if c.w.CarriesRights() {
		return handover.Marshal(v, "message")
	}
	return handover.Marshal(v, "message", handover.NoDescriptors("be sent over TCP"))
}

// HandOver is for this module's own use: it is how a Conn goes to another process. From here on nobody can use c; when the message is
// sent c is closed, and when it is not c is usable again.
func (c *Conn) HandOver(e *handover.Encoder) error {
	if c.w == nil {
		return errZero
	}
	backlog, err := c.w.BeginMove()
	switch {
	case errors.Is(err, wire.ErrMoving):
		return errors.New("this pipe end is being sent already; it can go to one process only")
	case errors.Is(err, wire.ErrBusy):
		return errors.New("this pipe end is in use by another goroutine, and one that is sent away must not be")
	case err != nil:
		return public("hand over", err)
	}
	e.OnDrop(c.w.AbortMove)
	e.OnSent(func() { c.Close() })

	m := moved{Direction: c.direction, Max: int(c.max.Load()), Unread: backlog.Bytes, Starts: backlog.Starts}
	fds := make([]int, 0, 1)
	fd, err := c.w.Dup()
	if err != nil {
		return err
	}
	e.FD(fd, func() { unix.Close(fd) })
	for _, own := range backlog.Rights {
		m.Counts = append(m.Counts, len(own))
		fds = append(fds, own...)
	}
	if err := e.Put(m); err != nil {
		return err
	}
	for _, own := range fds {
		// They are c's until it is closed, which is after the message went.
		e.FD(own, func() {})
	}
	return nil
}

// TakeOver is for this module's own use: it makes c what HandOver described.
func (c *Conn) TakeOver(d *handover.Decoder) (err error) {
	fd, err := d.FD()
	if err != nil {
		return err
	}
	w, err := wire.New(fd)
	if err != nil {
		return fmt.Errorf("not a connection: %w", err)
	}
	defer func() {
		if err != nil {
			w.Close()
		}
	}()
	var m moved
	if err := d.Get(&m); err != nil {
		return err
	}
	if m.Direction < bothWays || m.Direction > writeOnly || m.Max <= 0 || len(m.Counts) != len(m.Starts) {
		return errors.New("not a connection: its description is malformed")
	}
	backlog := wire.Backlog{Bytes: m.Unread, Starts: m.Starts}
	for _, n := range m.Counts {
		var fds []int
		for range n {
			fd, err := d.FD()
			if err != nil {
				closeAll(fds)
				for _, fds := range backlog.Rights {
					closeAll(fds)
				}
				return err
			}
			fds = append(fds, fd)
		}
		backlog.Rights = append(backlog.Rights, fds)
	}
	if err := w.Restore(backlog); err != nil {
		return err
	}
	c.w, c.direction = w, m.Direction
	c.max.Store(int64(m.Max))
	return nil
}

package pool

import (
	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/wire"
	"golang.org/x/sys/unix"
)

// A socket is an end of a connection that moves to the worker with its arguments.
type socket struct{ conn *wire.Conn }

// HandOver is for the toolkit's use.
func (s *socket) HandOver(e *handover.Encoder) error {
	fd, err := s.conn.Dup()
	if err != nil {
		return err
	}
	e.FD(fd, func() { unix.Close(fd) })
	e.OnSent(func() { s.conn.Close() }) // else the end of the worker would not be the end of the stream
	return nil
}

// TakeOver is for the toolkit's use.
func (s *socket) TakeOver(d *handover.Decoder) error {
	fd, err := d.FD()
	if err != nil {
		return err
	}
	s.conn, err = wire.New(fd)
	return err
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

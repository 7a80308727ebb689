package manager

import (
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/sys"
	"github.com/go-multiproc/multiproc/internal/wire"
)

// A socket reads and writes a connection's descriptor itself, which package net has made non-blocking. That allows what net.Conn does not: to try without blocking,
// and to spin for the few microseconds that an answer usually takes, where parking in the poller would cost several times as
// much. TLS connections, which have no descriptor that carries their bytes, do without.
type socket struct {
	raw     syscall.RawConn
	spinner wire.Spinner

	// The state of one read, kept here so that reading allocates nothing.
	readStep func(fd uintptr) bool
	try      func() bool
	fd       int
	into     []byte
	spin     bool
	park     bool
	empty    bool // there was nothing
	n        int
	err      error

	// And of one write.
	writeStep func(fd uintptr) bool
	from      []byte
	sent      int
	writeErr  error
}

func (s *socket) init(c net.Conn) {
	switch c := c.(type) {
	case *net.UnixConn:
		s.raw, _ = c.SyscallConn()
	case *net.TCPConn:
		s.raw, _ = c.SyscallConn()
	}
	s.spinner.Persistent = true
	s.readStep, s.try, s.writeStep = s.step, s.receiveNow, s.send
}

func (s *socket) usable() bool { return s.raw != nil }

// control calls f with the descriptor, which stays open meanwhile, unless it is closed already.
func (s *socket) control(f func(fd int) error) error {
	var ferr error
	err := s.raw.Control(func(fd uintptr) { ferr = f(int(fd)) })
	if err == nil {
		err = ferr
	}
	return err
}

// receive receives into b. If there is nothing it tries on for a while (spin), and then waits in the poller until there is
// (park), or else reports that it was not ok. 0 bytes and no error is the end of the stream.
func (s *socket) receive(b []byte, spin, park bool) (n int, ok bool, err error) {
	s.into, s.spin, s.park, s.empty, s.n, s.err = b, spin, park, false, 0, nil
	err = s.raw.Read(s.readStep)
	s.spinner.Done()
	s.into = nil
	if err == nil {
		err = s.err
	}
	return s.n, !s.empty || err != nil, err
}

func (s *socket) step(fd uintptr) (done bool) {
	s.fd = int(fd)
	if s.receiveNow() {
		return true
	}
	if s.spin { // not again when the poller woke it for nothing
		s.spin = false
		if s.spinner.Spin(s.try) {
			return true
		}
	}
	s.empty = !s.park
	return s.empty
}

// receiveNow reports false if there was nothing.
func (s *socket) receiveNow() bool {
	n, err := sys.Receive(s.fd, s.into)
	switch err {
	case unix.EAGAIN:
		return false
	case 0:
		s.n = n
	default:
		s.err = os.NewSyscallError("recvfrom", err)
	}
	return true
}

func (s *socket) tryWrite(b []byte) (int, error) {
	s.from, s.sent, s.writeErr = b, 0, nil
	err := s.raw.Write(s.writeStep)
	s.from = nil
	if err == nil {
		err = s.writeErr
	}
	return s.sent, err
}

func (s *socket) send(fd uintptr) (done bool) {
	for s.sent < len(s.from) {
		n, err := sys.Send(int(fd), s.from[s.sent:])
		switch err {
		case 0:
			s.sent += n
		case unix.EAGAIN:
			return true
		default:
			s.writeErr = os.NewSyscallError("sendto", err)
			return true
		}
	}
	return true
}

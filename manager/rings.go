package manager

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/duplex"
)

// How a connection moves to shared memory. Right after the hello, and before any other request:
//
//	client  [id, 12]               are there rings?
//	server  [id, 0, size]          yes, and beside it travels the descriptor of their memory (SCM_RIGHTS); or an error, and all stays as it is
//	client  [0, 13, taken]         whether it could map them
//
// If it could, everything behind that frame travels through the rings, in the same frames, and the socket's bytes are bells.
// Should anything fail the connection is one over the socket, and nobody has to know.

// ringSize is the size of one ring if the options do not say. A few hundred small messages fit in; a large one flows through.
const ringSize = 64 << 10

func (o Options) ringSize() int {
	if o.RingSize <= 0 {
		return ringSize
	}
	size := duplex.MinSize
	for size < o.RingSize && size < duplex.MaxSize {
		size *= 2
	}
	return size
}

// offerRings does the request for rings.
func (r *request) offerRings(context.Context) error {
	if !r.ok() {
		return nil
	}
	s := r.session
	if s.requested > 1 {
		r.fail("rings are asked for before anything else")
		return nil
	}
	if _, ok := s.stream.conn.(*net.UnixConn); !ok {
		return &failure{codeInvalid, "there are rings on Unix sockets only"}
	}
	if s.server.options.NoRings {
		return &failure{codeInvalid, "this server has no rings (Options.NoRings)"}
	}
	m, err := duplex.Create(s.server.options.ringSize())
	if err != nil {
		return err
	}
	s.offered = m
	s.mu.Lock()
	s.moving = !s.parting
	moving := s.moving
	s.mu.Unlock()
	if !moving {
		return errors.New("the server ends")
	}
	p := s.newReply(r.id)
	p.uint(uint64(s.server.options.ringSize()))
	p.send()
	return s.flushWith(m.FD())
}

// flushWith writes the replies that were gathered, with a descriptor beside them. It is for the first reply: nobody else can be
// writing but a farewell, and then it does not matter any more.
func (s *session) flushWith(fd int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writing || s.closed {
		return errors.New("the connection ends")
	}
	s.writing = true
	b := s.out
	s.out = nil
	s.mu.Unlock()
	err := s.stream.writeRights(b, fd)
	s.mu.Lock()
	s.writing = false
	s.written.Broadcast()
	return err
}

// takeRings does what the client says of the rings that it was offered. r.err ends the connection.
func (r *request) takeRings(context.Context) error {
	taken := r.bool()
	if !r.ok() {
		return nil
	}
	s := r.session
	m := s.offered
	s.offered = nil
	defer s.moved()
	switch {
	case m == nil:
		r.fail("no rings were offered")
	case !taken:
		m.Close()
	case s.stream.start != s.stream.end:
		m.Close()
		r.fail("%d bytes behind the move to the rings", s.stream.end-s.stream.start)
	default:
		rings, err := duplex.New(m, s.stream.conn.(*net.UnixConn), duplex.Creator)
		if err != nil {
			r.fail("%w", err)
			return nil
		}
		s.mu.Lock()
		s.stream.rings = rings
		if s.closed {
			rings.Close()
		}
		s.mu.Unlock()
	}
	return nil
}

// moved ends the time at which nobody could tell where the client would read a farewell.
func (s *session) moved() {
	s.mu.Lock()
	s.moving = false
	why := s.leaving
	s.mu.Unlock()
	if why != "" {
		s.stream.conn.SetReadDeadline(time.Time{})
		s.farewell(why)
	}
}

// askForRings is the client's side. An error is one of the connection.
func (s *stream) askForRings() error {
	conn, ok := s.conn.(*net.UnixConn)
	if !ok {
		return nil
	}
	const id = 1
	b := appendUint(make([]byte, frameSpace, frameSpace+8), opRings)
	if err := s.write(sealFrame(b, id, 1)); err != nil {
		return fmt.Errorf("asking for rings: %w", err)
	}
	payload, fds, err := s.readRights(conn)
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	if err != nil {
		return fmt.Errorf("asking for rings: %w", err)
	}
	r := itemReader{b: payload}
	n := r.array()
	got, code := r.uint(), r.uint()
	switch {
	case r.err != nil:
		return r.err
	case got == 0:
		f := failure{code, r.text()}
		return remoteError(&f) // a farewell
	case got != id:
		return fmt.Errorf("%w: a reply to request %d, which was not sent", errItems, got)
	case code != codeOK:
		return nil
	}
	size := r.uint()
	if r.err != nil || n < 3 {
		return fmt.Errorf("%w: rings of no size", errItems)
	}
	var m *duplex.Memory
	if len(fds) == 1 { // else it was lost on the way: this process's table is full
		m, err = duplex.Attach(fds[0], int(min(size, 2*duplex.MaxSize)))
		fds = nil
		if err != nil {
			m = nil
		}
	}
	b = appendBool(appendUint(make([]byte, frameSpace, frameSpace+8), opRingsTaken), m != nil)
	if err := s.write(sealFrame(b, 0, 2)); err != nil {
		if m != nil {
			m.Close()
		}
		return fmt.Errorf("moving to the rings: %w", err)
	}
	if m == nil {
		return nil
	}
	s.rings, err = duplex.New(m, conn, duplex.Attacher)
	return err
}

// writeRights sends all of b, and fd with its first bytes.
func (s *stream) writeRights(b []byte, fd int) error {
	conn := s.conn.(*net.UnixConn)
	n, _, err := conn.WriteMsgUnix(b, unix.UnixRights(fd), nil)
	if err != nil {
		return err
	}
	return s.write(b[n:])
}

// readRights is readFrame with the descriptors that come along.
func (s *stream) readRights(conn *net.UnixConn) (payload []byte, fds []int, err error) {
	oob := make([]byte, unix.CmsgSpace(4))
	for {
		b, ok, err := s.frame()
		if ok || err != nil {
			return b, fds, err
		}
		n, oobn, _, _, err := conn.ReadMsgUnix(s.makeRoom(), oob)
		fds = append(fds, rights(oob[:oobn])...)
		if err == nil || n > 0 {
			err = s.filled(n, nil)
		}
		if err != nil {
			return nil, fds, err
		}
	}
}

// rights returns the descriptors in a control message.
func rights(control []byte) (fds []int) {
	if len(control) == 0 {
		return nil
	}
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil
	}
	for i := range messages {
		some, err := unix.ParseUnixRights(&messages[i])
		if err == nil {
			fds = append(fds, some...)
		}
	}
	return fds
}

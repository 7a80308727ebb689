package manager

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/go-multiproc/multiproc/internal/duplex"
)

// A stream is a connection and its frames: a length in four bytes, big-endian, and that many bytes of payload, like those of
// Python's multiprocessing.connection. Reading and writing are each for one goroutine at a time.
//
// It reads as much as the kernel has and hands frames out of that buffer, so that a burst of small messages costs one
// system call, and it writes what the caller has gathered.
type stream struct {
	conn net.Conn
	max  int // bytes of a frame's payload

	buf        []byte // buf[start:end] was received and not yet handed out
	start, end int
	filledUp   bool // the last read took all the room that there was

	socket socket // the descriptor itself, where there is one to use

	// rings, if not nil, carry the bytes in the place of conn, which has become their bell.
	rings *duplex.Conn
}

const (
	frameHeader = 4

	// A buffer begins with minRead, so that idle connections cost little, and grows to readSize when reads fill it.
	// Beyond that it grows with a frame's bytes as they arrive, and not as its length promises.
	minRead  = 4 << 10
	readSize = 32 << 10

	// keepSize is the largest buffer, for reading or writing, that is kept when it is empty.
	keepSize = 64 << 10
)

// errFrame is in the error of a read that met a length which the protocol does not allow.
var errFrame = errors.New("the peer does not speak the manager's protocol")

func newStream(c net.Conn, max int) *stream {
	s := &stream{conn: c, max: max}
	s.socket.init(c)
	return s
}

// frame returns the next frame's payload if the whole of it has been received. It is part of the buffer, and good until fill.
func (s *stream) frame() (payload []byte, ok bool, err error) {
	b := s.buf[s.start:s.end]
	if len(b) < frameHeader {
		return nil, false, nil
	}
	n := int(int32(binary.BigEndian.Uint32(b)))
	if n < 0 {
		return nil, false, fmt.Errorf("%w: a frame of %d bytes", errFrame, n)
	}
	if n > s.max {
		return nil, false, fmt.Errorf("%w: a frame of %d bytes, more than the %d of Options.MaxMessage", errFrame, n, s.max)
	}
	if len(b)-frameHeader < n {
		return nil, false, nil
	}
	s.start += frameHeader + n
	return b[frameHeader : frameHeader+n : frameHeader+n], true, nil
}

// makeRoom returns free space at the buffer's end.
func (s *stream) makeRoom() []byte {
	if s.start == s.end {
		s.start, s.end = 0, 0
		if cap(s.buf) > keepSize {
			s.buf = nil
		}
	}
	kept := s.end - s.start
	grow := kept > len(s.buf)/2 || s.buf == nil || s.filledUp && len(s.buf) < readSize
	if !grow && len(s.buf)-s.end >= len(s.buf)/4 {
		return s.buf[s.end:]
	}
	to := s.buf
	if grow {
		to = make([]byte, s.larger(kept))
	}
	s.end = copy(to, s.buf[s.start:s.end])
	s.start, s.buf = 0, to
	return s.buf[s.end:]
}

// larger is the size of the next buffer: twice this one's, but as soon as a quarter of a frame has come, what that frame takes and no more. Its
// length was checked by frame.
func (s *stream) larger(kept int) int {
	double := max(minRead, 2*len(s.buf))
	if kept < keepSize {
		return double
	}
	frame := frameHeader + int(binary.BigEndian.Uint32(s.buf[s.start:]))
	if frame > len(s.buf) && kept >= frame/4 {
		return frame
	}
	return double
}

// takePayload makes the payload that frame has just returned the caller's. Small ones are copied to into; a large one takes the buffer along.
func (s *stream) takePayload(into, payload []byte) []byte {
	if len(payload) <= keepSize {
		return append(into[:0], payload...)
	}
	rest := s.buf[s.start:s.end]
	s.buf = nil
	s.start, s.end, s.filledUp = 0, 0, false
	if len(rest) > 0 {
		s.buf = make([]byte, max(readSize, len(rest)))
		s.end = copy(s.buf, rest)
	}
	return payload
}

// fill receives something and blocks until it has. With spin it tries for a few microseconds before it parks, where that promises
// to pay. Inside a frame the end of the stream is io.ErrUnexpectedEOF.
func (s *stream) fill(spin bool) error {
	room := s.makeRoom()
	var n int
	var err error
	switch {
	case s.rings != nil:
		n, _, err = s.rings.Receive(room, spin, true)
	case s.socket.usable():
		n, _, err = s.socket.receive(room, spin, true)
	default:
		n, err = s.conn.Read(room)
	}
	return s.filled(n, err)
}

// tryFill is fill without parking. It reports false if there was nothing.
func (s *stream) tryFill(spin bool) (bool, error) {
	var n int
	var ok bool
	var err error
	switch {
	case s.rings != nil:
		n, ok, err = s.rings.Receive(s.makeRoom(), spin, false)
	case s.socket.usable():
		n, ok, err = s.socket.receive(s.makeRoom(), spin, false)
	}
	if !ok {
		return false, nil
	}
	return true, s.filled(n, err)
}

func (s *stream) filled(n int, err error) error {
	s.end += n
	s.filledUp = s.end == len(s.buf)
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.EOF
	}
	if s.start < s.end && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)) {
		err = fmt.Errorf("inside a message: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// tryWrite sends as much of b as the kernel takes at once, and returns how much that was.
func (s *stream) tryWrite(b []byte) (int, error) {
	switch {
	case s.rings != nil:
		return s.rings.TryWrite(b)
	case s.socket.usable():
		return s.socket.tryWrite(b)
	}
	return 0, nil
}

// write sends all of b.
func (s *stream) write(b []byte) error {
	if s.rings != nil {
		_, err := s.rings.Write(b)
		return err
	}
	_, err := s.conn.Write(b)
	return err
}

// close ends the connection, and wakes whoever is blocked in it.
func (s *stream) close() error {
	if s.rings != nil {
		return s.rings.Close()
	}
	return s.conn.Close()
}

// stopReading makes a read that waits, and those to come, fail with os.ErrDeadlineExceeded, until goOnReading.
func (s *stream) stopReading() {
	if s.rings != nil {
		s.rings.StopReading()
		return
	}
	s.conn.SetReadDeadline(time.Unix(1, 0))
}

func (s *stream) goOnReading() {
	if s.rings != nil {
		s.rings.GoOnReading()
		return
	}
	s.conn.SetReadDeadline(time.Time{})
}

// limitWriting makes writes that take longer than d from now on fail. stop is to be called when that does not matter any more.
func (s *stream) limitWriting(d time.Duration) (stop func() bool) {
	if s.rings != nil {
		return time.AfterFunc(d, s.rings.StopWriting).Stop
	}
	s.conn.SetWriteDeadline(time.Now().Add(d))
	return func() bool { return true }
}

// readFrame returns a copy of the next frame's payload, for the conversation before requests.
func (s *stream) readFrame() ([]byte, error) {
	for {
		b, ok, err := s.frame()
		if ok || err != nil {
			return bytes.Clone(b), err
		}
		if err := s.fill(true); err != nil {
			return nil, err
		}
	}
}

// writeFrame sends one frame, for the conversation before requests.
func (s *stream) writeFrame(payload []byte) error {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, frameHeader+len(payload)), uint32(len(payload)))
	return s.write(append(b, payload...))
}

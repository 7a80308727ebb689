package manager

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/go-multiproc/multiproc/internal/auth"
)

// Before the hello, if there is a key, each side proves to the other that it knows it: the handshake of Python's multiprocessing.connection in the
// form of 3.12 and later. The listener challenges first.

// ErrAuth is in the error of Connect, beside ErrDown, and of calls on handles that were received, when the other side does not know Options.AuthKey, or knows another one. To try again does not help.
var ErrAuth = errors.New("manager: authentication failed")

// authenticate runs one side of it.
func authenticate(s *stream, key []byte, side func(auth.Key, auth.Frames) error) error {
	err := side(auth.Key{Secret: key, RefuseMD5: true}, frames{s})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return fmt.Errorf("%w: the other side hung up: it has another key, or none, or one of the two has Options.TLS and the other has not: %w", ErrAuth, err)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, ErrLimit):
		return err
	}
	return fmt.Errorf("%w: %w", ErrAuth, err)
}

// frames are a stream's, for a peer that is not known yet.
type frames struct{ s *stream }

func (f frames) WriteFrame(b []byte) error { return f.s.writeFrame(b) }

func (f frames) ReadFrame(max int) ([]byte, error) {
	b, err := f.s.readFrame()
	if err == nil {
		err = refusal(b)
	}
	if err == nil && len(b) > max {
		err = fmt.Errorf("%w: a frame of %d bytes in the handshake", errFrame, len(b))
	}
	return b, err
}

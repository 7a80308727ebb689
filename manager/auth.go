package manager

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/go-multiproc/multiproc/internal/auth"
)

// Before the hello, if there is a key, each side proves to the other that it knows it: the handshake of Python's multiprocessing.connection in the
// form of 3.12 and later. The listener challenges first.

// ErrAuth is in the error of Connect, beside ErrDown, and of calls on handles that were received, when one side has no Options.AuthKey, or another one than the other side. To try again does not help.
// (A server without a key waits for the client to speak, as the client does for the server; that takes as long as the server's Options.HelloTimeout.)
var ErrAuth = errors.New("manager: authentication failed")

// authenticate runs one side of it.
func authenticate(s *stream, key []byte, side func(auth.Key, auth.Frames) error) error {
	f := &frames{s: s}
	err := side(auth.Key{Secret: key, RefuseMD5: true}, f)
	switch {
	case err == nil:
		return nil
	case f.read == 0 && errors.Is(err, ErrLimit):
		// A server with a key challenges at once. So this one waited for a hello, until it had enough.
		return fmt.Errorf("%w: the server asked for no proof of this side's Options.AuthKey, so it has none, it seems: %w", ErrAuth, err)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return fmt.Errorf("%w: the other side hung up: it has another key, or none, or one of the two has Options.TLS and the other has not: %w", ErrAuth, err)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, ErrLimit):
		return err
	}
	return fmt.Errorf("%w: %w", ErrAuth, err)
}

// challenged reports whether a server's first words are those of one that has a key.
func challenged(b []byte) bool { return bytes.HasPrefix(b, []byte("#CHALLENGE#")) }

// frames are a stream's, for a peer that is not known yet.
type frames struct {
	s    *stream
	read int // how many frames of the handshake have come
}

func (f *frames) WriteFrame(b []byte) error { return f.s.writeFrame(b) }

func (f *frames) ReadFrame(max int) ([]byte, error) {
	b, err := f.s.readFrame()
	if err == nil {
		err = refusal(b)
	}
	if err == nil {
		f.read++
	}
	if err == nil && len(b) > max {
		err = fmt.Errorf("%w: a frame of %d bytes in the handshake", errFrame, len(b))
	}
	return b, err
}

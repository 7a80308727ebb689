package pipe

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"

	"github.com/go-multiproc/multiproc/internal/auth"
	"github.com/go-multiproc/multiproc/internal/wire"
)

// An authenticator knows a key, and what it may be used with.
type authenticator struct{ key auth.Key }

func newAuthenticator(o Options) *authenticator {
	return &authenticator{auth.Key{Secret: slices.Clone(o.AuthKey), RefuseMD5: o.RefuseMD5}}
}

// asListener runs the listener's side.
func (a *authenticator) asListener(w *wire.Conn) error { return authError(a.key.Listener(frames{w})) }

// asClient runs the client's side.
func (a *authenticator) asClient(w *wire.Conn) error { return authError(a.key.Client(frames{w})) }

// frames are those of a connection whose peer is not known yet. Descriptors have no business in them.
type frames struct{ w *wire.Conn }

func (f frames) WriteFrame(b []byte) error { return f.w.WriteFrame(b, nil) }

func (f frames) ReadFrame(max int) ([]byte, error) {
	b, fds, err := f.w.ReadFrame(max)
	closeAll(fds)
	return b, describeFailure(err)
}

// describeFailure says what it means that reading failed.
func describeFailure(err error) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("the peer closed the connection: %w", err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the peer is silent: %w", err)
	case errors.Is(err, wire.ErrTooLarge), errors.Is(err, wire.ErrProtocol):
		return fmt.Errorf("the peer speaks no handshake: %w", err)
	}
	return err
}

// authError says that the handshake failed.
func authError(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, syscall.EPIPE) {
		err = fmt.Errorf("the peer closed the connection: %w", err)
	}
	return fmt.Errorf("%w: %w", ErrAuth, err)
}

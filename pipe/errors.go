package pipe

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/go-multiproc/multiproc/internal/wire"
)

// What can go wrong between two ends, besides what the kernel reports. Test with errors.Is. See also io.EOF (the peer closed its end),
// io.ErrUnexpectedEOF (inside a message), os.ErrDeadlineExceeded and fs.ErrClosed (this end was closed).
var (
	// ErrAuth: a handshake failed. Either side has another key or none, or is no multiprocessing peer at all, or the peer took longer
	// than Options.HandshakeTimeout. The text says which.
	ErrAuth = errors.New("pipe: authentication failed")

	// ErrTooShort: a message was longer than the buffer given to RecvBytesInto. The error is a *TooShortError, which has the message.
	ErrTooShort = errors.New("pipe: buffer too short for the message")

	// ErrTooLarge: the peer announced a message longer than MaxMessage. Nothing of it was read, so nothing more can be received.
	ErrTooLarge = errors.New("pipe: message exceeds MaxMessage")

	// ErrProtocol: the peer sent something that is no message. Nothing more can be received.
	ErrProtocol = errors.New("pipe: the peer does not send messages")

	// ErrTorn: an earlier Send stopped inside its message, at its deadline, so that the peer would misread anything that
	// follows. The connection can only be closed; what the peer sends can still be received.
	ErrTorn = errors.New("pipe: an earlier message was sent in part")

	// ErrWriteOnly and ErrReadOnly: the operation goes against the direction of an end made by NewOneWay.
	ErrWriteOnly = errors.New("pipe: connection is write-only")
	ErrReadOnly  = errors.New("pipe: connection is read-only")
)

// A TooShortError is the error of a RecvBytesInto whose buffer was too short. It has the message, which is not lost.
type TooShortError struct {
	Message []byte
	Buffer  int // length of the buffer
}

func (e *TooShortError) Error() string {
	return fmt.Sprintf("%v: %d bytes, %d given", ErrTooShort, len(e.Message), e.Buffer)
}

// Unwrap returns ErrTooShort.
func (e *TooShortError) Unwrap() error { return ErrTooShort }

// errZero is what a Conn says that none of the constructors has made.
var errZero = fmt.Errorf("pipe: use of a Conn that was not made by New, NewOneWay, Dial, Accept or FromFile: %w", fs.ErrInvalid)

// public gives an error of the wire the names of this package. io.EOF stays bare.
func public(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	for _, m := range [...]struct{ private, public error }{
		{wire.ErrTooLarge, ErrTooLarge},
		{wire.ErrProtocol, ErrProtocol},
		{wire.ErrTorn, ErrTorn},
	} {
		if errors.Is(err, m.private) {
			return fmt.Errorf("%w: %w", m.public, err)
		}
	}
	return fmt.Errorf("pipe: %s: %w", op, err)
}

package seg

import (
	"errors"
	"io/fs"
)

// These are the sentinels that shm and the packages above export.
var (
	// ErrNoSpace is returned when a segment is made: there is not enough memory,
	// or room in the file system, for all of it.
	ErrNoSpace = errors.New("shm: no space")

	// ErrFormat is returned when a segment is opened: the file is not one that
	// this version of the library can use.
	ErrFormat = errors.New("shm: not a usable segment")

	// ErrType is returned when a segment is opened as something else than what
	// it was made as.
	ErrType = errors.New("shm: segment holds something else")
)

// ErrClosed is returned by the methods of a closed handle. It is fs.ErrClosed. Where the
// handle is known, Handle.ErrClosed says more.
var ErrClosed error = &also{"shm: use of closed handle", fs.ErrClosed}

// A closedError is ErrClosed with the name of what was closed.
type closedError struct{ h *Handle }

func (e closedError) Error() string {
	if e.h.name == "" {
		return e.h.pkg + ": use of closed " + e.h.object
	}
	return e.h.pkg + ": use of closed " + e.h.object + " " + e.h.name
}

func (e closedError) Unwrap() error { return ErrClosed }

// ErrClosed is the error of who uses the object that h is a handle to after it was closed. h
// may be nil.
func (h *Handle) ErrClosed() error {
	if h == nil || h.object == "" {
		return ErrClosed
	}
	return closedError{h}
}

// SetObject says what the user knows the handle as, for ErrClosed: a package and a type.
//
// Preconditions: nobody else knows h yet.
func (h *Handle) SetObject(pkg, object string) { h.pkg, h.object = pkg, object }

// An also is an error with more text that is another one as well, as fmt.Errorf makes them, for package variables: fmt takes a good part of a
// program's initialisation, and every child would pay for it.
type also struct {
	text string
	err  error
}

func (e *also) Error() string { return e.text + ": " + e.err.Error() }
func (e *also) Unwrap() error { return e.err }

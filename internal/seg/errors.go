package seg

import (
	"errors"
	"fmt"
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

// ErrClosed is returned by the methods of a closed handle. It is fs.ErrClosed.
var ErrClosed = fmt.Errorf("shm: use of closed handle: %w", fs.ErrClosed)

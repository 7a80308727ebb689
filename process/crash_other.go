//go:build !linux

package process

import (
	"errors"
	"fmt"
)

// newCrashFile would make a crash file. A file here has no bound to its size, and a disk behind it.
func newCrashFile() (fd int, err error) {
	return -1, fmt.Errorf("no memory files on this system: %w", errors.ErrUnsupported)
}

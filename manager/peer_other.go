//go:build !linux && !darwin

package manager

import (
	"errors"
	"fmt"
)

// peerOf fails: who connects cannot be found out here.
func peerOf(fd int) (uid, pid int, err error) {
	return 0, 0, fmt.Errorf("the user at the other end of a socket is not known on this system: %w", errors.ErrUnsupported)
}

//go:build !linux

package inspect

import (
	"errors"
	"fmt"
)

func users([]File) (map[File][]User, error) {
	return nil, fmt.Errorf("who uses a segment is known on Linux only: %w", errors.ErrUnsupported)
}

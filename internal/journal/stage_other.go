//go:build !linux

package journal

import (
	"errors"
	"fmt"
	"runtime"
)

func makeStage(string) ([]byte, error) {
	return nil, fmt.Errorf("journal: a stage on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}

func unmapStage([]byte) {}

//go:build !linux

package duplex

import (
	"errors"
	"fmt"
)

var errSystem = fmt.Errorf("rings in shared memory need Linux's memfd: %w", errors.ErrUnsupported)

// Create fails here with errors.ErrUnsupported.
func Create(int) (*Memory, error) { return nil, errSystem }

// Attach fails here with errors.ErrUnsupported.
func Attach(int, int) (*Memory, error) { return nil, errSystem }

// FD is -1 here.
func (m *Memory) FD() int { return -1 }

func (m *Memory) closeFile() {}

// Close does nothing here: there is no Memory.
func (m *Memory) Close() {}

func (m *Memory) unmap() {}

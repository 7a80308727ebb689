//go:build !linux

package process

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

var errNoLimits = fmt.Errorf("limits are for Linux only, so far: %w", errors.ErrUnsupported)

func (l Limits) checkSystem(*syscall.SysProcAttr) error { return errNoLimits }

// apply sets the limits of this process.
func (l Limits) apply(grace time.Duration) error {
	if l == (Limits{}) {
		return nil
	}
	return errNoLimits
}

// memoryLimited is not known here.
func memoryLimited() bool { return false }

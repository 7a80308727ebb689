package process

import (
	"errors"
	"fmt"
	"time"
)

// Limits bound what a child may take of the machine. Zero fields mean the parent's limits.
//
// Limits are not built yet: Start refuses a process that has any, with an error that is [errors.ErrUnsupported].
// A child may set its own meanwhile, with setrlimit as the first thing that its function does.
type Limits struct {
	Memory    int64         // bytes of memory that the child's own data may take, the Go runtime's overhead not counted
	CPU       time.Duration // processor time, rounded up to seconds
	OpenFiles int           // descriptors
	Nice      int           // added to the parent's nice value
}

var errLimits = fmt.Errorf("limits are not built yet, leave Limits zero: %w", errors.ErrUnsupported)

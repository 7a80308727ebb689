//go:build !linux

package manager

import "errors"

// A poller is of no use here: each session is served by a goroutine of its own.
type poller struct{}

// polled is the part of a session that a poller has to do with.
type polled struct{ err error }

func newPoller(*server) (*poller, error) { return nil, errors.ErrUnsupported }
func (*poller) close()                   {}
func (*poller) poll(*session) bool       { return false }
func (*poller) recall(*session)          {}

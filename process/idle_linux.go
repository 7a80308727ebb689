package process

import (
	"errors"
	"io"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/wire"
)

// This file is the child's end of a life that begins before its job, warm_linux.go the parent's.

// idle is set while this process waits for its job.
var idle atomic.Bool

// awaitJob says that this process is ready, and waits for the frame of its job. When the parent ends, so does this process,
// without a word.
func awaitJob(conn *wire.Conn) (frame []byte, fds []int, err error) {
	if err := conn.WriteFrame(nil, nil); err != nil {
		endUnused(err)
		return nil, nil, err
	}
	idle.Store(true)
	err = conn.Park()
	idle.Store(false)
	if err == nil {
		frame, fds, err = conn.ReadFrame(maxFrame)
	}
	endUnused(err)
	return frame, fds, err
}

// sayTaken says that the job is this process's now.
func sayTaken(conn *wire.Conn) error {
	err := conn.WriteFrame(nil, nil)
	endUnused(err)
	return err
}

// endUnused ends this process if the error says that its parent is gone. There is nothing to put in order.
func endUnused(err error) {
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		syscall.Exit(exitOK)
	}
}

// isIdle reports whether this process has nothing to interrupt. A Ctrl-C on the terminal reaches all that were started from there, and
// is not meant for those that only wait. One that comes from the parent, for a process that it has started, comes
// after the job: then there is something in the socket, or it is being read.
func isIdle() bool {
	p := []unix.PollFd{{Fd: int32(control), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	return n == 0 && err == nil && idle.Load()
}

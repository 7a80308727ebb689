package process

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/wire"
)

// This file is the child's end of a life that begins before its job, warm_linux.go the parent's.

// idleness is whether this process waits for its job.
var idleness struct {
	mu      sync.Mutex
	waiting bool // from before the parent knows that we are ready until it can know that we have the job
}

// awaitJob says that this process is ready, and waits for the frame of its job. When the parent ends, so does this process,
// without a word. If the job is there already, the parent does not want to know that we are ready, nor that we have it: told is false.
func awaitJob(conn *wire.Conn) (frame []byte, fds []int, told bool, err error) {
	early.listenIdle()
	if !conn.Ready() && !readable(control) {
		idleness.mu.Lock()
		idleness.waiting = true
		idleness.mu.Unlock()
		told = true
		if err = conn.WriteFrame(nil, nil); err == nil {
			err = conn.Park()
		}
	}
	if err == nil {
		frame, fds, err = conn.ReadFrame(maxFrame)
	}
	endUnused(err)
	return frame, fds, told, err
}

// beginsIdle reports whether the first frame of a control socket says that there is no job yet. It stays there.
func beginsIdle(control int) bool {
	frame := append([]byte{0, 0, 0, byte(len(noJobYet))}, noJobYet...)
	first := make([]byte, len(frame))
	n, _, err := unix.Recvfrom(control, first, unix.MSG_PEEK|unix.MSG_DONTWAIT)
	return err == nil && n == len(frame) && bytes.Equal(first, frame)
}

// readable reports whether something can be read, the end of the stream for example.
func readable(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	return n != 0 || err != nil
}

// sayTaken says that the job is this process's now.
func sayTaken(conn *wire.Conn) error {
	idleness.mu.Lock()
	defer idleness.mu.Unlock()
	idleness.waiting = false
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

// sparesInterrupt reports whether a SIGINT is to be ignored. A Ctrl-C on the terminal reaches all that were started from there, and is not
// meant for those that only wait. But one that the parent sends comes after the job, so that this is in the socket by then, or has been read.
//
// If there is something in the socket and the parent cannot know yet that it was taken, it may have been either. Then the answer is no, and
// this process never says that it has the job: a Start that waits for that gives it to another.
func sparesInterrupt() bool {
	idleness.mu.Lock()
	if idleness.waiting && readable(control) {
		return false // and nobody gets the lock any more
	}
	defer idleness.mu.Unlock()
	return idleness.waiting
}

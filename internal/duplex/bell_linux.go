package duplex

import (
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/sys"
)

// A bell is one byte on the socket. Both calls are made without telling Go's scheduler, for neither blocks. It would not help, and who is
// woken by a bell may take the CPU at once, in the middle of the ringer's call: then sysmon finds the ringer in a system call that does not end, takes its P away,
// and, having found something to do, looks again each 20 µs, on that same CPU.

var oneBell = [1]byte{1}

// strike rings the peer's bell; it is for raw.Write. If there is no room for it there are bells enough that the peer has not heard.
func strike(fd uintptr) bool {
	sys.Send(int(fd), oneBell[:])
	return true
}

// hear takes the bells that have come, and waits in Go's poller if there are none. The listener calls it.
func (c *Conn) hear() error {
	err := c.raw.Read(c.take)
	if err == nil {
		err = c.takeErr
	}
	return err
}

// takeBells is for raw.Read. What the bells say does not matter, nor how many they are.
func (c *Conn) takeBells(fd uintptr) bool {
	var b [64]byte
	n, err := sys.Receive(int(fd), b[:])
	c.takeErr = nil
	switch {
	case err == syscall.Errno(unix.EAGAIN):
		return false
	case err != 0:
		c.takeErr = os.NewSyscallError("recvfrom", err)
	case n == 0:
		c.takeErr = io.EOF
	}
	return true
}

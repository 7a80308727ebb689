//go:build !linux

package pipe

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxSocketPath is the longest path that fits in a struct sockaddr_un.
const maxSocketPath = 103

func shorten(path string) (short string, release func(), err error) {
	return "", nil, fmt.Errorf("the path has %d bytes, and %d are possible on this system: %w", len(path), maxSocketPath, errors.ErrUnsupported)
}

// protect cannot set the mode before the file exists here; Listen does after.
func protect(uintptr) error { return nil }

func isLive(string) (bool, error) { return false, errors.ErrUnsupported }

func socket() (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	return fd, err
}

func accept(fd int) (int, unix.Sockaddr, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	n, sa, err := unix.Accept(fd)
	if err == nil {
		unix.CloseOnExec(n)
	}
	return n, sa, err
}

func tune(fd int) {
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
}

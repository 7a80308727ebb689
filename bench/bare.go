package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// The least that a round trip over a socket can do: a frame of four bytes of length and 64
// of content, written by one write and read by a loop that tries for a while before it
// sleeps. No poller, no deadlines, no closing while it is in use, no descriptors.

// socketPair makes two ends. An os.File of one that blocks stays out of Go's poller.
func socketPair(flags int) (a, b *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|flags, 0)
	if err != nil {
		return nil, nil, err
	}
	return os.NewFile(uintptr(fds[0]), "socket"), os.NewFile(uintptr(fds[1]), "socket"), nil
}

func bareRoundTrips(fd, n int) error {
	if err := unix.SetNonblock(fd, true); err != nil { // os.File.Fd has changed it
		return err
	}
	buf := make([]byte, frame)
	for range n {
		if err := bareSend(fd, buf); err != nil {
			return err
		}
		if eof, err := bareReceive(fd, buf); err != nil || eof {
			return fmt.Errorf("end of file %t: %w", eof, err)
		}
	}
	return nil
}

// bareEcho sends back frames of so many bytes.
func bareEcho(fd, frame int) error {
	if err := unix.SetNonblock(fd, true); err != nil {
		return err
	}
	buf := make([]byte, frame)
	for {
		if eof, err := bareReceive(fd, buf); err != nil || eof {
			return err
		}
		if err := bareSend(fd, buf); err != nil {
			return err
		}
	}
}

func bareSend(fd int, buf []byte) error {
	binary.BigEndian.PutUint32(buf, uint32(len(buf)-4))
	n, err := rawWrite(fd, buf)
	if err == nil && n != len(buf) {
		err = fmt.Errorf("wrote %d bytes", n)
	}
	return err
}

func bareReceive(fd int, buf []byte) (eof bool, err error) {
	began := time.Now()
	for tries := 0; ; tries++ {
		n, err := rawRead(fd, buf)
		switch {
		case err == nil && n == 0:
			return true, nil
		case err == nil && (n != len(buf) || binary.BigEndian.Uint32(buf) != uint32(n-4)):
			return false, fmt.Errorf("received %d bytes", n)
		case err == nil:
			return false, nil
		case err == unix.EINTR:
		case err != unix.EAGAIN:
			return false, err
		case time.Since(began) > 50*time.Microsecond:
			fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
				return false, err
			}
		case tries >= 4:
			unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
		}
	}
}

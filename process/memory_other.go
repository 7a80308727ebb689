//go:build !linux

package process

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// writeMemory puts chunks, one behind the other, into a file that has no name any more.
func writeMemory(chunks [][]byte) (fd int, err error) {
	f, err := os.CreateTemp("", "multiproc-message-")
	if err != nil {
		return -1, err
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return -1, err
	}
	for _, b := range chunks {
		if _, err := f.Write(b); err != nil {
			return -1, err
		}
	}
	return dup(int(f.Fd()))
}

// mapMemory gives access to what writeMemory wrote, size bytes, until free is called. fd stays the caller's.
func mapMemory(fd, size int) (b []byte, free func(), err error) {
	own, err := dup(fd)
	if err != nil {
		return nil, nil, err
	}
	f := os.NewFile(uintptr(own), "message")
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !st.Mode().IsRegular() || st.Size() != int64(size) {
		return nil, nil, fmt.Errorf("a message of %d bytes in a file of %d bytes", size, st.Size())
	}
	b = make([]byte, size)
	if n, err := f.ReadAt(b, 0); n < size {
		return nil, nil, errors.Join(io.ErrUnexpectedEOF, err)
	}
	return b, func() {}, nil
}

func dup(fd int) (int, error) { return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0) }

package duplex

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/sys"
)

// Create makes the memory of two rings of size bytes each, sealed. Pages are taken when they are first written to, so that a connection
// on which little is said costs little. (They are reserved when a shared mapping is; a memfd has no file system that could be full later.)
func Create(size int) (*Memory, error) {
	if err := checkSize(size); err != nil {
		return nil, err
	}
	fd, err := sys.MemfdCreate("multiproc-rings")
	if err != nil {
		return nil, err
	}
	if err = os.NewSyscallError("ftruncate", unix.Ftruncate(fd, int64(fileSize(size)))); err == nil {
		err = sys.SealSize(fd)
	}
	var m *Memory
	if err == nil {
		m, err = mapMemory(fd, size)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return m, nil
}

// Attach maps what a peer has created. It owns fd, also when it fails.
func Attach(fd, size int) (*Memory, error) {
	m, err := attach(fd, size)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("attaching to the peer's rings: %w", err)
	}
	return m, nil
}

func attach(fd, size int) (*Memory, error) {
	if err := checkSize(size); err != nil {
		return nil, err
	}
	// A file that can shrink could take the pages away under us (SIGBUS), and one of huge pages may have none.
	if !sys.SizeSealed(fd) {
		return nil, errors.New("what the peer sent is no memory of a sealed size")
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, os.NewSyscallError("fstat", err)
	}
	if st.Size != int64(fileSize(size)) || int64(st.Blksize) != int64(os.Getpagesize()) {
		return nil, fmt.Errorf("what the peer sent has %d bytes in pages of %d, not %d in pages of %d", st.Size, st.Blksize, fileSize(size), os.Getpagesize())
	}
	return mapMemory(fd, size)
}

func mapMemory(fd, size int) (*Memory, error) {
	all, err := unix.Mmap(fd, 0, fileSize(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	return &Memory{size: size, all: all, file: fd}, nil
}

// FD is the descriptor of the memory, for sending; it is m's, and -1 once New or Close was called.
func (m *Memory) FD() int { return m.file }

func (m *Memory) closeFile() {
	if m.file >= 0 {
		unix.Close(m.file)
		m.file = -1
	}
}

// Close unmaps the memory. It is not for one that New was given.
func (m *Memory) Close() {
	m.closeFile()
	m.unmap()
}

func (m *Memory) unmap() {
	_ = unix.Munmap(m.all)
	m.all = nil
}

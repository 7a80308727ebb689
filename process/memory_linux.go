package process

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/sys"
)

// writeMemory puts chunks, one behind the other, into a memory file that cannot be changed any more.
func writeMemory(chunks [][]byte) (fd int, err error) {
	fd, err = sys.MemfdCreate("multiproc-message")
	if err != nil {
		return -1, err
	}
	for _, b := range chunks {
		for len(b) > 0 {
			n, err := unix.Write(fd, b)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil {
				unix.Close(fd)
				return -1, os.NewSyscallError("write", err)
			}
			b = b[n:]
		}
	}
	const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("fcntl(F_ADD_SEALS)", err)
	}
	return fd, nil
}

// mapMemory gives access to what writeMemory wrote, size bytes, until free is called. fd stays the caller's.
func mapMemory(fd, size int) (b []byte, free func(), err error) {
	// Without the seal somebody could shrink the file under the reader, and that would be a SIGBUS.
	if !sys.SizeSealed(fd) {
		return nil, nil, errors.New("a descriptor for a message is no sealed memory file")
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, nil, os.NewSyscallError("fstat", err)
	}
	if st.Size != int64(size) {
		return nil, nil, fmt.Errorf("a message of %d bytes in a memory file of %d bytes", size, st.Size)
	}
	if size == 0 {
		return nil, func() {}, nil
	}
	b, err = unix.Mmap(fd, 0, size, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_POPULATE)
	if err != nil {
		return nil, nil, os.NewSyscallError("mmap", err)
	}
	return b, func() { unix.Munmap(b) }, nil
}

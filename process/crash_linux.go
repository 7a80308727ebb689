package process

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/sys"
)

// newCrashFile makes a crash file.
func newCrashFile() (fd int, err error) {
	fd, err = sys.MemfdCreate("multiproc-crash")
	if err != nil {
		return -1, err
	}
	if err := unix.Ftruncate(fd, crashSize); err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("ftruncate", err)
	}
	// From here on a write behind the end is an error, which the runtime does not look at.
	if err := sys.SealSize(fd); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

package journal

import (
	"errors"
	"os"
	"syscall"

	"github.com/go-multiproc/multiproc/internal/sys"
)

// allocate makes the bytes [off, off+n) of a file have space on the disk.
func allocate(f *os.File, off, n int64) error {
	err := sys.IgnoringEINTR(func() error { return sys.Fallocate(int(f.Fd()), off, n) })
	if errors.Is(err, syscall.EOPNOTSUPP) {
		return fill(f, off, n)
	}
	return err
}

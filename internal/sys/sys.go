// Package sys wraps the kernel interfaces that multiproc is built on, one file
// per mechanism. The wrappers add what every caller needs and nothing else:
// EINTR is retried unless the function says otherwise, errors are *os.SyscallError, descriptors are close-on-exec.
//
// Descriptors are plain ints here. An *os.File would be closed by the garbage
// collector when it becomes unreachable, and with it would go, silently, the
// file lock that says its process is alive.
package sys

import (
	"errors"
	"syscall"
)

// IgnoringEINTR calls fn until it returns something else than EINTR.
func IgnoringEINTR(fn func() error) error {
	for {
		err := fn()
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

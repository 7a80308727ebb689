package sys

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Open file description locks (Linux 3.15, fcntl(2)) belong to the description
// and not to the process: they go when the last reference to the description
// goes, they ignore other descriptors of the same file being closed, and, being
// byte ranges far behind the end of the file, they exclude nobody's data.

// TryLockRange takes a write lock on n bytes of fd at off for fd's open file
// description. It reports false when somebody else holds a lock in the range.
func TryLockRange(fd int, off, n int64) (bool, error) {
	lk := unix.Flock_t{Type: unix.F_WRLCK, Whence: 0, Start: off, Len: n}
	err := IgnoringEINTR(func() error {
		return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &lk)
	})
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return false, nil
	}
	if err != nil {
		return false, os.NewSyscallError("fcntl(F_OFD_SETLK)", err)
	}
	return true, nil
}

// LockRange is TryLockRange that waits.
func LockRange(fd int, off, n int64) error {
	lk := unix.Flock_t{Type: unix.F_WRLCK, Whence: 0, Start: off, Len: n}
	return os.NewSyscallError("fcntl(F_OFD_SETLKW)", IgnoringEINTR(func() error {
		return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLKW, &lk)
	}))
}

// RangeLocked reports whether another open file description than fd's holds a
// lock on any of the n bytes at off. It takes nothing.
func RangeLocked(fd int, off, n int64) (bool, error) {
	lk := unix.Flock_t{Type: unix.F_WRLCK, Whence: 0, Start: off, Len: n}
	err := IgnoringEINTR(func() error {
		return unix.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, &lk)
	})
	if err != nil {
		return false, os.NewSyscallError("fcntl(F_OFD_GETLK)", err)
	}
	return lk.Type != unix.F_UNLCK, nil
}

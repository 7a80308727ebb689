package sys

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// MemfdCreate makes an anonymous memory file that can be sealed. The name is
// for /proc/PID/maps only.
//
// MFD_NOEXEC_SEAL (Linux 6.3) is asked for first: hosts may run with
// vm.memfd_noexec=2, which refuses memfds made without it. Older kernels
// answer EINVAL, and get the call without it.
func MemfdCreate(name string) (int, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(name, flags|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate(name, flags)
	}
	if err != nil {
		return -1, os.NewSyscallError("memfd_create", err)
	}
	return fd, nil
}

// sizeSeals fix the size of a memfd for ever. F_SEAL_WRITE is not among them:
// the memory is there to be written to.
const sizeSeals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW

// SealSize forbids everybody, this process included, to resize the memfd, so
// that no peer can truncate it under a reader, which would be a SIGBUS there.
func SealSize(fd int) error {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, sizeSeals|unix.F_SEAL_SEAL)
	return os.NewSyscallError("fcntl(F_ADD_SEALS)", err)
}

// SizeSealed reports whether the size of fd can not change any more. It is
// false for files that know no seals.
func SizeSealed(fd int) bool {
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	return err == nil && seals&sizeSeals == sizeSeals
}

// Fallocate makes sure that the bytes [off, off+n) of fd have memory or disk
// space behind them, and grows the file to hold them. It is the one call here
// that returns EINTR: a tmpfs gives back all it has taken then (until the 6.x
// kernels, on every signal), so that trying again with the same n may never come
// to an end.
func Fallocate(fd int, off, n int64) error {
	return os.NewSyscallError("fallocate", unix.Fallocate(fd, 0, off, n))
}

// PunchHole takes the memory or disk space away from the whole pages in the bytes
// [off, off+n) of fd, which read as zeros afterwards. The size stays.
func PunchHole(fd int, off, n int64) error {
	return IgnoringEINTR(func() error {
		err := unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
		return os.NewSyscallError("fallocate(PUNCH_HOLE)", err)
	})
}

// Reopen opens the file behind fd once more, for reading and writing, as an
// open file description of its own: nothing that is done to fd, no dup, no
// inheritance and no mapping, refers to it.
func Reopen(fd int) (int, error) {
	path := procFD(fd)
	var n int
	err := IgnoringEINTR(func() (err error) {
		n, err = unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return -1, &os.PathError{Op: "reopen", Path: path, Err: err}
	}
	return n, nil
}

// LinkFD gives the file behind fd, which was opened with O_TMPFILE or has
// another name already, the name path. The name must not exist.
func LinkFD(fd int, path string) error {
	return unix.Linkat(unix.AT_FDCWD, procFD(fd), unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW)
}

package sys

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// MapZero replaces the mapping under b by zero pages that nobody else has, in one
// step: there is no instant at which an access to b faults.
//
// The pages are of the shared kind all the same. Private ones would count as the
// process's data: closing a large segment could exceed RLIMIT_DATA, which fails
// nothing at once, but ends the process when the Go heap grows next. Where the
// kernel counts shared ones too (vm.overcommit_memory=2), the pages are those of
// a sparse memfd, which it counts one by one when they are written to.
//
// Safety: b must be whole pages of a mapping that the caller owns.
func MapZero(b []byte) error {
	err := mapOver(b, -1, unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err == nil {
		return nil
	}
	fd, memfdErr := MemfdCreate("multiproc-closed")
	if memfdErr != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, int64(len(b))); err != nil {
		return os.NewSyscallError("ftruncate", err)
	}
	return mapOver(b, fd, 0)
}

func mapOver(b []byte, fd, flags int) error {
	_, err := unix.MmapPtr(fd, 0, unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)),
		unix.PROT_READ|unix.PROT_WRITE, unix.MAP_FIXED|unix.MAP_SHARED|flags)
	return os.NewSyscallError("mmap", err)
}

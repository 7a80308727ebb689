package sys

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// MapZero replaces the mapping under b by private zero pages, in one step: there
// is no instant at which an access to b faults.
//
// Safety: b must be whole pages of a mapping that the caller owns.
func MapZero(b []byte) error {
	_, err := unix.MmapPtr(-1, 0, unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)),
		unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_FIXED|unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	return os.NewSyscallError("mmap", err)
}

package lock

import (
	"unsafe"

	"github.com/go-multiproc/multiproc/internal/mem"
)

// fencePointer is the plain word behind w. It is read and written under the lock
// only: an atomic store, which is a locked instruction on amd64, would cost as
// much as taking the lock. The compare-and-swaps around it order it, and an
// aligned 64-bit store is never torn.
//
// Safety: w is in a mapping, and so is the result.
func fencePointer(w *mem.Uint64) *uint64 { return (*uint64)(unsafe.Pointer(w)) }

package lock

import (
	"sync/atomic"
	"unsafe"
)

// fencePointer is the plain word behind w. It is read and written under the lock
// only: an atomic store, which is a locked instruction on amd64, would cost as
// much as taking the lock. The compare-and-swaps around it order it, and an
// aligned 64-bit store is never torn.
//
// Safety: w is in a mapping, and so is the result.
func fencePointer(w *atomic.Uint64) *uint64 { return (*uint64)(unsafe.Pointer(w)) }

// futexWord is the half of w that the kernel looks at.
//
// Safety: the low half comes first on little-endian machines; which are the only ones supported.
func futexWord(w *atomic.Uint64) *uint32 { return (*uint32)(unsafe.Pointer(w)) }

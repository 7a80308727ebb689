package verify_test

import (
	"sync/atomic"
	"unsafe"
)

func futexWord(w *atomic.Uint32) *uint32 { return (*uint32)(unsafe.Pointer(w)) }

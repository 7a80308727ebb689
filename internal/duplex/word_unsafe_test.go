package duplex_test

import "unsafe"

// wordAt is the word at the beginning of b, which is aligned shared memory. The peers in these tests write it without the care that the
// race detector would ask for; it does not see this memory.
func wordAt(b []byte) *uint64 { return (*uint64)(unsafe.Pointer(unsafe.SliceData(b[:8]))) }

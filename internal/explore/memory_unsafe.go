//go:build multiproc_explore

package explore

import "unsafe"

// unsafeBytes are the bytes of words, and so aligned to 8.
//
// Safety: the bytes are words' own.
func unsafeBytes(words []uint64) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), 8*len(words))
}

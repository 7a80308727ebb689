//go:build multiproc_explore

package queue

import (
	"unsafe"

	"github.com/go-multiproc/multiproc/internal/mem"
)

// base is where the memory of the models is: they all use the same.
var base unsafe.Pointer

// placeOf is the offset of a word.
func placeOf(w *mem.Uint64) int { return int(uintptr(unsafe.Pointer(w)) - uintptr(base)) }

// headOf is the head of the ring that b is in, if it is in one.
func headOf(b []byte) *mem.Uint64 {
	off := uintptr(unsafe.Pointer(unsafe.SliceData(b))) - uintptr(base)
	if off < uintptr(ringAt) || off >= uintptr(ringAt+two.Bytes) {
		return nil
	}
	return (*mem.Uint64)(unsafe.Add(base, wordAt(headOffset)))
}

// wordBeside is the word that many bytes further on.
func wordBeside(w *mem.Uint64, bytes int) *mem.Uint64 {
	return (*mem.Uint64)(unsafe.Add(unsafe.Pointer(w), bytes))
}

// noteBase notes where the memory of the model is.
func noteBase(memory []byte) { base = unsafe.Pointer(unsafe.SliceData(memory)) }

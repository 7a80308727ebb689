package ring_test

import (
	"unsafe"

	"github.com/go-multiproc/multiproc/internal/mem"
)

// wordsAndBytes is memory of n words, both ways.
func wordsAndBytes(n int) ([]mem.Uint64, []byte) {
	words := make([]mem.Uint64, n)
	return words, unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), 8*n)
}

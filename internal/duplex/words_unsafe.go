package duplex

import (
	"unsafe"

	"github.com/go-multiproc/multiproc/internal/mem"
)

// word is the 64-bit word at an offset of m.
//
// Safety: the bounds check is the slice's; a mapping begins on a page, so that the word is aligned if off is a multiple of 8. It
// stays valid until the mapping is unmapped, which Memory.release does when nobody is in it any more.
func word(m []byte, off int) *mem.Uint64 {
	if off%8 != 0 {
		panic("duplex: misaligned word")
	}
	return (*mem.Uint64)(unsafe.Pointer(unsafe.SliceData(m[off : off+8])))
}

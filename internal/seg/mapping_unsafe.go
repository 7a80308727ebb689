package seg

import (
	"sync/atomic"
	"unsafe"

	"github.com/go-multiproc/multiproc/internal/mem"
)

// tokenCounter is the counter in the footer.
//
// Safety: parseFooter checked that the footer is within the mapping, whose size
// is a multiple of the page size, so the counter is aligned.
func (m *Mapping) tokenCounter() *atomic.Uint64 {
	off := int(m.foot.fileSize) - footerSize + tokenOffset
	return (*atomic.Uint64)(unsafe.Pointer(&m.all[off]))
}

// Word is the 64-bit word at an offset of the file.
//
// Safety: the bounds check is the slice's; the offset must be a multiple of 8.
// The word stays valid as long as the mapping is reachable.
func (m *Mapping) Word(off int) *mem.Uint64 {
	if off%8 != 0 {
		panic("seg: misaligned word")
	}
	return (*mem.Uint64)(unsafe.Pointer(unsafe.SliceData(m.all[off : off+8])))
}

// WordOf is the 64-bit word at the start of b.
//
// Safety: b must be 8-aligned shared memory.
func WordOf(b []byte) *mem.Uint64 {
	return (*mem.Uint64)(unsafe.Pointer(unsafe.SliceData(b[:8])))
}

// Words is the n 64-bit words from an offset of the file on.
//
// Safety: as for Word.
func (m *Mapping) Words(off, n int) []mem.Uint64 {
	if off%8 != 0 {
		panic("seg: misaligned words")
	}
	return unsafe.Slice((*mem.Uint64)(unsafe.Pointer(unsafe.SliceData(m.all[off:off+8*n]))), n)
}

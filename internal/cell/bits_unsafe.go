package cell

import (
	"sync/atomic"
	"unsafe"
)

// The functions of this file access one element of 1, 2, 4 or 8 bytes, its bits
// in the low end of a uint64. Callers pass a constant size, so that of all the
// branches one is left.
//
// Safety: p points to an element in a mapping that the caller keeps reachable,
// and is a multiple of size. Elements of 1 and 2 bytes stand within one aligned
// 32-bit word, which is within the same page, and so mapped.

// LoadBits reads an element. It is ordered as sync/atomic's loads are.
func LoadBits(p unsafe.Pointer, size uintptr) uint64 {
	switch size {
	case 8:
		return atomic.LoadUint64((*uint64)(p))
	case 4:
		return uint64(atomic.LoadUint32((*uint32)(p)))
	}
	return loadPart(p, size)
}

// StoreBits writes an element.
func StoreBits(p unsafe.Pointer, size uintptr, bits uint64) {
	switch size {
	case 8:
		atomic.StoreUint64((*uint64)(p), bits)
	case 4:
		atomic.StoreUint32((*uint32)(p), uint32(bits))
	default:
		SwapBits(p, size, bits)
	}
}

// SwapBits writes an element and returns what was there.
func SwapBits(p unsafe.Pointer, size uintptr, bits uint64) (old uint64) {
	switch size {
	case 8:
		return atomic.SwapUint64((*uint64)(p), bits)
	case 4:
		return uint64(atomic.SwapUint32((*uint32)(p), uint32(bits)))
	}
	for {
		old = loadPart(p, size)
		if casPart(p, size, old, bits) {
			return old
		}
	}
}

// CASBits writes an element if its bits are old.
func CASBits(p unsafe.Pointer, size uintptr, old, bits uint64) bool {
	switch size {
	case 8:
		return atomic.CompareAndSwapUint64((*uint64)(p), old, bits)
	case 4:
		return atomic.CompareAndSwapUint32((*uint32)(p), uint32(old), uint32(bits))
	}
	return casPart(p, size, old, bits)
}

// AddBits adds to an integer element, modulo its size, and returns the sum.
func AddBits(p unsafe.Pointer, size uintptr, delta uint64) (sum uint64) {
	switch size {
	case 8:
		return atomic.AddUint64((*uint64)(p), delta)
	case 4:
		return uint64(atomic.AddUint32((*uint32)(p), uint32(delta)))
	}
	for {
		old := loadPart(p, size)
		if sum = (old + delta) & (1<<(8*size) - 1); casPart(p, size, old, sum) {
			return sum
		}
	}
}

// part finds the aligned word that the 1 or 2 bytes at p stand in, and where.
func part(p unsafe.Pointer, size uintptr) (word *uint32, shift uintptr, mask uint32) {
	off := uintptr(p) & 3
	// multiproc runs on little-endian machines only: byte n is bits 8n to 8n+7.
	return (*uint32)(unsafe.Add(p, -int(off))), 8 * off, 1<<(8*size) - 1
}

func loadPart(p unsafe.Pointer, size uintptr) uint64 {
	word, shift, mask := part(p, size)
	return uint64(atomic.LoadUint32(word) >> shift & mask)
}

// casPart leaves the neighbours in the word alone: if one of them changes in
// between, by whatever kind of store, the compare-and-swap fails, and is repeated.
func casPart(p unsafe.Pointer, size uintptr, old, bits uint64) bool {
	word, shift, mask := part(p, size)
	for {
		w := atomic.LoadUint32(word)
		if w>>shift&mask != uint32(old) {
			return false
		}
		n := w&^(mask<<shift) | uint32(bits)<<shift
		if atomic.CompareAndSwapUint32(word, w, n) {
			return true
		}
	}
}

// FirstWord is the first word of b, the start of a mapping, which is at least one
// page however short b is.
func FirstWord(b []byte) *uint64 { return (*uint64)(unsafe.Pointer(unsafe.SliceData(b))) }

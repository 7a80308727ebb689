package cell

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe"

	"github.com/go-multiproc/multiproc/internal/crash"
)

// memory is a piece of a mapping. Whoever has one keeps the mapping reachable.
type memory []byte

// load fills dst with what stands at off.
func (m memory) load(off int, dst []byte) {
	loadBytes(dst, unsafe.Pointer(unsafe.SliceData(m[off:off+len(dst)])))
}

// store puts src at off.
func (m memory) store(off int, src []byte) {
	storeBytes(unsafe.Pointer(unsafe.SliceData(m[off:off+len(src)])), src)
}

// loadBytes fills dst from shared memory, in ascending order, each aligned word
// by one atomic load. Where dst ends within a word, it takes part of it.
//
// The loads are atomic not for their own sake, since what they bring is checked
// afterwards, but for their order: on arm64 plain loads could be satisfied after
// the check.
//
// Safety: the bytes at p, len(dst) of them, are in a mapping that the caller keeps
// reachable. A word that holds one of them is within the same page.
func loadBytes(dst []byte, p unsafe.Pointer) {
	for len(dst) > 0 && uintptr(p)&7 != 0 {
		n := loadSmall(dst, p)
		dst, p = dst[n:], unsafe.Add(p, n)
	}
	i := 0
	for ; i <= len(dst)-8; i += 8 {
		binary.NativeEndian.PutUint64(dst[i:i+8], atomic.LoadUint64((*uint64)(unsafe.Add(p, i))))
	}
	dst, p = dst[i:], unsafe.Add(p, i)
	for len(dst) > 0 {
		n := loadSmall(dst, p)
		dst, p = dst[n:], unsafe.Add(p, n)
	}
}

// loadSmall takes what it can of the aligned 32-bit word that p is in.
func loadSmall(dst []byte, p unsafe.Pointer) int {
	if uintptr(p)&3 == 0 && len(dst) >= 4 {
		binary.NativeEndian.PutUint32(dst, atomic.LoadUint32((*uint32)(p)))
		return 4
	}
	dst[0] = byte(loadPart(p, 1))
	return 1
}

// storeBytes is the reverse of loadBytes. Bytes in a word that src has only part
// of are put there without touching the others, which may be a neighbour's.
func storeBytes(p unsafe.Pointer, src []byte) {
	for len(src) > 0 && uintptr(p)&7 != 0 {
		n := storeSmall(p, src)
		crash.At("cell.part")
		src, p = src[n:], unsafe.Add(p, n)
	}
	i := 0
	for ; i <= len(src)-8; i += 8 {
		storeWord((*uint64)(unsafe.Add(p, i)), binary.NativeEndian.Uint64(src[i:i+8]))
		crash.At("cell.word")
	}
	src, p = src[i:], unsafe.Add(p, i)
	for len(src) > 0 {
		n := storeSmall(p, src)
		crash.At("cell.part")
		src, p = src[n:], unsafe.Add(p, n)
	}
}

func storeSmall(p unsafe.Pointer, src []byte) int {
	if uintptr(p)&3 == 0 && len(src) >= 4 {
		atomic.StoreUint32((*uint32)(p), binary.NativeEndian.Uint32(src))
		return 4
	}
	SwapBits(p, 1, uint64(src[0]))
	return 1
}

// LoadWords fills dst from src, of the same length, by atomic loads of 8 bytes, so
// that elements that are words themselves are whole. It returns how much of dst it
// filled: what is left at the end is less than 8 bytes, or everything if src does
// not start at a multiple of 8.
//
// Preconditions: src is in a mapping that the caller keeps reachable.
func LoadWords(dst, src []byte) int {
	if uintptr(unsafe.Pointer(unsafe.SliceData(src)))&7 != 0 {
		return 0
	}
	n := len(dst) &^ 7
	memory(src).load(0, dst[:n])
	return n
}

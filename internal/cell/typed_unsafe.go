package cell

import "unsafe"

// The functions of this file are for the typed faces of objects. All are so short
// that the compiler puts them into their callers.

// SizeOf is a constant once T is known, so that branches on it cost nothing.
func SizeOf[T any]() uintptr {
	var x T
	return unsafe.Sizeof(x)
}

// Word tells whether a T is accessed as one word: IsWord as a constant.
func Word[T any]() bool {
	size := SizeOf[T]()
	return size == 8 || size == 4 || size == 2 || size == 1
}

// ToBits is x as the low bits of a word. It may have anything where x has padding.
//
// Preconditions: Word[T]().
func ToBits[T any](x T) (bits uint64) {
	*(*T)(unsafe.Pointer(&bits)) = x
	return bits
}

// FromBits is the reverse of ToBits.
//
// Preconditions: Word[T]().
func FromBits[T any](bits uint64) T { return *(*T)(unsafe.Pointer(&bits)) }

// Bytes is the memory of *p.
func Bytes[T any](p *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(p)), unsafe.Sizeof(*p))
}

// BytesOf is the memory of s.
func BytesOf[T any](s []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(SizeOf[T]()))
}

// Elements is data, or the start of it, as n elements.
//
// Safety: data has n elements of T's layout, where Go may have them. T has no
// pointers, so that the garbage collector does not care that the memory is not
// Go's.
func Elements[T any](data []byte, n int) []T {
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(data))), n)
}

// At is where element i stands. It panics as a slice does if there is none.
func At[T any](elems []T, i int) unsafe.Pointer { return unsafe.Pointer(&elems[i]) }

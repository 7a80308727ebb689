package array

import "unsafe"

// at is where element i stands. It panics as a slice does if there is none.
func at[T any](elems []T, i int) unsafe.Pointer { return unsafe.Pointer(&elems[i]) }

// elements is data as a slice of T.
//
// Safety: the object was checked to have n elements of T's layout in data, where
// Go may have them. T has no pointers, so that the garbage collector does not care
// that the memory is not Go's.
func elements[T any](data []byte, n int) []T {
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(data))), n)
}

// aligned reports whether elems starts at a multiple of 8.
func aligned[T any](elems []T) bool {
	return uintptr(unsafe.Pointer(unsafe.SliceData(elems)))%8 == 0
}

// bytesOf is the memory of s.
func bytesOf[T any](s []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(sizeOf[T]()))
}

// bytesOfOne is the memory of *p.
func bytesOfOne[T any](p *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(p)), unsafe.Sizeof(*p))
}

// toBits is x as the low bits of a word.
//
// Preconditions: isWord[T]().
func toBits[T any](x T) (bits uint64) {
	*(*T)(unsafe.Pointer(&bits)) = x
	return bits
}

// fromBits is the reverse of toBits.
//
// Preconditions: isWord[T]().
func fromBits[T any](bits uint64) T { return *(*T)(unsafe.Pointer(&bits)) }

// sizeOf is a constant once T is known, so that branches on it cost nothing.
func sizeOf[T any]() uintptr {
	var x T
	return unsafe.Sizeof(x)
}

// isWord tells whether a T is accessed as one word. It is a constant too.
func isWord[T any]() bool {
	size := sizeOf[T]()
	return size == 8 || size == 4 || size == 2 || size == 1
}

package pool

import "unsafe"

// memoryOf is the memory of s's elements.
//
// Preconditions: T has no pointers and no padding.
func memoryOf[T any](s []T) []byte {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), len(s)*int(unsafe.Sizeof(s[0])))
}

// viewOf is b as a slice of T, without a copy. It reports false if b is not where a T may stand.
//
// Preconditions: as memoryOf; len(b) is a multiple of T's size; nobody writes to b as long as the slice is read.
func viewOf[T any](b []byte) ([]T, bool) {
	if len(b) == 0 {
		return nil, true
	}
	var t T
	p := unsafe.Pointer(&b[0])
	if uintptr(p)%unsafe.Alignof(t) != 0 {
		return nil, false
	}
	return unsafe.Slice((*T)(p), len(b)/int(unsafe.Sizeof(t))), true
}

// memory is the memory of *p.
//
// Preconditions: as memoryOf.
func memory[T any](p *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(p)), int(unsafe.Sizeof(*p)))
}

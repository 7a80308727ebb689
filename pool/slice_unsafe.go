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

// memory is the memory of *p.
//
// Preconditions: as memoryOf.
func memory[T any](p *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(p)), int(unsafe.Sizeof(*p)))
}

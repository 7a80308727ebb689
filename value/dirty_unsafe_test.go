package value_test

import (
	"bytes"
	"unsafe"
)

func unsafeSize[T any]() int { return int(unsafe.Sizeof(*new(T))) }

// dirty is a T whose bytes are all 1, its padding too.
func dirty[T any]() *T {
	x := new(T)
	copy(unsafe.Slice((*byte)(unsafe.Pointer(x)), unsafeSize[T]()), bytes.Repeat([]byte{1}, unsafeSize[T]()))
	return x
}

package array_test

import (
	"bytes"
	"unsafe"
)

func bytesOf[T any](s []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(*new(T))))
}

// dirty is n elements whose bytes are all 1, their padding too.
func dirty[T any](n int) []T {
	s := make([]T, n)
	copy(bytesOf(s), bytes.Repeat([]byte{1}, len(bytesOf(s))))
	return s
}

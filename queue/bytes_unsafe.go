package queue

import "unsafe"

// bytesOf is p, of a T that is []byte. An assertion by way of an any would move *p to the
// heap.
//
// Preconditions: T is []byte.
func bytesOf[T any](p *T) *[]byte { return (*[]byte)(unsafe.Pointer(p)) }

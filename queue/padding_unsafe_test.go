package queue_test

import "unsafe"

// A padded has bytes that carry nothing. Go passes one with an array in memory, and them with it:
// on the way through registers they would get lost.
type padded struct {
	A [2]byte
	B int32
}

func padding(p *padded) *byte { return (*byte)(unsafe.Add(unsafe.Pointer(p), 2)) }

// makeDirty fills p, and puts something into the bytes that carry nothing.
func makeDirty(p *padded) {
	*p = padded{B: 2}
	*padding(p) = 0xa5
}

func isDirty(p *padded) bool { return *padding(p) != 0 }

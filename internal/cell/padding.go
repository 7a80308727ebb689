package cell

import "github.com/go-multiproc/multiproc/internal/layout"

// Wipe zeroes the padding in b, the bytes of one element, and returns b. Go leaves
// arbitrary content there, parts of the stack for one, which is nobody else's
// business.
func Wipe(b []byte, padding []layout.Span) []byte {
	for _, s := range padding {
		clear(b[s.From:s.To])
	}
	return b
}

// Mask is Wipe for an element that is a word: the bits to keep.
func Mask(size int, padding []layout.Span) uint64 {
	mask := ^uint64(0) >> (64 - 8*size)
	for _, s := range padding {
		for i := s.From; i < s.To; i++ {
			mask &^= 0xff << (8 * i)
		}
	}
	return mask
}

// wipeAll is Wipe for many elements.
func wipeAll(data []byte, lt *layout.Type) {
	if len(lt.Padding) == 0 {
		return
	}
	for i := 0; i+lt.Size <= len(data); i += lt.Size {
		Wipe(data[i:i+lt.Size], lt.Padding)
	}
}

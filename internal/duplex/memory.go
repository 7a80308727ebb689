package duplex

import (
	"errors"
	"fmt"
)

// The layout of the memory, all numbers in the byte order of the machine, which must be little-endian:
//
//	0              the words of the ring from attacher to creator: tail at 0, head at 128, asleep at 256, stalled at 384
//	512            the words of the ring from creator to attacher, likewise
//	4096           the bytes of the first ring: size
//	4096 + size    the bytes of the second ring: size
//
// Lines are 128 bytes apart, because processors fetch them in pairs.
const (
	wordStride  = 128
	ringStride  = 4 * wordStride
	headerSpace = 4096
)

// MinSize and MaxSize bound the size of one ring.
const (
	MinSize = 4 << 10
	MaxSize = 1 << 28
)

// ErrSize is in the error of a size that is no power of two between MinSize and MaxSize.
var ErrSize = errors.New("the size of a ring is a power of two from 4 KiB to 256 MiB")

func checkSize(size int) error {
	if size < MinSize || size > MaxSize || size&(size-1) != 0 {
		return fmt.Errorf("%w, not %d", ErrSize, size)
	}
	return nil
}

func fileSize(size int) int { return headerSpace + 2*size }

// Memory is the mapping of both rings in one process. New takes it over; else it is to be closed. It is for one goroutine.
type Memory struct {
	size int

	all  []byte
	file int // -1: closed
}

// A Role says which of the two a process is.
type Role int

// The creator reads the first ring and writes the second; the attacher the other way round.
const (
	Creator Role = iota
	Attacher
)

func (m *Memory) ring(n int) ring {
	base := n * ringStride
	return ring{
		tail:    word(m.all, base),
		head:    word(m.all, base+wordStride),
		asleep:  word(m.all, base+2*wordStride),
		stalled: word(m.all, base+3*wordStride),
		data:    m.all[headerSpace+n*m.size : headerSpace+(n+1)*m.size : headerSpace+(n+1)*m.size],
	}
}

// ends returns the two ends of a process. Positions begin at 0, whatever the memory says: it was zero when it was
// created, and what a peer has written there since, before anybody has read it, is its own affair.
func (m *Memory) ends(r Role) (*consumer, *producer) {
	in, out := 0, 1
	if r == Attacher {
		in, out = out, in
	}
	return &consumer{ring: m.ring(in)}, &producer{ring: m.ring(out)}
}

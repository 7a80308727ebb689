package cell

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"unicode/utf8"

	"github.com/go-multiproc/multiproc/internal/lock"
	"github.com/go-multiproc/multiproc/internal/seg"
)

// The meta area of a Value's or an Array's segment. Numbers are little-endian;
// all but the locks and stripes is fixed at creation.
//
//	offset size
//	     0   64  guard: a lock of package lock
//	    64    4  number of stripes; 0 for elements that are words
//	    68    4  zero
//	    72    8  bytes from one stripe to the next
//	    80   16  kind of guard, zero-padded; see package guard
//	    96    8  length of the guard's text
//	   104   24  zero
//	   128       stripes
//	             the guard's text: where to find a guard that stands elsewhere
const (
	// GuardOffset is where the guard's lock stands in the meta area.
	GuardOffset = 0

	stripesField  = 64
	strideField   = 72
	kindField     = 80
	kindSize      = 16
	textLenField  = 96
	stripesOffset = 128

	// maxText bounds the guard's text: the longest path that Linux takes.
	maxText = 4096
)

// A stripe in the meta area:
//
//	offset size
//	     0   64  lock of the writer
//	    64    8  sequence number, odd while the shadow is what counts
//	    72    8  index of the element whose shadow this is
//	    80   48  zero
//	   128       the shadow, a multiple of 64 bytes
const (
	seqField     = lock.Size
	indexField   = lock.Size + 8
	shadowOffset = 128
)

// A Plan is what the meta area is made of.
type Plan struct {
	Size, Count int // of the elements
	Kind, Text  string
	stripes     int
	stride      int
}

// IsWord reports whether elements of that many bytes are single words, which
// need no stripes.
func IsWord(size int) bool { return size <= 8 && bits.OnesCount(uint(size)) == 1 }

// NewPlan plans the meta area for count elements of size bytes and a guard.
func NewPlan(size, count int, kind, text string) (Plan, error) {
	if len(kind) > kindSize || len(text) > maxText {
		return Plan{}, fmt.Errorf("the description of its guard is too long: %d bytes", len(text))
	}
	p := Plan{Size: size, Count: count, Kind: kind, Text: text}
	p.stripes, p.stride = stripes(size, count)
	return p, nil
}

// stripes decides how many stripes count elements share. More let more writers
// work side by side: as many as a large machine has CPUs are enough, and the
// shadows must not become as large as the data, unless it is small.
func stripes(size, count int) (n, stride int) {
	const most, always = 64, 4096
	if IsWord(size) || count == 0 {
		return 0, 0
	}
	stride = shadowOffset + (size+63)/64*64
	n = min(count, most, max(1, always/stride, count/4))
	return 1 << (bits.Len(uint(n)) - 1), stride // a power of two: see Stripes.of
}

// MetaSize is the size of the meta area.
func (p Plan) MetaSize() int { return p.textOffset() + len(p.Text) }

func (p Plan) textOffset() int { return stripesOffset + p.stripes*p.stride }

// Init writes the fixed part of a new meta area.
func (p Plan) Init(meta []byte) {
	le := binary.LittleEndian
	le.PutUint32(meta[stripesField:], uint32(p.stripes))
	le.PutUint64(meta[strideField:], uint64(p.stride))
	copy(meta[kindField:kindField+kindSize], p.Kind)
	le.PutUint64(meta[textLenField:], uint64(len(p.Text)))
	copy(meta[p.textOffset():], p.Text)
}

// ReadPlan reads the meta area of a segment that was made for count elements of
// size bytes, in as many bytes of data. It believes nothing.
func ReadPlan(meta []byte, data, size, count int) (Plan, error) {
	bad := func(what string, args ...any) (Plan, error) {
		return Plan{}, fmt.Errorf("%w: "+what, append([]any{seg.ErrFormat}, args...)...)
	}
	if count < 0 || size <= 0 || count > data/size || count*size != data {
		return bad("%d bytes are not %d elements of %d", data, count, size)
	}
	if len(meta) < stripesOffset {
		return bad("its bookkeeping has %d bytes, fewer than any", len(meta))
	}
	le := binary.LittleEndian
	p := Plan{Size: size, Count: count}
	p.stripes, p.stride = stripes(size, count)
	if n, stride := le.Uint32(meta[stripesField:]), le.Uint64(meta[strideField:]); uint64(n) != uint64(p.stripes) || stride != uint64(p.stride) {
		return bad("it has %d stripes of %d bytes, not %d of %d", n, stride, p.stripes, p.stride)
	}
	p.Kind = string(bytes.TrimRight(meta[kindField:kindField+kindSize], "\x00"))
	n := le.Uint64(meta[textLenField:])
	if n > maxText || uint64(p.textOffset())+n != uint64(len(meta)) {
		return bad("%d bytes of bookkeeping do not fit a guard's text of %d", len(meta), n)
	}
	p.Text = string(meta[p.textOffset():])
	if !utf8.ValidString(p.Kind) {
		return bad("its guard is of kind %q", p.Kind)
	}
	return p, nil
}

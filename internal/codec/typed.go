package codec

import (
	"encoding/binary"
)

// Typed arrays (RFC 8746): numbers that stand in a byte string as they do in memory, under a tag that says of what kind and order they are. We write
// little-endian ones and read all but those of 16 and 128-bit floating-point numbers.
//
//	64 uint8   65 uint16 be   66 uint32 be   67 uint64 be   68 uint8 clamped   69 uint16 le   70 uint32 le   71 uint64 le
//	72 int8    73 int16 be    74 int32 be    75 int64 be                       77 int16 le    78 int32 le    79 int64 le
//	           81 float32 be  82 float64 be                                    85 float32 le  86 float64 le
const (
	firstTyped = 64
	lastTyped  = 87
	tagFloat   = 16 // added to firstTyped
	tagSigned  = 8
	tagLittle  = 4
)

// typedTags are those that we write; 0 is none.
var typedTags = [record + 1]byte{
	int8s: 72, int16s: 77, int32s: 78, int64s: 79, uint16s: 69, uint32s: 70, uint64s: 71, float32s: 85, float64s: 86,
}

// typedFrom is how many numbers there are in the shortest typed array that we write. Shorter ones save no time, and most take more room.
const typedFrom = 8

func isTyped(tag uint64) bool { return firstTyped <= tag && tag <= lastTyped }

// A numbering is how the numbers of a typed array stand.
type numbering struct {
	size                  int // in bytes
	float, signed, little bool
}

// numberingOf returns that of a tag, if there is one that we know.
func numberingOf(tag uint64) (n numbering, ok bool) {
	if !isTyped(tag) || tag == 76 {
		return n, false
	}
	bits := tag - firstTyped
	n = numbering{size: 1 << (bits & 3), float: bits&tagFloat != 0, signed: bits&tagSigned != 0, little: bits&tagLittle != 0}
	if n.float {
		n.size *= 2
		if n.size != 4 && n.size != 8 {
			return n, false
		}
	}
	return n, true
}

// typedAt returns what stands in the typed array that b begins with, if it does with one that we know, and is whole.
func typedAt(b []byte) (n numbering, numbers, rest []byte, ok bool) {
	tag, rest, ok := readArg(b, Tag)
	if !ok {
		return n, nil, b, false
	}
	if n, ok = numberingOf(tag); !ok {
		return n, nil, b, false
	}
	numbers, rest, ok = readString(rest, Bytes)
	if !ok || len(numbers)%n.size != 0 {
		return n, nil, b, false
	}
	return n, numbers, rest, true
}

// expand returns the item b, or several, with ordinary arrays in the place of typed ones, for a reader that does not know these: a little more than twice as long at most.
// b is well-formed, as far as skip checks it; what is not stays as it is.
func expand(b []byte) []byte {
	out := make([]byte, 0, len(b)+len(b)/8)
	for len(b) > 0 {
		if n, numbers, rest, ok := typedAt(b); ok {
			out = n.appendNumbers(out, numbers)
			b = rest
			continue
		}
		h, err := ReadHead(b)
		if err != nil {
			return append(out, b...)
		}
		size := h.Size
		if (h.Major == Bytes || h.Major == Text) && !h.Indefinite {
			size += int(min(h.Arg, uint64(len(b)-h.Size)))
		}
		out, b = append(out, b[:size]...), b[size:]
	}
	return out
}

// Expand returns the array that b begins with, and what follows it: if it is a typed one, as an ordinary one.
func Expand(b []byte) (item, rest []byte, err error) {
	if n, numbers, rest, ok := typedAt(b); ok {
		return n.appendNumbers(nil, numbers), rest, nil
	}
	rest, err = Skip(b)
	return b[:len(b)-len(rest)], rest, err
}

// Untyped returns the item b with ordinary arrays in the place of typed ones, however deep they stand: b itself, if there are none.
func Untyped(b []byte) ([]byte, error) {
	_, typed, err := skip(b)
	if err != nil || !typed {
		return b, err
	}
	return expand(b), nil
}

// IsTyped reports whether b begins with a typed array that can be read.
func IsTyped(b []byte) bool {
	_, _, _, ok := typedAt(b)
	return ok
}

// appendNumbers appends the numbers as an ordinary array.
func (n numbering) appendNumbers(out, numbers []byte) []byte {
	out = appendHead(out, Array, uint64(len(numbers)/n.size))
	for ; len(numbers) > 0; numbers = numbers[n.size:] {
		v := n.word(numbers)
		switch {
		case n.float && n.size == 4:
			out = binary.BigEndian.AppendUint32(append(out, float32Head), uint32(v))
		case n.float:
			out = binary.BigEndian.AppendUint64(append(out, float64Head), v)
		case n.signed:
			out = appendInt(out, int64(v<<(64-8*n.size))>>(64-8*n.size))
		default:
			out = appendHead(out, Uint, v)
		}
	}
	return out
}

// word is the first number, in the low bits.
func (n numbering) word(b []byte) uint64 {
	order := binary.ByteOrder(binary.BigEndian)
	if n.little {
		order = binary.LittleEndian
	}
	switch n.size {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(order.Uint16(b))
	case 4:
		return uint64(order.Uint32(b))
	}
	return order.Uint64(b)
}

// hostIsLittle says that numbers stand in our memory as in the typed arrays that we write.
var hostIsLittle = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// appendLittle appends numbers of a size, as they stand in memory.
func appendLittle(b, memory []byte, size int) []byte {
	at := len(b)
	b = append(b, memory...)
	if !hostIsLittle {
		turn(b[at:], size)
	}
	return b
}

// copyLittle is the way back.
func copyLittle(memory, b []byte, size int) {
	copy(memory, b)
	if !hostIsLittle {
		turn(memory, size)
	}
}

// turn turns the bytes of each number round.
func turn(b []byte, size int) {
	for ; len(b) > 0; b = b[size:] {
		for i, k := 0, size-1; i < k; i, k = i+1, k-1 {
			b[i], b[k] = b[k], b[i]
		}
	}
}

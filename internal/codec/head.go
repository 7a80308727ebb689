package codec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// Major is the major type of a CBOR item: the three high bits of its first byte.
type Major byte

const (
	Uint   Major = iota // argument: the value
	Nint                // argument: -1 minus the value
	Bytes               // argument: length in bytes
	Text                // argument: length in bytes
	Array               // argument: number of elements
	Map                 // argument: number of pairs
	Tag                 // argument: the tag's number; one item follows
	Simple              // false, true, null, floating-point numbers, and the break that ends items of indefinite length
)

func (m Major) String() string {
	return [...]string{"integer", "negative integer", "byte string", "string", "array", "map", "tag", "simple value"}[m&7]
}

const (
	falseItem   = 0xf4
	trueItem    = 0xf5
	float32Head = 0xfa
	float64Head = 0xfb
	timeTag     = 0xc0
	shortTag    = 0xd8 // one with a number in the next byte
	longTag     = 0xd9 // and above: one with a number beyond 255
	null        = 0xf6
	undefined   = 0xf7
	indefinite  = 31
	breakMarker = 0xff
)

// A Head is what stands before every CBOR item's content: its type and one number.
type Head struct {
	Major      Major
	Arg        uint64
	Indefinite bool // of indefinite length (Bytes, Text, Array, Map), or the break itself (Simple); Arg is then 0
	Size       int  // bytes of the head
}

// IsNull reports whether b begins with null or undefined.
func IsNull(b []byte) bool {
	return len(b) > 0 && (b[0] == null || b[0] == undefined)
}

// ReadHead reads the head that b begins with. It says nothing about the content.
func ReadHead(b []byte) (Head, error) {
	if len(b) == 0 {
		return Head{}, io.ErrUnexpectedEOF
	}
	h := Head{Major: Major(b[0] >> 5), Arg: uint64(b[0] & 31), Size: 1}
	switch {
	case h.Arg < 24:
		return h, nil
	case h.Arg <= 27:
		n := 1 << (h.Arg - 24)
		if len(b) <= n {
			return Head{}, io.ErrUnexpectedEOF
		}
		switch n {
		case 1:
			h.Arg = uint64(b[1])
		case 2:
			h.Arg = uint64(binary.BigEndian.Uint16(b[1:]))
		case 4:
			h.Arg = uint64(binary.BigEndian.Uint32(b[1:]))
		case 8:
			h.Arg = binary.BigEndian.Uint64(b[1:])
		}
		h.Size += n
		return h, nil
	case h.Arg == indefinite && h.Major != Uint && h.Major != Nint && h.Major != Tag:
		h.Arg, h.Indefinite = 0, true
		return h, nil
	}
	return Head{}, fmt.Errorf("codec: %#x does not begin any CBOR item", b[0])
}

// appendHead appends to b the shortest head of a definite item.
func appendHead(b []byte, m Major, arg uint64) []byte {
	if arg < 24 {
		return append(b, byte(m)<<5|byte(arg))
	}
	return appendLongHead(b, m, arg)
}

func appendLongHead(b []byte, m Major, arg uint64) []byte {
	t := byte(m) << 5
	switch {
	case arg <= 0xff:
		return append(b, t|24, byte(arg))
	case arg <= 0xffff:
		return append(b, t|25, byte(arg>>8), byte(arg))
	case arg <= 0xffffffff:
		return binary.BigEndian.AppendUint32(append(b, t|26), uint32(arg))
	}
	return binary.BigEndian.AppendUint64(append(b, t|27), arg)
}

func appendInt(b []byte, n int64) []byte {
	if n >= 0 {
		return appendHead(b, Uint, uint64(n))
	}
	return appendHead(b, Nint, uint64(-1-n))
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, trueItem)
	}
	return append(b, falseItem)
}

// readArg reads the head of a definite item of type m.
func readArg(b []byte, m Major) (arg uint64, rest []byte, ok bool) {
	if len(b) == 0 || Major(b[0]>>5) != m {
		return 0, b, false
	}
	if arg = uint64(b[0] & 31); arg < 24 {
		return arg, b[1:], true
	}
	return readLongArg(b)
}

func readLongArg(b []byte) (arg uint64, rest []byte, ok bool) {
	h, err := ReadHead(b)
	if err != nil || h.Indefinite {
		return 0, b, false
	}
	return h.Arg, b[h.Size:], true
}

// readInt reads an integer that an int64 can hold.
func readInt(b []byte) (n int64, rest []byte, ok bool) {
	if len(b) == 0 {
		return 0, b, false
	}
	if c := b[0]; c < 24 {
		return int64(c), b[1:], true
	}
	m := Major(b[0] >> 5)
	arg, rest, ok := readArg(b, m)
	if !ok || m > Nint || arg > math.MaxInt64 {
		return 0, b, false
	}
	if m == Nint {
		return -1 - int64(arg), rest, true
	}
	return int64(arg), rest, true
}

// readString reads a definite string of type m.
func readString(b []byte, m Major) (s, rest []byte, ok bool) {
	n, rest, ok := readArg(b, m)
	if !ok || n > uint64(len(rest)) {
		return nil, b, false
	}
	return rest[:n], rest[n:], true
}

// WriteHead appends to buf the shortest head of a definite item.
func WriteHead(buf *bytes.Buffer, m Major, arg uint64) {
	if arg < 24 {
		buf.WriteByte(byte(m)<<5 | byte(arg))
		return
	}
	buf.Write(appendLongHead(buf.AvailableBuffer(), m, arg))
}

// WriteNull appends null to buf.
func WriteNull(buf *bytes.Buffer) {
	buf.WriteByte(null)
}

// WriteBool appends b to buf.
func WriteBool(buf *bytes.Buffer, b bool) {
	if b {
		buf.WriteByte(trueItem)
	} else {
		buf.WriteByte(falseItem)
	}
}

// WriteInt appends n to buf.
func WriteInt(buf *bytes.Buffer, n int64) {
	if n >= 0 {
		WriteHead(buf, Uint, uint64(n))
	} else {
		WriteHead(buf, Nint, uint64(-1-n))
	}
}

// WriteFloat32 appends f to buf, in its width and with its bits.
func WriteFloat32(buf *bytes.Buffer, f float32) {
	b := [5]byte{float32Head}
	binary.BigEndian.PutUint32(b[1:], math.Float32bits(f))
	buf.Write(b[:])
}

// WriteFloat64 appends f to buf, in its width and with its bits.
func WriteFloat64(buf *bytes.Buffer, f float64) {
	b := [9]byte{float64Head}
	binary.BigEndian.PutUint64(b[1:], math.Float64bits(f))
	buf.Write(b[:])
}

const (
	// The library's decoder takes time quadratic in the length of a run of tags and in the nesting of items of indefinite length: 10 s
	// for 64 kB of either. We write at most one tag on an item and never an indefinite length; other encoders stay far below these.
	maxTagRun     = 16
	maxIndefinite = 64
)

var (
	errTags       = &beyond{"tags on one CBOR item", maxTagRun}
	errIndefinite = &beyond{"CBOR items of indefinite length inside each other", maxIndefinite}
	errBreak      = errors.New("codec: a CBOR break outside an item of indefinite length")
)

// A beyond is an error that needs no call of fmt when the program begins.
type beyond struct {
	what string
	most int
}

func (e *beyond) Error() string { return fmt.Sprintf("codec: more than %d %s", e.most, e.what) }

// Skip returns what follows the first item of b. It is a plain loop, in constant space whatever the nesting, and so it checks neither
// the nesting's depth, nor the chunks of strings of indefinite length, nor that such a map has a value for every key: decoding does.
func Skip(b []byte) (rest []byte, err error) {
	rest, _, err = skip(b)
	return rest, err
}

// skip is Skip, and reports whether there are tags of typed arrays.
func skip(b []byte) (rest []byte, typed bool, err error) {
	var (
		left = uint64(1) // items to come before the innermost item of indefinite length may break, or before the end
		open []uint64    // left of what encloses each item of indefinite length
		tags int         // in a row
	)
	for left > 0 || len(open) > 0 {
		var h Head
		if len(b) > 0 && b[0]&31 < 24 { // nearly every head; the loop is to cost little beside decoding
			h = Head{Major: Major(b[0] >> 5), Arg: uint64(b[0] & 31)}
			b = b[1:]
		} else if h, err = ReadHead(b); err != nil {
			return b, typed, err
		} else {
			b = b[h.Size:]
		}
		if h.Major == Simple && h.Indefinite {
			if left > 0 || len(open) == 0 {
				return b, typed, errBreak
			}
			left = open[len(open)-1]
			open = open[:len(open)-1]
			continue
		}
		if left > 0 {
			left--
		}
		if h.Major != Tag {
			tags = 0
		}
		switch h.Major {
		case Bytes, Text:
			if h.Arg > uint64(len(b)) {
				return b, typed, io.ErrUnexpectedEOF
			}
			b = b[h.Arg:]
		case Array, Map:
			n := h.Arg
			if n > uint64(len(b)) { // an element is at least one byte, and twice this does not overflow
				return b, typed, io.ErrUnexpectedEOF
			}
			if h.Major == Map {
				n *= 2
			}
			left += n
		case Tag:
			if tags++; tags > maxTagRun {
				return b, typed, errTags
			}
			left++
			typed = typed || isTyped(h.Arg)
		}
		if h.Indefinite {
			if len(open) == maxIndefinite {
				return b, typed, errIndefinite
			}
			open = append(open, left)
			left = 0
		}
		if left > uint64(len(b)) {
			return b, typed, io.ErrUnexpectedEOF
		}
	}
	return b, typed, nil
}

package manager

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/go-multiproc/multiproc/internal/codec"
	"github.com/go-multiproc/multiproc/internal/store"
)

// The protocol's own items are few: integers, byte strings, strings, arrays, true, false, null. They are written and read
// here directly, without reflection: a request is read in well under a microsecond. What users store is CBOR too, but
// travels inside byte strings and is of no concern to the protocol.

const (
	itemFalse = 0xf4
	itemTrue  = 0xf5
	itemNull  = 0xf6
)

func appendHead(b []byte, m codec.Major, arg uint64) []byte {
	t := byte(m) << 5
	switch {
	case arg < 24:
		return append(b, t|byte(arg))
	case arg <= math.MaxUint8:
		return append(b, t|24, byte(arg))
	case arg <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, t|25), uint16(arg))
	case arg <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, t|26), uint32(arg))
	}
	return binary.BigEndian.AppendUint64(append(b, t|27), arg)
}

func appendUint(b []byte, n uint64) []byte { return appendHead(b, codec.Uint, n) }

func appendInt(b []byte, n int64) []byte {
	if n < 0 {
		return appendHead(b, codec.Nint, uint64(^n))
	}
	return appendHead(b, codec.Uint, uint64(n))
}

func appendBytes[T ~string | ~[]byte](b []byte, s T) []byte {
	return append(appendHead(b, codec.Bytes, uint64(len(s))), s...)
}

func appendText(b []byte, s string) []byte {
	return append(appendHead(b, codec.Text, uint64(len(s))), s...)
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, itemTrue)
	}
	return append(b, itemFalse)
}

// appendValue appends a value: a byte string with the user's encoding, or an array of that and the ids of the
// objects that it mentions.
func appendValue[T ~string | ~[]byte, R ~uint64](b []byte, data T, refs []R) []byte {
	if len(refs) == 0 {
		return appendBytes(b, data)
	}
	b = appendHead(b, codec.Array, 2)
	b = appendBytes(b, data)
	b = appendHead(b, codec.Array, uint64(len(refs)))
	for _, r := range refs {
		b = appendUint(b, uint64(r))
	}
	return b
}

// valueSize is how many bytes appendValue appends at most, and a few for a key's head.
func valueSize(v store.Value) int {
	n := len(v.Data) + 20
	for _, id := range v.Refs {
		n += headSize(int(id))
	}
	return n
}

// appendLongArray appends the head of an array whose length setLongArray fills in.
func appendLongArray(b []byte) []byte { return append(b, byte(codec.Array)<<5|26, 0, 0, 0, 0) }

func setLongArray(b []byte, at, n int) { binary.BigEndian.PutUint32(b[at+1:], uint32(n)) }

// errItems is in the error of a message that is not what the protocol says.
var errItems = errors.New("malformed message")

// An itemReader takes a message apart. After the first error it returns zeros and keeps the error.
type itemReader struct {
	b   []byte
	err error
}

func (r *itemReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: "+format, append([]any{errItems}, args...)...)
	}
	r.b = nil
}

// head reads a head of that type.
func (r *itemReader) head(m codec.Major) uint64 {
	if len(r.b) > 0 && r.b[0] < byte(m)<<5|24 && r.b[0] >= byte(m)<<5 { // the usual case, at once
		n := uint64(r.b[0] & 31)
		r.b = r.b[1:]
		return n
	}
	h, err := codec.ReadHead(r.b)
	switch {
	case err != nil:
		r.fail("%w", err)
	case h.Major != m || h.Indefinite:
		r.fail("a %v where a %v must stand", h.Major, m)
	default:
		r.b = r.b[h.Size:]
		return h.Arg
	}
	return 0
}

func (r *itemReader) uint() uint64 { return r.head(codec.Uint) }

func (r *itemReader) int() int64 {
	if len(r.b) > 0 && codec.Major(r.b[0]>>5) == codec.Nint {
		n := r.head(codec.Nint)
		if n > math.MaxInt64 {
			r.fail("-1 - %d does not fit in 64 bits", n)
			return 0
		}
		return ^int64(n)
	}
	n := r.head(codec.Uint)
	if n > math.MaxInt64 {
		r.fail("%d does not fit in 63 bits", n)
		return 0
	}
	return int64(n)
}

func (r *itemReader) string(m codec.Major) []byte {
	n := r.head(m)
	if n > uint64(len(r.b)) {
		r.fail("a %v of %d bytes, of which %d are there", m, n, len(r.b))
		return nil
	}
	s := r.b[:n:n]
	r.b = r.b[n:]
	return s
}

// bytes returns a byte string that is part of the message's memory.
func (r *itemReader) bytes() []byte { return r.string(codec.Bytes) }

func (r *itemReader) text() string { return string(r.string(codec.Text)) }

func (r *itemReader) bool() bool {
	if len(r.b) == 0 || r.b[0] != itemFalse && r.b[0] != itemTrue {
		r.fail("neither true nor false")
		return false
	}
	v := r.b[0] == itemTrue
	r.b = r.b[1:]
	return v
}

// null takes a null, if one stands there.
func (r *itemReader) null() bool {
	if len(r.b) == 0 || r.b[0] != itemNull {
		return false
	}
	r.b = r.b[1:]
	return true
}

// array returns the number of items that follow. There are never more than bytes, so memory for them may be taken.
func (r *itemReader) array() int {
	n := r.head(codec.Array)
	if n > uint64(len(r.b)) {
		r.fail("an array of %d items in %d bytes", n, len(r.b))
		return 0
	}
	return int(n)
}

// value returns a value; data is part of the message's memory.
func (r *itemReader) value() (data []byte, refs []store.ID) {
	if len(r.b) == 0 || codec.Major(r.b[0]>>5) != codec.Array {
		return r.bytes(), nil
	}
	if n := r.array(); n != 2 {
		r.fail("a value of %d items", n)
		return nil, nil
	}
	data = r.bytes()
	refs = make([]store.ID, r.array())
	for i := range refs {
		refs[i] = store.ID(r.uint())
	}
	return data, refs
}

// end makes sure that nothing follows.
func (r *itemReader) end() {
	if len(r.b) > 0 {
		r.fail("%d bytes too many", len(r.b))
	}
}

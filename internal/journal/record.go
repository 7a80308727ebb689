package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// recordHead is the length of a record's length.
const recordHead = 4

// MaxRecord is how many bytes may be admitted for a record. What its length has room for is a little more, because a demand is not always exact.
const MaxRecord = 3 << 30

// A Writer writes one record, from Begin to End. The methods of a nil Writer do nothing, so that callers
// without a journal need not ask. A zero Writer gathers what is to become one, with [Writer.Raw].
type Writer struct {
	b     []byte
	start int // of the record's length in b
	owner interface{ ended() }
}

// open begins a record behind b.
func (w *Writer) open(b []byte) {
	w.start = len(b)
	w.b = append(b, 0, 0, 0, 0)
}

// End completes the record.
func (w *Writer) End() {
	if w == nil {
		return
	}
	binary.BigEndian.PutUint32(w.b[w.start:], uint32(len(w.b)-w.start-recordHead))
	w.owner.ended()
}

// Raw writes what another Writer has gathered.
func (w *Writer) Raw(from *Writer) {
	if w != nil {
		w.b = append(w.b, from.b...)
	}
}

// Reset empties a Writer that gathers.
func (w *Writer) Reset() {
	w.b = w.b[:0]
	if cap(w.b) > keepSize {
		w.b = nil
	}
}

// Size is the length of the record so far.
func (w *Writer) Size() int {
	if w == nil {
		return 0
	}
	if w.owner == nil {
		return len(w.b)
	}
	return len(w.b) - w.start - recordHead
}

// Uint writes a number.
func (w *Writer) Uint(n uint64) {
	if w != nil {
		w.b = binary.AppendUvarint(w.b, n)
	}
}

// Int writes a number that may be negative.
func (w *Writer) Int(n int64) {
	if w != nil {
		w.b = binary.AppendVarint(w.b, n)
	}
}

// Text writes a string.
func (w *Writer) Text(s string) {
	if w != nil {
		w.b = append(binary.AppendUvarint(w.b, uint64(len(s))), s...)
	}
}

// Bytes writes what Text does.
func (w *Writer) Bytes(b []byte) {
	if w != nil {
		w.b = append(binary.AppendUvarint(w.b, uint64(len(b))), b...)
	}
}

// ErrRecord is in the error of reading a record that is not what its reader expects.
var ErrRecord = errors.New("journal: malformed record")

// A Reader reads one record. After the first error it returns zeros and keeps the error.
type Reader struct {
	b   []byte
	err error
}

// NewReader returns a reader of one record. It keeps b.
func NewReader(b []byte) *Reader { return &Reader{b: b} }

// Uint reads what Writer.Uint wrote.
func (r *Reader) Uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail("a number")
		return 0
	}
	r.b = r.b[n:]
	return v
}

// Int reads what Writer.Int wrote.
func (r *Reader) Int() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail("a number")
		return 0
	}
	r.b = r.b[n:]
	return v
}

// Bytes reads what Writer.Bytes or Text wrote. It is part of the record's memory, which is used again afterwards.
func (r *Reader) Bytes() []byte {
	n := r.Uint()
	if n > uint64(len(r.b)) {
		r.fail("a string")
		return nil
	}
	s := r.b[:n:n]
	r.b = r.b[n:]
	return s
}

// Text reads a string into memory of its own.
func (r *Reader) Text() string { return string(r.Bytes()) }

// Count reads a number of things that follow, each of at least one byte. So memory may be taken for them.
func (r *Reader) Count() int {
	n := r.Uint()
	if n > uint64(len(r.b)) {
		r.fail("a number of things")
		return 0
	}
	return int(n)
}

// More reports whether the record goes on.
func (r *Reader) More() bool { return r.err == nil && len(r.b) > 0 }

// Rest returns what was not read yet, which is part of the record's memory.
func (r *Reader) Rest() []byte {
	b := r.b
	r.b = nil
	return b
}

// Len is the number of bytes that were not read yet.
func (r *Reader) Len() int { return len(r.b) }

// Skip passes over the rest.
func (r *Reader) Skip() { r.b = nil }

// Err returns the first error.
func (r *Reader) Err() error { return r.err }

// End makes sure that nothing follows, and returns the first error.
func (r *Reader) End() error {
	if r.err == nil && len(r.b) > 0 {
		r.err = fmt.Errorf("%w: %d bytes too many", ErrRecord, len(r.b))
	}
	return r.err
}

// Fail makes the record malformed: something else stands where what should.
func (r *Reader) Fail(what string) { r.fail(what) }

func (r *Reader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s should stand where it does not", ErrRecord, what)
	}
	r.b = nil
}

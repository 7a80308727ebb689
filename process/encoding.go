package process

import (
	"encoding/binary"
	"io"
)

// The messages of this package are so few and so small that they are written by hand: the codec takes a tenth of a
// millisecond to look at a type for the first time, and to a child every time is the first.
//
// Numbers are varints, texts have their length before them.

// An encoder appends values to a message.
type encoder []byte

func (e *encoder) number(n int)      { *e = binary.AppendVarint(*e, int64(n)) }
func (e *encoder) unsigned(n uint64) { *e = binary.AppendUvarint(*e, n) }

func (e *encoder) text(s string) {
	e.unsigned(uint64(len(s)))
	*e = append(*e, s...)
}

func (e *encoder) flag(b bool) {
	if b {
		*e = append(*e, 1)
	} else {
		*e = append(*e, 0)
	}
}

// A decoder takes values off a message. After the first that is not there or makes no sense, all are zero and err is set.
type decoder struct {
	rest []byte
	err  error
}

func (d *decoder) fail() {
	d.rest, d.err = nil, io.ErrUnexpectedEOF
}

func (d *decoder) number() int {
	n, size := binary.Varint(d.rest)
	if size <= 0 || int64(int(n)) != n {
		d.fail()
		return 0
	}
	d.rest = d.rest[size:]
	return int(n)
}

func (d *decoder) unsigned() uint64 {
	n, size := binary.Uvarint(d.rest)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *decoder) text() string {
	n := d.unsigned()
	if n > uint64(len(d.rest)) {
		d.fail()
		return ""
	}
	s := string(d.rest[:n])
	d.rest = d.rest[n:]
	return s
}

func (d *decoder) flag() bool {
	if len(d.rest) == 0 || d.rest[0] > 1 {
		d.fail()
		return false
	}
	b := d.rest[0] == 1
	d.rest = d.rest[1:]
	return b
}

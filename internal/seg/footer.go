package seg

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
)

// A footer is the last footerSize bytes of a segment's file. It says what the
// file is; everything in it but the token counter is fixed at creation. Numbers
// are little-endian. Version 2:
//
//	offset size
//	     0    8  magic
//	     8    4  version
//	    12    4  FNV-1a of bytes 0 to 255, taken with this field zero
//	    16    8  size of the file, a multiple of the page size
//	    24    8  size of the data, which starts at offset 0
//	    32    8  offset of the meta area, a multiple of 64, behind the data
//	    40    8  size of the meta area
//	    48   16  identity: random, the same in every process
//	    64   16  kind of object, zero-padded
//	    80    8  number of elements
//	    88    8  time of creation, nanoseconds since 1970
//	    96    8  process id of the creator, for display only
//	   104    8  length of the type text
//	   112   16  FNV-1a of the type text, big-endian
//	   128  128  the type text, zero-padded, cut when it is longer
//	   256    8  token counter: the last token given out (its own cache line)
//	   264  248  zero
type footer struct {
	fileSize, dataSize, metaOff, metaSize int64
	id                                    ID
	kind                                  string
	count                                 int64
	created                               int64
	pid                                   int64
	typ                                   string // cut at 128 bytes
	typLen                                int64
	typHash                               [16]byte
}

const (
	footerSize   = 512
	fixedSize    = 256 // what the checksum covers
	tokenOffset  = 256
	typTextSize  = 128
	kindSize     = 16
	version      = 2
	metaAlign    = 64
	minPage      = 4096    // the smallest page size; every other is a multiple of it
	maxSegment   = 1 << 46 // what amd64's and arm64's address spaces can hold
	footerMagic  = "\x89MPSHM\r\n"
	cacheLine    = 64
	versionField = 8
	sumField     = 12
)

// ID is the random identity of a segment.
type ID [16]byte

// Both sums are there for what happens by accident. Package hash/fnv asks nothing of a program's beginning, where hash/crc32 makes tables and crypto/sha256 brings a
// cryptographic module that initialises itself: a fifth of the package initialisation of a small program, and every child pays for it, also one
// that never sees a segment.

func checksum(b []byte) uint32 {
	h := fnv.New32a()
	h.Write(b)
	return h.Sum32()
}

func typeHash(typ string) (sum [16]byte) {
	h := fnv.New128a()
	h.Write([]byte(typ))
	h.Sum(sum[:0])
	return sum
}

// encode makes the fixed part of the footer.
func (f *footer) encode() []byte {
	b := make([]byte, fixedSize)
	copy(b, footerMagic)
	le := binary.LittleEndian
	le.PutUint32(b[versionField:], version)
	for i, v := range []int64{f.fileSize, f.dataSize, f.metaOff, f.metaSize} {
		le.PutUint64(b[16+8*i:], uint64(v))
	}
	copy(b[48:64], f.id[:])
	copy(b[64:80], f.kind)
	le.PutUint64(b[80:], uint64(f.count))
	le.PutUint64(b[88:], uint64(f.created))
	le.PutUint64(b[96:], uint64(f.pid))
	le.PutUint64(b[104:], uint64(f.typLen))
	copy(b[112:128], f.typHash[:])
	copy(b[128:], f.typ)
	le.PutUint32(b[sumField:], checksum(b))
	return b
}

// parseFooter reads the footer of a file of the given size and checks that all
// it says can be true. b is the last footerSize bytes of the file.
func parseFooter(b []byte, fileSize int64) (*footer, error) {
	if len(b) != footerSize || string(b[:len(footerMagic)]) != footerMagic {
		return nil, fmt.Errorf("%w: no segment footer at its end: made by another program, or cut short", ErrFormat)
	}
	le := binary.LittleEndian
	if v := le.Uint32(b[versionField:]); v != version {
		return nil, fmt.Errorf("%w: its format is version %d, this program knows version %d: use the same release of the library on both sides", ErrFormat, v, version)
	}
	fixed := bytes.Clone(b[:fixedSize])
	le.PutUint32(fixed[sumField:], 0)
	if checksum(fixed) != le.Uint32(b[sumField:]) {
		return nil, fmt.Errorf("%w: its footer is damaged (wrong checksum)", ErrFormat)
	}
	at := func(off int) int64 { return int64(le.Uint64(fixed[off:])) }
	f := &footer{
		fileSize: at(16), dataSize: at(24), metaOff: at(32), metaSize: at(40),
		id:    ID(fixed[48:64]),
		kind:  string(bytes.TrimRight(fixed[64:80], "\x00")),
		count: at(80), created: at(88), pid: at(96), typLen: at(104),
		typHash: [16]byte(fixed[112:128]),
		typ:     string(bytes.TrimRight(fixed[128:], "\x00")),
	}
	switch {
	case f.fileSize != fileSize:
		return nil, fmt.Errorf("%w: it has %d bytes and was made with %d: somebody resized it", ErrFormat, fileSize, f.fileSize)
	case f.fileSize%minPage != 0, f.fileSize > maxSegment, f.dataSize < 0, f.metaSize < 0, f.metaOff < f.dataSize,
		f.metaOff%metaAlign != 0, f.metaOff > f.fileSize-footerSize,
		f.metaSize > f.fileSize-footerSize-f.metaOff, f.count < 0, f.typLen < 0:
		return nil, fmt.Errorf("%w: the sizes in its footer contradict each other", ErrFormat)
	}
	return f, nil
}

// check says whether the segment is the kind of object, with elements of the
// type, that the caller wants. An empty kind takes every one.
func (f *footer) check(kind, typ string) error {
	if kind != "" && f.kind != kind {
		return fmt.Errorf("%w: it is a %s, not a %s", ErrType, f.what(), kind)
	}
	if kind != "" && f.typHash != typeHash(typ) {
		return fmt.Errorf("%w: its element type is %s, not %s", ErrType, f.typeText(), typ)
	}
	return nil
}

func (f *footer) what() string {
	if f.typLen == 0 {
		return f.kind
	}
	return f.kind + " of " + f.typeText()
}

func (f *footer) typeText() string {
	if f.typLen > int64(len(f.typ)) {
		return f.typ + "…"
	}
	return f.typ
}

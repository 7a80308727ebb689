package pool

import (
	"encoding/binary"
	"fmt"

	"github.com/go-multiproc/multiproc/internal/mem"
)

// A ring carries records from one process to another: one writer, one reader, and two positions that only grow. A record becomes visible by the one
// store to tail that follows it, so that a writer that is killed leaves it or nothing, and what was visible can still be read when the writer is gone. That is
// why results travel here and not over a socket, where they would have to be collected first to be worth a system call: a worker that is
// killed loses the task that it was running, and none that it had finished.
//
//	record   length uint32, tag uint32, length bytes, padding to a multiple of 8
//
// A record does not wrap: where it does not fit before the end of the memory, a record tagSkip fills that up.
type ring struct {
	head, tail *mem.Uint64 // bytes taken, bytes put
	buf        []byte      // a power of two

	at uint64 // the reader's: bytes read, of which the writer does not know yet
}

const (
	recordHeader = 8
	tagSkip      = 0
)

func padded(n int) uint64 { return uint64(n+7) &^ 7 }

// reserve returns memory for a record of n bytes, nil if there is no room now. A record takes a quarter of the ring at most.
func (r *ring) reserve(n int) []byte {
	size := recordHeader + padded(n)
	tail, head, length := r.tail.Load(), r.head.Load(), uint64(len(r.buf))
	at := tail & (length - 1)
	skip := uint64(0)
	if at+size > length {
		skip = length - at
	}
	if tail-head+skip+size > length {
		return nil
	}
	if skip > 0 {
		binary.LittleEndian.PutUint32(r.buf[at:], uint32(skip-recordHeader))
		binary.LittleEndian.PutUint32(r.buf[at+4:], tagSkip)
		r.tail.Store(tail + skip)
		at = 0
	}
	return r.buf[at+recordHeader:][:n:n]
}

// fits reports whether reserve(n) would return memory, with room left for small records behind it.
func (r *ring) fits(n int) bool {
	const spare = 64
	size := recordHeader + padded(n)
	tail, head, length := r.tail.Load(), r.head.Load(), uint64(len(r.buf))
	if at := tail & (length - 1); at+size > length {
		size += length - at
	}
	return tail-head+size+spare <= length
}

// commit makes the record visible for which the last call of reserve returned memory for n bytes.
func (r *ring) commit(tag uint32, n int) {
	tail := r.tail.Load()
	at := tail & uint64(len(r.buf)-1)
	binary.LittleEndian.PutUint32(r.buf[at:], uint32(n))
	binary.LittleEndian.PutUint32(r.buf[at+4:], tag)
	r.tail.Store(tail + recordHeader + padded(n))
}

// ready reports whether next would find a record.
func (r *ring) ready() bool { return r.tail.Load() != r.at }

// next returns the next record, tag 0 if there is none. Its bytes are valid until release. An error means that what stands in the memory
// is no record.
func (r *ring) next() (tag uint32, b []byte, err error) {
	length := uint64(len(r.buf))
	for {
		tail := r.tail.Load()
		if tail == r.at {
			return 0, nil, nil
		}
		at := r.at & (length - 1)
		there := tail - r.at
		n := binary.LittleEndian.Uint32(r.buf[at:])
		tag = binary.LittleEndian.Uint32(r.buf[at+4:])
		size := recordHeader + padded(int(n))
		if there > length || size > there || at+size > length {
			return 0, nil, fmt.Errorf("the memory that is shared with a worker is damaged: a record of %d bytes where %d are", n, there)
		}
		r.at += size
		if tag != tagSkip {
			return tag, r.buf[at+recordHeader:][:n:n], nil
		}
	}
}

// release gives the memory of all records that next returned back to the writer.
func (r *ring) release() {
	if r.head.Load() != r.at {
		r.head.Store(r.at)
	}
}

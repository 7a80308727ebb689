package pool

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/go-multiproc/multiproc/internal/mem"
)

func newRing(size int) *ring {
	return &ring{head: new(mem.Uint64), tail: new(mem.Uint64), buf: make([]byte, size)}
}

// A ring holds what a list would, in the same order.
func TestRingAgainstAList(t *testing.T) {
	w := newRing(1024)
	r := &ring{head: w.head, tail: w.tail, buf: w.buf}
	random := rand.New(rand.NewPCG(1, 2))
	var list [][]byte
	full, taken := 0, 0
	for i := range 100_000 {
		if random.IntN(2) == 0 {
			n := random.IntN(257)
			fits := w.fits(n)
			b := w.reserve(n)
			if b == nil {
				if fits {
					t.Fatalf("step %d: %d bytes fit, and were not reserved", i, n)
				}
				full++
				continue
			}
			for k := range b {
				b[k] = byte(random.Uint32())
			}
			list = append(list, bytes.Clone(b))
			w.commit(uint32(1+n%3), n)
			continue
		}
		tag, b, err := r.next()
		if err != nil {
			t.Fatal(err)
		}
		if tag == 0 {
			if len(list) > 0 {
				t.Fatalf("step %d: empty, but %d records were put", i, len(list))
			}
			r.release()
			continue
		}
		if !bytes.Equal(b, list[0]) || tag != uint32(1+len(b)%3) {
			t.Fatalf("step %d: another record than was put", i)
		}
		list = list[1:]
		taken++
		if random.IntN(3) == 0 {
			r.release()
		}
	}
	if full == 0 || taken < 1000 {
		t.Errorf("%d times full, %d records", full, taken)
	}
}

// Whatever stands in the memory, reading it is a record inside it, or an error, or the end.
func FuzzRing(f *testing.F) {
	f.Add(uint64(16), []byte{8, 0, 0, 0, 4, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Add(uint64(1<<63), binary.LittleEndian.AppendUint64(nil, 1<<40|9))
	f.Add(uint64(3), []byte{255, 255, 255, 255, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, tail uint64, content []byte) {
		r := newRing(256)
		copy(r.buf, content)
		r.tail.Store(tail)
		for range 100 {
			tag, b, err := r.next()
			if err != nil || tag == 0 {
				return
			}
			if len(b) > len(r.buf) {
				t.Fatalf("a record of %d bytes", len(b))
			}
			var task taskHeader
			if task.get(b) && task.slot >= slots {
				t.Errorf("slot %d", task.slot)
			}
			var result resultHeader
			if result.get(b) && result.slot >= slots {
				t.Errorf("slot %d", result.slot)
			}
			r.release()
		}
	})
}

// What a worker says of an error is not believed either.
func FuzzFailure(f *testing.F) {
	f.Add((&failure{Err: "e", Is: []string{"1 EOF"}, Errno: []byte{2}}).encode())
	f.Add([]byte{0xa0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if e := taskError("t", b); e == nil || e.Error() == "" {
			t.Error("no error")
		}
	})
}

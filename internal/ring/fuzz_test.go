package ring_test

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/go-multiproc/multiproc/internal/mem"
	"github.com/go-multiproc/multiproc/internal/ring"
)

const (
	fuzzWords = 64
	fuzzPage  = 4096
	fuzzOver  = 4 * fuzzPage
	slots     = 3
)

// A bench is a ring in this process's memory.
type bench struct {
	r       *ring.Ring
	control []mem.Uint64
	words   []mem.Uint64
	data    []byte
}

func newBench(max int) *bench {
	b := &bench{control: make([]mem.Uint64, ring.ControlSize/8)}
	b.words, b.data = wordsAndBytes(fuzzWords)
	b.r = ring.New(ring.Geometry{Bytes: 8 * fuzzWords, Overflow: fuzzOver, Page: fuzzPage, MaxDeliveries: max}, ring.Memory{
		Word: func(off int) *mem.Uint64 { return &b.control[off/8] },
		Ring: b.words, Data: b.data, Slots: slots, Over: make([]byte, fuzzOver),
		Allocate: func(off, n int) error {
			if off < 0 || n < 0 || off+n > fuzzOver {
				return errors.New("outside")
			}
			return nil
		},
		Free: func(off, n int) {
			if off < 0 || n < 0 || off+n > fuzzOver {
				panic("outside")
			}
		},
		Token: 7, Alive: func(token uint64) bool { return token%2 == 1 },
	})
	return b
}

// FuzzHostile lets every operation loose on a ring whose words are anything, and are changed while
// it works. Whatever they return, they must return, and must not leave the memory.
func FuzzHostile(f *testing.F) {
	f.Add([]byte{}, []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9})
	f.Add([]byte{64, 0, 0, 0, 0, 0, 0, 0, 0x81}, []byte{1, 1, 1, 3, 3, 5})
	f.Add(slices.Repeat([]byte{0xff}, 200), []byte{9, 8, 7, 6, 5, 4, 3, 2, 1, 0})
	f.Fuzz(func(t *testing.T, memory, ops []byte) {
		b := newBench(2)
		// What peers write to: the words of the control block, then the ring.
		offsets := []int{192, 200, 256, 448, 456, 464, 472, 480, 512, 1024, 1032, 1088, 1096}
		var targets []*mem.Uint64
		for _, off := range offsets {
			targets = append(targets, &b.control[off/8])
		}
		for i := range b.words {
			targets = append(targets, &b.words[i])
		}
		scribble := func(b []byte) (rest []byte) {
			if len(b) < 9 {
				return nil
			}
			targets[int(b[0])%len(targets)].Store(binary.LittleEndian.Uint64(b[1:]))
			return b[9:]
		}
		for len(memory) >= 9 && len(memory)%2 == 0 {
			memory = scribble(memory)
		}
		bury := func(payload []byte, _ int) error { _ = slices.Clone(payload); return nil }
		var leases, reservations []ring.Record
		for _, op := range ops {
			switch op % 12 {
			case 0, 1, 2:
				w := b.r.Writer()
				w.Add(make([]byte, []int{3, 200, 5000}[op%3]))
				w.Publish()
			case 3, 4:
				if b.r.Register() != nil {
					return
				}
				rd := b.r.Reader()
				for range 3 {
					o, err := rd.Next()
					if o != ring.Done || err != nil {
						break
					}
					_ = slices.Clone(b.r.Payload(rd.Message()))
					rd.Took()
				}
				rd.Publish()
				b.r.TaskDone()
			case 5:
				rd := b.r.Reader()
				if o, err := rd.Next(); o == ring.Done && err == nil {
					rec, _ := rd.Lease()
					_ = slices.Clone(b.r.Payload(&rec))
					leases = append(leases, rec)
				}
				rd.Publish()
			case 6:
				if n := len(leases); n > 0 {
					b.r.Ack(&leases[n-1])
					leases = leases[:n-1]
				}
			case 7:
				if n := len(leases); n > 0 {
					b.r.Nack(&leases[n-1], bury)
					leases = leases[:n-1]
				}
			case 8:
				b.r.Sweep(bury)
				b.r.SweepOverflow()
			case 9:
				w := b.r.Writer()
				if rec, o, err := w.Reserve(int(op)); o == ring.Done && err == nil {
					copy(b.r.Payload(&rec), "x")
					reservations = append(reservations, rec)
				}
				w.Publish()
			case 10:
				for i := range reservations {
					b.r.Commit(&reservations[i])
				}
				b.r.Unfinished(true)
				b.r.Len()
				b.r.Peek()
				b.r.RoomFor(int(op))
				b.r.WriteOff()
			case 11:
				rd := b.r.Reader()
				if o, err := rd.Next(); o == ring.Done && err == nil {
					rd.Drop()
				}
				rd.Publish()
			}
			memory = scribble(memory)
		}
	})
}

// FuzzGeometry reads control blocks that say anything.
func FuzzGeometry(f *testing.F) {
	good := make([]byte, 64)
	ring.Geometry{Bytes: 4096, Page: 4096}.Init(good)
	f.Add(good)
	f.Fuzz(func(t *testing.T, head []byte) {
		meta := make([]byte, ring.ControlSize)
		copy(meta, head)
		g, err := ring.ReadGeometry(meta)
		if err != nil {
			if !errors.Is(err, ring.ErrDamaged) {
				t.Error(err)
			}
			return
		}
		if g.Bytes < ring.MinBytes || g.Bytes > ring.MaxBytes || g.Overflow < 0 || g.Overflow%g.Page != 0 {
			t.Errorf("%+v", g)
		}
	})
}

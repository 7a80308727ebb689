package ring_test

import (
	"testing"

	"github.com/go-multiproc/multiproc/internal/ring"
)

// A producer that dies between taking a place in the overflow area and showing its message leaves a
// gap there. Who finds no room looks what is really in use.
func TestGapOfTheDeadInTheOverflowArea(t *testing.T) {
	b := newBench(0)
	large := make([]byte, 2*fuzzPage) // half of the area
	add := func() (ring.Outcome, ring.Writer) {
		w := b.r.Writer()
		o, err := w.Add(large)
		if err != nil {
			t.Fatal(err)
		}
		return o, w
	}
	put := func() ring.Outcome {
		o, w := add()
		w.Publish()
		return o
	}
	if o, _ := add(); o != ring.Done { // never published
		t.Fatal(o)
	}
	if o := put(); o != ring.Done {
		t.Fatal(o)
	}
	if o := put(); o != ring.Full {
		t.Fatal("there is room beside a gap and a message of half the area each: ", o)
	}
	if more, err := b.r.SweepOverflow(); !more || err != nil {
		t.Fatal(more, err)
	}
	if o := put(); o != ring.Done {
		t.Fatal("no room after a sweep: ", o)
	}
	if more, err := b.r.SweepOverflow(); more || err != nil {
		t.Error("a second sweep finds something: ", more, err)
	}
	if err := b.r.Register(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		rd := b.r.Reader()
		if o, err := rd.Next(); o != ring.Done || err != nil || rd.Message().Len() != len(large) {
			t.Fatal(o, err)
		}
		rd.Took()
		rd.Publish()
	}
	// A gap with nothing else beside it.
	for range 2 {
		add()
	}
	if o, _ := add(); o != ring.Full {
		t.Fatal(o)
	}
	if more, err := b.r.SweepOverflow(); !more || err != nil {
		t.Fatal(more, err)
	}
	if o := put(); o != ring.Done {
		t.Fatal(o)
	}
}

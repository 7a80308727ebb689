package cell_test

import (
	"encoding/binary"
	"math"
	"testing"
)

// Whatever a broken peer writes into a stripe, nobody reads or writes elsewhere,
// hangs, or panics.
func TestHostileStripe(t *testing.T) {
	const stripe = 128 // where the first one stands in the meta area
	tests := []struct {
		name       string
		lock       uint64
		seq, index uint64
	}{
		{"index behind the end", 0, 1, 3},
		{"huge index", 0, 1, math.MaxUint64},
		{"index whose offset overflows", 0, 1, math.MaxUint64 / 24},
		{"last number", 0, math.MaxUint64, 0},
		{"lock of nobody", 1 | 12345<<24, 3, 1},
		{"abandoned lock", 4, 1, 1},
		{"all bits", math.MaxUint64, math.MaxUint64, math.MaxUint64},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tb := newTable(t, 24, 3)
			for i := range 3 {
				tb.put(i, byte(i))
			}
			le := binary.LittleEndian
			meta := tb.h.Meta()
			// Every stripe alike: which one an element has does not matter here.
			for at := stripe; at+192 <= len(meta); at += 192 {
				le.PutUint64(meta[at:], tt.lock)
				le.PutUint64(meta[at+64:], tt.seq)
				le.PutUint64(meta[at+72:], tt.index)
			}
			for i := range 3 {
				tb.get(i) // may be anything
			}
			// The first time around, what the stripes claim is carried out first.
			for n := range 6 {
				tb.put(n%3, byte(10+n%3))
			}
			for i := range 3 {
				if b, err := tb.get(i); err != nil || b != byte(10+i) {
					t.Errorf("element %d is %d, %v", i, b, err)
				}
			}
		})
	}
}

package pool

import (
	"context"
	"encoding/binary"
	"slices"
	"testing"
)

var (
	addsOne = Register(func(_ context.Context, n int) (int, error) { return n + 1, nil })
	isLong  = Register(func(_ context.Context, s string) (bool, error) { return len(s) > 3, nil })
)

// The memory of arguments is written to as soon as it is released, so that must not be before they have been used. Those that were copied out of it do not hold it.
func TestArgumentsAreReadBeforeTheyAreReleased(t *testing.T) {
	ctx := &taskContext{parent: t.Context()}
	scratch := make([]byte, 8)
	released := false
	run := func(t *testing.T, data []byte, call func(ctx *taskContext, data []byte, fds []int, many bool, release func(), buf []byte) (*message, error)) []byte {
		released = false
		m, err := call(ctx, data, nil, true, func() { clear(data); released = true }, scratch)
		if err != nil {
			t.Fatal(err)
		}
		return m.data
	}
	t.Run("numbers", func(t *testing.T) {
		for _, in := range [][]int{{7}, {1, 2, 3}, make([]int, 5000)} {
			want := slices.Clone(in)
			for i := range want {
				want[i]++
			}
			if got := run(t, slices.Clone(memoryOf(in)), addsOne.call); !slices.Equal(got, memoryOf(want)) {
				t.Errorf("wrong results of %d", len(in))
			}
		}
	})
	t.Run("strings", func(t *testing.T) {
		in, err := isLong.in.encodeMany([]string{"long", "a", "longer"}, "in")
		if err != nil {
			t.Fatal(err)
		}
		got := make([]bool, 3)
		if err := isLong.out.decodeInto(got, run(t, in.data, isLong.call), nil); err != nil || !slices.Equal(got, []bool{true, false, true}) {
			t.Errorf("%v, %v", got, err)
		}
		if !released {
			t.Error("the memory was held")
		}
	})
}

// Whatever arrives as numbers, wherever it stands, is what it says, byte by byte, or refused.
func FuzzNumbers(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 2, 0, 0, 0}, uint8(0), uint8(2))
	f.Add([]byte{1, 0, 0, 0, 2, 0, 0}, uint8(0), uint8(2))
	f.Add([]byte{9, 1, 0, 0, 0, 2, 0, 0, 128}, uint8(1), uint8(2))
	f.Add([]byte{}, uint8(3), uint8(0))
	f.Fuzz(func(t *testing.T, memory []byte, at, n uint8) {
		// In memory of its own that is aligned, so that at says how the numbers stand.
		aligned := memoryOf(make([]uint64, len(memory)/8+1))
		data := aligned[:copy(aligned, memory)]
		data = data[min(int(at), len(data)):]
		var want []uint32
		for rest := data; len(rest) >= 4; rest = rest[4:] {
			want = append(want, binary.NativeEndian.Uint32(rest))
		}
		whole := len(data)%4 == 0
		numbers := formOf[uint32]()
		got, _, err := numbers.decodeMany(data, nil)
		if whole != (err == nil) || err == nil && !slices.Equal(got, want) {
			t.Fatalf("decodeMany of %d bytes: %v, %v, want %v", len(data), got, err, want)
		}
		into := make([]uint32, n)
		err = numbers.decodeInto(into, data, nil)
		if fits := whole && len(want) == int(n); fits != (err == nil) || fits && !slices.Equal(into, want) {
			t.Fatalf("decodeInto %d of %d bytes: %v, %v, want %v", n, len(data), into, err, want)
		}
	})
}

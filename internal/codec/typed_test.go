package codec_test

import (
	"bytes"
	"encoding/hex"
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/go-multiproc/multiproc/internal/codec"
)

type celsius float64

type readings struct {
	Name  string
	Temps []celsius
	Small []int8
	Rows  [][]int32
	More  *readings
	ByDay map[string][]float64
	Any   any
}

func count[T any](n int, f func(int) T) []T {
	s := make([]T, n)
	for i := range s {
		s[i] = f(i)
	}
	return s
}

// Slices of numbers travel as typed arrays, wherever a plan writes them, and arrive as they were.
func TestTypedArrays(t *testing.T) {
	float := func(i int) float64 { return float64(i) / 3 }
	in := readings{
		Name: "n", Temps: count(100, func(i int) celsius { return celsius(i) / 7 }), Small: count(9, func(i int) int8 { return int8(-i) }),
		Rows: [][]int32{count(8, func(i int) int32 { return math.MinInt32 + int32(i) }), {1, 2}, {}, nil},
		More: &readings{Temps: []celsius{}}, ByDay: map[string][]float64{"m": count(20, float)}, Any: count(10, float),
	}
	out := cross(t, in)
	if got, ok := out.Any.([]any); !ok || len(got) != 10 || got[9] != 3.0 {
		t.Errorf("in an any: %#v", out.Any)
	}
	in.Any, out.Any = nil, nil
	if !reflect.DeepEqual(in, out) {
		t.Errorf("%+v arrived as %+v", in, out)
	}
	b, err := codec.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b, []byte("\xd8\x56\x59\x03\x20")) { // 86, 800 bytes
		t.Errorf("no typed array in %x", b)
	}
}

// Every kind has its tag, and any two of them can be read into each other where the numbers fit.
func TestTypedKinds(t *testing.T) {
	const n = 8
	for _, c := range []struct {
		tag byte
		v   any
	}{
		{72, count(n, func(i int) int8 { return int8(i - 4) })}, {77, count(n, func(i int) int16 { return int16(i - 4) })},
		{78, count(n, func(i int) int32 { return int32(i - 4) })}, {79, count(n, func(i int) int64 { return int64(i - 4) })},
		{79, count(n, func(i int) int { return i - 4 })}, {69, count(n, func(i int) uint16 { return uint16(i) })},
		{70, count(n, func(i int) uint32 { return uint32(i) })}, {71, count(n, func(i int) uint64 { return uint64(i) })},
		{71, count(n, func(i int) uint { return uint(i) })}, {85, count(n, func(i int) float32 { return float32(i) })},
		{86, count(n, func(i int) float64 { return float64(i) })},
	} {
		b, err := codec.Marshal(c.v)
		if err != nil || b[0] != 0xd8 || b[1] != c.tag {
			t.Errorf("%T: %x, %v", c.v, b, err)
			continue
		}
		same := reflect.New(reflect.TypeOf(c.v))
		if err := codec.Unmarshal(b, same.Interface()); err != nil || !reflect.DeepEqual(same.Elem().Interface(), c.v) {
			t.Errorf("%T: %v, %v", c.v, same.Elem(), err)
		}
		signed := c.tag != 69 && c.tag != 70 && c.tag != 71 && c.tag < 80
		for _, p := range []any{new([]int16), new([]int64), new([]float64), new([n]int32), new([]any), new(any)} {
			if err := codec.Unmarshal(b, p); err != nil && c.tag < 80 {
				t.Errorf("%T into %T: %v", c.v, p, err)
			}
		}
		if err := codec.Unmarshal(b, new([]uint8)); err == nil && signed {
			t.Errorf("%T with numbers below zero was read into bytes", c.v)
		}
		for i := range b {
			codec.Unmarshal(b[:i], same.Interface()) // no panic
		}
		rest, err := codec.UnmarshalFirst(append(b, 1, 2), same.Interface())
		if err != nil || len(rest) != 2 {
			t.Errorf("%T: %d bytes left, %v", c.v, len(rest), err)
		}
	}
	long := count(n, func(i int) int64 { return math.MaxInt64 })
	b, _ := codec.Marshal(long)
	if err := codec.Unmarshal(b, new([]int32)); err == nil {
		t.Error("numbers of 64 bits were read into 32")
	}
}

// What others write: the other order of bytes, and bytes under their own tag. From the examples of the RFC's kinds, worked out by hand.
func TestTypedArraysOfOthers(t *testing.T) {
	for _, c := range []struct {
		name, item string
		want       []float64
	}{
		{"uint8", "d840430102ff", []float64{1, 2, 255}},
		{"uint8 clamped", "d84443010203", []float64{1, 2, 3}},
		{"uint16 be", "d8414401020304", []float64{0x102, 0x304}},
		{"uint32 be", "d84244000000ff", []float64{255}},
		{"uint64 be", "d8434800000000000000ff", []float64{255}},
		{"int16 be", "d84944ffff0001", []float64{-1, 1}},
		{"int32 be", "d84a44fffffffe", []float64{-2}},
		{"int64 be", "d84b48fffffffffffffffe", []float64{-2}},
		{"float32 be", "d851443fc00000", []float64{1.5}},
		{"float64 be", "d852483ff8000000000000", []float64{1.5}},
		{"float32 le", "d855440000c03f", []float64{1.5}},
		{"a long head", "d900555a000000040000c03f", []float64{1.5}},
		{"none", "d85640", []float64{}},
	} {
		b, err := hex.DecodeString(c.item)
		if err != nil {
			t.Fatal(err)
		}
		var got []float64
		if err := codec.Unmarshal(b, &got); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
		var nested struct{ A [][]float64 }
		if err := codec.Unmarshal(slices.Concat([]byte("\xa1\x61A\x82"), b, b), &nested); err != nil || len(nested.A) != 2 || !slices.Equal(nested.A[1], c.want) {
			t.Errorf("%s, in something: %v, %v", c.name, nested, err)
		}
	}
	for _, bad := range []string{"d84f430102ff", "d84f", "d8505000000000000000000000000000000000", "d84c40"} {
		b, _ := hex.DecodeString(bad)
		if err := codec.Unmarshal(b, new([]float64)); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}

func BenchmarkNumbers(b *testing.B) {
	numbers := count(100_000, func(i int) float64 { return float64(i) / 3 })
	item, _ := codec.Marshal(numbers)
	ordinary := codec.Expanded(item)
	for _, c := range []struct {
		name string
		item []byte
	}{{"typed", item}, {"ordinary", ordinary}} {
		b.Run("read/"+c.name, func(b *testing.B) {
			b.SetBytes(int64(8 * len(numbers)))
			for b.Loop() {
				var got []float64
				if err := codec.Unmarshal(c.item, &got); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("write", func(b *testing.B) {
		b.SetBytes(int64(8 * len(numbers)))
		for b.Loop() {
			codec.Marshal(numbers)
		}
	})
}

package main

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/go-multiproc/multiproc/array"
	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/value"
)

// A point is any struct of fixed size without pointers.
type point struct{ X, Y, Z float64 }

// shelf has one of everything. The comments are the type codes of Python's
// multiprocessing.Value and Array.
type shelf struct {
	Char      *value.Value[byte]    // c
	WideChar  *value.Value[rune]    // u
	Int8      *value.Value[int8]    // b
	Uint8     *value.Value[uint8]   // B
	Int16     *value.Value[int16]   // h
	Uint16    *value.Value[uint16]  // H
	Int32     *value.Value[int32]   // i
	Uint32    *value.Value[uint32]  // I
	Int       *value.Value[int]     // l
	Uint      *value.Value[uint]    // L
	Int64     *value.Value[int64]   // q
	Uint64    *value.Value[uint64]  // Q
	Float32   *value.Value[float32] // f
	Float64   *value.Value[float64] // d
	Bool      *value.Value[bool]
	Struct    *value.Value[point]
	Ints      *array.Array[int32]
	Structs   *array.Array[point]
	WideChars *array.Array[rune]
}

// fillShelf runs in the child and writes straight into the parent's memory.
var fillShelf = process.Register(func(_ context.Context, a shelf) error {
	a.Char.Store('a')
	a.WideChar.Store('超')
	a.Int8.Store(math.MinInt8)
	a.Uint8.Store(math.MaxUint8)
	a.Int16.Store(math.MinInt16)
	a.Uint16.Store(math.MaxUint16)
	a.Int32.Store(888)
	a.Uint32.Store(math.MaxUint32)
	a.Int.Store(math.MinInt)
	a.Uint.Store(math.MaxUint)
	a.Int64.Store(math.MaxInt64)
	a.Uint64.Store(math.MaxUint64)
	a.Float32.Store(math.MaxFloat32)
	a.Float64.Store(math.Pi)
	a.Bool.Store(true)
	a.Struct.Store(point{1, 2, 3})
	for i := range a.Ints.Len() {
		a.Ints.Store(i, int32(66+11*i))
	}
	a.Structs.Store(1, point{4, 5, 6})
	copy(a.WideChars.Slice(), []rune("超好"))
	return nil
})

// values lets a child set one value of every type.
func values(ctx context.Context, s *stage) error {
	var all maker
	a := shelf{
		Char: newValue[byte](&all), WideChar: newValue[rune](&all),
		Int8: newValue[int8](&all), Uint8: newValue[uint8](&all),
		Int16: newValue[int16](&all), Uint16: newValue[uint16](&all),
		Int32: newValue[int32](&all), Uint32: newValue[uint32](&all),
		Int: newValue[int](&all), Uint: newValue[uint](&all),
		Int64: newValue[int64](&all), Uint64: newValue[uint64](&all),
		Float32: newValue[float32](&all), Float64: newValue[float64](&all),
		Bool: newValue[bool](&all), Struct: newValue[point](&all),
		Ints: newArray[int32](&all, 3), Structs: newArray[point](&all, 2), WideChars: newArray[rune](&all, 2),
	}
	defer all.closeAll()
	if all.err != nil {
		return all.err
	}

	p := process.New(fillShelf, a)
	if err := p.Start(); err != nil {
		return err
	}
	if err := p.Join(ctx); err != nil {
		return err
	}

	s.check(a.Int32.Load() == 888 && a.Char.Load() == 'a' && a.WideChar.Load() == '超',
		"an int %d, a char %c, a wide char %c", a.Int32.Load(), a.Char.Load(), a.WideChar.Load())
	s.check(a.Int8.Load() == math.MinInt8 && a.Uint8.Load() == math.MaxUint8 &&
		a.Int16.Load() == math.MinInt16 && a.Uint16.Load() == math.MaxUint16 && a.Uint32.Load() == math.MaxUint32 &&
		a.Int.Load() == math.MinInt && a.Uint.Load() == math.MaxUint &&
		a.Int64.Load() == math.MaxInt64 && a.Uint64.Load() == math.MaxUint64,
		"integers of every size hold their extremes: int8 %d … uint64 %d", a.Int8.Load(), a.Uint64.Load())
	s.check(a.Float32.Load() == math.MaxFloat32 && a.Float64.Load() == math.Pi && a.Bool.Load() && a.Struct.Load() == point{1, 2, 3},
		"floats %g and %.4f, a bool %t, a struct %v", a.Float32.Load(), a.Float64.Load(), a.Bool.Load(), a.Struct.Load())
	s.check(slices.Equal(a.Ints.Slice(), []int32{66, 77, 88}) && a.Structs.Load(1) == point{4, 5, 6} && string(a.WideChars.Slice()) == "超好",
		"arrays: %v, %v, %s", a.Ints.Slice(), fmt.Sprint(a.Structs.Slice()), string(a.WideChars.Slice()))
	return nil
}

// A maker makes many values and arrays and remembers the first error.
type maker struct {
	err    error
	closes []func() error
}

func newValue[T any](m *maker) *value.Value[T] {
	var zero T
	v, err := value.New(zero)
	m.made(err, func() error { return v.Close() })
	return v
}

func newArray[T any](m *maker, n int) *array.Array[T] {
	a, err := array.New[T](n)
	m.made(err, func() error { return a.Close() })
	return a
}

func (m *maker) made(err error, closes func() error) {
	switch {
	case err == nil:
		m.closes = append(m.closes, closes)
	case m.err == nil:
		m.err = err
	}
}

func (m *maker) closeAll() {
	for _, closes := range m.closes {
		closes()
	}
}

package array_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/go-multiproc/multiproc/array"
)

const benchLen = 1024 // elements, a power of two; what is measured is not the memory

var sink int64

func bench[T any](b *testing.B) *array.Array[T] {
	b.Helper()
	a, err := array.New[T](benchLen)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { a.Close() })
	b.ReportAllocs()
	return a
}

func BenchmarkLoad(b *testing.B) {
	b.Run("int64", func(b *testing.B) {
		a := bench[int64](b)
		i, n := 0, int64(0)
		for b.Loop() {
			n += a.Load(i)
			i = (i + 1) & (benchLen - 1)
		}
		sink = n
	})
	b.Run("int64 on the heap", func(b *testing.B) {
		a := make([]atomic.Int64, benchLen)
		i, n := 0, int64(0)
		for b.Loop() {
			n += a[i].Load()
			i = (i + 1) & (benchLen - 1)
		}
		sink = n
	})
	b.Run("int64 of Slice", func(b *testing.B) {
		s := bench[int64](b).Slice()
		i, n := 0, int64(0)
		for b.Loop() {
			n += s[i]
			i = (i + 1) & (benchLen - 1)
		}
		sink = n
	})
	b.Run("uint8", func(b *testing.B) {
		a := bench[uint8](b)
		i := 0
		for b.Loop() {
			sink += int64(a.Load(i))
			i = (i + 1) & (benchLen - 1)
		}
	})
	b.Run("struct of 24 bytes", func(b *testing.B) {
		a := bench[[3]float64](b)
		i := 0
		for b.Loop() {
			sink += int64(a.Load(i)[1])
			i = (i + 1) & (benchLen - 1)
		}
	})
}

func BenchmarkStore(b *testing.B) {
	b.Run("int64", func(b *testing.B) {
		a := bench[int64](b)
		i := 0
		for b.Loop() {
			a.Store(i, 1)
			i = (i + 1) & (benchLen - 1)
		}
	})
	b.Run("int64 on the heap", func(b *testing.B) {
		a := make([]atomic.Int64, benchLen)
		i := 0
		for b.Loop() {
			a[i].Store(1)
			i = (i + 1) & (benchLen - 1)
		}
	})
	b.Run("struct of 24 bytes", func(b *testing.B) {
		a := bench[[3]float64](b)
		i := 0
		for b.Loop() {
			a.Store(i, [3]float64{1})
			i = (i + 1) & (benchLen - 1)
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	b.Run("int64", func(b *testing.B) {
		a := bench[int64](b)
		i := 0
		for b.Loop() {
			array.Add(a, i, 1)
			i = (i + 1) & (benchLen - 1)
		}
	})
	b.Run("int64 on the heap", func(b *testing.B) {
		a := make([]atomic.Int64, benchLen)
		i := 0
		for b.Loop() {
			a[i].Add(1)
			i = (i + 1) & (benchLen - 1)
		}
	})
}

func BenchmarkWhole(b *testing.B) {
	ctx := context.Background()
	b.Run("Do", func(b *testing.B) {
		a := bench[int64](b)
		for b.Loop() {
			a.Do(ctx, func(s []int64) error { s[0]++; return nil })
		}
	})
	b.Run("Snapshot of int64", func(b *testing.B) {
		a := bench[int64](b)
		for b.Loop() {
			a.Snapshot(ctx)
		}
		b.SetBytes(8 * benchLen)
	})
	b.Run("Snapshot of structs", func(b *testing.B) {
		a := bench[[3]float64](b)
		for b.Loop() {
			a.Snapshot(ctx)
		}
		b.SetBytes(24 * benchLen)
	})
	b.Run("copy on the heap", func(b *testing.B) {
		s := make([]int64, benchLen)
		for b.Loop() {
			sink = append([]int64(nil), s...)[1]
		}
		b.SetBytes(8 * benchLen)
	})
	b.Run("All", func(b *testing.B) {
		a := bench[int64](b)
		for b.Loop() {
			for _, x := range a.All() {
				sink += x
			}
		}
		b.SetBytes(8 * benchLen)
	})
}

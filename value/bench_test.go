package value_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-multiproc/multiproc/value"
)

type sample struct {
	At    float64
	Count [3]int32
	Flags uint32
	Total int64
}

func bench[T any](b *testing.B, x T) *value.Value[T] {
	b.Helper()
	v, err := value.New(x)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { v.Close() })
	b.ReportAllocs()
	return v
}

func BenchmarkLoad(b *testing.B) {
	b.Run("int64", func(b *testing.B) {
		v := bench(b, int64(1))
		var n int64
		for b.Loop() {
			n += v.Load()
		}
		sink = n
	})
	b.Run("int64 on the heap", func(b *testing.B) {
		v := new(atomic.Int64)
		heap = v
		var n int64
		for b.Loop() {
			n += v.Load()
		}
		sink = n
	})
	b.Run("int32", func(b *testing.B) {
		v := bench(b, int32(1))
		var n int32
		for b.Loop() {
			n += v.Load()
		}
		sink = int64(n)
	})
	b.Run("uint8", func(b *testing.B) {
		v := bench(b, uint8(1))
		var n uint8
		for b.Loop() {
			n += v.Load()
		}
		sink = int64(n)
	})
	b.Run("struct of 32 bytes", func(b *testing.B) {
		v := bench(b, sample{})
		var n int64
		for b.Loop() {
			n += v.Load().Total
		}
		sink = n
	})
	b.Run("struct of 32 bytes on the heap, RWMutex", func(b *testing.B) {
		v := new(struct {
			sync.RWMutex
			sample
		})
		var n int64
		for b.Loop() {
			v.RLock()
			n += v.Total
			v.RUnlock()
		}
		sink = n
	})
	b.Run("array of 64 KiB", func(b *testing.B) {
		v := bench(b, [8192]int64{})
		for b.Loop() {
			x := v.Load()
			sink = x[1]
		}
		b.SetBytes(64 << 10)
	})
}

var (
	sink int64
	heap *atomic.Int64
)

func BenchmarkStore(b *testing.B) {
	b.Run("int64", func(b *testing.B) {
		v := bench(b, int64(1))
		for b.Loop() {
			v.Store(2)
		}
	})
	b.Run("int64 on the heap", func(b *testing.B) {
		v := new(atomic.Int64)
		heap = v
		for b.Loop() {
			v.Store(2)
		}
	})
	b.Run("struct of 32 bytes", func(b *testing.B) {
		v := bench(b, sample{})
		for b.Loop() {
			v.Store(sample{Total: 1})
		}
	})
	b.Run("array of 64 KiB", func(b *testing.B) {
		v := bench(b, [8192]int64{})
		x := new([8192]int64)
		for b.Loop() {
			v.Store(*x)
		}
		b.SetBytes(64 << 10)
	})
}

func BenchmarkAdd(b *testing.B) {
	b.Run("int64", func(b *testing.B) {
		v := bench(b, int64(1))
		for b.Loop() {
			value.Add(v, 1)
		}
	})
	b.Run("int64 on the heap", func(b *testing.B) {
		v := new(atomic.Int64)
		heap = v
		for b.Loop() {
			v.Add(1)
		}
	})
	b.Run("int16", func(b *testing.B) {
		v := bench(b, int16(1))
		for b.Loop() {
			value.Add(v, 1)
		}
	})
	b.Run("float64", func(b *testing.B) {
		v := bench(b, 1.0)
		for b.Loop() {
			value.Add(v, 1)
		}
	})
}

func BenchmarkCompareAndSwap(b *testing.B) {
	b.Run("int64", func(b *testing.B) {
		v := bench(b, int64(1))
		for b.Loop() {
			v.CompareAndSwap(1, 1)
		}
	})
	b.Run("struct of 32 bytes", func(b *testing.B) {
		v := bench(b, sample{})
		for b.Loop() {
			v.CompareAndSwap(sample{}, sample{})
		}
	})
}

func BenchmarkUpdate(b *testing.B) {
	ctx := context.Background()
	b.Run("int64", func(b *testing.B) {
		v := bench(b, int64(1))
		for b.Loop() {
			v.Update(ctx, func(n int64) int64 { return n + 1 })
		}
	})
	b.Run("int64 on the heap, Mutex", func(b *testing.B) {
		var v struct {
			sync.Mutex
			n int64
		}
		for b.Loop() {
			v.Lock()
			v.n++
			v.Unlock()
		}
	})
	b.Run("struct of 32 bytes", func(b *testing.B) {
		v := bench(b, sample{})
		for b.Loop() {
			v.Update(ctx, func(s sample) sample { s.Total++; return s })
		}
	})
	b.Run("without guard", func(b *testing.B) {
		v, err := value.NewRaw[int64](1)
		if err != nil {
			b.Fatal(err)
		}
		defer v.Close()
		for b.Loop() {
			v.Update(ctx, func(n int64) int64 { return n + 1 })
		}
	})
}

//go:build linux

package pool_test

import (
	"testing"

	"github.com/go-multiproc/multiproc/pool"
)

// One task at a time, beside the same in a goroutine and a call.
func BenchmarkApply(b *testing.B) {
	measure := func(name string, e pool.Executor) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := square.Apply(b.Context(), e, 3); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	measure("process", newPool(b, pool.Options{Workers: 1}))
	measure("goroutine", pool.NewGoroutines(1))
}

// A thousand tasks in flight.
func BenchmarkSubmit(b *testing.B) {
	measure := func(name string, e pool.Executor) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			fs := make([]*pool.Future[int], 0, 1000)
			collect := func() {
				for _, f := range fs {
					if _, err := f.Result(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
				fs = fs[:0]
			}
			for b.Loop() {
				f, err := square.Submit(b.Context(), e, 3)
				if err != nil {
					b.Fatal(err)
				}
				if fs = append(fs, f); len(fs) == cap(fs) {
					collect()
				}
			}
			collect()
		})
	}
	measure("process", newPool(b, pool.Options{Workers: 2}))
	measure("goroutine", pool.NewGoroutines(2))
}

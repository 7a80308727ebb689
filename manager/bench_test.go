package manager_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/go-multiproc/multiproc/manager"
)

func benchDict(b *testing.B, o manager.Options) *manager.Dict[string, int] {
	b.Helper()
	d, err := manager.NewDict[string, int](start(b, o))
	if err != nil {
		b.Fatal(err)
	}
	if err := d.Set(b.Context(), "a", 1); err != nil {
		b.Fatal(err)
	}
	return d
}

// transports are the two ways to a server of this machine.
func transports(b *testing.B, f func(b *testing.B, o manager.Options)) {
	b.Run("rings", func(b *testing.B) { f(b, manager.Options{}) })
	b.Run("socket", func(b *testing.B) { f(b, manager.Options{NoRings: true}) })
}

// One round trip to the server process, beside a map under a mutex.
func BenchmarkDict(b *testing.B) {
	transports(b, benchmarkDict)
}

func benchmarkDict(b *testing.B, o manager.Options) {
	d := benchDict(b, o)
	ctx := b.Context()
	b.Run("Get", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := d.Get(ctx, "a"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Set", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := d.Set(ctx, "a", 1); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Update", func(b *testing.B) {
		for b.Loop() {
			if _, err := d.Update(ctx, "a", func(n int, _ bool) (int, error) { return n + 1, nil }); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("map and mutex", func(b *testing.B) {
		var mu sync.Mutex
		m := map[string]int{}
		for b.Loop() {
			mu.Lock()
			m["a"]++
			mu.Unlock()
		}
	})
}

// Sixteen goroutines on one connection; the time is that of one call among them.
func BenchmarkSixteenGoroutines(b *testing.B) {
	transports(b, benchmarkSixteenGoroutines)
}

func benchmarkSixteenGoroutines(b *testing.B, o manager.Options) {
	d := benchDict(b, o)
	ctx := b.Context()
	const goroutines = 16
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range b.N / goroutines {
				if _, _, err := d.Get(ctx, "a"); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// A thousand entries in one round trip; the time is that of one entry.
func BenchmarkBatchSet(b *testing.B) {
	transports(b, benchmarkBatchSet)
}

func benchmarkBatchSet(b *testing.B, o manager.Options) {
	d := benchDict(b, o)
	ctx := b.Context()
	entries := map[string]int{}
	for i := range 1000 {
		entries[fmt.Sprint(i)] = i
	}
	b.ResetTimer()
	for n := 0; n < b.N; n += len(entries) {
		if err := d.BatchSet(ctx, entries); err != nil {
			b.Fatal(err)
		}
	}
}

// A method of a type whose objects are kept, beside the same one of a type whose are not.
func BenchmarkOwnType(b *testing.B) {
	for _, path := range []bool{false, true} {
		o := manager.Options{}
		name := "no path"
		if path {
			name, o.Path = "path", b.TempDir()
		}
		m, ctx := start(b, o), b.Context()
		plain := must[*manager.Object[passing]](b)(passings.New(m))
		kept := must[*manager.Object[early]](b)(earlies.New(m))
		b.Run(name+"/plain", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := pass.Call(ctx, plain, struct{}{}); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/durable", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := addOne.Call(ctx, kept, struct{}{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

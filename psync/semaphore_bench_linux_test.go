package psync_test

import (
	"context"
	"testing"
)

// BenchmarkSemaphore compares Acquire+Release with the same limit within one process:
// a channel with room for as many as there are permits.
func BenchmarkSemaphore(b *testing.B) {
	ctx := b.Context()
	for _, n := range []int{1, 16} {
		s := newSemaphore(b, n)
		ch := make(chan struct{}, n)
		ours := func(ctx context.Context) {
			if err := s.Acquire(ctx); err != nil {
				panic(err)
			}
			if err := s.Release(); err != nil {
				panic(err)
			}
		}
		channel := func(context.Context) {
			ch <- struct{}{}
			<-ch
		}
		for _, c := range []struct {
			name string
			f    func(context.Context)
		}{{"Semaphore", ours}, {"channel", channel}} {
			name := map[int]string{1: "one/", 16: "sixteen/"}[n] + c.name
			b.Run(name, func(b *testing.B) {
				for b.Loop() {
					c.f(ctx)
				}
			})
			b.Run(name+"/parallel", func(b *testing.B) {
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						c.f(ctx)
					}
				})
			})
		}
	}
}

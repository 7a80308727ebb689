package queue_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/go-multiproc/multiproc/internal/eventcount"
	"github.com/go-multiproc/multiproc/queue"
)

// BenchmarkOneProcess is what a Put and a Get cost without anybody else, beside a channel.
func BenchmarkOneProcess(b *testing.B) {
	ctx := context.Background()
	b.Run("channel", func(b *testing.B) {
		c := make(chan [8]byte, 16)
		for b.Loop() {
			c <- [8]byte{}
			<-c
		}
	})
	b.Run("bytes", func(b *testing.B) {
		q := newQueue[[]byte](b, queue.Options{})
		m := make([]byte, 8)
		b.ReportAllocs()
		for b.Loop() {
			if err := q.Put(ctx, m); err != nil {
				b.Fatal(err)
			}
			if _, err := q.Get(ctx); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("fixed", func(b *testing.B) {
		q := newQueue[stamp](b, queue.Options{})
		b.ReportAllocs()
		for b.Loop() {
			if err := q.Put(ctx, stamp{1, 2}); err != nil {
				b.Fatal(err)
			}
			if _, err := q.Get(ctx); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("cbor", func(b *testing.B) {
		q := newQueue[record](b, queue.Options{})
		m := record{ID: 1, Name: "something", Values: []int{1, 2, 3}}
		b.ReportAllocs()
		for b.Loop() {
			if err := q.Put(ctx, m); err != nil {
				b.Fatal(err)
			}
			if _, err := q.Get(ctx); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("lease", func(b *testing.B) {
		q := newQueue[[]byte](b, queue.Options{})
		m := make([]byte, 8)
		b.ReportAllocs()
		for b.Loop() {
			if err := q.Put(ctx, m); err != nil {
				b.Fatal(err)
			}
			l, err := q.Lease(ctx)
			if err != nil {
				b.Fatal(err)
			}
			if err := l.Ack(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkToOtherProcess is a stream of messages of 8 bytes to another process.
func BenchmarkToOtherProcess(b *testing.B) {
	for _, many := range []bool{false, true} {
		b.Run(fmt.Sprintf("many=%t", many), func(b *testing.B) {
			ctx := context.Background()
			p := pair{newQueue[[]byte](b, queue.Options{}), newQueue[[]byte](b, queue.Options{})}
			c := start(b, "sink", p, fmt.Sprint(many))
			c.Line()
			m := make([]byte, 8)
			n := 0
			var ms [128][]byte
			for i := range ms {
				ms[i] = m
			}
			for b.Loop() {
				if many {
					if n++; n%128 != 0 {
						continue
					}
					if _, err := p.To.PutMany(ctx, ms[:]); err != nil {
						b.Fatal(err)
					}
					continue
				}
				if err := p.To.Put(ctx, m); err != nil {
					b.Fatal(err)
				}
			}
			p.To.Shutdown()
			p.Back.Get(ctx)
			c.Kill()
		})
	}
}

// BenchmarkRoundTrip is a message to another process and back. Asleep, neither side spins.
func BenchmarkRoundTrip(b *testing.B) {
	for _, asleep := range []bool{false, true} {
		b.Run(fmt.Sprintf("asleep=%t", asleep), func(b *testing.B) {
			ctx := context.Background()
			p := pair{newQueue[[]byte](b, queue.Options{}), newQueue[[]byte](b, queue.Options{})}
			c := start(b, "echo", p, fmt.Sprint(asleep))
			c.Line()
			eventcount.NoSpin.Store(asleep)
			defer eventcount.NoSpin.Store(false)
			m := make([]byte, 8)
			b.ReportAllocs()
			for b.Loop() {
				if err := p.To.Put(ctx, m); err != nil {
					b.Fatal(err)
				}
				if _, err := p.Back.Get(ctx); err != nil {
					b.Fatal(err)
				}
			}
			c.Kill()
		})
	}
}

package cond

import (
	"context"
	"sync"
	"testing"

	"github.com/go-multiproc/multiproc/internal/seg"
)

func newCond(t testing.TB) (*Cond, *seg.Handle) {
	t.Helper()
	h, err := seg.New(seg.Spec{Kind: "test", Meta: Size})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close(nil) })
	c := At(h.Mapping(), h.Mapping().MetaOffset())
	c.Use()
	return c, h
}

// BenchmarkWait is all that a wait costs but the waiting: the signal is there already.
func BenchmarkWait(b *testing.B) {
	c, h := newCond(b)
	ctx := Context{Context: context.Background(), Handle: h}
	b.ReportAllocs()
	for b.Loop() {
		w, err := c.Enter()
		if err != nil {
			b.Fatal(err)
		}
		c.Signal()
		if err := c.Await(ctx, w); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSyncCond is the plain equivalent, as far as it can be had: two goroutines, since
// sync.Cond's Wait can not find its signal there.
func BenchmarkSyncCond(b *testing.B) {
	var mu sync.Mutex
	c := sync.NewCond(&mu)
	turn, done := 0, false
	go func() {
		mu.Lock()
		defer mu.Unlock()
		for !done {
			for turn != 1 && !done {
				c.Wait()
			}
			turn = 0
			c.Signal()
		}
	}()
	mu.Lock()
	for b.Loop() {
		turn = 1
		c.Signal()
		for turn != 0 {
			c.Wait()
		}
	}
	done = true
	c.Signal()
	mu.Unlock()
}

package guard

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-multiproc/multiproc/internal/verify"
)

func TestGate(t *testing.T) {
	var g gate
	for range 2 {
		if !g.enter() {
			t.Fatal("an open gate lets nobody in")
		}
	}
	wait := verify.Blocks(t, "shut", func() error { g.shut(); return nil })
	if g.enter() {
		t.Error("a shut gate lets somebody in")
	}
	g.leave()
	again := verify.Blocks(t, "second shut", func() error { g.shut(); return nil })
	g.leave()
	verify.Must(t, wait())
	verify.Must(t, again())
	g.open()
	if !g.enter() {
		t.Error("a gate that was opened again lets nobody in")
	}
	g.leave()
}

// Whoever is inside when shut returns would be inside while the memory goes.
func TestGateUnderUse(t *testing.T) {
	for range 100 {
		var g gate
		var inside atomic.Int64
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for g.enter() {
					inside.Add(1)
					inside.Add(-1)
					g.leave()
				}
			})
		}
		g.shut()
		if n := inside.Load(); n != 0 {
			t.Fatalf("%d are inside a shut gate", n)
		}
		all.Wait()
	}
}

package gate

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-multiproc/multiproc/internal/verify"
)

func TestGate(t *testing.T) {
	var g Gate
	for range 2 {
		if !g.Enter() {
			t.Fatal("an open gate lets nobody in")
		}
	}
	wait := verify.Blocks(t, "shut", func() error { g.Shut(); return nil })
	if g.Enter() {
		t.Error("a shut gate lets somebody in")
	}
	g.Leave()
	again := verify.Blocks(t, "second shut", func() error { g.Shut(); return nil })
	g.Leave()
	verify.Must(t, wait())
	verify.Must(t, again())
	g.Open()
	if !g.Enter() {
		t.Error("a gate that was opened again lets nobody in")
	}
	g.Leave()
}

// Whoever is inside when shut returns would be inside while the memory goes.
func TestGateUnderUse(t *testing.T) {
	for range 100 {
		var g Gate
		var inside atomic.Int64
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for g.Enter() {
					inside.Add(1)
					inside.Add(-1)
					g.Leave()
				}
			})
		}
		g.Shut()
		if n := inside.Load(); n != 0 {
			t.Fatalf("%d are inside a shut gate", n)
		}
		all.Wait()
	}
}

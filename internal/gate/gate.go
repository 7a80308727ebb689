// Package gate lets Close wait for those who are inside.
package gate

import (
	"math"
	"sync"
	"sync/atomic"
)

// A Gate counts who is inside, and lets Close wait for them. The zero Gate is open. It
// is safe for use by several goroutines.
type Gate struct {
	// n is the number of those inside, plus shutBit while the gate is shut.
	n atomic.Int64

	mu    sync.Mutex // protects empty
	empty *sync.Cond // signalled when the last one leaves a shut gate
}

const shutBit = math.MinInt64

// Enter reports whether the caller is inside, and then must leave.
func (g *Gate) Enter() bool {
	if g.n.Add(1) > 0 {
		return true
	}
	g.Leave()
	return false
}

// Leave ends what Enter began.
func (g *Gate) Leave() {
	if g.n.Add(-1) != shutBit {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.empty != nil {
		g.empty.Broadcast()
	}
}

// Shut lets nobody in any more and waits until nobody is inside. More than one
// may call it.
func (g *Gate) Shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.empty == nil {
		g.empty = sync.NewCond(&g.mu)
	}
	for n := g.n.Load(); n >= 0; n = g.n.Load() {
		if g.n.CompareAndSwap(n, n+shutBit) {
			break
		}
	}
	for n := g.n.Load(); n < 0 && n != shutBit; n = g.n.Load() {
		g.empty.Wait()
	}
}

// Open undoes Shut.
func (g *Gate) Open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for n := g.n.Load(); n < 0; n = g.n.Load() {
		if g.n.CompareAndSwap(n, n-shutBit) {
			break
		}
	}
	if g.empty != nil {
		g.empty.Broadcast()
	}
}

package guard

import (
	"math"
	"sync"
	"sync/atomic"
)

// A gate counts who is inside, and lets Close wait for them.
type gate struct {
	// n is the number of those inside, plus shutBit while the gate is shut.
	n atomic.Int64

	mu    sync.Mutex // protects empty
	empty *sync.Cond // signalled when the last one leaves a shut gate
}

const shutBit = math.MinInt64

// enter reports whether the caller is inside, and then must leave.
func (g *gate) enter() bool {
	if g.n.Add(1) > 0 {
		return true
	}
	g.leave()
	return false
}

func (g *gate) leave() {
	if g.n.Add(-1) != shutBit {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.empty != nil {
		g.empty.Broadcast()
	}
}

// shut lets nobody in any more and waits until nobody is inside. More than one
// may call it.
func (g *gate) shut() {
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

// open undoes shut.
func (g *gate) open() {
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

package store

import "sync"

// A trace finds out what can be reached from outside, and frees the rest. It does so in steps, between which others go on, so that a million
// objects stop nobody for longer than one step takes. (Dijkstra, Lamport et al., On-the-fly garbage collection, 1978.)
//
// What has been reached has the trace's number as its mark. Whoever gives an object a new reference while a trace is on, from outside or from a container, marks it as
// well. So when nothing is left to look at, an object without the mark has no reference from any that has it, and can get none any more: to get one,
// somebody would have to reach it first. It is then freed, in steps again.
type trace struct {
	one sync.Mutex // held for the whole of a trace; outside graph.mu

	// The rest is guarded by graph.mu.

	number  uint32
	on      bool
	reached []*object // marked, and what it mentions is not yet
}

// traceStep is how many objects are looked at in one step: some tens of microseconds.
const traceStep = 512

// reachLocked marks an object, if a trace is on.
func (g *graph) reachLocked(o *object) {
	if t := &g.trace; t.on && o.mark != t.number {
		o.mark = t.number
		t.reached = append(t.reached, o)
	}
}

// settle frees everything that nothing outside reaches, if there is a suspicion that there is any.
func (g *graph) settle() {
	t := &g.trace
	t.one.Lock()
	defer t.one.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.timer != nil {
		g.timer.Stop()
		g.timer, g.urgent = nil, false
	}
	if g.suspects == 0 {
		return
	}
	g.suspects = 0
	n := 0
	step := func() {
		if n++; n%traceStep == 0 {
			g.mu.Unlock()
			g.mu.Lock()
		}
	}

	t.number++ // new objects are born with the mark
	t.on = true
	for pin := range g.pins {
		g.reachLocked(pin)
		step()
	}
	for _, o := range g.objects { // the lock is held whenever the map is looked at, and an entry that comes meanwhile is marked anyway
		if o.ext > 0 {
			g.reachLocked(o)
		}
		step()
	}
	for len(t.reached) > 0 {
		o := t.reached[len(t.reached)-1]
		t.reached = t.reached[:len(t.reached)-1]
		for child := range o.out {
			g.reachLocked(child)
			step()
		}
	}
	t.on, t.reached = false, nil

	garbage := map[*object]struct{}{}
	for _, o := range g.objects {
		if o.mark != t.number {
			garbage[o] = struct{}{}
		}
		if len(garbage) == traceStep {
			g.freeLocked(garbage)
			clear(garbage)
		}
		step()
	}
	g.freeLocked(garbage)
}

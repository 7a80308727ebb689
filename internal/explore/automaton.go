//go:build multiproc_explore

package explore

import (
	"fmt"
	"math/rand/v2"
)

// An automaton is what one process can do, as far as it has been seen: a graph of
// nodes, each with what its threads do next, and edges for what they may learn by
// doing it. What a process does is a function of what its steps have returned, so
// the search needs to run the code only where an edge is new, by replaying what led
// to its node, and is a walk through tables otherwise.
type automaton struct {
	x      *search
	id     int
	actor  Actor
	nodes  []*node
	index  map[key]int32
	live   map[int32]*instance // some nodes' processes, ready to go on
	order  []int32             // of live, by age
	merges []merge
	merged int
	runs   int // how often the code was started from its beginning
}

// cancelSlot stands for the end of the context in the place of a thread.
const cancelSlot = maxThreads

// maxLive bounds how many processes are kept.
const maxLive = 512

// A node is a process at some point.
type node struct {
	parent   int32
	via      event
	pend     [maxThreads]pending
	finished bool // Run has returned
	ending   bool // there is a context that may still end
	key      key
	edges    []edge
}

// An event is a step with its outcome.
type event struct {
	slot int8
	out  outcome
}

type edge struct {
	event
	to     int32
	notes  []func(*View)
	broken string
}

// A merge is another way to a node.
type merge struct {
	from, to int32
	via      event
}

func newAutomaton(x *search, id int, actor Actor) *automaton {
	a := &automaton{x: x, id: id, actor: actor, index: map[key]int32{}, live: map[int32]*instance{}}
	a.nodes = append(a.nodes, &node{}) // a dead one
	return a
}

// begin makes the first node, and returns its notes.
func (a *automaton) begin() edge {
	in := a.run()
	e := edge{notes: in.notes, broken: in.broken}
	e.to, _ = a.add(in, 0, event{slot: -1})
	return e
}

// run starts the code.
func (a *automaton) run() *instance {
	a.runs++
	return newInstance(a)
}

// add finds or makes the node for an instance, and keeps the instance.
func (a *automaton) add(in *instance, parent int32, via event) (to int32, isNew bool) {
	k := in.key()
	to, ok := a.index[k]
	if !ok {
		n := &node{parent: parent, via: via, finished: in.main.done, key: k,
			ending: in.ctx != nil && in.ctx.Err() == nil && !in.main.done}
		for i, t := range in.threads {
			if t != nil {
				n.pend[i] = t.pend
			}
		}
		to = int32(len(a.nodes))
		a.nodes = append(a.nodes, n)
		a.index[k] = to
	}
	a.keep(to, in)
	return to, !ok
}

// keep keeps an instance for later.
func (a *automaton) keep(at int32, in *instance) {
	if old := a.live[at]; old != nil {
		old.end()
	} else {
		a.order = append(a.order, at)
	}
	a.live[at] = in
	for len(a.live) > maxLive {
		oldest := a.order[0]
		a.order = a.order[1:]
		if old := a.live[oldest]; old != nil {
			old.end()
			delete(a.live, oldest)
		}
	}
}

// at returns a process at a node.
func (a *automaton) at(n int32) *instance {
	if in := a.live[n]; in != nil {
		delete(a.live, n)
		return in
	}
	in := a.run()
	for _, e := range a.path(n) {
		if !in.can(e) {
			break
		}
		in.step(int(e.slot), e.out)
	}
	if in.key() != a.nodes[n].key && a.x.fault == nil {
		a.x.fault = &Violation{Model: a.x.m.Name, What: fmt.Sprintf(
			"%s: a Mark, At or Digest leaves out what matters, or the code does not do the same each time: it did not come to the same place again", a.x.name(a.id))}
		a.x.fault.trace = a.story(a.path(n))
	}
	return in
}

// path is how a node was reached first.
func (a *automaton) path(n int32) []event {
	var path []event
	for ; a.nodes[n].via.slot >= 0; n = a.nodes[n].parent {
		path = append(path, a.nodes[n].via)
	}
	for i, j := 0, len(path)-1; i < j; i, j = i+1, j-1 {
		path[i], path[j] = path[j], path[i]
	}
	return path
}

// edge is what happens at a node when a thread's step has an outcome.
func (a *automaton) edge(from int32, via event) *edge {
	n := a.nodes[from]
	for i := range n.edges {
		if n.edges[i].event == via {
			return &n.edges[i]
		}
	}
	in := a.at(from)
	if !in.can(via) { // the fault is known
		in.end()
		return &edge{event: via, to: from}
	}
	in.step(int(via.slot), via.out)
	e := edge{event: via, notes: in.notes, broken: in.broken}
	to, isNew := a.add(in, from, via)
	e.to = to
	if !isNew {
		a.sample(merge{from, to, via})
	}
	n.edges = append(n.edges, e)
	return &n.edges[len(n.edges)-1]
}

// sample keeps some of the mergers, each as likely as any other.
func (a *automaton) sample(m merge) {
	a.merged++
	if len(a.merges) < a.x.samples() {
		a.merges = append(a.merges, m)
	} else if i := rand.IntN(a.merged); i < len(a.merges) {
		a.merges[i] = m
	}
}

// end lets all instances go.
func (a *automaton) end() {
	for at, in := range a.live {
		in.end()
		delete(a.live, at)
	}
}

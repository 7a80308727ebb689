package store

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-multiproc/multiproc/internal/journal"
)

// An object is one node of the graph of references, with the container it stands for.
type object struct {
	id     ID
	kind   Kind
	typ    string   // what its elements are, in the front end's words; "" = unsaid
	params []uint64 // what the body was made with
	body   body     // nil for a snapshot's pin

	ledger         *ledger
	gone           atomic.Bool  // it was struck off the ledger
	entries, bytes atomic.Int64 // what it has on the ledger

	// The rest is guarded by graph.mu.

	name  string          // "" = none
	mark  uint32          // the trace that has reached it
	ext   int             // references from outside: sessions, the name, offers, pins
	in    map[*object]int // containers that mention it, and how often
	out   map[*object]int // what it mentions, and how often
	freed bool
}

// A graph knows every object and who refers to it, and frees what nothing outside can
// reach any more. Only references pass through it, never data, so its one lock is taken
// when handles come and go and not when entries are read or written.
//
// When an object loses its last reference from outside, or a container that mentioned
// it, the containers above it are searched for one that is held from outside. Nearly
// always the first one is, or there is none to search. If none is, all that were searched
// are garbage, circles included. A search that grows long is given up, and the object put among
// the suspects, which a mark through everything settles once they are many, or a moment later.
// The rejected alternatives are counting alone, which leaks every circle, searching to the end, which
// makes building a chain of n containers cost n² steps, and marking alone, which pins what may be gigabytes until
// its turn comes.
type graph struct {
	mu      sync.Mutex
	last    ID
	objects map[ID]*object
	names   map[string]*object
	offers  map[Token]offer

	pins     map[*object]struct{} // of snapshots; not objects that anybody can name
	suspects int                  // objects that may be garbage
	timer    *time.Timer          // settles them; nil if there are none
	urgent   bool                 // they are many, and the timer has been set to now
	trace    trace

	ledger  *ledger
	freeing []*object // what is freed while a snapshot for the journal is made; nil if there is none
}

const (
	searchLimit  = 256         // containers above an object that are searched at once
	suspectLimit = 4096        // suspects beyond which they are settled at once, unless there are far more objects
	suspectTime  = time.Second // after which they are settled in any case
)

// An offer is a reference on its way, and the session that put it there; nil if that was the store itself.
type offer struct {
	obj  *object
	from *Session
}

// settle has the session forget an offer that was claimed.
func (o offer) settle(t Token) {
	if o.from != nil {
		o.from.mu.Lock()
		o.from.forgetOfferLocked(t)
		o.from.mu.Unlock()
	}
}

func newGraph(l *ledger) graph {
	return graph{ledger: l, objects: map[ID]*object{}, names: map[string]*object{}, offers: map[Token]offer{}, pins: map[*object]struct{}{}}
}

// create makes an object with one reference from outside, which is the caller's.
func (g *graph) create(k Kind, typ string, params []uint64) (*object, error) {
	b, demand, err := g.prepare("", k, typ, params)
	if err != nil {
		return nil, err
	}
	defer g.ledger.done(demand)
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.addLocked("", k, typ, params, b), nil
}

// prepare makes the content of an object that may be added. The caller ends the demand.
func (g *graph) prepare(name string, k Kind, typ string, params []uint64) (body, Demand, error) {
	d := Demand{Objects: 1, Bytes: objectBytes + int64(len(typ)), Record: int64(64 + len(name) + len(typ) + 10*len(params))}
	if err := g.ledger.limit(d); err != nil {
		return nil, d, err
	}
	b, err := newBody(k, params)
	if err != nil {
		return nil, d, err
	}
	if k, ok := b.(kept); ok { // some have something in them from the beginning
		entries, bytes := k.weight()
		d.Entries += entries
		d.Bytes += bytes
	}
	return b, d, g.ledger.admit(d)
}

func (g *graph) addLocked(name string, k Kind, typ string, params []uint64, b body) *object {
	o := g.expect(g.last + 1)
	g.fill(o, k, typ, params, b)
	if name != "" {
		g.rename(o, name)
	}
	g.noteLocked(o, func(w *journal.Writer) {
		noteCreate(w, o)
		if name != "" {
			w.Uint(uint64(effectName))
			w.Text(name)
		}
	})
	return o
}

// open returns the object of that name, made if there is none and create says so, with
// one more reference from outside, which is the caller's.
func (g *graph) open(name string, k Kind, typ string, create bool, params []uint64) (*object, error) {
	if o, err := g.named(name, k, typ, create, params, nil); o != nil || err != nil {
		return o, err
	}
	b, demand, err := g.prepare(name, k, typ, params)
	if err != nil {
		return nil, err
	}
	defer g.ledger.done(demand)
	return g.named(name, k, typ, create, params, b)
}

// named is open with the content that the object has if it is made. If that is nil it makes none and returns none.
func (g *graph) named(name string, k Kind, typ string, create bool, params []uint64, b body) (*object, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	o := g.names[name]
	other := -1
	if o != nil && o.kind == k {
		other = otherParam(k, o.params, params)
	}
	switch {
	case o == nil && !create:
		return nil, fmt.Errorf("%w: no object is named %q", ErrNotFound, name)
	case o == nil && b == nil:
		return nil, nil
	case o == nil:
		o = g.addLocked(name, k, typ, params, b)
		return o, nil
	case o.kind != k:
		return nil, fmt.Errorf("%w: %q is %s, not %s", ErrKind, name, o.kind.withArticle(), k.withArticle())
	case o.typ != "" && typ != "" && o.typ != typ:
		return nil, fmt.Errorf("%w: %q is %s of %s, not of %s", ErrType, name, k.withArticle(), o.typ, typ)
	case other >= 0:
		return nil, fmt.Errorf("%w: %q is %s, and its %s is %d, not %d", ErrType, name, k.withArticle(), kinds[k].params[other], o.params[other], params[other])
	}
	o.ext++
	g.reachLocked(o)
	return o, nil
}

func (g *graph) remove(name string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	o := g.names[name]
	if o == nil {
		return fmt.Errorf("%w: no object is named %q", ErrNotFound, name)
	}
	g.noteLocked(o, func(w *journal.Writer) {
		w.Uint(uint64(effectUnname))
		w.Text(name)
	})
	delete(g.names, name)
	o.name = ""
	g.dropLocked(o)
	return nil
}

// hold adds a reference from outside, and reports whether the object still lives.
func (g *graph) hold(o *object) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if o.freed {
		return false
	}
	o.ext++
	g.reachLocked(o)
	return true
}

// drop takes one reference from outside away from each.
func (g *graph) drop(objs ...*object) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, o := range objs {
		g.dropLocked(o)
	}
}

func (g *graph) dropLocked(o *object) {
	o.ext--
	g.sweepLocked(o)
}

// offer puts a reference on its way.
func (g *graph) offer(o *object, from *Session) (Token, bool) {
	token := newToken()
	g.mu.Lock()
	defer g.mu.Unlock()
	if o.freed {
		return token, false
	}
	o.ext++
	g.reachLocked(o)
	g.offers[token] = offer{o, from}
	return token, true
}

// claim takes an offered reference; it is the caller's now.
func (g *graph) claim(t Token) (offer, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	o, ok := g.offers[t]
	delete(g.offers, t)
	return o, ok
}

// withdraw drops an offered reference, if nobody has claimed it.
func (g *graph) withdraw(t Token) {
	if o, ok := g.claim(t); ok {
		o.settle(t)
		g.drop(o.obj)
	}
}

// link records that a value of from mentions each of to.
func (g *graph) link(from *object, to *mentions) {
	if to == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if from.freed {
		return
	}
	for _, o := range to.objs {
		g.linkLocked(from, o, 1)
	}
}

func (g *graph) linkLocked(from, to *object, n int) {
	if to.freed {
		return
	}
	if from.out == nil {
		from.out = map[*object]int{}
	}
	if to.in == nil {
		to.in = map[*object]int{}
	}
	from.out[to] += n
	to.in[from] += n
	g.reachLocked(to)
}

// unlink is the opposite of link.
func (g *graph) unlink(from *object, to *mentions) {
	if to == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, o := range to.objs {
		if from.out[o] == 0 {
			continue // from was freed, and with it what it said
		}
		if from.out[o]--; from.out[o] == 0 {
			delete(from.out, o)
		}
		if o.in[from]--; o.in[from] == 0 {
			delete(o.in, from)
		}
		g.sweepLocked(o)
	}
}

// pin returns a node that mentions what from does now, so that it all outlives changes
// to from; nil if from mentions nothing. It is let go of by drop.
func (g *graph) pin(from *object) *object {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(from.out) == 0 {
		return nil
	}
	p := &object{ext: 1}
	for o, n := range from.out {
		g.linkLocked(p, o, n)
	}
	g.pins[p] = struct{}{}
	g.reachLocked(p)
	return p
}

// sweepLocked frees o, and whatever falls with it, if nothing outside reaches it any more.
func (g *graph) sweepLocked(o *object) {
	// A worklist and no recursion: a chain of nested containers can be very long.
	for suspects := []*object{o}; len(suspects) > 0; {
		o := suspects[len(suspects)-1]
		suspects = suspects[:len(suspects)-1]
		if o.freed || o.ext > 0 {
			continue
		}
		garbage, certain := unreachable(o)
		if !certain {
			g.suspectLocked()
			continue
		}
		suspects = append(suspects, g.freeLocked(garbage)...)
	}
}

// freeLocked frees objects and returns what they mentioned and is not among them.
func (g *graph) freeLocked(garbage map[*object]struct{}) (below []*object) {
	for dead := range garbage {
		dead.freed = true
		delete(g.pins, dead)
		if g.objects[dead.id] != dead {
			continue // a pin
		}
		delete(g.objects, dead.id)
		g.ledger.objects.Add(-1)
		dead.strike()
		if g.freeing != nil {
			g.freeing = append(g.freeing, dead)
		}
	}
	for dead := range garbage {
		for child := range dead.out {
			delete(child.in, dead)
			if !child.freed {
				below = append(below, child)
			}
		}
		dead.out, dead.in = nil, nil
	}
	return below
}

// unreachable returns o and everything above it if none of that is held from outside,
// and nothing otherwise. It is not certain if there is too much above it.
func unreachable(o *object) (garbage map[*object]struct{}, certain bool) {
	seen := map[*object]struct{}{o: {}}
	for above := []*object{o}; len(above) > 0; {
		x := above[len(above)-1]
		above = above[:len(above)-1]
		for parent := range x.in {
			if parent.ext > 0 {
				return nil, true
			}
			if _, ok := seen[parent]; !ok {
				if len(seen) == searchLimit {
					return nil, false
				}
				seen[parent] = struct{}{}
				above = append(above, parent)
			}
		}
	}
	return seen, true
}

// suspectLocked counts an object that may be garbage, and sees to it that this is settled.
func (g *graph) suspectLocked() {
	g.suspects++
	many := g.suspects > max(suspectLimit, len(g.objects)/4)
	if g.timer == nil {
		g.timer = time.AfterFunc(suspectTime, g.settle)
	}
	if many && !g.urgent {
		g.urgent = true
		g.timer.Reset(0)
	}
}

func (g *graph) stats(s *Stats) {
	g.settle()
	g.mu.Lock()
	bodies := make([]body, 0, len(g.objects))
	for _, o := range g.objects {
		s.Objects[o.kind]++
		bodies = append(bodies, o.body)
	}
	s.Named = len(g.names)
	s.Offers = len(g.offers)
	g.mu.Unlock()
	for _, b := range bodies {
		entries, bytes := b.size()
		s.Entries += entries
		s.Bytes += bytes
	}
}

func (g *graph) clear() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, o := range g.objects {
		o.freed, o.in, o.out = true, nil, nil
	}
	if g.timer != nil {
		g.timer.Stop()
		g.timer = nil
	}
	clear(g.pins)
	clear(g.objects)
	clear(g.names)
	clear(g.offers)
}

// A Named is an object that has a name.
type Named struct {
	Name string
	Kind Kind
	Type string // in the words of who made it
}

// Names returns the objects that have a name, at one moment and in the order of their names.
func (st *Store) Names() []Named {
	g := &st.graph
	g.mu.Lock()
	named := make([]Named, 0, len(g.names))
	for name, o := range g.names {
		named = append(named, Named{name, o.kind, o.typ})
	}
	g.mu.Unlock()
	slices.SortFunc(named, func(a, b Named) int { return strings.Compare(a.Name, b.Name) })
	return named
}

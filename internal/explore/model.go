//go:build multiproc_explore

package explore

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/go-multiproc/multiproc/internal/mem"
	"github.com/go-multiproc/multiproc/internal/seg"
)

// A Model is what is explored: some processes that run shipped code on some shared
// memory, and what must never happen.
type Model struct {
	Name string
	// Size of the shared memory in bytes, a multiple of 8. It is zero, but for what
	// Init puts there. Init may use whatever the shipped code does to new memory.
	Size int
	Init func(memory []byte)
	// Keep are the pieces of the memory, from and to, that are ever written after Init;
	// nil is all of it. States are as small as that.
	Keep [][2]int
	// Ghost is the number of words in which the model notes what the code itself
	// does not know: who is inside, what was sent. They cost no steps.
	Ghost  int
	Actors []Actor

	// Deaths, Spurious and Cancels bound how many processes die, how many sleepers
	// wake up for no reason, and how many contexts end in one run.
	Deaths, Spurious, Cancels int
	// Slices bounds how many slices end in one run; 0 is no bound, negative none at all.
	// With a bound, the promise of one slice is checked where enough are left.
	Slices int
	// Late is how many of these end only when nobody runs any more: the usual case, since a
	// slice is long.
	Late int

	// Start notes how things are at first. It may be nil.
	Start func(v *View)
	// Patient makes mem.Elapsed always false; else it is whatever it can be.
	Patient bool

	// Died notes a death, before anybody can find it. It may be nil.
	Died func(v *View, actor int)
	// Stepped notes what a step of any process has brought about, beside what the process itself
	// notes: that something was so at some moment. It may be nil.
	Stepped func(v *View)
	// Always looks at every state, Finally at those in which nobody has anything
	// left to do. They call v.Failf. They may be nil.
	Always, Finally func(v *View)

	// Plant puts a fault between the code and its steps, for tests of the explorer itself:
	// what it returns is asked in the place of real. It keeps no state. It may be nil.
	Plant func(real mem.Scheduler) mem.Scheduler

	// Settled reports whether it is all right that in this state nobody gets anywhere,
	// since those died whom the others wait for. It may be nil.
	Settled func(v *View) bool

	// AnySlices is for code that promises less than that nobody has to wait for the
	// end of a slice while everybody lives, and for one slice when somebody died:
	// then there only must be a way to the end. (One slice is meant for each wait, and checked
	// as if each actor had one wait before it that a death concerns.)
	AnySlices bool
	// MaxStates ends a search that is larger than meant; 0 is 10 million.
	MaxStates int
	// Samples is how many of the mergers that Mark brought about are checked by
	// running both sides on; 0 is 2000, negative none.
	Samples int
}

// An Actor is one process.
type Actor struct {
	Name string
	// Run is its life. It is run many times, from the start, and has to do the same
	// each time when it sees the same: all that it shares with others is in the
	// memory, and it makes its handles itself.
	Run func(p *Process)
	// Immortal processes do not die.
	Immortal bool
}

// A Process is an actor at one time. Its methods are for Run.
type Process struct {
	in     *instance
	handle *seg.Handle
	// ID is the index of the actor.
	ID int
}

// Token is the process's token: what Mapping.Token returns.
func (p *Process) Token() uint64 { return token(p.ID) }

// Handle is the process's handle to a segment with the shared memory as its meta
// area.
func (p *Process) Handle() *seg.Handle {
	if p.handle == nil {
		p.handle = seg.Simulate(p.in.a.x.memory, p.Token())
	}
	return p.handle
}

// Word is a word of the shared memory.
func (p *Process) Word(off int) *mem.Uint64 { return p.Handle().Mapping().Word(off) }

// Note runs f at the time of the step that the process took last, so that nobody
// sees the step and not what f notes. f uses nothing that the process could know
// to be otherwise at the same place of another run.
func (p *Process) Note(f func(v *View)) { p.in.notes = append(p.in.notes, f) }

// Failf ends the search: the process saw what must not be.
func (p *Process) Failf(format string, args ...any) {
	p.Note(func(v *View) { v.Failf(format, args...) })
}

// Step is a step that does nothing: others can act in between.
func (p *Process) Step() { p.in.cur.take(pending{kind: kindStep}) }

// Choose returns a number below n; all are tried.
func (p *Process) Choose(n int) int {
	return int(p.in.cur.take(pending{kind: kindChoose, n: n}).v)
}

// At says that from here on, what Run does depends on nothing that it has seen
// before but locals. It is to Run what mem.Mark is to the code that Run calls, and
// makes these work: without it, nothing says what the callers of a marked function
// know.
func (p *Process) At(locals ...uint64) {
	p.in.placed = true
	var k key
	k.add(1)
	for _, l := range locals {
		k.add(l)
	}
	p.in.outer = k
	p.in.cur.known, p.in.cur.bases = k, nil
}

// Acquire takes a lock that stands in for one that is explored by itself: in one step,
// which comes when nobody alive has it. Word off of the memory says who has it.
func (p *Process) Acquire(off int) { p.in.cur.take(pending{kind: kindLock, at: off, a: p.Token()}) }

// Release gives it back, in one step.
func (p *Process) Release(off int) { p.Word(off).Store(0) }

// Digest says how to see what the process has in its own memory, beyond what its
// goroutines hold in variables of their own. A process that has several
// goroutines needs it for marks to work.
func (p *Process) Digest(f func() []uint64) { p.in.digest = f }

// Context is one that may end: see Model.Cancels.
func (p *Process) Context() context.Context {
	if p.in.ctx == nil {
		p.in.ctx, p.in.cancel = context.WithCancel(context.Background())
	}
	return p.in.ctx
}

func token(actor int) uint64 { return uint64(actor) + 1 }

// A View is a state of the whole, as a model's functions see it.
type View struct {
	x  *search
	st []byte
	// Ghost are the words that the model keeps.
	Ghost Ghost
	fail  string
}

// Ghost is the model's own memory.
type Ghost struct{ b []byte }

// Get returns word i.
func (g Ghost) Get(i int) uint64 { return binary.LittleEndian.Uint64(g.b[8*i:]) }

// Set sets word i.
func (g Ghost) Set(i int, v uint64) { binary.LittleEndian.PutUint64(g.b[8*i:], v) }

// Add adds to word i and returns the sum.
func (g Ghost) Add(i int, d uint64) uint64 {
	g.Set(i, g.Get(i)+d)
	return g.Get(i)
}

// Word is the shared word at off.
func (v *View) Word(off int) uint64 {
	if at := v.x.where[off/8]; at >= 0 {
		return binary.LittleEndian.Uint64(v.st[at:])
	}
	return binary.LittleEndian.Uint64(v.x.memory[off:])
}

// Memory is a copy of the n bytes at off.
func (v *View) Memory(off, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(v.Word((off+i)/8*8) >> ((off + i) % 8 * 8))
	}
	return b
}

// Dead reports whether an actor has died.
func (v *View) Dead(actor int) bool { return v.st[v.x.dead]&(1<<actor) != 0 }

// Deaths is how many have died.
func (v *View) Deaths() int {
	n := 0
	for i := range v.x.m.Actors {
		if v.Dead(i) {
			n++
		}
	}
	return n
}

// Finished reports whether an actor has come to the end of Run.
func (v *View) Finished(actor int) bool {
	return !v.Dead(actor) && v.x.node(v.st, actor).finished
}

// Failf says that this state must not be.
func (v *View) Failf(format string, args ...any) {
	if v.fail == "" {
		v.fail = fmt.Sprintf(format, args...)
	}
}

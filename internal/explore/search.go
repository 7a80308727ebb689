//go:build multiproc_explore

package explore

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"sync"
	"time"

	"github.com/go-multiproc/multiproc/internal/mem"
)

// A Result says how much was explored.
type Result struct {
	States      int // of the whole
	Transitions int
	Depth       int // steps on the longest of the shortest ways to a state
	Nodes       int // of the processes, all together
	Merged      int // ways that Mark found to lead to the same node
	Checked     int // of these, checked by running both on
	Runs        int // of the code from its beginning
	Quiet       int // states in which survivors wait for the end of a slice
	Time        time.Duration
}

func (r Result) String() string {
	return fmt.Sprintf("%d states, %d transitions, depth %d, %v", r.States, r.Transitions, r.Depth, r.Time.Round(10*time.Millisecond))
}

// A search is one exploration. A state of the whole is a row of bytes:
//
//	the shared memory, the ghost words,
//	dead (1), spurious wake-ups (1), ended contexts (1), ended slices (1), asleep (1 each),
//	the node of each actor (4 each)
type search struct {
	m       *Model
	memory  []byte // what the actors have for the shared memory; only its addresses matter
	running *instance
	procs   []*automaton

	where []int32 // of each word of the memory, where it is in a state; -1: it is constant
	kept  int     // bytes of them

	ghost, dead, spurious, cancels, slices, asleep, nodes, size int

	arena  []byte   // all states
	table  []uint64 // open addressing: half a hash, and 1 + index of a state
	parent []uint32
	depth  []uint16
	first  []uint64 // index of each state's first transition
	to     []uint32
	how    []label

	scratch [4][]byte
	view    View
	fault   *Violation
}

// A label says what kind of transition it is, and whose.
type label uint16

const (
	didStep label = iota << 8
	didEndSlice
	didSpurious
	didDie
	didCancel
	didMask label = 7 << 8
)

func (l label) kind() label { return l & didMask }

func by(kind label, proc, slot int) label {
	if slot == cancelSlot {
		slot = 0
	}
	return kind | label(proc*maxThreads+slot)
}

// one search at a time: mem.Hook is there once.
var one sync.Mutex

// Run explores m. The violation is nil when there is none.
func Run(m Model) (Result, *Violation) {
	one.Lock()
	defer one.Unlock()
	began := time.Now()
	x := newSearch(&m)
	defer func() {
		for _, a := range x.procs {
			a.end()
		}
		mem.Hook = nil
	}()
	if x.begin() {
		x.walk()
	}
	r := Result{States: len(x.parent), Transitions: len(x.to)}
	for _, d := range x.depth {
		r.Depth = max(r.Depth, int(d))
	}
	if x.fault == nil {
		r.Quiet = x.progress()
	}
	if x.fault == nil {
		r.Checked = x.checkMarks()
	}
	for _, a := range x.procs {
		r.Nodes += len(a.nodes) - 1
		r.Merged += a.merged
		r.Runs += a.runs
	}
	r.Time = time.Since(began)
	return r, x.fault
}

func newSearch(m *Model) *search {
	x := &search{m: m}
	if m.Size%8 != 0 || len(m.Actors) > 8 {
		panic("explore: bad model")
	}
	words := make([]uint64, m.Size/8+1)
	x.memory = unsafeBytes(words)[:m.Size]
	if m.Init != nil {
		m.Init(x.memory)
	}
	n := len(m.Actors)
	x.where = make([]int32, m.Size/8)
	for i := range x.where {
		x.where[i] = -1
	}
	keep := m.Keep
	if keep == nil {
		keep = [][2]int{{0, m.Size}}
	}
	for _, k := range keep {
		for off := k[0] / 8 * 8; off < k[1]; off += 8 {
			x.where[off/8] = int32(x.kept)
			x.kept += 8
		}
	}
	x.ghost = x.kept
	x.dead = x.ghost + 8*m.Ghost
	x.spurious = x.dead + 1
	x.cancels = x.spurious + 1
	x.slices = x.cancels + 1
	x.asleep = x.slices + 1
	x.nodes = x.asleep + n
	x.size = x.nodes + 4*n
	x.view.x = x
	for i := range x.scratch {
		x.scratch[i] = make([]byte, x.size)
	}
	x.table = make([]uint64, 1<<16)
	for i, a := range m.Actors {
		x.procs = append(x.procs, newAutomaton(x, i, a))
	}
	return x
}

func (x *search) samples() int {
	switch {
	case x.m.Samples > 0:
		return x.m.Samples
	case x.m.Samples < 0:
		return 0
	}
	return 2000
}

// begin puts the first state there.
func (x *search) begin() bool {
	st := x.scratch[0]
	for i, at := range x.where {
		if at >= 0 {
			copy(st[at:at+8], x.memory[8*i:])
		}
	}
	mem.Hook = x
	if x.m.Plant != nil {
		mem.Hook = x.m.Plant(x)
	}
	x.view.st, x.view.Ghost = st, Ghost{st[x.ghost:x.dead]}
	if x.m.Start != nil {
		x.m.Start(&x.view)
	}
	for i, a := range x.procs {
		e := a.begin()
		x.setNode(st, i, e.to)
		x.view.st, x.view.Ghost = st, Ghost{st[x.ghost:x.dead]}
		x.note(&e)
	}
	x.reach(st, math.MaxUint32, nil)
	return x.fault == nil
}

func (x *search) nodeID(st []byte, p int) int32 {
	return int32(binary.LittleEndian.Uint32(st[x.nodes+4*p:]))
}

func (x *search) setNode(st []byte, p int, n int32) {
	binary.LittleEndian.PutUint32(st[x.nodes+4*p:], uint32(n))
}

func (x *search) node(st []byte, p int) *node { return x.procs[p].nodes[x.nodeID(st, p)] }

func (x *search) isDead(st []byte, p int) bool { return st[x.dead]&(1<<p) != 0 }

// final reports whether all who live have come to their end.
func (x *search) final(st []byte) bool {
	for p := range x.procs {
		if !x.isDead(st, p) && !x.node(st, p).finished {
			return false
		}
	}
	return true
}

// settled reports whether nothing more has to happen.
func (x *search) settled(st []byte) bool {
	if x.final(st) {
		return true
	}
	if x.m.Settled == nil {
		return false
	}
	x.view.st, x.view.Ghost = st, Ghost{st[x.ghost:x.dead]}
	return x.m.Settled(&x.view)
}

func (x *search) state(i uint32) []byte {
	return x.arena[int(i)*x.size : (int(i)+1)*x.size]
}

func hash(b []byte) uint64 {
	h := uint64(len(b)) * 0x9e3779b97f4a7c15
	for len(b) >= 8 {
		h = (h ^ binary.LittleEndian.Uint64(b)) * 0xd6e8feb86659fd93
		h ^= h >> 32
		b = b[8:]
	}
	for _, c := range b {
		h = (h ^ uint64(c)) * 0xd6e8feb86659fd93
		h ^= h >> 32
	}
	return h ^ h>>29
}

// reach finds or adds a state.
func (x *search) reach(st []byte, from uint32, s *successor) uint32 {
	h := hash(st)
	mask := uint64(len(x.table) - 1)
	tag := h >> 32 << 32
	i := h & mask
	for ; x.table[i] != 0; i = (i + 1) & mask {
		if e := x.table[i]; e>>32<<32 == tag {
			if n := uint32(e) - 1; string(x.state(n)) == string(st) {
				return n
			}
		}
	}
	n := uint32(len(x.parent))
	x.table[i] = tag | uint64(n+1)
	x.arena = append(x.arena, st...)
	x.parent = append(x.parent, from)
	d := uint16(0)
	if from != math.MaxUint32 {
		d = x.depth[from] + 1
	}
	x.depth = append(x.depth, d)
	x.look(n)
	if x.fault != nil && s != nil {
		x.fault.trace = append(x.trace(from), x.line(x.state(from), s))
	}
	if len(x.parent)*4 > len(x.table)*3 {
		x.grow()
	}
	return n
}

func (x *search) grow() {
	x.table = make([]uint64, 2*len(x.table))
	mask := uint64(len(x.table) - 1)
	for n := range x.parent {
		h := hash(x.state(uint32(n)))
		i := h & mask
		for x.table[i] != 0 {
			i = (i + 1) & mask
		}
		x.table[i] = h>>32<<32 | uint64(n+1)
	}
}

// look asks the model about a new state.
func (x *search) look(n uint32) {
	st := x.state(n)
	x.view.st, x.view.Ghost, x.view.fail = st, Ghost{st[x.ghost:x.dead]}, ""
	if x.m.Always != nil {
		x.m.Always(&x.view)
	}
	if x.m.Finally != nil && x.final(st) {
		x.m.Finally(&x.view)
	}
	if x.view.fail != "" && x.fault == nil {
		x.fault = &Violation{Model: x.m.Name, What: x.view.fail}
	}
	x.view.fail = ""
}

// walk visits all states, those first that take the fewest steps.
func (x *search) walk() {
	limit := x.m.MaxStates
	if limit == 0 {
		limit = 10e6
	}
	for n := uint32(0); int(n) < len(x.parent); n++ {
		x.first = append(x.first, uint64(len(x.to)))
		x.successors(x.state(n), func(st []byte, s *successor) bool {
			if x.fault != nil && x.fault.trace == nil {
				x.fault.trace = append(x.trace(n), x.line(x.state(n), s))
			}
			if x.fault != nil {
				return false
			}
			to := x.reach(st, n, s)
			x.to = append(x.to, to)
			x.how = append(x.how, s.label)
			return x.fault == nil
		})
		if x.fault != nil {
			return
		}
		if len(x.parent) > limit {
			x.fault = &Violation{Model: x.m.Name, What: fmt.Sprintf("more than %d states", limit)}
			return
		}
	}
	x.first = append(x.first, uint64(len(x.to)))
}

// A successor is what leads from one state to the next.
type successor struct {
	label label
	proc  int
	slot  int
	pend  pending
	out   outcome
	woken []sleeper
}

// A sleeper is a thread that sleeps.
type sleeper struct{ proc, slot int }

// successors calls yield with each state that can come after st. What yield gets
// is overwritten afterwards.
func (x *search) successors(from []byte, yield func([]byte, *successor) bool) {
	cur := x.scratch[1]
	copy(cur, from) // the arena may move
	st := x.scratch[2]
	if x.choices(cur, st, yield) {
		return
	}
	for p := range x.procs {
		if x.isDead(cur, p) {
			continue
		}
		n := x.node(cur, p)
		for slot := range n.pend {
			pend := &n.pend[slot]
			s := successor{label: by(didStep, p, slot), proc: p, slot: slot, pend: *pend}
			if pend.kind == kindNone || pend.kind == kindLocal || pend.kind == kindLock && !x.free(cur, pend.at) {
				continue
			}
			if pend.kind == kindWait && cur[x.asleep+p]&(1<<slot) != 0 {
				if x.sliceMayEnd(cur) {
					copy(st, cur)
					st[x.asleep+p] &^= 1 << slot
					if x.m.Slices != 0 {
						st[x.slices]++
					}
					s.label, s.out.v = by(didEndSlice, p, slot), uint64(mem.Over)
					x.advance(st, p, slot, s.out)
					if !yield(st, &s) {
						return
					}
				}
				if int(cur[x.spurious]) < x.m.Spurious {
					copy(st, cur)
					st[x.asleep+p] &^= 1 << slot
					st[x.spurious]++
					s.label, s.out.v = by(didSpurious, p, slot), uint64(mem.Woken)
					x.advance(st, p, slot, s.out)
					if !yield(st, &s) {
						return
					}
				}
				continue
			}
			if pend.kind == kindWake {
				if !x.wakes(cur, st, &s, yield) {
					return
				}
				continue
			}
			choices := 1
			if pend.kind == kindChoose {
				choices = pend.n
			}
			for c := range choices {
				copy(st, cur)
				s.out = x.apply(st, p, slot, pend, c)
				x.advance(st, p, slot, s.out)
				if !yield(st, &s) {
					return
				}
			}
		}
		if n.ending && int(cur[x.cancels]) < x.m.Cancels && x.waits(cur, p, n) {
			copy(st, cur)
			st[x.cancels]++
			s := successor{label: by(didCancel, p, 0), proc: p, slot: cancelSlot}
			x.advance(st, p, cancelSlot, outcome{})
			if !yield(st, &s) {
				return
			}
		}
		if !n.finished && !x.m.Actors[p].Immortal && bits.OnesCount8(cur[x.dead]) < x.m.Deaths {
			copy(st, cur)
			st[x.dead] |= 1 << p
			st[x.asleep+p] = 0
			x.setNode(st, p, 0)
			x.view.st, x.view.Ghost = st, Ghost{st[x.ghost:x.dead]}
			if x.m.Died != nil {
				x.m.Died(&x.view, p)
			}
			x.noted()
			s := successor{label: by(didDie, p, 0), proc: p}
			if !yield(st, &s) {
				return
			}
		}
	}
}

// choices is successors for a state in which somebody is about to make a choice, which
// concerns nobody else: then that comes first, since others' steps and deaths can as
// well come after it.
func (x *search) choices(cur, st []byte, yield func([]byte, *successor) bool) bool {
	for p := range x.procs {
		if x.isDead(cur, p) {
			continue
		}
		n := x.node(cur, p)
		for slot := range n.pend {
			pend := &n.pend[slot]
			if pend.kind != kindChoose {
				continue
			}
			silent := true
			for c := range pend.n {
				e := x.procs[p].edge(x.nodeID(cur, p), event{int8(slot), outcome{v: uint64(c)}})
				silent = silent && len(e.notes) == 0 && e.broken == "" && !x.procs[p].nodes[e.to].finished
			}
			if !silent {
				continue
			}
			for c := range pend.n {
				copy(st, cur)
				s := successor{label: by(didStep, p, slot), proc: p, slot: slot, pend: *pend, out: outcome{v: uint64(c)}}
				x.advance(st, p, slot, s.out)
				if !yield(st, &s) {
					break
				}
			}
			return true
		}
	}
	return false
}

// sliceMayEnd reports whether somebody's slice may end now.
func (x *search) sliceMayEnd(st []byte) bool {
	switch used := int(st[x.slices]); {
	case x.m.Slices == 0:
		return true
	case used < x.m.Slices-x.m.Late:
		return true
	case used >= x.m.Slices:
		return false
	}
	for p := range x.procs {
		if x.isDead(st, p) {
			continue
		}
		n := x.node(st, p)
		for slot := range n.pend {
			pend := &n.pend[slot]
			switch {
			case pend.kind == kindNone || pend.kind == kindLocal:
			case pend.kind == kindWait && st[x.asleep+p]&(1<<slot) != 0:
			case pend.kind == kindLock && !x.free(st, pend.at):
			default:
				return false
			}
		}
	}
	return true
}

// waits reports whether p's first thread waits, which is when the end of its
// context makes a difference.
func (x *search) waits(st []byte, p int, n *node) bool {
	return n.pend[0].kind == kindLocal || n.pend[0].kind == kindWait && st[x.asleep+p]&1 != 0
}

// advance takes a process's thread past its step.
func (x *search) advance(st []byte, p, slot int, o outcome) {
	e := x.procs[p].edge(x.nodeID(st, p), event{int8(slot), o})
	x.setNode(st, p, e.to)
	x.view.st, x.view.Ghost = st, Ghost{st[x.ghost:x.dead]}
	x.note(e)
	if x.m.Stepped != nil {
		x.m.Stepped(&x.view)
		x.noted()
	}
}

// note applies what an edge notes.
func (x *search) note(e *edge) {
	for _, f := range e.notes {
		f(&x.view)
	}
	if e.broken != "" {
		x.view.Failf("%s", e.broken)
	}
	x.noted()
}

func (x *search) noted() {
	if x.view.fail != "" && x.fault == nil {
		x.fault = &Violation{Model: x.m.Name, What: x.view.fail}
	}
	x.view.fail = ""
}

// apply takes a step on the shared memory.
func (x *search) apply(st []byte, p, slot int, pend *pending, choice int) outcome {
	switch pend.kind {
	case kindWord:
		at := x.word8(st, pend.at, pend.op != mem.Load)
		old := binary.LittleEndian.Uint64(at)
		val, ret := old, old
		switch pend.op {
		case mem.Store:
			val, ret = pend.a, 0
		case mem.Add:
			val = old + pend.a
			ret = val
		case mem.Swap:
			val = pend.a
		case mem.And:
			val = old & pend.a
		case mem.Or:
			val = old | pend.a
		case mem.CompareAndSwap:
			ret = 0
			if old == pend.a {
				val, ret = pend.b, 1
			}
		}
		binary.LittleEndian.PutUint64(at, val)
		return outcome{v: ret}
	case kindWait:
		if uint64(binary.LittleEndian.Uint32(x.word8(st, pend.at, false))) != pend.a {
			return outcome{v: uint64(mem.Skipped)}
		}
		st[x.asleep+p] |= 1 << slot
		return outcome{v: asleep}
	case kindRead:
		b := make([]byte, pend.n)
		for i := range b {
			b[i] = x.word8(st, (pend.at+i)/8*8, false)[(pend.at+i)%8]
		}
		return outcome{b: string(b)}
	case kindWrite:
		for i := range pend.data {
			x.word8(st, (pend.at+i)/8*8, true)[(pend.at+i)%8] = pend.data[i]
		}
	case kindLock:
		binary.LittleEndian.PutUint64(x.word8(st, pend.at, true), pend.a)
	case kindChoose:
		return outcome{v: uint64(choice)}
	case kindAlive:
		i := int(pend.a) - 1
		if i >= 0 && i < len(x.procs) && !x.isDead(st, i) {
			return outcome{v: 1}
		}
	}
	return outcome{}
}

// word8 is a word of the shared memory in a state.
func (x *search) word8(st []byte, off int, write bool) []byte {
	if at := x.where[off/8]; at >= 0 {
		return st[at : at+8]
	}
	if write && x.fault == nil {
		x.fault = &Violation{Model: x.m.Name, What: fmt.Sprintf("the word at %d is written, and the model does not keep it", off)}
	}
	return append([]byte(nil), x.memory[off:off+8]...)
}

// free reports whether nobody alive has the lock at off.
func (x *search) free(st []byte, off int) bool {
	holder := int(binary.LittleEndian.Uint64(x.word8(st, off, false))) - 1
	return holder < 0 || x.isDead(st, holder)
}

// wakes takes a wake-up: every choice of whom it wakes is tried, since the kernel
// promises no order.
func (x *search) wakes(cur, st []byte, s *successor, yield func([]byte, *successor) bool) bool {
	var asleep []sleeper
	for p := range x.procs {
		left := cur[x.asleep+p]
		for slot := 0; left != 0; slot, left = slot+1, left>>1 {
			if left&1 != 0 && x.node(cur, p).pend[slot].at == s.pend.at {
				asleep = append(asleep, sleeper{p, slot})
			}
		}
	}
	n := min(len(asleep), max(s.pend.n, 0))
	for set := range uint(1) << len(asleep) {
		if bits.OnesCount(set) != n {
			continue
		}
		copy(st, cur)
		s.woken = s.woken[:0]
		s.out = outcome{v: uint64(n)}
		x.advance(st, s.proc, s.slot, s.out)
		for i, w := range asleep {
			if set&(1<<i) != 0 {
				s.woken = append(s.woken, w)
				st[x.asleep+w.proc] &^= 1 << w.slot
				x.advance(st, w.proc, w.slot, outcome{v: uint64(mem.Woken)})
			}
		}
		if !yield(st, s) {
			return false
		}
	}
	return true
}

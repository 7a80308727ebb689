//go:build multiproc_explore

package explore

import (
	"fmt"
	"math/bits"
	"strings"
)

// progress checks that everybody gets to the end. It returns how many states there
// are in which somebody waits for the end of a slice.
//
//   - From every state, steps alone lead to one in which nobody takes a step any
//     more: no endless loop without a way out.
//   - In such a state everybody has finished, if nobody has died.
//   - If somebody has, then the end of one slice for each sleeper, in any order, and
//     the steps that follow lead to one in which everybody has.
func (x *search) progress() (quiet int) {
	n := uint32(len(x.parent))
	const (
		leadsOut = 1 << iota // steps lead to a quiet state or a final one
		isQuiet
		isFinal
	)
	flags := make([]uint8, n)
	indegree := make([]uint32, n+1)
	for i := range n {
		steps := 0
		for e := x.first[i]; e < x.first[i+1]; e++ {
			if x.how[e].kind() == didStep && x.to[e] != i {
				steps++
				indegree[x.to[e]+1]++
			}
		}
		st := x.state(i)
		switch {
		case x.settled(st):
			flags[i] |= isFinal | leadsOut
		case steps == 0:
			flags[i] |= isQuiet | leadsOut
			quiet++
		}
	}
	for i := range n {
		indegree[i+1] += indegree[i]
	}
	back := make([]uint32, indegree[n])
	fill := append([]uint32(nil), indegree...)
	for i := range n {
		for e := x.first[i]; e < x.first[i+1]; e++ {
			if x.how[e].kind() == didStep && x.to[e] != i {
				back[fill[x.to[e]]] = i
				fill[x.to[e]]++
			}
		}
	}
	var todo []uint32
	for i := range n {
		if flags[i] != 0 {
			todo = append(todo, i)
		}
	}
	for len(todo) > 0 {
		i := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, j := range back[indegree[i]:indegree[i+1]] {
			if flags[j]&leadsOut == 0 {
				flags[j] |= leadsOut
				todo = append(todo, j)
			}
		}
	}
	for i := range n {
		if flags[i]&leadsOut == 0 {
			x.blame(i, "from here on, nobody gets anywhere: "+x.unfinished(i))
			return quiet
		}
	}
	if x.m.AnySlices {
		x.slicesLeadOut(flags, isFinal)
		return quiet
	}
	for i := range n {
		if flags[i]&isQuiet != 0 && x.state(i)[x.dead] == 0 {
			x.blame(i, "nobody died, and only the end of a slice goes on from here: "+x.unfinished(i))
			return quiet
		}
	}
	x.oneSlice(flags, isQuiet, isFinal)
	return quiet
}

// slicesLeadOut checks that steps and ends of slices lead to the end from
// everywhere.
func (x *search) slicesLeadOut(flags []uint8, isFinal uint8) {
	n := uint32(len(x.parent))
	ok := make([]bool, n)
	for again := true; again; { // few rounds: it runs against the order of discovery
		again = false
		for k := n; k > 0; k-- {
			i := k - 1
			if ok[i] {
				continue
			}
			if flags[i]&isFinal != 0 || x.m.Slices != 0 && int(x.state(i)[x.slices]) >= x.m.Slices {
				ok[i], again = true, true
				continue
			}
			for e := x.first[i]; e < x.first[i+1]; e++ {
				if h := x.how[e].kind(); (h == didStep || h == didEndSlice) && ok[x.to[e]] {
					ok[i], again = true, true
					break
				}
			}
		}
	}
	for i := range n {
		if !ok[i] {
			x.blame(i, "there is no way to the end from here: "+x.unfinished(i))
			return
		}
	}
}

// oneSlice checks what happens from the quiet states in which somebody has died.
func (x *search) oneSlice(flags []uint8, isQuiet, isFinal uint8) {
	type at struct {
		state uint32
		left  uint64 // whose slice may still end: a bit for each process and thread
	}
	type from struct {
		at
		how label
	}
	n := uint32(len(x.parent))
	came := map[at]from{}
	var todo []at
	for i := range n {
		if flags[i]&isQuiet == 0 || !x.slicesLeft(i) {
			continue
		}
		a := at{i, ^uint64(0)}
		came[a] = from{at: a}
		todo = append(todo, a)
		for len(todo) > 0 {
			a := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			if flags[a.state]&isFinal != 0 {
				continue
			}
			stuck := !x.couldEnd(a.state, a.left)
			for e := x.first[a.state]; e < x.first[a.state+1]; e++ {
				next := at{x.to[e], a.left}
				switch h := x.how[e]; h.kind() {
				case didStep:
					if next.state == a.state {
						continue // it goes nowhere
					}
				case didEndSlice:
					bit := uint64(1) << (h &^ didMask)
					if flags[a.state]&isQuiet == 0 || a.left&bit == 0 {
						continue
					}
					next.left &^= bit
				default:
					continue
				}
				stuck = false
				if _, ok := came[next]; !ok {
					came[next] = from{a, x.how[e]}
					todo = append(todo, next)
				}
			}
			if stuck {
				lines := []string{}
				for b := a; came[b].at != b; b = came[b].at {
					if came[b].how.kind() == didEndSlice {
						p := int(came[b].how&^didMask) / maxThreads
						lines = append([]string{x.name(p) + "  its slice ends, and all run on until nobody can"}, lines...)
					}
					i = came[b].at.state
				}
				x.blame(i, "a slice has ended for everybody, and that was not enough: "+x.unfinished(a.state))
				x.fault.trace = append(x.fault.trace, lines...)
				return
			}
		}
	}
}

// slicesLeft reports whether the slices of all who sleep in a state may still end.
func (x *search) slicesLeft(i uint32) bool {
	if x.m.Slices == 0 {
		return true
	}
	st, need := x.state(i), 0
	for p := range x.procs {
		need += bits.OnesCount8(st[x.asleep+p])
	}
	return x.m.Slices-int(st[x.slices]) >= need
}

// couldEnd reports whether, but for the bound on slices, one of those who sleep could be
// through with it, of whom left says that theirs has not ended yet.
func (x *search) couldEnd(i uint32, left uint64) bool {
	st := x.state(i)
	if x.m.Slices == 0 || int(st[x.slices]) < x.m.Slices {
		return false
	}
	for p := range x.procs {
		for slot := range maxThreads {
			if st[x.asleep+p]&(1<<slot) != 0 && left&(1<<uint64(by(0, p, slot))) != 0 {
				return true
			}
		}
	}
	return false
}

func (x *search) blame(i uint32, what string) {
	x.fault = &Violation{Model: x.m.Name, What: what}
	x.fault.trace = x.trace(i)
}

// unfinished says who is not at the end in a state, and where.
func (x *search) unfinished(i uint32) string {
	var who []string
	st := x.state(i)
	for p := range x.procs {
		n := x.node(st, p)
		if x.isDead(st, p) || n.finished {
			continue
		}
		s := x.name(p)
		for slot, pend := range n.pend {
			switch {
			case pend.kind == kindNone:
			case pend.kind == kindWait && st[x.asleep+p]&(1<<slot) != 0:
				s += fmt.Sprintf(" asleep at %s", pend.place())
			default:
				s += fmt.Sprintf(" at %s", pend.place())
			}
		}
		who = append(who, s)
	}
	words := ""
	for off := 0; off+8 <= x.m.Size; off += 8 {
		x.view.st = st
		if w := x.view.Word(off); w != 0 && x.where[off/8] >= 0 {
			words += fmt.Sprintf(" [%d]=%#x", off, w)
		}
	}
	return strings.Join(who, ", ") + ";" + words
}

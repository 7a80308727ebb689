//go:build multiproc_explore

package explore

import (
	"fmt"
	"math/rand/v2"
)

// checkMarks looks whether mergers that Mark brought about were right: it runs the
// process the way that was not taken, and then both ways on together, and compares
// what they do. It returns how many it has looked at.
func (x *search) checkMarks() (checked int) {
	for _, a := range x.procs {
		for _, m := range a.merges {
			if what := a.differs(m); what != "" {
				x.fault = &Violation{Model: x.m.Name, What: fmt.Sprintf(
					"%s: a Mark, At or Digest leaves out what matters: %s", x.name(a.id), what)}
				x.fault.trace = a.story(append(a.path(m.from), m.via))
				return checked
			}
			checked++
		}
	}
	return checked
}

// differs runs the other way to m.to on, along a random way that was explored from
// there, and says where it does something else.
func (a *automaton) differs(m merge) string {
	in := a.run()
	defer in.end()
	for _, e := range append(a.path(m.from), m.via) {
		if !in.can(e) {
			return "it can not be done again"
		}
		in.step(int(e.slot), e.out)
	}
	at := m.to
	for range 64 {
		n := a.nodes[at]
		for slot, t := range in.threads {
			var p pending
			if t != nil {
				p = t.pend
			}
			if !p.same(n.pend[slot]) {
				return fmt.Sprintf("%+v at %s here, %+v at %s there", p.kind, p.place(), n.pend[slot].kind, n.pend[slot].place())
			}
		}
		if in.main.done != n.finished {
			return "one is at its end, and the other is not"
		}
		if len(n.edges) == 0 {
			return ""
		}
		e := n.edges[rand.IntN(len(n.edges))]
		if !in.can(e.event) {
			return "one can go on, and the other can not"
		}
		in.step(int(e.slot), e.out)
		if len(in.notes) != len(e.notes) {
			return "the model's notes differ"
		}
		at = e.to
	}
	return ""
}

// story says what a process has seen.
func (a *automaton) story(path []event) []string {
	in := a.run()
	defer in.end()
	var lines []string
	for _, e := range path {
		s := successor{proc: a.id, slot: int(e.slot), out: e.out}
		if e.slot == cancelSlot {
			s.label = didCancel
		} else if t := in.threads[e.slot]; t != nil {
			s.pend = t.pend
		}
		lines = append(lines, a.x.line(nil, &s))
		if !in.can(e) {
			break
		}
		in.step(int(e.slot), e.out)
	}
	return lines
}

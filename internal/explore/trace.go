//go:build multiproc_explore

package explore

import (
	"fmt"
	"math"
	"strings"

	"github.com/go-multiproc/multiproc/internal/mem"
)

// A Violation is a way to a state that must not be.
type Violation struct {
	Model string
	What  string
	trace []string
}

func (v *Violation) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", v.Model, v.What)
	for i, l := range v.trace {
		fmt.Fprintf(&b, "%4d  %s\n", i+1, l)
	}
	return b.String()
}

// Steps is how many steps lead there.
func (v *Violation) Steps() int { return len(v.trace) }

// trace is the shortest way to a state, a line for each step.
func (x *search) trace(to uint32) []string {
	var way []uint32
	for n := to; n != math.MaxUint32; n = x.parent[n] {
		way = append(way, n)
	}
	fault := x.fault // finding the lines again may run into it once more
	var lines []string
	for i := len(way) - 1; i > 0; i-- {
		from := append([]byte(nil), x.state(way[i])...)
		want := append([]byte(nil), x.state(way[i-1])...)
		x.successors(from, func(st []byte, s *successor) bool {
			if string(st) == string(want) {
				lines = append(lines, x.line(from, s))
				return false
			}
			return true
		})
	}
	x.fault = fault
	return lines
}

func (x *search) name(p int) string {
	if n := x.m.Actors[p].Name; n != "" {
		return n
	}
	return string(rune('A' + p))
}

// line describes a step.
func (x *search) line(st []byte, s *successor) string {
	who := x.name(s.proc)
	if s.slot > 0 && s.slot < maxThreads {
		who += fmt.Sprintf("/%d", s.slot)
	}
	what := ""
	switch s.label.kind() {
	case didDie:
		return who + "  is killed"
	case didCancel:
		return who + "  its context ends"
	case didEndSlice:
		what = "its slice ends"
	case didSpurious:
		what = "wakes up for no reason"
	default:
		what = x.describe(st, s)
	}
	return fmt.Sprintf("%-5s %-50s %s", who, what, s.pend.place())
}

func (x *search) describe(st []byte, s *successor) string {
	p := s.pend
	switch p.kind {
	case kindWord:
		at := fmt.Sprintf("[%d]", p.at)
		switch p.op {
		case mem.Load:
			return fmt.Sprintf("load %s = %#x", at, s.out.v)
		case mem.Store:
			return fmt.Sprintf("store %s = %#x", at, p.a)
		case mem.CompareAndSwap:
			end := "done"
			if s.out.v == 0 {
				end = "fails"
			}
			return fmt.Sprintf("cas %s %#x -> %#x: %s", at, p.a, p.b, end)
		}
		return fmt.Sprintf("%v %s %#x: %#x", p.op, at, p.a, s.out.v)
	case kindWait:
		if s.out.v == uint64(mem.Skipped) {
			return fmt.Sprintf("wait [%d] seen %#x: skipped", p.at, p.a)
		}
		return fmt.Sprintf("wait [%d] seen %#x: falls asleep", p.at, p.a)
	case kindWake:
		var names []string
		for _, w := range s.woken {
			names = append(names, x.name(w.proc))
		}
		if len(names) == 0 {
			return fmt.Sprintf("wake [%d]: nobody", p.at)
		}
		return fmt.Sprintf("wake [%d]: %s", p.at, strings.Join(names, ", "))
	case kindRead:
		return fmt.Sprintf("copy from [%d]: %x", p.at, s.out.b)
	case kindWrite:
		return fmt.Sprintf("copy to [%d]: %x", p.at, p.data)
	case kindChoose:
		if p.what != "" {
			return fmt.Sprintf("%s: %v", p.what, s.out.v == 1)
		}
		return fmt.Sprintf("choose %d of %d", s.out.v, p.n)
	case kindAlive:
		return fmt.Sprintf("alive %d: %v", p.a, s.out.v == 1)
	}
	if p.kind == kindLock {
		return fmt.Sprintf("lock [%d]", p.at)
	}
	return "step"
}

//go:build multiproc_explore

package explore

import (
	"strings"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/mem"
)

// A Fault is planted between the code and its steps, to see whether the explorer finds it. A function that is not nil takes the place of that
// step; real does it as it was meant.
type Fault struct {
	Word func(real mem.Scheduler, op mem.Op, w *mem.Uint64, a, b uint64) uint64
	Wait func(real mem.Scheduler, w *mem.Uint64, seen uint64, d time.Duration) mem.End
	Wake func(real mem.Scheduler, w *mem.Uint64, n int) int
	Copy func(real mem.Scheduler, dst, src []byte)
}

// A planted is a scheduler with a fault.
type planted struct {
	mem.Scheduler
	fault Fault
}

func (p planted) Word(op mem.Op, w *mem.Uint64, a, b uint64) uint64 {
	if p.fault.Word != nil {
		return p.fault.Word(p.Scheduler, op, w, a, b)
	}
	return p.Scheduler.Word(op, w, a, b)
}

func (p planted) Wait(w *mem.Uint64, seen uint64, d time.Duration) mem.End {
	if p.fault.Wait != nil {
		return p.fault.Wait(p.Scheduler, w, seen, d)
	}
	return p.Scheduler.Wait(w, seen, d)
}

func (p planted) Wake(w *mem.Uint64, n int) int {
	if p.fault.Wake != nil {
		return p.fault.Wake(p.Scheduler, w, n)
	}
	return p.Scheduler.Wake(w, n)
}

func (p planted) Copy(dst, src []byte) {
	if p.fault.Copy != nil {
		p.fault.Copy(p.Scheduler, dst, src)
		return
	}
	p.Scheduler.Copy(dst, src)
}

// Find explores m with a fault in it, and reports as t's failure that nothing was found, or something in whose description found does not stand.
func Find(t testing.TB, m Model, f Fault, found string) {
	t.Helper()
	m.Plant = func(real mem.Scheduler) mem.Scheduler { return planted{real, f} }
	r, v := Run(m)
	if v == nil {
		t.Fatalf("not found in %v", r)
	}
	t.Logf("found among %d states:\n%v", r.States, v)
	if !strings.Contains(v.What, found) {
		t.Errorf("found something else: %s", v.What)
	}
}

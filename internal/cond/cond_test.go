package cond

import (
	"context"
	"strings"
	"testing"

	"github.com/go-multiproc/multiproc/internal/mem"
)

// plainCond is a Cond in plain memory, for a process with token 1.
func plainCond(records int, alive func(uint64) bool) (*Cond, []Record) {
	all := make([]Record, records)
	for i := range all {
		all[i] = Record{new(mem.Uint64), new(mem.Uint64), new(mem.Uint64)}
	}
	return New(new(mem.Uint64), new(mem.Uint64), records, func(i int) Record { return all[i] }, 1, alive), all
}

func TestCounts(t *testing.T) {
	const token = 1<<40 - 1
	c := counts(0).plusWaiting(token).plusWaiting(token).plusWaiting(token)
	if c.waiting() != 3 || c.signalled() != 0 || !c.of(token) || c.of(token-1) {
		t.Errorf("%x", uint64(c))
	}
	c = c.signal(2)
	if c.waiting() != 1 || c.signalled() != 2 || !c.of(token) {
		t.Errorf("%x", uint64(c))
	}
	c = c.taken()
	if c.waiting() != 1 || c.signalled() != 0 || !c.of(token) {
		t.Errorf("%x", uint64(c))
	}
	if full := c + maxNumber - 1; full.waiting() != maxNumber || full.signal(maxNumber).signalled() != maxNumber || !full.signal(maxNumber).of(token) {
		t.Errorf("%x: the numbers run over", uint64(full))
	}
}

// There is room for so many processes; the places of the dead are free.
func TestRecordsRunOut(t *testing.T) {
	dead := uint64(0)
	c, all := plainCond(3, func(token uint64) bool { return token != dead })
	for i, r := range all {
		r.Owner.Store(uint64(i) + 10)
	}
	c.used.Store(3)
	c.Use()
	if _, err := c.Enter(); err == nil || !strings.Contains(err.Error(), "more than 3 processes") {
		t.Errorf("Enter: %v", err)
	}
	c.Signal() // one does not need a place for that
	dead = 11
	all[1].Counts.Store(uint64(counts(0).plusWaiting(dead)))
	w, err := c.Enter()
	if err != nil {
		t.Fatal(err)
	}
	if all[1].Owner.Load() != 1 {
		t.Error("it has another place than the dead one's")
	}
	c.Signal()
	if err := c.Await(Context{Context: context.Background()}, w); err != nil {
		t.Error(err)
	}
	c.Retire()
	if all[1].Owner.Load() != 0 || all[1].Counts.Load() != 0 {
		t.Error("it leaves something behind")
	}
}

// Each slice asks after some processes, and several after all. A death wakes everybody.
func TestSearchIsBounded(t *testing.T) {
	const n = 3 * probes
	for _, dead := range []uint64{2, 100, n} {
		calls := 0
		c, all := plainCond(n, func(token uint64) bool { calls++; return token != dead })
		for i, r := range all[1:] {
			r.Owner.Store(uint64(i) + 2)
		}
		c.used.Store(n)
		c.Use()
		w, err := c.Enter()
		if err != nil {
			t.Fatal(err)
		}
		for range 4 {
			before := calls
			c.search()
			if calls-before > probes {
				t.Errorf("asked after %d at once", calls-before)
			}
		}
		if all[dead-1].Owner.Load() != 0 {
			t.Errorf("%d still has its place", dead)
		}
		if err := c.Await(Context{Context: context.Background()}, w); err != nil {
			t.Error(err)
		}
	}
}

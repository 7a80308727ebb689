package barrier

import (
	"context"
	"errors"
	"testing"

	"github.com/go-multiproc/multiproc/internal/eventcount"
	"github.com/go-multiproc/multiproc/internal/mem"
)

// newBarrier is a barrier in plain memory, for a process with token 1.
func newBarrier(entries, parties int, alive func(uint64) bool) *Barrier {
	members := make([]*mem.Uint64, entries)
	for i := range members {
		members[i] = new(mem.Uint64)
	}
	return New(new(mem.Uint64), eventcount.New(new(mem.Uint64), 1), members, parties, 1, alive)
}

func TestOutcome(t *testing.T) {
	const last = 1<<30 - 1
	tests := []struct {
		name        string
		before, now state
		want        outcome
	}{
		{"nothing happened", makeState(7, 0, 1), makeState(7, 0, 2), pending},
		{"complete", makeState(7, 0, 1), makeState(7, 0, 1).arrival(2), passed},
		{"complete, and others wait already", makeState(7, 0, 1), makeState(8, 0, 1), passed},
		{"complete, and numbers wrap", makeState(last, 0, 1), makeState(last, 0, 1).arrival(2), passed},
		{"complete, and broken then", makeState(7, 0, 1), makeState(8, 0, 1).breaking(lost), passed},
		{"complete, and an empty one reset then", makeState(7, 0, 1), makeState(8, 0, 0).breaking(aborted).reset(), passed},
		{"broken", makeState(7, 0, 1), makeState(7, 0, 2).breaking(lost), broken},
		{"reset", makeState(7, 0, 1), makeState(7, 0, 2).reset(), broken},
		{"broken and reset", makeState(7, 0, 1), makeState(7, 0, 2).breaking(left).reset(), broken},
		{"reset, and resets wrap", makeState(7, 1<<16-1, 1), makeState(7, 1<<16-1, 2).reset(), broken},
		{"reset, and others are many rounds on", makeState(7, 0, 1), makeState(7000, 1, 0), broken},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.now.outcomeOf(tt.before); got != tt.want {
				t.Errorf("%d, want %d", got, tt.want)
			}
		})
	}
	s := makeState(last, 1<<16-1, MaxParties-1).breaking(left)
	if s.round() != last || s.resets() != 1<<16-1 || s.arrived() != MaxParties-1 || s.reason() != left {
		t.Errorf("%x: the fields overlap", uint64(s))
	}
}

func TestMissed(t *testing.T) {
	tests := []struct {
		name         string
		latest, here uint64
		want         bool
	}{
		{"this round", 5, 5, true},
		{"the one before", 4, 5, true},
		{"two before", 3, 5, false},
		{"a later one", 6, 5, true},
		{"this one, and numbers wrapped", 1 << 24, 1 << 24, true},
		{"the one before, and numbers wrap", 1<<24 - 1, 1 << 24, true},
		{"two before, and numbers wrap", 1<<24 - 2, 1 << 24, false},
		{"long ago", 5, 5 + tidyEvery, false},
		{"just before it is cleared for sure", 5, 5 + 10*tidyEvery, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := makeMember(1<<tokenBits-1, tt.latest)
			if got := m.missed(tt.here); got != tt.want {
				t.Errorf("%v, want %v (age %d)", got, tt.want, m.age(tt.here))
			}
			if m.token() != 1<<tokenBits-1 {
				t.Error("the fields overlap")
			}
		})
	}
	if member(0).missed(0) {
		t.Error("a free entry is missed")
	}
}

// Who stays away is forgotten before the numbers wrap; who takes part is not.
func TestTidy(t *testing.T) {
	b := newBarrier(8, 1, nil)
	b.members[3].Store(uint64(makeMember(9, tidyEvery-7)))
	b.members[4].Store(uint64(makeMember(8, tidyEvery-1)))
	b.state.Store(uint64(makeState(tidyEvery, 0, 0)))
	if _, err := b.Wait(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	if b.members[3].Load() != 0 {
		t.Error("one that stays away is still there")
	}
	if member(b.members[4].Load()).token() != 8 {
		t.Error("one that takes part is gone")
	}
}

// A process that found no place in the table does without one.
func TestTableFull(t *testing.T) {
	b := newBarrier(4, 1, nil)
	for i, e := range b.members {
		e.Store(uint64(makeMember(uint64(i)+10, 0)))
	}
	if _, err := b.Wait(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	for i, e := range b.members {
		if got := member(e.Load()).token(); got != uint64(i)+10 {
			t.Errorf("entry %d: %d", i, got)
		}
	}
}

// Each slice asks after some processes, and several after all.
func TestSearchIsBounded(t *testing.T) {
	const n = 3 * probes
	for _, dead := range []uint64{2, 100, n} {
		asked := map[uint64]bool{}
		calls := 0
		b := newBarrier(n, 2, func(token uint64) bool {
			asked[token] = true
			calls++
			return token != dead
		})
		for i, e := range b.members {
			e.Store(uint64(makeMember(uint64(i)+1, 0)))
		}
		b.state.Store(uint64(makeState(0, 0, 1)))
		for range 4 {
			before := calls
			b.search(makeState(0, 0, 0))
			if calls-before > probes {
				t.Errorf("asked after %d at once", calls-before)
			}
		}
		if !asked[dead] {
			t.Errorf("never asked after %d", dead)
		}
		if _, err := b.arrive(); !errors.Is(err, ErrBroken) {
			t.Errorf("%d is dead: %v", dead, err)
		}
	}
}

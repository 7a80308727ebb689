package barrier

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/go-multiproc/multiproc/internal/crash"
	"github.com/go-multiproc/multiproc/internal/detector"
	"github.com/go-multiproc/multiproc/internal/eventcount"
	"github.com/go-multiproc/multiproc/internal/mem"
	"github.com/go-multiproc/multiproc/internal/seg"
)

// ErrBroken is what psync exports.
var ErrBroken = errors.New("psync: barrier is broken")

// The errors of broken barriers, by reason.
var broke = [...]error{
	whole:   fmt.Errorf("%w: it was reset", ErrBroken),
	aborted: fmt.Errorf("%w: it was aborted; Reset makes it usable again", ErrBroken),
	lost:    fmt.Errorf("%w: a process that took part died; Reset makes it usable again", ErrBroken),
	left:    fmt.Errorf("%w: a party stopped waiting; Reset makes it usable again", ErrBroken),
}

// The layout: the state, the eventcount, what belongs to the object that the barrier
// is part of, and on the next cache line the members. Zero bytes are a new barrier.
const (
	countOffset   = 8
	membersOffset = 64
)

// members is the size of the table. In two successive rounds there are no more than
// 2*parties processes that arrive; the rest is for those that come too late for one.
func members(parties int) int { return 2*parties + 64 }

// Size is the number of bytes that a barrier takes, a multiple of a cache line.
func Size(parties int) int { return membersOffset + (members(parties)*8+63)/64*64 }

// Tag is the offset of the word that the object may use for itself.
const Tag = 56

// A Barrier is a barrier in a segment, as one process sees it. It is safe for use by
// goroutines and processes.
type Barrier struct {
	order   detector.Order
	state   *mem.Uint64
	count   *eventcount.Count
	members []*mem.Uint64
	parties int
	token   uint64
	alive   func(token uint64) bool

	inside atomic.Int64 // goroutines in Wait
	asked  atomic.Int64 // the member to ask after first

	mu    mem.Mutex // protects what follows
	entry int       // where this process's membership was the last time
	users int       // handles
}

// At is the barrier at off in the file. There is one for each process.
func At(m *seg.Mapping, off, parties int) *Barrier {
	count := eventcount.At(m, off+countOffset)
	return m.Local(off, func() any {
		entries := make([]*mem.Uint64, members(parties))
		for i := range entries {
			entries[i] = m.Word(off + membersOffset + 8*i)
		}
		return New(m.Word(off), count, entries, parties, m.Token(), m.Alive)
	}).(*Barrier)
}

// New is a barrier for one process, whose token it is. It is for where there is no
// mapping.
func New(s *mem.Uint64, c *eventcount.Count, entries []*mem.Uint64, parties int, token uint64, alive func(uint64) bool) *Barrier {
	return &Barrier{
		state: s, count: c, members: entries, parties: parties, token: token, alive: alive,
		entry: int(token) % len(entries),
	}
}

func (b *Barrier) load() state { return state(b.state.Load()) }

func (b *Barrier) cas(old, new state) bool { return b.state.CompareAndSwap(uint64(old), uint64(new)) }

// Parties is how many have to arrive.
func (b *Barrier) Parties() int { return b.parties }

// Waiting is how many have arrived in the present round; 0 if the barrier is broken.
func (b *Barrier) Waiting() int {
	s := b.load()
	if s.broken() {
		return 0
	}
	return s.arrived()
}

// Broken reports whether the barrier is broken.
func (b *Barrier) Broken() bool { return b.load().broken() }

// Wait arrives and waits for the others. h ends the wait when it is closed.
func (b *Barrier) Wait(ctx context.Context, h *seg.Handle) (index int, err error) {
	b.inside.Add(1)
	defer b.inside.Add(-1)
	s, err := b.arrive()
	if err != nil {
		return 0, err
	}
	index = s.arrived()
	if index+1 == b.parties {
		b.order.Acquire()
		return index, nil
	}
	mem.Mark("barrier.wait", uint64(s))
	err = b.count.Wait(ctx, eventcount.Wanted{
		Try: func() (bool, error) {
			now := b.load()
			switch now.outcomeOf(s) {
			case passed:
				return true, nil
			case broken:
				return false, now.err()
			}
			return false, nil
		},
		Dead:   func() { b.search(s) },
		Handle: h,
	})
	mem.Mark("barrier.waited", uint64(s), mem.Flags(err != nil))
	if err != nil && !errors.Is(err, ErrBroken) {
		err = b.giveUp(s, err)
	}
	if err != nil {
		return 0, err
	}
	b.order.Acquire()
	return index, nil
}

// err is the error of somebody whose round came to nothing.
func (now state) err() error { return broke[now.reason()] }

// arrive counts the caller in, and returns the state in which that happened.
func (b *Barrier) arrive() (state, error) {
	b.order.Release()
	for {
		mem.Mark("barrier.arrive")
		s := b.load()
		if s.broken() {
			return s, s.err()
		}
		// First a member, then counted: see the package documentation.
		mem.Enter()
		b.join(s.round())
		mem.Leave()
		crash.At("barrier.joined")
		if !b.cas(s, s.arrival(b.parties)) {
			continue
		}
		crash.At("barrier.arrived")
		if s.arrived() == 0 && s.round()%tidyEvery == 0 {
			b.tidy(s.round())
		}
		if s.arrived()+1 == b.parties {
			b.count.Broadcast()
			crash.At("barrier.completed")
		}
		return s, nil
	}
}

// giveUp is for a party that has arrived and does not want to wait any more. If its
// round was completed meanwhile, it has passed.
func (b *Barrier) giveUp(arrived state, why error) error {
	for {
		mem.Mark("barrier.giveup", uint64(arrived))
		s := b.load()
		switch s.outcomeOf(arrived) {
		case passed:
			return nil
		case broken:
			return why // that it would have had to give up anyway is its own doing
		}
		if b.cas(s, s.breaking(left)) {
			crash.At("barrier.broken")
			b.count.Broadcast()
			return why
		}
	}
}

// Abort breaks the barrier.
func (b *Barrier) Abort() {
	for {
		mem.Mark("barrier.abort")
		s := b.load()
		if s.broken() || b.cas(s, s.breaking(aborted)) {
			break
		}
	}
	crash.At("barrier.broken")
	b.count.Broadcast()
}

// Reset makes the barrier empty and whole.
func (b *Barrier) Reset() {
	for {
		mem.Mark("barrier.reset")
		s := b.load()
		if b.cas(s, s.reset()) {
			break
		}
	}
	crash.At("barrier.reset")
	b.count.Broadcast()
}

// join makes this process a member of a round.
func (b *Barrier) join(round uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		m := member(b.members[b.entry].Load())
		if m.token() == b.token {
			if m.age(round) <= 0 {
				return
			}
		} else if b.entry = b.vacancy(round); b.entry < 0 {
			// More processes than the table holds crowd around one round. One more
			// is not missed.
			b.entry = 0
			return
		} else {
			m = member(b.members[b.entry].Load())
			if m.missed(round) {
				continue // somebody was quicker
			}
		}
		if b.members[b.entry].CompareAndSwap(uint64(m), uint64(makeMember(b.token, round))) {
			return
		}
	}
}

// vacancy finds an entry that the round can do without, or -1. It starts at a
// place that depends on the process, so that they do not all fight for the first one.
func (b *Barrier) vacancy(round uint64) int {
	n := len(b.members)
	for i := range n {
		at := (int(b.token%uint64(n)) + i) % n
		if !member(b.members[at].Load()).missed(round) {
			return at
		}
	}
	return -1
}

// HandleClosed has those goroutines return whose handle was closed.
func (b *Barrier) HandleClosed() { b.count.HandleClosed() }

// Use counts a handle of this process.
func (b *Barrier) Use() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.users++
}

// Retire undoes Use. With its last handle, the process leaves. None of its goroutines may be
// in Wait by way of that.
func (b *Barrier) Retire() {
	b.mu.Lock()
	b.users--
	last := b.users == 0
	b.mu.Unlock()
	if last {
		b.resign()
	}
}

// Leave implements seg.Leaver. A process that ends while it waits is lost all the same.
func (b *Barrier) Leave() {
	if b.inside.Load() == 0 {
		b.resign()
	}
}

// resign takes this process out of the members: it is not missed from now on. None of
// its goroutines may be in Wait.
func (b *Barrier) resign() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.members {
		if m := member(e.Load()); m.token() == b.token {
			e.CompareAndSwap(uint64(m), 0) // or somebody else has it now
		}
	}
}

// tidy clears the entries of those who have stayed away. They take another one when
// they come back.
func (b *Barrier) tidy(round uint64) {
	for _, e := range b.members {
		if m := member(e.Load()); m != 0 && !m.missed(round) {
			e.CompareAndSwap(uint64(m), 0)
		}
	}
}

// probes is after how many processes one slice asks: about 50 µs. With more of them, it
// takes more slices, but those who wait share the work.
const probes = 64

// search breaks the barrier if a member that the round can not do without is dead.
// The caller has arrived in the round. If there are many, each call asks after some of
// them, and the next one goes on from there.
func (b *Barrier) search(arrived state) {
	start := b.asked.Load() % int64(len(b.members))
	next := int64(0)
	defer func() {
		if next != start {
			b.asked.Store(next)
		}
	}()
	asked := 0
	for i := range b.members {
		at := (int(start) + i) % len(b.members)
		e := b.members[at]
		m := member(e.Load())
		if m == 0 || m.token() == b.token {
			continue
		}
		if asked++; asked > probes {
			next = int64(at)
			return
		}
		if b.alive(m.token()) {
			continue
		}
		// One that left in good order took itself out before it let go of its token.
		if member(e.Load()) != m {
			continue
		}
		if !m.missed(arrived.round()) {
			e.CompareAndSwap(uint64(m), 0)
			continue
		}
		for {
			s := b.load()
			if s.outcomeOf(arrived) != pending {
				return
			}
			if b.cas(s, s.breaking(lost)) {
				crash.At("barrier.broken")
				b.count.Broadcast()
				return
			}
		}
	}
}

// Suspend implements seg.Waiter, to hear of the last handle's end, however it ends.
func (b *Barrier) Suspend() { b.resign() }

// Resume implements seg.Waiter.
func (b *Barrier) Resume() {}

var (
	_ seg.Waiter = (*Barrier)(nil)
	_ seg.Leaver = (*Barrier)(nil)
)

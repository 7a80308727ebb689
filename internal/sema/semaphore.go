package sema

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/go-multiproc/multiproc/internal/crash"
	"github.com/go-multiproc/multiproc/internal/detector"
	"github.com/go-multiproc/multiproc/internal/eventcount"
	"github.com/go-multiproc/multiproc/internal/lock"
	"github.com/go-multiproc/multiproc/internal/mem"
	"github.com/go-multiproc/multiproc/internal/seg"
)

// These are the errors of psync's Semaphore. Two of them are the lock's in other
// words.
var (
	ErrNotHeld error = &inOtherWords{"psync: Release: this process has no permit of the semaphore", lock.ErrNotHeld}
	ErrHeld    error = &inOtherWords{"psync: this process has permits of the semaphore: release them before closing", lock.ErrHeld}
	ErrTooMany       = errors.New("psync: Release: the semaphore is at its maximum")
)

type inOtherWords struct {
	text string
	is   error
}

func (e *inOtherWords) Error() string { return e.text }
func (e *inOtherWords) Unwrap() error { return e.is }

// patience is how long a waiter lets newcomers go first. Tests have none.
var patience = 5 * time.Millisecond

// A Semaphore is a semaphore in a segment, as one process has it. It is safe for use
// by goroutines and processes. It does not keep its memory: who calls a method keeps the
// handle reachable, and passes it where the method takes one.
type Semaphore struct {
	order  detector.Order
	m      *seg.Mapping
	own    uint64 // this process's token
	slots  []*mem.Uint64
	count  *eventcount.Count
	hungry *mem.Uint64

	// hint is the slot to begin with: the one that this process took or gave back
	// last, which is in its cache.
	hint atomic.Uint32

	counts  bool
	start   int64
	balance *mem.Uint64
	limit   *mem.Uint64
}

// At is the semaphore at off in the file, a multiple of 64, where zero bytes are a fresh
// one. There is one for each process and place. In counting mode limit is the most permits
// there can be; 0 takes what was said before.
func At(m *seg.Mapping, off int, p Param, limit int) (*Semaphore, error) {
	c := eventcount.At(m, off+countOffset)
	s := m.Local(off+hungryOffset, func() any { return newSemaphore(m, off, p, c) }).(*Semaphore)
	if limit > 0 && !s.limit.CompareAndSwap(0, uint64(limit)) && s.limit.Load() != uint64(limit) {
		return nil, fmt.Errorf("psync: %w: a counting Semaphore with a maximum of %d stands there, not of %d", seg.ErrType, s.limit.Load(), limit)
	}
	return s, nil
}

func newSemaphore(m *seg.Mapping, off int, p Param, c *eventcount.Count) *Semaphore {
	s := &Semaphore{
		m: m, own: m.Token(), count: c, hungry: m.Word(off + hungryOffset),
		counts: p.Counts(), start: int64(p.Start()), balance: m.Word(off + balanceOffset), limit: m.Word(off + limitOffset),
	}
	n := p.slots()
	for i := range n {
		s.slots = append(s.slots, m.Word(off+slotOffset(i, n)))
	}
	if n > 0 {
		// Processes begin in different places, so as not to meet.
		s.hint.Store(uint32(s.own % uint64(n)))
	}
	return s
}

// Unmade panics for psync's zero Semaphore, which has a nil one. It is asked for here, and
// not there, since the compiler puts psync's methods into the caller as long as they are short.
func Unmade() {
	panic("psync: use of a Semaphore that was not made by NewSemaphore, CreateSemaphore, OpenSemaphore or SemaphoreAt")
}

// take takes a permit. A false is certain to whoever was announced before.
func (s *Semaphore) take() bool {
	if s.counts {
		return s.down()
	}
	i := int(s.hint.Load())
	for range s.slots {
		w := s.slots[i]
		if w.Load() == 0 && w.CompareAndSwap(0, s.own) {
			s.remember(i)
			return true
		}
		if i++; i == len(s.slots) {
			i = 0
		}
	}
	return false
}

// give gives a permit of this process back, if it has one. The search goes the other way than
// that for a free one: what was taken last is found first.
func (s *Semaphore) give() bool {
	i := int(s.hint.Load())
	for range s.slots {
		w := s.slots[i]
		if w.Load() == s.own && w.CompareAndSwap(s.own, 0) {
			s.remember(i)
			return true
		}
		if i--; i < 0 {
			i = len(s.slots) - 1
		}
	}
	return false
}

func (s *Semaphore) remember(i int) {
	if s.hint.Load() != uint32(i) {
		s.hint.Store(uint32(i))
	}
}

// down is take in counting mode.
func (s *Semaphore) down() bool {
	for {
		mem.Mark("sema.down")
		b := s.balance.Load()
		if int64(b) >= s.start {
			return false
		}
		if s.balance.CompareAndSwap(b, b+1) {
			return true
		}
	}
}

// up is give in counting mode.
func (s *Semaphore) up() bool {
	for {
		mem.Mark("sema.up")
		b := s.balance.Load()
		if s.start-int64(b) >= int64(s.limit.Load()) {
			return false
		}
		if s.balance.CompareAndSwap(b, b-1) {
			return true
		}
	}
}

// Acquire takes a permit, and waits for one as long as ctx allows. A free one is taken without
// a look at ctx.
func (s *Semaphore) Acquire(ctx context.Context, h *seg.Handle) error {
	if s == nil {
		Unmade()
	}
	if s.hungry.Load() == 0 {
		// The slot of the last time is tried in place, as in Release: the search, a
		// call, would cost as much again.
		if i := int(s.hint.Load()); i < len(s.slots) && s.slots[i].CompareAndSwap(0, s.own) || s.take() {
			return s.acquired(h)
		}
	}
	return s.wait(ctx, h)
}

// acquired ends every acquisition.
func (s *Semaphore) acquired(h *seg.Handle) error {
	crash.At("sema.taken")
	if h.Closed() {
		return s.tooLate(h)
	}
	s.order.Acquire()
	return nil
}

// tooLate is for a permit that was taken when the handle was closed already. The slot may
// be in the pages that replaced the segment; whichever it is, it is given back. (Or else,
// it is a dead process's.)
func (s *Semaphore) tooLate(h *seg.Handle) error {
	s.giveBack()
	return h.ErrClosed()
}

func (s *Semaphore) giveBack() {
	if s.counts {
		s.up()
	} else {
		s.give()
	}
	s.count.Notify()
}

// TryAcquire takes a permit if there is a free one. If there is none, it looks for dead
// owners.
func (s *Semaphore) TryAcquire(h *seg.Handle) (bool, error) {
	if s == nil {
		Unmade()
	}
	if h.Closed() {
		return false, h.ErrClosed()
	}
	if s.reserved() || !s.take() && (!s.bury() || !s.take()) {
		return false, nil
	}
	err := s.acquired(h)
	return err == nil, err
}

// reserved reports whether newcomers have to let somebody go first.
func (s *Semaphore) reserved() bool {
	t := s.hungry.Load()
	if t == 0 {
		return false
	}
	if t != s.own && !s.m.Alive(t) {
		s.feed(t)
		return false
	}
	return true
}

// Release gives a permit back.
func (s *Semaphore) Release(h *seg.Handle) error {
	if s == nil {
		Unmade()
	}
	s.order.Release()
	if s.counts {
		if h.Closed() {
			return h.ErrClosed()
		}
		if !s.up() {
			return ErrTooMany
		}
	} else if i := int(s.hint.Load()); (i >= len(s.slots) || !s.slots[i].CompareAndSwap(s.own, 0)) && !s.give() {
		if h.Closed() {
			return h.ErrClosed()
		}
		return ErrNotHeld
	}
	crash.At("sema.released")
	s.count.Notify()
	return nil
}

// Value is the number of free permits.
func (s *Semaphore) Value() int {
	if s.counts {
		return int(s.start - int64(s.balance.Load()))
	}
	s.bury()
	n := 0
	for _, w := range s.slots {
		if w.Load() == 0 {
			n++
		}
	}
	return n
}

// Held is the number of permits that this process has.
func (s *Semaphore) Held() int {
	n := 0
	for _, w := range s.slots {
		if w.Load() == s.own {
			n++
		}
	}
	return n
}

// wait is Acquire when no permit was free at the first look.
func (s *Semaphore) wait(ctx context.Context, h *seg.Handle) error {
	t := turn{s: s, came: time.Now()}
	mem.Mark("sema.wait")
	err := s.count.Wait(ctx, eventcount.Wanted{
		Try:    func() (bool, error) { return t.try(), nil },
		Awoke:  func() { t.slept = true },
		Dead:   t.sliceOver,
		Knows:  func() uint64 { return mem.Flags(t.slept, t.hungry) },
		Handle: h,
	})
	if t.hungry {
		s.feed(s.own)
	}
	if err == nil {
		return s.acquired(h)
	}
	if !errors.Is(err, seg.ErrClosed) && s.bury() && s.take() {
		// ctx had ended before anybody looked for the dead.
		return s.acquired(h)
	}
	runtime.KeepAlive(h)
	return err
}

// A turn is one goroutine's wait for a permit.
type turn struct {
	s      *Semaphore
	came   time.Time
	slept  bool // it is no newcomer
	hungry bool // it has set the hungry word
}

func (t *turn) try() bool {
	s := t.s
	if !t.slept && s.hungry.Load() != 0 {
		// The permit that may be free is for somebody who sleeps and was woken for it,
		// or who is about to look. When that is over, everybody is woken.
		return false
	}
	if s.take() {
		return true
	}
	if t.slept && !t.hungry && mem.Elapsed(t.came, patience) && s.hungry.CompareAndSwap(0, s.own) {
		crash.At("sema.hungry")
		t.hungry = true
	}
	return false
}

// sliceOver looks for what the dead have left, and for a hungry one that does not eat.
func (t *turn) sliceOver() {
	t.slept = true
	s := t.s
	s.bury()
	if h := s.hungry.Load(); h != 0 && !t.hungry && (s.anyFree() || h != s.own && !s.m.Alive(h)) {
		s.feed(h)
	}
}

func (s *Semaphore) anyFree() bool {
	if s.counts {
		return int64(s.balance.Load()) < s.start
	}
	for _, w := range s.slots {
		if w.Load() == 0 {
			return true
		}
	}
	return false
}

// feed lets newcomers in again, if it was token who kept them out.
func (s *Semaphore) feed(token uint64) {
	if s.hungry.CompareAndSwap(token, 0) {
		crash.At("sema.fed")
		// They have left permits alone that nobody will tell them of again.
		s.count.Broadcast()
	}
}

// bury frees the permits of processes that died. It reports whether there were any.
func (s *Semaphore) bury() bool {
	freed := false
	alive := map[uint64]bool{}
	for _, w := range s.slots {
		t := w.Load()
		if t == 0 || t == s.own {
			continue
		}
		is, known := alive[t]
		if !known {
			is = s.m.Alive(t)
			alive[t] = is
		}
		// Exactly the token that was asked about: the slot may be somebody else's by
		// now.
		if !is && w.CompareAndSwap(t, 0) {
			crash.At("sema.buried")
			freed = true
		}
	}
	if freed {
		s.count.Broadcast()
	}
	return freed
}

// Part is the semaphore as seg.Handle.Close has to know it. A process that leaves gives
// nothing back: what it takes at the last moment, it has as a dead one.
func (s *Semaphore) Part(off int) seg.Quiescer { return part{s, off} }

type part struct {
	s   *Semaphore
	off int
}

func (p part) Refuse() error {
	if p.s.Held() > 0 {
		return ErrHeld
	}
	return nil
}

func (p part) HandleClosed() { p.s.count.HandleClosed() }

func (p part) Quiesce() func([]byte) { return nil }

func (p part) Offset() int { return p.off }

// Init makes the zero bytes b a fresh semaphore in counting mode, before anybody else can
// see them.
func Init(b []byte, limit int) { seg.WordOf(b[limitOffset:]).Store(uint64(limit)) }

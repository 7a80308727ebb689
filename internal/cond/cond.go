package cond

import (
	"fmt"

	"github.com/go-multiproc/multiproc/internal/crash"
	"github.com/go-multiproc/multiproc/internal/eventcount"
	"github.com/go-multiproc/multiproc/internal/mem"
	"github.com/go-multiproc/multiproc/internal/seg"
)

// Processes is how many processes can wait on one Cond.
const Processes = 1024

// The layout: how many records have ever been used, the record that is to be signalled
// first, what belongs to the object that the Cond is part of, and on the next cache line
// the records. Zero bytes are a new Cond.
const (
	usedOffset    = 0
	nextOffset    = 8
	recordsOffset = 64
)

// Size is the number of bytes that a Cond takes, a multiple of a cache line.
const Size = recordsOffset + Processes*recordSize

// probes is after how many processes one slice asks: about 50 µs. With more of them, it
// takes more slices, but those who wait share the work.
const probes = 64

// A Cond is a condition variable in a segment, as one process sees it. It is safe for use
// by goroutines and processes.
type Cond struct {
	used, next *mem.Uint64
	record     func(i int) Record
	records    int
	token      uint64
	alive      func(token uint64) bool

	mu        mem.Mutex         // protects what follows
	mine      Record            // this process's record; with a nil owner, if it has none
	count     *eventcount.Count // where this process's goroutines sleep
	epoch     int               // counts the records that this process has left
	first     *Waiter           // those who wait, in their order; the first one leads
	last      *Waiter
	spare     *Waiter // what is left of the last wait; may be nil
	asked     int     // the record to ask after first
	suspended bool
	users     int // handles
}

// At is the Cond at off in the file. There is one for each process.
func At(m *seg.Mapping, off int) *Cond {
	return m.Local(off, func() any {
		records := off + recordsOffset
		return New(m.Word(off+usedOffset), m.Word(off+nextOffset), Processes,
			func(i int) Record {
				at := records + i*recordSize
				return Record{Owner: m.Word(at + ownerOffset), Counts: m.Word(at + countsOffset), Sleep: m.Word(at + sleepOffset)}
			},
			m.Token(), m.Alive)
	}).(*Cond)
}

// New is a Cond for one process, whose token it is. It is for where there is no mapping.
func New(used, next *mem.Uint64, records int, record func(int) Record, token uint64, alive func(uint64) bool) *Cond {
	return &Cond{used: used, next: next, records: records, record: record, token: token, alive: alive}
}

// inUse is how many records have ever been used.
func (c *Cond) inUse() int { return int(min(c.used.Load(), uint64(c.records))) }

// registerLocked gives this process a record if it has none.
func (c *Cond) registerLocked() error {
	switch {
	case c.suspended:
		return seg.ErrClosed
	case c.mine.Owner != nil:
		return nil
	}
	for range 2 {
		for i := range c.records {
			r := c.record(i)
			if r.Owner.Load() != 0 {
				continue
			}
			// First, so that whoever signals, or looks for the dead, looks that far.
			for n := c.used.Load(); n <= uint64(i) && !c.used.CompareAndSwap(n, uint64(i)+1); n = c.used.Load() {
			}
			if !r.Owner.CompareAndSwap(0, c.token) {
				continue
			}
			crash.At("cond.registered")
			c.own(i)
			return nil
		}
		for i := range c.records {
			c.bury(c.record(i))
		}
	}
	return fmt.Errorf("psync: more than %d processes wait on one Cond", c.records)
}

// own makes record i, whose owner this process is, the one that it uses.
func (c *Cond) own(i int) {
	c.mine = c.record(i)
	c.count = eventcount.New(c.mine.Sleep, c.token)
}

// Signal wakes one goroutine that waits, if there is one.
func (c *Cond) Signal() {
	n := c.inUse()
	if n == 0 {
		return
	}
	start := int(c.next.Load() % uint64(n))
	for i := range n {
		at := (start + i) % n
		if c.signal(c.record(at), 1) {
			if next := uint64(at + 1); c.next.Load() != next {
				c.next.Store(next) // the processes take turns
			}
			return
		}
	}
}

// Broadcast wakes all goroutines that wait.
func (c *Cond) Broadcast() {
	for i := range c.inUse() {
		c.signal(c.record(i), maxNumber)
	}
}

// signal signals up to n of those who wait at r. It reports whether there was one.
func (c *Cond) signal(r Record, n int) bool {
	for {
		v := r.counts()
		if v.waiting() == 0 {
			return false
		}
		if r.cas(v, v.signal(min(n, v.waiting()))) {
			break
		}
	}
	crash.At("cond.signalled")
	r.wake()
	return true
}

// search looks for processes that died. If there are many, each call asks after some of
// them, and the next one goes on from there.
func (c *Cond) search() {
	n := c.inUse()
	c.mu.Lock()
	start := c.asked
	c.mu.Unlock()
	next := 0
	for i, asked := 0, 0; i < n; i++ {
		at := (start + i) % n
		if asked == probes {
			next = at
			break
		}
		if c.bury(c.record(at)) {
			asked++
		}
	}
	if next == start {
		return
	}
	c.mu.Lock()
	c.asked = next
	c.mu.Unlock()
}

// bury wakes everybody and frees r if r's process died. It reports whether it had to ask
// the kernel.
func (c *Cond) bury(r Record) (asked bool) {
	owner := r.Owner.Load()
	if owner == 0 || owner == c.token {
		return false
	}
	// One that left in good order freed its record before it let go of its token.
	if c.alive(owner) || r.Owner.Load() != owner {
		return true
	}
	// In this order: whoever dies in here leaves it to the next to begin anew.
	c.Broadcast()
	crash.At("cond.mourned")
	for v := r.counts(); v != 0 && v.of(owner) && !r.cas(v, 0); v = r.counts() {
	}
	crash.At("cond.cleared")
	r.Owner.CompareAndSwap(owner, 0)
	return true
}

// Use counts a handle of this process. With its first one, the process gets its record, so
// that its death is noticed even if it never comes to signal what it has done.
func (c *Cond) Use() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.users++
	_ = c.registerLocked() // who does not wait can do without
}

// Retire undoes Use. With its last handle, the process leaves.
func (c *Cond) Retire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.users--; c.users == 0 {
		c.leaveLocked()
	}
}

// Leave implements seg.Leaver: nobody needs to wake up because this process is gone, unless
// it waits itself.
func (c *Cond) Leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.first == nil {
		c.leaveLocked()
	}
}

// leaveLocked frees this process's record. Those of its goroutines that still wait are
// about to find that their handles are closed.
func (c *Cond) leaveLocked() {
	if c.mine.Owner == nil {
		return
	}
	v := c.mine.counts()
	for ; v != 0 && !c.mine.cas(v, 0); v = c.mine.counts() {
	}
	c.mine.Owner.CompareAndSwap(c.token, 0)
	c.mine = Record{}
	c.count.Forget() // the next record has another
	c.epoch++
	if v.signalled() > 0 {
		c.Broadcast() // they were meant for somebody who waits no more
	}
}

// HandleClosed has those goroutines return whose handle was closed.
func (c *Cond) HandleClosed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.count != nil {
		c.count.HandleClosed()
	}
	for w := c.first; w != nil; w = w.next {
		w.wake()
	}
}

// Suspend implements seg.Waiter: the memory goes.
func (c *Cond) Suspend() {
	c.mu.Lock()
	c.leaveLocked()
	c.suspended = true
	count := c.count
	c.mu.Unlock()
	if count != nil {
		count.Suspend() // it waits for a goroutine that may want c.mu
	}
}

// Resume implements seg.Waiter.
func (c *Cond) Resume() {
	c.mu.Lock()
	count := c.count
	c.mu.Unlock()
	if count != nil {
		count.Resume()
	}
}

var (
	_ seg.Waiter = (*Cond)(nil)
	_ seg.Leaver = (*Cond)(nil)
)

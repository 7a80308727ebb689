package rwlock

import (
	"context"
	"errors"
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

const (
	open = 0
	shut = 1
)

// courtesy is how long a writer waits for readers that it lets in first and who do not
// come.
var courtesy = 10 * time.Millisecond

// A RWMutex is a lock in a segment, as one handle sees it. It is safe for use by
// goroutines and processes.
type RWMutex struct {
	p *process
	w *lock.Mutex
	h *seg.Handle // see lock.Mutex
}

// A process is what one process has of a lock, whatever handle it uses.
type process struct {
	order     detector.Order
	m         *seg.Mapping
	own       uint64 // token
	gate, top *mem.Uint64
	opened    *eventcount.Count // who waits for the gate
	drained   *eventcount.Count // who waits for the slots
	slots     []slot
	mine      atomic.Pointer[slot] // this process's, once it has read
	mu        mem.Mutex            // held while one is claimed
}

// At places a lock on the Size bytes at off of the handle's meta area, which must be a
// multiple of 64. Zero bytes are a free lock.
func At(h *seg.Handle, off int) *RWMutex {
	return &RWMutex{p: processAt(h.Mapping(), h.Mapping().MetaOffset()+off, MaxProcesses), w: lock.At(h, off), h: h}
}

// processAt is this process's side of the lock at off in the file, which has n slots.
func processAt(m *seg.Mapping, off, n int) *process {
	opened, drained := eventcount.At(m, off+openedOffset), eventcount.At(m, off+drainedOffset)
	return m.Local(off+gateOffset, func() any {
		p := &process{
			m: m, own: m.Token(), gate: m.Word(off + gateOffset), top: m.Word(off + topOffset),
			opened: opened, drained: drained, slots: make([]slot, n),
		}
		for i := range p.slots {
			at := off + slotOffset(i, n)
			p.slots[i] = slot{m.Word(at), m.Word(at + 8)}
		}
		return p
	}).(*process)
}

// RLock takes the lock for reading. A free one is taken without a look at ctx.
func (l *RWMutex) RLock(ctx context.Context) error {
	p := l.p
	if s := p.mine.Load(); s != nil && p.gate.Load() == open {
		if ok, err := s.enter(p.own); ok {
			if p.gate.Load() == open {
				return l.entered(s)
			}
			p.stepBack(s)
		} else if err != nil {
			return err
		}
	}
	return l.rlockSlow(ctx)
}

// entered ends every acquisition for reading.
func (l *RWMutex) entered(s *slot) error {
	if l.h.Closed() {
		l.p.stepBack(s)
		return l.h.ErrClosed()
	}
	l.p.order.Acquire()
	runtime.KeepAlive(l)
	return nil
}

// stepBack takes back an enter.
func (p *process) stepBack(s *slot) {
	if _, last := s.leave(p.own); last {
		p.drained.Notify()
	}
}

// place is this process's slot, which it claims if it has none.
func (l *RWMutex) place() (*slot, error) {
	p := l.p
	if l.h.Closed() {
		return nil, l.h.ErrClosed()
	}
	s := p.mine.Load()
	if s != nil && s.word.Load()>>tokenShift == p.own {
		return s, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.mine.Load(); s != nil && s.word.Load()>>tokenShift == p.own {
		return s, nil
	}
	s, err := p.claimLocked()
	if err == nil {
		p.mine.Store(s)
	}
	return s, err
}

// rlockSlow is RLock when the first look did not find the gate open.
func (l *RWMutex) rlockSlow(ctx context.Context) error {
	p := l.p
	s, err := l.place()
	if err != nil {
		return err
	}
	if in, err := l.comeIn(s); in || err != nil {
		return l.came(s, err)
	}
	s.waiting.Add(1)
	crash.At("rwlock.waiting")
	err = p.opened.Wait(ctx, eventcount.Wanted{
		Try: func() (bool, error) {
			if n := s.waiting.Load(); n&passedOver != 0 {
				s.waiting.And(^uint64(passedOver)) // back again
			}
			return l.comeIn(s)
		},
		Ready:  func() bool { return p.gate.Load() == open },
		Dead:   l.findDeadWriter,
		Handle: l.h,
	})
	mem.Mark("rwlock.waited", mem.Flags(err == nil, errors.Is(err, lock.ErrOwnerDied)))
	if n := s.waiting.Add(^uint64(0)); n&^passedOver == 0 {
		p.drained.Notify() // a writer lets us in
	}
	return l.came(s, err)
}

func (l *RWMutex) came(s *slot, err error) error {
	if err != nil {
		runtime.KeepAlive(l)
		return err
	}
	return l.entered(s)
}

// comeIn tries to enter. It opens a gate that is shut for nobody.
func (l *RWMutex) comeIn(s *slot) (in bool, err error) {
	p := l.p
	for {
		mem.Mark("rwlock.comein")
		if p.gate.Load() == open {
			if ok, err := s.enter(p.own); !ok {
				if err == nil && !l.h.Closed() {
					err = errLost
				}
				return false, err
			}
			if p.gate.Load() == open {
				return true, nil
			}
			p.stepBack(s)
		}
		mem.Mark("rwlock.turned")
		held, abandoned := l.w.State()
		switch {
		case held:
			return false, nil
		case abandoned:
			return false, lock.ErrOwnerDied
		case !l.mend():
			return false, nil
		}
	}
}

// errLost is what a process gets that was taken for dead: only a restored memory image can
// bring that about.
var errLost = errors.New("psync: this process's place among the readers of the RWMutex is gone: was it restored from a snapshot?")

// mend opens a gate that a dead writer has left shut. It reports whether it is worth to
// look again.
func (l *RWMutex) mend() bool {
	ok, err := l.w.TryLock(lock.Scoped)
	if !ok {
		// Somebody else has it now; who abandoned it is found next time.
		return errors.Is(err, lock.ErrOwnerDied)
	}
	l.open()
	_ = l.w.Unlock()
	return true
}

// open lets readers in.
//
// Preconditions: this process holds the lock word, in the scoped mode.
func (l *RWMutex) open() {
	if l.p.gate.Load() != open {
		l.p.gate.Store(open)
		crash.At("rwlock.opened")
		l.p.opened.Broadcast()
	}
}

// findDeadWriter is what readers do at the end of a slice.
func (l *RWMutex) findDeadWriter() {
	if l.w.Bury() {
		l.p.opened.Broadcast()
	}
	if held, abandoned := l.w.State(); held || abandoned || l.p.gate.Load() == open {
		return
	}
	// The word is free and the gate is shut, for a slice by now. Is the word kept for
	// somebody who died when it was his turn? Package lock sees to that when one waits
	// for it.
	ctx, cancel := mem.WithTimeout(courtesy)
	defer cancel()
	if l.w.Lock(ctx, lock.Scoped) == nil {
		l.giveUp()
	}
}

// TryRLock takes the lock for reading if no writer has it, without waiting. It finds out
// that a writer died, and reports that as RLock does.
func (l *RWMutex) TryRLock() (bool, error) {
	s, err := l.place()
	if err != nil {
		return false, err
	}
	in, err := l.comeIn(s)
	if !in && err == nil && l.w.Bury() {
		in, err = l.comeIn(s)
	}
	if err != nil || !in {
		runtime.KeepAlive(l)
		return false, err
	}
	err = l.entered(s)
	return err == nil, err
}

// RUnlock gives the lock back.
func (l *RWMutex) RUnlock() error {
	p := l.p
	p.order.Release()
	s := p.mine.Load()
	if s == nil {
		return l.notMine()
	}
	ok, last := s.leave(p.own)
	if !ok {
		return l.notMine()
	}
	if last && p.gate.Load() != open {
		p.drained.Notify()
	}
	runtime.KeepAlive(l)
	return nil
}

func (l *RWMutex) notMine() error {
	if l.h.Closed() {
		return l.h.ErrClosed()
	}
	return ErrNotRead
}

// Lock takes the lock for writing. A free one is taken without a look at ctx.
func (l *RWMutex) Lock(ctx context.Context) error {
	if err := l.w.Lock(ctx, lock.Scoped); err != nil {
		return err
	}
	mem.Mark("rwlock.hold")
	if err := l.drain(ctx); err != nil {
		l.giveUp()
		return err
	}
	return l.locked()
}

// locked ends every acquisition for writing.
func (l *RWMutex) locked() error {
	crash.At("rwlock.drained")
	if !l.w.Become(lock.Scoped, lock.User) {
		return l.w.NotHeld()
	}
	crash.At("rwlock.locked")
	if l.h.Closed() {
		_ = l.Unlock()
		return l.h.ErrClosed()
	}
	l.p.order.Acquire()
	runtime.KeepAlive(l)
	return nil
}

// giveUp leaves as one who was never inside.
func (l *RWMutex) giveUp() {
	l.open()
	_ = l.w.Unlock()
}

// drain lets in who waits, shuts the gate, and waits until no reader is inside.
//
// Preconditions: this process holds the lock word, in the scoped mode.
func (l *RWMutex) drain(ctx context.Context) error {
	p := l.p
	if p.awaited() {
		l.open() // if a dead writer has left it shut
		start := time.Now()
		err := p.drained.Wait(ctx, eventcount.Wanted{
			Try: func() (bool, error) { return !p.awaited(), nil },
			Dead: func() {
				p.bury()
				if mem.Elapsed(start, courtesy) {
					p.passOver()
				}
			},
			Handle: l.h,
		})
		if err != nil {
			return err
		}
	}
	p.gate.Store(shut)
	crash.At("rwlock.shut")
	mem.Mark("rwlock.drain")
	if !p.inside() {
		return nil
	}
	return p.drained.Wait(ctx, eventcount.Wanted{
		Try:    func() (bool, error) { return !p.inside(), nil },
		Dead:   func() { p.bury() },
		Handle: l.h,
	})
}

// awaited reports whether readers wait whom a writer lets in first.
func (p *process) awaited() bool {
	used := p.used()
	for i, s := range used {
		mem.Mark("rwlock.awaited", uint64(i), uint64(len(used)))
		if s.awaited() {
			return true
		}
	}
	return false
}

// passOver makes writers wait no more for those who were let in and do not come, until
// they show up.
func (p *process) passOver() {
	for _, s := range p.used() {
		if s.awaited() {
			s.waiting.Or(passedOver)
		}
	}
}

// inside reports whether there are readers.
func (p *process) inside() bool {
	used := p.used()
	for i, s := range used {
		mem.Mark("rwlock.inside", uint64(i), uint64(len(used)))
		if s.word.Load()&countMask != 0 {
			return true
		}
	}
	return false
}

// bury empties the slots of dead processes. It reports whether readers were in one.
func (p *process) bury() bool {
	found := false
	used := p.used()
	for i, s := range used {
		mem.Mark("rwlock.bury", uint64(i), uint64(len(used)), mem.Flags(found))
		w := s.word.Load()
		if t := w >> tokenShift; t == 0 || t == p.own || w&countMask == 0 && s.waiting.Load() == 0 || p.m.Alive(t) {
			continue
		}
		// The dead do not change their slots any more; but somebody may have claimed
		// this one.
		if s.word.CompareAndSwap(w, 0) {
			crash.At("rwlock.buried")
			found = true
		}
	}
	return found
}

// TryLock takes the lock for writing if it is free, without waiting. It finds out about
// dead holders.
func (l *RWMutex) TryLock() (bool, error) {
	ok, err := l.w.LockIfFree(lock.Scoped)
	if !ok {
		return false, err
	}
	p := l.p
	// The gate is not shut as long as it would be in vain: readers who try would be
	// turned away for nothing.
	if p.inside() && !(p.bury() && !p.inside()) {
		l.giveUp()
		return false, nil
	}
	p.gate.Store(shut)
	crash.At("rwlock.shut")
	if p.inside() {
		l.giveUp()
		return false, nil
	}
	err = l.locked()
	return err == nil, err
}

// Unlock gives the lock back. It returns lock.ErrNotHeld, or lock.ErrLockLost, and does
// nothing, when this process does not hold it for writing.
func (l *RWMutex) Unlock() error {
	l.p.order.Release()
	// A death from here on does not abandon it: readers may be inside before the word is
	// free.
	if !l.w.Become(lock.User, lock.Scoped) {
		return l.w.NotHeld()
	}
	crash.At("rwlock.unlocking")
	mem.Mark("rwlock.unlock")
	l.open()
	return l.w.Unlock()
}

// Recover runs repair, which may be nil, under the lock, if it is abandoned, and makes
// it usable again: see lock.Mutex.Recover.
func (l *RWMutex) Recover(ctx context.Context, repair func() error) error {
	// The gate is shut since the writer that died had shut it, so nobody is inside. It is
	// opened when the lock is not abandoned any more.
	kept, err := l.w.RecoverAs(ctx, lock.Scoped, repair)
	if kept {
		crash.At("rwlock.recovered")
		l.giveUp()
	} else if err != nil {
		l.p.opened.Broadcast() // it is still abandoned
	}
	return err
}

// LockOrRecover takes the lock for writing, after repairing it if that is needed.
func (l *RWMutex) LockOrRecover(ctx context.Context, repair func() error) error {
	for {
		err := l.Lock(ctx)
		if !errors.Is(err, lock.ErrOwnerDied) {
			return err
		}
		kept, err := l.w.RecoverAs(ctx, lock.Scoped, repair)
		if err != nil {
			l.p.opened.Broadcast()
			return err
		}
		if kept {
			return l.locked()
		}
	}
}

// Fence is the number of the present hold for writing: see lock.Mutex.Fence.
func (l *RWMutex) Fence() uint64 { return l.w.Fence() }

// Handle is the handle that the lock was made with.
func (l *RWMutex) Handle() *seg.Handle { return l.h }

// Close closes the handle. It refuses to while user code of this process is inside.
func (l *RWMutex) Close() error { return l.h.Close(part{l.w, l.p}) }

// Part is the lock as seg.Handle.Close has to know it, without a handle. off is as in At.
func Part(h *seg.Handle, off int) seg.Quiescer {
	return part{lock.Inner(h, off), processAt(h.Mapping(), h.Mapping().MetaOffset()+off, MaxProcesses)}
}

type part struct {
	*lock.Mutex
	p *process
}

func (q part) Refuse() error {
	if q.HeldIn(lock.User) {
		return lock.ErrHeld
	}
	if s := q.p.mine.Load(); s != nil {
		if w := s.word.Load(); w>>tokenShift == q.p.own && w&countMask != 0 {
			return ErrReading
		}
	}
	return nil
}

func (q part) HandleClosed() {
	q.Mutex.HandleClosed()
	q.p.opened.HandleClosed()
	q.p.drained.HandleClosed()
}

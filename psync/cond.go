package psync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/go-multiproc/multiproc/internal/cond"
	"github.com/go-multiproc/multiproc/internal/guard"
	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/lock"
	"github.com/go-multiproc/multiproc/internal/seg"
	"github.com/go-multiproc/multiproc/shm"
)

// CondSize is the number of bytes that a Cond takes in a segment.
const CondSize = condGuard

// The layout of a Cond: its records, the lock that it has if it was given none, and, as
// many bytes as the parameter says, what its lock is, for Open: kind, zero byte, text.
const (
	condLock  = cond.Size
	condGuard = condLock + lock.Size

	maxCondGuard = 1 << 13
)

var condKind = newKind(condCode, func(param uint32) (int, error) {
	if param > maxCondGuard {
		return 0, fmt.Errorf("%d bytes about its lock", param)
	}
	return condGuard + (int(param)+Alignment-1)/Alignment*Alignment, nil
})

// A Relocker is a Locker that a [Cond] can take back whatever has happened.
type Relocker interface {
	Locker

	// Relock takes the lock, however long that takes, and also when it is abandoned. Then
	// it returns ErrOwnerDied, and the lock is held, but stays abandoned: Unlock gives it
	// back so. With any other error, the lock is not held.
	Relock() error
}

var _ Relocker = (*Mutex)(nil)

// Relock is for Cond, and others who unlock a lock for somebody who holds it and have to
// take it back: see Relocker.
func (m *Mutex) Relock() error { return m.l.Relock(lock.User) }

// abandoned is for who waits for something that only a holder does.
func (m *Mutex) abandoned() bool { return m.l.Abandoned() }

// A Cond lets goroutines of any number of processes wait until somebody tells them that
// what a lock guards has changed, like a sync.Cond.
//
//	mu.Lock(ctx)
//	err := cond.WaitFor(ctx, func() bool { return !queue.Empty() })
//	…                                                  // mu is held, also if there is an error
//	mu.Unlock()
//
// and, after a change:
//
//	cond.Signal()
//
// A Signal goes to a goroutine that waits at that moment, and to no other: not to one
// that comes later. It wakes only the process that it is for. Processes take turns; in a
// process, whoever has waited longest is first. Signal and Broadcast can be called with or
// without the lock; a change that somebody waits for must be made under it.
//
// Wait may return though nobody signalled: so look again whether what you wait for is
// there, or use WaitFor. In particular, everybody is woken once when a process that has
// the Cond open dies, since that may have had a signal in its hands, or been about to
// send one. That takes some milliseconds. (A process that closes the Cond, or ends as package
// process has it, has nothing in its hands.)
//
// The lock belongs to the Cond for good, and crosses to other processes with it. It can
// cross by itself, too: the Cond and its Mutex find each other again. It can be any Locker
// that itself can be passed on: a Mutex, a FileLock, the Mutex of a Value or an Array.
//
// At most 1024 processes can wait on a Cond at a time; in one more, Wait returns an error, and
// does not unlock.
//
// After Close, all methods that return an error return one that is fs.ErrClosed. The
// zero Cond can not be used: all its methods but Close panic.
type Cond struct {
	c    *cond.Cond
	g    *guard.Guard
	kind string // of the guard
	at   spot
	// abandoned asks the lock whether it is, if it can tell; else nil.
	abandoned func() bool

	closed atomic.Bool
	once   sync.Once // around retiring
}

// condUser is what the user sees of the lock in a Cond's own segment.
func condUser(l *lock.Mutex) guard.Locker { return Guard(l) }

// stand makes the zero c the Cond at p.
func (c *Cond) stand(p spot, kind string, guardOf func(off int) (*guard.Guard, error)) error {
	g, err := guardOf(p.meta() + condLock)
	if err != nil {
		p.h.Close(nil)
		return err
	}
	c.at, c.kind, c.g, c.c = p, kind, g, cond.At(p.h.Mapping(), p.off)
	c.c.Use()
	if l, ok := g.User.(interface{ abandoned() bool }); ok {
		c.abandoned = l.abandoned
	}
	if p.placed && kind == guard.Own {
		p.h.Part(p.off, lock.Inner(p.h, p.meta()+condLock))
	}
	return nil
}

// describe says what l is, for the object's memory.
func describeLock(l Locker) (kind string, text []byte, err error) {
	kind, t := guard.Describe(l)
	text = append([]byte(kind), 0)
	text = append(text, t...)
	if len(text) > maxCondGuard {
		return "", nil, fmt.Errorf("psync: the lock of a Cond has %d bytes to say about itself; the limit is %d: %w", len(text), maxCondGuard, fs.ErrInvalid)
	}
	return kind, text, nil
}

// newCond makes a Cond with the lock l in the memory that place provides.
func newCond(l Locker, place func(text []byte, init func([]byte)) (spot, error)) (*Cond, error) {
	kind, text, err := describeLock(l)
	if err != nil {
		return nil, err
	}
	p, err := place(text, func(b []byte) { copy(b[condGuard:], text) })
	if err != nil {
		return nil, err
	}
	c := &Cond{}
	err = c.stand(p, kind, func(off int) (*guard.Guard, error) {
		return guard.New(p.h, kind, l, off, condUser), nil
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// NewCond makes an anonymous Cond, to be passed to child processes. l is the lock that is
// held around its use; if it is nil, the Cond has a Mutex of its own: see Locker. The error
// is shm.ErrNoSpace if there is no memory for it.
func NewCond(l Locker) (*Cond, error) {
	return newCond(l, func(_ []byte, _ func([]byte)) (spot, error) { return condKind.make(0, nil) })
}

// CreateCond makes a named Cond. If the name exists, the error is fs.ErrExist.
func CreateCond(name string, l Locker, opts ...Options) (*Cond, error) {
	return newCond(l, func(text []byte, init func([]byte)) (spot, error) {
		return condKind.create(name, uint32(len(text)), init, options(opts))
	})
}

// OpenCond joins a Cond that CreateCond made, here or in another process. l is its lock; it
// may be nil if the Cond has a Mutex of its own, or a FileLock, which it finds by its path.
// The error is fs.ErrInvalid if l is another lock than the one that the Cond was made with.
// Its other errors are those of OpenMutex.
func OpenCond(name string, l Locker, opts ...Options) (*Cond, error) {
	p, err := condKind.open(name, options(opts))
	if err != nil {
		return nil, err
	}
	kind, text, ok := bytes.Cut(p.h.Meta()[condGuard:][:p.param], []byte{0})
	if !ok {
		p.h.Close(nil)
		return nil, fmt.Errorf("psync: %w: the Cond does not say what its lock is", shm.ErrFormat)
	}
	c := &Cond{}
	err = c.stand(p, string(kind), func(off int) (*guard.Guard, error) {
		return guard.Open(p.h, string(kind), string(text), l, off, condUser)
	})
	if err != nil {
		return nil, fmt.Errorf("psync: Cond %s: %w", name, err)
	}
	return c, nil
}

// CondAt joins the Cond that stands at byte off of s, where it takes CondSize bytes, and makes
// it if they are zero. Every process gives it the same lock, which may be nil for all of
// them. Its errors are those of MutexAt.
func CondAt(s *shm.Segment, off int, l Locker) (*Cond, error) {
	return newCond(l, func(_ []byte, _ func([]byte)) (spot, error) { return condKind.place(s, off, 0) })
}

// handle is where a Cond that was made stands.
func (c *Cond) handle() *seg.Handle {
	if c.g == nil {
		panic("psync: use of a Cond that was not made by NewCond, CreateCond, OpenCond or CondAt")
	}
	return c.at.h
}

// Locker is the lock that the Cond was made with. For one that was handed over, it is a
// handle that is closed with the Cond. If the Cond was given none, it is a *Mutex.
func (c *Cond) Locker() Locker {
	c.handle()
	return c.g.User.(Locker)
}

// Wait unlocks the Cond's lock, waits until a Signal or a Broadcast comes, and takes the lock
// again. The caller must hold it; otherwise the error is ErrNotHeld.
//
// Wait always returns with the lock held, also with an error, however long it takes to get
// it back: see below for when there is no lock any more. The errors:
//
//   - ctx's own, if it ended first. If it has ended before, Wait does not unlock.
//   - ErrOwnerDied, if a process died while it held the lock, before or after a signal came.
//     The lock is held then and still abandoned: Unlock gives it back so, and then Recover
//     can repair what it guards. After that, call Broadcast: those who still wait do not
//     know. (An RWMutex, or a lock of somebody else's that is no Relocker, is not held then:
//     the error is also ErrNotHeld.)
//   - one that is fs.ErrClosed, if the Cond is closed.
//   - one that is also ErrNotHeld, if the lock could not be taken again: it was closed, or
//     cannot be locked any more (a FileLock whose directory is gone).
func (c *Cond) Wait(ctx context.Context) error {
	if h := c.handle(); c.closed.Load() {
		return h.ErrClosed()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	w, err := c.c.Enter()
	if err != nil {
		return err
	}
	l := c.Locker()
	if err := l.Unlock(); err != nil {
		c.c.Withdraw(w)
		return err
	}
	err = c.c.Await(cond.Context{Context: ctx, Handle: c.at.h, Wake: c.abandoned}, w)
	lockErr := relock(l)
	runtime.KeepAlive(c)
	switch {
	case lockErr == nil:
		return err
	case err == nil:
		return lockErr
	}
	return fmt.Errorf("%w; and %w", err, lockErr)
}

// relock takes l again.
func relock(l Locker) error {
	var err error
	if r, ok := l.(Relocker); ok {
		if err = r.Relock(); errors.Is(err, ErrOwnerDied) {
			return err
		}
	} else {
		err = l.Lock(context.Background())
	}
	if err != nil {
		err = fmt.Errorf("psync: Cond.Wait could not take its lock again: %w (%w)", err, ErrNotHeld)
	}
	return err
}

// WaitFor waits until pred returns true. It calls pred with the lock held, which the caller
// has to have: if pred is true at once, WaitFor does not look whether he has. If ctx ends
// first, and pred is still false, it returns ctx's error; the other errors are those of
// Wait. The lock is held afterwards, as after Wait.
func (c *Cond) WaitFor(ctx context.Context, pred func() bool) error {
	if h := c.handle(); c.closed.Load() {
		return h.ErrClosed()
	}
	for !pred() {
		err := c.Wait(ctx)
		if err == nil {
			continue
		}
		if err == ctx.Err() && pred() { // just that: the lock is held, and in order
			return nil
		}
		return err
	}
	return nil
}

// Signal wakes one goroutine that waits, if there is one. Without any, it makes no system
// call.
func (c *Cond) Signal() error { return c.tell((*cond.Cond).Signal) }

// Broadcast wakes all goroutines that wait.
func (c *Cond) Broadcast() error { return c.tell((*cond.Cond).Broadcast) }

func (c *Cond) tell(how func(*cond.Cond)) error {
	if h := c.handle(); c.closed.Load() {
		return h.ErrClosed()
	}
	how(c.c)
	runtime.KeepAlive(c)
	return nil
}

// Name is the name that the Cond was created or opened with; "" if none.
func (c *Cond) Name() string { return c.handle().Name() }

// Close ends this handle. Goroutines that wait through it return with an error that is
// fs.ErrClosed; they hold the lock as usual, if that is not closed with the Cond. That is so
// when it is the Cond's own, or came with it. Closing it then while this process holds it can
// be ErrHeld, as with [Mutex.Close], and closes nothing. Calling Close again does nothing.
func (c *Cond) Close() error {
	if c.g == nil {
		return nil
	}
	err := c.g.Close(func() { c.closed.Store(true) })
	if err == nil && c.closed.Load() {
		c.c.HandleClosed()
		c.once.Do(c.c.Retire)
	}
	return err
}

// HandOver describes the Cond, and its lock, to another process. Packages process and pipe
// call it.
func (c *Cond) HandOver(e *handover.Encoder) error {
	if err := condKind.handOver(e, c.at); err != nil {
		return err
	}
	if err := e.Put(c.kind); err != nil {
		return err
	}
	if err := c.g.HandOver(e); err != nil {
		return fmt.Errorf("psync: Cond: %w", err)
	}
	return nil
}

// TakeOver makes the zero Cond a hold on one that another process handed over. Packages
// process and pipe call it.
func (c *Cond) TakeOver(d *handover.Decoder) error {
	p, err := condKind.takeOver(d)
	if err != nil {
		return err
	}
	var kind string
	if err := d.Get(&kind); err != nil {
		p.h.Close(nil)
		return err
	}
	return c.stand(p, strings.Clone(kind), func(off int) (*guard.Guard, error) {
		if kind == guard.None {
			return nil, fmt.Errorf("psync: a Cond without a lock: %w", shm.ErrFormat)
		}
		return guard.TakeOver(d, p.h, kind, off, condUser)
	})
}

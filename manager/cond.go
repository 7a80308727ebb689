package manager

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"sync"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/store"
	"github.com/go-multiproc/multiproc/psync"
)

// A Cond lets goroutines of any number of processes wait until somebody tells them that what a Mutex guards has changed, like a
// sync.Cond. It is what psync.Cond is in shared memory.
//
//	mu.Lock(ctx)
//	err := cond.WaitFor(ctx, func() bool { … })        // mu is held, also if there is an error
//	mu.Unlock()
//
// and, after a change:
//
//	cond.Signal(ctx)
//
// A Signal goes to the one who has waited longest, and to nobody who comes later. The server releases the Mutex, waits and takes it again
// in one operation, so that no signal is lost; one that was meant for a process that dies before it has the Mutex goes to the next.
// Signal and Broadcast can be called with or without the lock; a change that somebody waits for must be made under it.
//
// A *Cond is safe for concurrent use. It crosses to other processes in arguments and messages, and its Mutex with it. An unreachable one
// closes itself.
type Cond struct {
	_ noCopy
	w waiter

	mu    sync.Mutex
	mutex *Mutex // nil: not asked for yet
}

func (*Cond) layout() string { return store.KindCond.String() }

func mutexParam(m *Manager, l *Mutex) (uint64, error) {
	if l == nil {
		return 0, nil
	}
	r, err := l.w.handle.remote("Mutex")
	if err != nil {
		return 0, err
	}
	if c, err := m.use(); err != nil || c != r.client {
		return 0, errors.Join(err, fmt.Errorf("manager: the Mutex of a Cond must be of the same manager"))
	}
	return uint64(r.id), nil
}

// NewCond makes a cond. l is the lock that is held around its use; if it is nil, the Cond has a Mutex of its own: see Locker. It
// lives until the last handle in the last process is gone, and no container mentions it, and keeps its Mutex.
func NewCond(m *Manager, l *Mutex) (*Cond, error) {
	id, err := mutexParam(m, l)
	if err != nil {
		return nil, err
	}
	defer runtime.KeepAlive(l)
	c := &Cond{mutex: l}
	return newObject(m, c, &c.w.handle, store.KindCond, id)
}

// OpenCond returns the cond of that name, and makes it if there is none; see OpenDict. l is its lock, and may be nil if the Cond exists or is
// to have a Mutex of its own. If it was made with another one, the error is ErrType.
func OpenCond(m *Manager, name string, l *Mutex) (*Cond, error) {
	id, err := mutexParam(m, l)
	if err != nil {
		return nil, err
	}
	defer runtime.KeepAlive(l)
	c := &Cond{mutex: l}
	return openObject(m, c, &c.w.handle, name, store.KindCond, id)
}

// Locker returns the lock that the Cond was made with. If that came with the Cond, it is a handle of its own, the same each time, which is
// closed by itself, or when it is unreachable.
func (c *Cond) Locker(ctx context.Context) (*Mutex, error) {
	c.mu.Lock()
	l := c.mutex
	c.mu.Unlock()
	if l != nil {
		return l, nil
	}
	r, cl, err := c.w.handle.begin("Cond", opCondMutex)
	if err != nil {
		return nil, err
	}
	defer runtime.KeepAlive(c)
	o, err := r.related(ctx, cl)
	if err != nil {
		return nil, err
	}
	l = new(Mutex)
	attach(l, &l.w.handle, o)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mutex != nil {
		_ = l.Close()
		return c.mutex, nil
	}
	c.mutex = l
	return l, nil
}

// Close lets go of this handle. Calls that wait through it end with fs.ErrClosed, and hold the lock as usual. It is safe to call twice.
func (c *Cond) Close() error { return c.w.close() }

// HandOver describes c to another process. It is for the packages of this module.
func (c *Cond) HandOver(e *handover.Encoder) error {
	return c.w.handOver(e, store.KindCond, store.KindCond.String())
}

// TakeOver makes the zero Cond c what another process described. It is for the packages of this module.
func (c *Cond) TakeOver(d *handover.Decoder) error {
	return takeOver(c, &c.w.handle, d, store.KindCond, store.KindCond.String())
}

// Wait unlocks the Cond's lock, waits until a Signal or a Broadcast comes, and takes the lock again. The caller must hold it; otherwise
// the error is psync.ErrNotHeld.
//
// Wait always returns with the lock held, also with an error, however long it takes to get it back. The errors:
//
//   - ctx's own, if it ended first. If it has ended before, Wait does not unlock.
//   - psync.ErrOwnerDied, if a process died while it held the lock, before or after a signal came. The lock is held then and
//     still abandoned: Unlock gives it back so, and then Recover can repair what it guards.
//   - psync.ErrLockLost, at once, if somebody has taken the lock away before: see Mutex.ForceUnlock. Unlock says so again.
//   - one that is also psync.ErrNotHeld, if the lock could not be taken again: the connection is down.
func (c *Cond) Wait(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l, err := c.Locker(ctx)
	if err != nil {
		return err
	}
	r, cl, err := c.w.handle.begin("Cond", opCondWait)
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(c)
	lr, err := l.w.handle.remote("Mutex")
	if err != nil {
		cl.free()
		return err
	}
	defer runtime.KeepAlive(l)
	h, ok := lr.give(0)
	if !ok {
		cl.free()
		return psync.ErrNotHeld
	}
	if h.marked {
		lr.got(h)
		cl.free()
		return psync.ErrOwnerDied
	}
	rep, err := c.w.awaitUntil(ctx, r, cl.uint(h.id), "Cond", 0)
	switch {
	case errors.Is(err, ErrDown):
		return fmt.Errorf("%w; and the lock is lost with it: %w", err, psync.ErrNotHeld)
	case err != nil: // nothing was done: it is held as before
		lr.got(h)
		return lockLost(err)
	}
	id := cl.id
	fence, marked, givenUp := rep.uint(), rep.bool(), rep.bool()
	err = rep.close()
	cl.free()
	if err != nil {
		return err
	}
	lr.got(hold{id: id, fence: fence, marked: marked})
	switch {
	case marked && givenUp && ctx.Err() != nil:
		return fmt.Errorf("%w; and %w", ctx.Err(), psync.ErrOwnerDied)
	case marked:
		return psync.ErrOwnerDied
	case givenUp && ctx.Err() != nil:
		return ctx.Err()
	case givenUp:
		return errCondClosed
	}
	return nil
}

// errCondClosed ends a Wait through a handle that is closed.
var errCondClosed = fmt.Errorf("manager: the Cond was closed: %w", fs.ErrClosed)

// WaitFor waits until pred, which it calls with the lock held, returns true. If ctx ends first, and pred is still false, it returns
// ctx's error; the other errors are those of Wait. The lock is held afterwards, as after Wait.
func (c *Cond) WaitFor(ctx context.Context, pred func() bool) error {
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

// Notify wakes up to n of those who wait, and returns how many these were.
func (c *Cond) Notify(ctx context.Context, n int) (int, error) {
	r, cl, err := c.w.handle.begin("Cond", opCondNotify)
	if err != nil {
		return 0, err
	}
	defer runtime.KeepAlive(c)
	return r.doInt(ctx, cl.uint(uint64(max(n, 0))))
}

// Signal wakes one who waits, if there is one.
func (c *Cond) Signal(ctx context.Context) error {
	_, err := c.Notify(ctx, 1)
	return err
}

// Broadcast wakes all who wait.
func (c *Cond) Broadcast(ctx context.Context) error {
	_, err := c.Notify(ctx, 1<<62)
	return err
}

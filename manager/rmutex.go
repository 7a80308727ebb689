package manager

import (
	"context"
	"sync/atomic"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/store"
	"github.com/go-multiproc/multiproc/psync"
)

// An RMutex is a [Mutex] that can be taken again by who has it: a context, as with psync.RMutex. Lock returns the context that owns the lock;
// code and goroutines that are given it, or one made from it, are inside. Each Lock wants its Unlock; with the last of them, the
// lock is free, and those contexts own nothing any more. A context owns nothing in another process.
//
//	ctx, err := r.Lock(ctx)
//	if err != nil {
//		return err
//	}
//	defer r.Unlock(ctx)
//	return evict(ctx) // which begins in the same way
//
// All else is as with Mutex. A Lock of a context that owns the lock already is no round trip.
type RMutex struct {
	_ noCopy
	w waiter
}

// An owner is a context that has an RMutex, for as long as its depth is positive.
type owner struct {
	context.Context
	of    *remote
	hold  uint64
	depth atomic.Int64 // how many Locks have not been undone
}

// Value finds the nearest owner.
func (o *owner) Value(key any) any {
	if key == any(o.of) {
		return o
	}
	return o.Context.Value(key)
}

func (*RMutex) layout() string { return store.KindRMutex.String() }

// NewRMutex makes an rmutex. It lives until the last handle in the last process is gone, and no container mentions it.
func NewRMutex(m *Manager) (*RMutex, error) {
	l := new(RMutex)
	return newObject(m, l, &l.w.handle, store.KindRMutex)
}

// OpenRMutex returns the rmutex of that name, and makes it if there is none; see OpenDict.
func OpenRMutex(m *Manager, name string) (*RMutex, error) {
	l := new(RMutex)
	return openObject(m, l, &l.w.handle, name, store.KindRMutex)
}

// Close is as Mutex.Close.
func (l *RMutex) Close() error { return l.w.close() }

// HandOver describes l to another process. It is for the packages of this module.
func (l *RMutex) HandOver(e *handover.Encoder) error {
	return l.w.handOver(e, store.KindRMutex, store.KindRMutex.String())
}

// TakeOver makes the zero RMutex l what another process described. It is for the packages of this module.
func (l *RMutex) TakeOver(d *handover.Decoder) error {
	return takeOver(l, &l.w.handle, d, store.KindRMutex, store.KindRMutex.String())
}

// again takes the lock once more if ctx has it.
func (l *RMutex) again(ctx context.Context) (bool, error) {
	o, err := l.owner(ctx)
	if o == nil || err != nil {
		return false, err
	}
	for n := o.depth.Load(); n > 0; n = o.depth.Load() {
		if o.depth.CompareAndSwap(n, n+1) {
			return true, nil
		}
	}
	return false, nil
}

// owner finds who of those that ctx was made from has the lock, or nil.
func (l *RMutex) owner(ctx context.Context) (*owner, error) {
	r, err := l.w.handle.remote("RMutex")
	if err != nil {
		return nil, err
	}
	o, _ := ctx.Value(r).(*owner)
	return o, nil
}

func (l *RMutex) own(ctx context.Context, h hold) context.Context {
	r := l.w.state.Load()
	o := &owner{Context: ctx, of: r, hold: h.id}
	o.depth.Store(1)
	return o
}

// Lock takes the lock, and waits for it as long as ctx allows, unless ctx owns it already. The context that it returns owns the lock, and is ctx in all else.
// When it returns an error, nothing was taken, and the context is ctx itself.
func (l *RMutex) Lock(ctx context.Context) (context.Context, error) {
	if ok, err := l.again(ctx); ok || err != nil {
		return ctx, err
	}
	h, _, err := l.w.lockMode(ctx, "RMutex", store.LockPlain)
	if err != nil {
		return ctx, err
	}
	return l.own(ctx, h), nil
}

// TryLock is Lock, except that it does not wait for others: it reports false if somebody else has the lock.
func (l *RMutex) TryLock(ctx context.Context) (context.Context, bool, error) {
	if ok, err := l.again(ctx); ok || err != nil {
		return ctx, ok, err
	}
	h, ok, err := l.w.tryLock("RMutex")
	if !ok || err != nil {
		return ctx, false, err
	}
	return l.own(ctx, h), true, nil
}

// LockOrRecover is Lock, after running repair as Recover does if the lock is abandoned.
func (l *RMutex) LockOrRecover(ctx context.Context, repair func() error) (context.Context, error) {
	if ok, err := l.again(ctx); ok || err != nil {
		return ctx, err
	}
	h, err := l.w.recover(ctx, "RMutex", store.LockOrRecover, repair)
	if err != nil {
		return ctx, err
	}
	return l.own(ctx, h), nil
}

// Unlock undoes one Lock of ctx, or of one that it was made from. With the last one, the lock is given back. It returns
// psync.ErrNotHeld if ctx does not own the lock, and psync.ErrLockLost if somebody has taken it away: see ForceUnlock.
func (l *RMutex) Unlock(ctx context.Context) error {
	o, err := l.owner(ctx)
	if err != nil {
		return err
	}
	if o == nil {
		return psync.ErrNotHeld
	}
	for n := o.depth.Load(); n > 0; n = o.depth.Load() {
		if !o.depth.CompareAndSwap(n, n-1) {
			continue
		}
		if n > 1 {
			return nil
		}
		return l.w.unlock("RMutex", o.hold, false)
	}
	return psync.ErrNotHeld
}

// ForceUnlock takes the lock away from the process that has it: see Mutex.ForceUnlock. The last Unlock of the context that had it returns psync.ErrLockLost.
func (l *RMutex) ForceUnlock(ctx context.Context) error { return l.w.force(ctx, "RMutex") }

// Recover makes an abandoned lock usable again: see Mutex.Recover.
func (l *RMutex) Recover(ctx context.Context, repair func() error) error {
	_, err := l.w.recover(ctx, "RMutex", store.LockToRecover, repair)
	return err
}

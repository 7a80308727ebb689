package psync

import (
	"context"
	"sync/atomic"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/lock"
	"github.com/go-multiproc/multiproc/shm"
)

// RMutexSize is the number of bytes that an RMutex takes in a segment.
const RMutexSize = lock.Size

// The companion of an RMutex stands for this byte of it.
const rmutexCompanion = 16

var rmutexKind = newKind(rmutexCode, fixed(RMutexSize))

// An RMutex is a [Mutex] that can be taken again by who has it: a function that locks may
// call another one that locks, too. Who has it is a context. Go has no thread that could be
// the owner, and a process would be too much: its goroutines must exclude each other.
//
//	func (s *Store) Put(ctx context.Context, k, v string) error {
//		ctx, err := s.mu.Lock(ctx)
//		if err != nil {
//			return err
//		}
//		defer s.mu.Unlock(ctx)
//		return s.evict(ctx) // which begins in the same way
//	}
//
// Code and goroutines that are given the context that Lock returned, or one made from it,
// are inside. Each Lock wants its Unlock; with the last of them, the lock is free, and those
// contexts own nothing any more. A Lock with one of them is then a Lock like any other. A
// context owns nothing in another process.
//
// All else is as with Mutex: no system call without contention, [ErrOwnerDied] after the
// death of a holder, Recover.
//
// An RMutex is no [Locker], since the holder is not the process. To guard a Value or an
// Array with one, make that with NewRaw, and lock around its methods.
//
// After Close, all methods that return an error return one that is fs.ErrClosed. The zero
// RMutex can not be used: all its methods but Close panic.
type RMutex struct {
	l  *lock.Mutex
	at spot
	// one is the same for all handles of this process to the RMutex.
	one *rmutexIdentity
}

type rmutexIdentity struct{ _ byte } // not of size zero: each has its own address

// An owner is a context that has an RMutex, for as long as its depth is positive.
type owner struct {
	context.Context
	one   *rmutexIdentity
	fence uint64
	depth atomic.Int64 // how many Locks have not been undone
}

// Value finds the nearest owner.
func (o *owner) Value(key any) any {
	if key == o.one {
		return o
	}
	return o.Context.Value(key)
}

func newRMutex(p spot, err error) (*RMutex, error) {
	if err != nil {
		return nil, err
	}
	r := &RMutex{}
	r.stand(p)
	return r, nil
}

// stand makes the zero r the RMutex at p.
func (r *RMutex) stand(p spot) {
	r.at, r.l = p, lock.At(p.h, p.meta())
	r.one = p.h.Mapping().Local(p.off+rmutexCompanion, func() any { return new(rmutexIdentity) }).(*rmutexIdentity)
	if p.placed {
		p.h.Part(p.off, lock.Inner(p.h, p.meta()))
	}
}

// NewRMutex makes an anonymous RMutex, to be passed to child processes. The error is
// shm.ErrNoSpace if there is no memory for it.
func NewRMutex() (*RMutex, error) { return newRMutex(rmutexKind.make(0, nil)) }

// CreateRMutex makes a named RMutex. If the name exists, the error is fs.ErrExist.
func CreateRMutex(name string, opts ...Options) (*RMutex, error) {
	return newRMutex(rmutexKind.create(name, 0, nil, options(opts)))
}

// OpenRMutex joins an RMutex that CreateRMutex made, here or in another process. Its errors
// are those of OpenMutex.
func OpenRMutex(name string, opts ...Options) (*RMutex, error) {
	return newRMutex(rmutexKind.open(name, options(opts)))
}

// RMutexAt joins the RMutex that stands at byte off of s, where it takes RMutexSize bytes,
// and makes it if they are zero. Its errors are those of MutexAt.
func RMutexAt(s *shm.Segment, off int) (*RMutex, error) {
	return newRMutex(rmutexKind.place(s, off, 0))
}

// use is the lock, of an RMutex that was made.
func (r *RMutex) use() *lock.Mutex {
	if r.l == nil {
		panic("psync: use of an RMutex that was not made by NewRMutex, CreateRMutex, OpenRMutex or RMutexAt")
	}
	return r.l
}

// owner finds who of those that ctx was made from has the lock, or nil.
func (r *RMutex) owner(ctx context.Context) *owner {
	o, _ := ctx.Value(r.one).(*owner)
	return o
}

// again takes the lock once more if o has it.
func (r *RMutex) again(o *owner) (bool, error) {
	if o == nil {
		return false, nil
	}
	for n := o.depth.Load(); n > 0; n = o.depth.Load() {
		if !r.has(o) {
			return false, ErrLockLost
		}
		if o.depth.CompareAndSwap(n, n+1) {
			return true, nil
		}
	}
	return false, nil
}

// has reports whether the lock is still held by o, and not taken away from it.
func (r *RMutex) has(o *owner) bool { return r.l.Held() && r.l.Fence() == o.fence }

// own makes the new owner.
func (r *RMutex) own(ctx context.Context) context.Context {
	o := &owner{Context: ctx, one: r.one, fence: r.l.Fence()}
	o.depth.Store(1)
	return o
}

// Lock takes the lock, and waits for it as long as ctx allows, unless ctx owns it
// already. A free lock, and one's own, are taken without a look at ctx. The context that it
// returns owns the lock, and is ctx in all else. When Lock returns an error, nothing was
// taken, and the context is ctx itself: the error is ErrOwnerDied if the lock is
// abandoned, ctx's own, one that is fs.ErrClosed, or ErrLockLost if ctx owned the lock and
// an operator took it away.
func (r *RMutex) Lock(ctx context.Context) (context.Context, error) {
	if r.use().Handle().Closed() {
		return ctx, r.l.Lock(ctx, lock.User) // fs.ErrClosed
	}
	if ok, err := r.again(r.owner(ctx)); ok || err != nil {
		return ctx, err
	}
	if err := r.l.Lock(ctx, lock.User); err != nil {
		return ctx, err
	}
	return r.own(ctx), nil
}

// TryLock is Lock, except that it does not wait: it reports false if somebody else has the
// lock.
func (r *RMutex) TryLock(ctx context.Context) (context.Context, bool, error) {
	if !r.use().Handle().Closed() {
		if ok, err := r.again(r.owner(ctx)); ok || err != nil {
			return ctx, ok, err
		}
	}
	if ok, err := r.l.LockIfFree(lock.User); !ok || err != nil {
		return ctx, false, err
	}
	return r.own(ctx), true, nil
}

// LockOrRecover is Lock, after running repair as Recover does if the lock is abandoned.
func (r *RMutex) LockOrRecover(ctx context.Context, repair func() error) (context.Context, error) {
	if !r.use().Handle().Closed() {
		if ok, err := r.again(r.owner(ctx)); ok || err != nil {
			return ctx, err
		}
	}
	if err := r.l.LockOrRecover(ctx, lock.User, repair); err != nil {
		return ctx, err
	}
	return r.own(ctx), nil
}

// Unlock undoes one Lock of ctx, or of one that it was made from. With the last one, the
// lock is given back. It returns ErrNotHeld if ctx does not own the lock, and ErrLockLost if
// an operator took it away.
func (r *RMutex) Unlock(ctx context.Context) error {
	r.use()
	if o := r.owner(ctx); o != nil {
		for n := o.depth.Load(); n > 0; n = o.depth.Load() {
			if n == 1 && !r.has(o) {
				// This process may have the lock again, for somebody else. An Unlock that
				// raced with this one may also have been quicker.
				if o.depth.CompareAndSwap(1, 0) {
					return r.lost()
				}
				continue
			}
			if !o.depth.CompareAndSwap(n, n-1) {
				continue
			}
			if n > 1 {
				return nil
			}
			return r.l.Unlock()
		}
	}
	if r.use().Handle().Closed() {
		return r.l.Unlock() // fs.ErrClosed
	}
	return ErrNotHeld
}

// lost is the error for an owner whose lock was taken away.
func (r *RMutex) lost() error {
	if r.use().Handle().Closed() {
		return r.l.Unlock() // the memory is gone, too, and so nobody's
	}
	return ErrLockLost
}

// Recover makes an abandoned lock usable again: see [Mutex.Recover].
func (r *RMutex) Recover(ctx context.Context, repair func() error) error {
	return r.use().Recover(ctx, repair)
}

// Name is the name that the lock was created or opened with; "" if none.
func (r *RMutex) Name() string { return r.use().Handle().Name() }

// Close ends this handle; it does not unlock. It is as [Mutex.Close].
func (r *RMutex) Close() error {
	if r.l == nil {
		return nil
	}
	return r.l.Close()
}

// HandOver describes the RMutex to another process. Packages process and pipe call it.
func (r *RMutex) HandOver(e *handover.Encoder) error { return rmutexKind.handOver(e, r.at) }

// TakeOver makes the zero RMutex a hold on one that another process handed over. Packages
// process and pipe call it.
func (r *RMutex) TakeOver(d *handover.Decoder) error {
	p, err := rmutexKind.takeOver(d)
	if err == nil {
		r.stand(p)
	}
	return err
}

package psync

import (
	"context"

	"github.com/go-multiproc/multiproc/internal/lock"
	"github.com/go-multiproc/multiproc/internal/seg"
	"github.com/go-multiproc/multiproc/shm"
)

// A Locker is a lock that can fail, be waited for with a context, and be left
// behind by a dead process: what guards a Value, an Array or a Cond. It is not a
// sync.Locker, which can not fail.
type Locker interface {
	// Lock takes the lock. When it returns an error, the lock is not held.
	Lock(ctx context.Context) error
	// TryLock takes the lock if it is free, without waiting.
	TryLock() (bool, error)
	// Unlock gives the lock back.
	Unlock() error
	// Recover runs repair, which may be nil, under the lock, if the lock is
	// abandoned, and makes it usable again.
	Recover(ctx context.Context, repair func() error) error
}

// These errors are returned by locks.
var (
	// ErrOwnerDied is returned, by Lock and whatever else takes a lock, when a
	// process died while it held the lock and nobody has recovered it since. The
	// lock is not held then.
	ErrOwnerDied = lock.ErrOwnerDied

	// ErrNotHeld is returned by Unlock when this process does not hold the lock.
	ErrNotHeld = lock.ErrNotHeld

	// ErrLockLost is returned by Unlock when an operator took the lock away
	// from this process. What it guards may have been changed since.
	ErrLockLost = lock.ErrLockLost

	// ErrHeld is returned by Close when this process holds the lock and could not
	// unlock it any more.
	ErrHeld = lock.ErrHeld
)

// Options say where named objects are. The zero value is the default: the same
// place where package shm keeps named segments.
type Options = shm.Options

func options(opts []Options) seg.Options {
	if len(opts) == 0 {
		return seg.Options{}
	}
	return seg.Options(opts[0])
}

// Remove deletes the name of an object of this package. Processes that have it
// open keep it. If there is no such name, the error is fs.ErrNotExist; if it is
// another object's, shm.ErrType.
func Remove(name string, opts ...Options) error {
	return seg.RemoveAny(name, kindSegments[1:], options(opts))
}

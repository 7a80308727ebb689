package psync

import (
	"context"

	"github.com/go-multiproc/multiproc/internal/lock"
	"github.com/go-multiproc/multiproc/shm"
)

// MutexSize is the number of bytes that a Mutex takes in a segment.
const MutexSize = lock.Size

var mutexKind = newKind(mutexCode, fixed(MutexSize))

// A Mutex is a mutual exclusion lock between goroutines of any number of
// processes. Any goroutine of the process that holds it may unlock it. It is not
// re-entrant: a second Lock waits until ctx ends.
//
// It is held by a process, and robust: see the package documentation for what
// happens when that dies. Without contention, Lock and Unlock make no system
// call. Waiters of one process get the lock in the order of their arrival, and between
// processes there is no order; newcomers that find it free go first, but not for
// more than some milliseconds.
//
// After Close, all methods that return an error return one that is fs.ErrClosed.
// The zero Mutex can not be used: all its methods but Close panic.
type Mutex struct {
	l  *lock.Mutex
	at spot
	// guard is set for the Mutex of another object, which that object closes.
	guard bool
}

var _ Locker = (*Mutex)(nil)

func newMutex(p spot, err error) (*Mutex, error) {
	if err != nil {
		return nil, err
	}
	m := &Mutex{}
	m.stand(p)
	return m, nil
}

// stand makes the zero m the Mutex at p.
func (m *Mutex) stand(p spot) {
	m.at, m.l = p, lock.At(p.h, p.meta())
	if p.placed {
		p.h.Part(p.off, lock.Inner(p.h, p.meta()))
	}
}

// NewMutex makes an anonymous Mutex, to be passed to child processes. The error is
// shm.ErrNoSpace if there is no memory for it.
func NewMutex() (*Mutex, error) { return newMutex(mutexKind.make(0, nil)) }

// CreateMutex makes a named Mutex. If the name exists, the error is fs.ErrExist.
func CreateMutex(name string, opts ...Options) (*Mutex, error) {
	return newMutex(mutexKind.create(name, 0, nil, options(opts)))
}

// OpenMutex joins a Mutex that CreateMutex made, here or in another process. The
// error is fs.ErrNotExist if there is no such name, shm.ErrType if it is another
// object's, and shm.ErrFormat if its file is no object that this version can use.
func OpenMutex(name string, opts ...Options) (*Mutex, error) {
	return newMutex(mutexKind.open(name, options(opts)))
}

// MutexAt joins the Mutex that stands at byte off of s, where it takes MutexSize bytes,
// and makes it if they are zero: see the package documentation. off is a multiple of
// Alignment. The error is shm.ErrType if something else stands there, and
// fs.ErrInvalid if nothing can.
func MutexAt(s *shm.Segment, off int) (*Mutex, error) {
	return newMutex(mutexKind.place(s, off, 0))
}

// Guard makes a Mutex of a lock that is part of another object. It is for the
// packages of this module.
func Guard(l *lock.Mutex) *Mutex { return &Mutex{l: l, guard: true} }

// use is the lock, of a Mutex that was made.
func (m *Mutex) use() *lock.Mutex {
	if m.l == nil {
		panic("psync: use of a Mutex that was not made by NewMutex, CreateMutex, OpenMutex or MutexAt")
	}
	return m.l
}

// Lock takes the lock, and waits for it as long as ctx allows. A free lock is
// taken without a look at ctx. When Lock returns an error, the lock is not held:
// ErrOwnerDied if it is abandoned, ctx's own error, or one that is fs.ErrClosed.
func (m *Mutex) Lock(ctx context.Context) error { return m.use().Lock(ctx, lock.User) }

// TryLock takes the lock if it is free. It does not wait for who holds it; if that is another
// process, it asks the kernel whether that process is alive, and returns ErrOwnerDied if it is
// not. A free lock may be kept for somebody who has waited for long: then TryLock waits until that one
// has it, or for some milliseconds if it does not come.
func (m *Mutex) TryLock() (bool, error) { return m.use().LockIfFree(lock.User) }

// Unlock gives the lock back. It returns ErrNotHeld if this process does not
// hold it, and ErrLockLost if it was taken away by an operator.
func (m *Mutex) Unlock() error { return m.use().Unlock() }

// Recover makes an abandoned lock usable again: it runs repair under the lock,
// which it does not keep. repair must put right whatever a holder that died at
// any point may have left behind; nil is for when there is nothing to repair.
//
// Among several callers one runs its repair; the others wait for it and then
// return nil, as does a call when the lock is not abandoned. If repair returns an
// error, Recover returns it, and the lock stays abandoned, as it does when repair
// panics or its process dies; then another caller that waits runs its own repair.
// repair must not use the lock itself.
func (m *Mutex) Recover(ctx context.Context, repair func() error) error {
	return m.use().Recover(ctx, repair)
}

// LockOrRecover takes the lock, after running repair as Recover does if it is
// abandoned. When it returns nil, the lock is held.
func (m *Mutex) LockOrRecover(ctx context.Context, repair func() error) error {
	return m.use().LockOrRecover(ctx, lock.User, repair)
}

// Fence is the number of this hold: larger than that of every hold before, in
// any process. A store that remembers the largest number it has seen can refuse
// what a former holder, that was stopped for too long, sends late. It has a
// meaning only while the lock is held.
func (m *Mutex) Fence() uint64 { return m.use().Fence() }

// Name is the name that the lock was created or opened with; "" if none.
func (m *Mutex) Name() string { return m.use().Handle().Name() }

// Close ends this handle; it does not unlock. Goroutines that wait for the lock
// through it return with an error that is fs.ErrClosed. Closing the last handle
// that this process has to the lock, while this process holds it, is ErrHeld and
// closes nothing; and it waits for a Recover that is running, whose repair must
// therefore not call it. Calling Close again does nothing. Closing the guard of a
// Value or an Array does nothing; close that.
func (m *Mutex) Close() error {
	if m.guard || m.l == nil {
		return nil
	}
	return m.l.Close()
}

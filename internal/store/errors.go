package store

import (
	"context"
	"errors"
	"fmt"
)

// What an operation fails with.
var (
	// ErrNotFound: the name is free, or the session holds no reference to that object.
	ErrNotFound = errors.New("store: not found")
	// ErrKind: the object is of another kind than the operation needs.
	ErrKind = errors.New("store: wrong kind of object")
	// ErrType: the object was made for elements of another type.
	ErrType = errors.New("store: wrong element type")
	// ErrRange: the list has no such index.
	ErrRange = errors.New("store: index out of range")
	// ErrLease: the session does not hold that lease.
	ErrLease = errors.New("store: no such lease")
	// ErrEnded: the session has ended, or the store is closed.
	ErrEnded = errors.New("store: session ended")
	// ErrBusy: the operation would have to wait, and was called with NoWait.
	ErrBusy = errors.New("store: would have to wait")
	// ErrLimit: the change would go beyond one of the Limits; a LimitError says which.
	ErrLimit = errors.New("store: limit reached")
	// ErrJournal: the journal cannot be written, so nothing may be changed.
	ErrJournal = errors.New("store: journal")
	// ErrInvalid: an argument is none that the operation takes.
	ErrInvalid = errors.New("store: invalid argument")
	// ErrOverload: the session has too much under way.
	ErrOverload = errors.New("store: too much at a time")
	// ErrParked: the operation waits, and its Wait will be told of its end.
	ErrParked = errors.New("store: waiting")
	// ErrCancelled: the wait was given up.
	ErrCancelled = errors.New("store: cancelled")
	// ErrOwnerDied: a lock is abandoned, or messages were taken by a session that is gone.
	ErrOwnerDied = errors.New("store: the owner has died")
	// ErrNotHeld: the session does not hold the lock, or the permit.
	ErrNotHeld = errors.New("store: not held by this session")
	// ErrTooMany: a counting semaphore is at its maximum.
	ErrTooMany = errors.New("store: too many releases")
	// ErrBroken: the barrier is broken.
	ErrBroken = errors.New("store: barrier is broken")
	// ErrShut: the queue is shut down.
	ErrShut = errors.New("store: queue is shut down")
	// ErrNotTaken: the session has said of all messages that it took that they are dealt with.
	ErrNotTaken = errors.New("store: no message to be done with")
)

// errLetGo is for who waits on an object while its session lets go of that.
var errLetGo = fmt.Errorf("%w: the client has let go of the object while it waited", ErrNotFound)

// NoWait is a context for operations that must not wait: where they would have to,
// they fail with ErrBusy and have done nothing. A context is looked at only then.
var NoWait = func() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(ErrBusy)
	return ctx
}()

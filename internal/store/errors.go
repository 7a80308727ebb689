package store

import (
	"context"
	"errors"
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
)

// NoWait is a context for operations that must not wait: where they would have to,
// they fail with ErrBusy and have done nothing. A context is looked at only then.
var NoWait = func() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(ErrBusy)
	return ctx
}()

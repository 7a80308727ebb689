package manager

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-multiproc/multiproc/internal/document"
	"github.com/go-multiproc/multiproc/internal/store"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/queue"
)

// ErrDown is in the error of every call on a manager that cannot be reached any more: its server was
// shut down, killed, or the connection broke. Everything it held is gone. A call that was under way may or
// may not have taken effect.
var ErrDown = errors.New("manager: server is down")

// ErrNotFound is in the error of Remove, and of an Open that makes nothing (OpenArray with 0), when no object has the name, and of a call on a handle whose object is gone:
// the process that sent the handle ended long before this one received it.
var ErrNotFound = errors.New("manager: not found")

// ErrType is in the error of opening a named object that is of another kind, or was made with other element types, and of an operation on a value
// that is none of those that it needs: adding to what is no number, a path that leads into one.
var ErrType = errors.New("manager: wrong type")

// ErrRange is in the error of a call with an index that the list, the array, or the array inside a value does not have.
var ErrRange = errors.New("manager: index out of range")

// ErrOverflow is in the error of Add when the sum does not fit in the type. Nothing was changed.
var ErrOverflow = errors.New("manager: overflow")

// ErrTooLarge is in the error of a call whose request or reply is larger than Options.MaxMessage. Nothing was done.
var ErrTooLarge = errors.New("manager: message too large")

// ErrLimit is in the error of a call, or a connection, that a server refuses because one of its limits is reached; the text says which
// option of the server it is (Options.MaxObjects, MaxEntries, MaxMemory, MaxConnections, MaxWaiting, …). Nothing was done.
var ErrLimit = errors.New("manager: limit reached")

// ErrJournal is in the error of a call that would change something, when the server has an Options.Path and cannot write there: the disk is full, or fails. Nothing
// was done. Reading goes on, and so does writing once there is room again.
var ErrJournal = errors.New("manager: changes cannot be kept")

// ErrDeadlock is in the error of changing a dict's key from within the function that is just updating that key:
// the call would wait for itself.
var ErrDeadlock = errors.New("manager: key is being updated by the caller itself: its new value is what the function returns")

// Codes in replies. The numbers stand in the protocol: they are never reassigned.
const (
	codeOK        = 0
	codeNotFound  = 1
	codeType      = 2
	codeRange     = 3
	codeInvalid   = 4
	codeTooLarge  = 5
	codeCancelled = 6
	codeLease     = 7
	codeLimit     = 8
	codeDown      = 9
	codeOp        = 10
	codeOverflow  = 11
	codeFull      = 12
	codeJournal   = 13
	codeRefused   = 14

	codeOwnerDied = 16
	codeNotHeld   = 17
	codeTooMany   = 18
	codeBroken    = 19
	codeShut      = 20
	codeNotTaken  = 21

	codeUnregistered = 22
)

// A failure is an error as it travels: a code that programs act on, and words for people.
type failure struct {
	code uint64
	text string
}

func (f *failure) Error() string { return f.text }

// failures says which code each error of the store has.
var failures = []struct {
	err  error
	code uint64
}{
	{store.ErrNotFound, codeNotFound},
	{store.ErrKind, codeType},
	{store.ErrType, codeType},
	{store.ErrRange, codeRange},
	{store.ErrInvalid, codeInvalid},
	{store.ErrLease, codeLease},
	{store.ErrEnded, codeDown},
	{document.ErrType, codeType},
	{document.ErrRange, codeRange},
	{document.ErrOverflow, codeOverflow},
	{document.ErrMalformed, codeInvalid},
	{store.ErrJournal, codeJournal},
	{store.ErrOverload, codeLimit},
	{store.ErrCancelled, codeCancelled},
	{store.ErrOwnerDied, codeOwnerDied},
	{store.ErrNotHeld, codeNotHeld},
	{store.ErrTooMany, codeTooMany},
	{store.ErrBroken, codeBroken},
	{store.ErrShut, codeShut},
	{store.ErrNotTaken, codeNotTaken},
}

// sentinels says which error of the local types a client makes of a code.
var sentinels = []struct {
	code uint64
	err  error
}{
	{codeOwnerDied, psync.ErrOwnerDied},
	{codeNotHeld, psync.ErrNotHeld},
	{codeTooMany, psync.ErrTooManyReleases},
	{codeBroken, psync.ErrBroken},
	{codeShut, queue.ErrClosed},
	{codeNotTaken, queue.ErrNotTaken},
	{codeLease, queue.ErrLeaseEnded},
	{codeCancelled, errCancelled},
	{codeUnregistered, ErrNotRegistered},
}

// errCancelled is in the error of a call that the server was told to give up.
var errCancelled = errors.New("manager: given up")

// failureOf describes an error to the client.
func failureOf(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	var limit *store.LimitError
	if errors.As(err, &limit) {
		return &failure{codeFull, limitText(limit)}
	}
	for _, known := range failures {
		if err == known.err {
			return &failure{known.code, strings.TrimPrefix(err.Error(), "store: ")}
		}
		if errors.Is(err, known.err) {
			return &failure{known.code, strings.TrimPrefix(err.Error(), known.err.Error()+": ")}
		}
	}
	return &failure{codeInvalid, err.Error()}
}

// limitText names the option, because that is what the reader can change.
func limitText(e *store.LimitError) string {
	switch e.Limit {
	case store.LimitObjects:
		return fmt.Sprintf("there are %d objects, and Options.MaxObjects is %d", e.Has, e.Max)
	case store.LimitEntries:
		return fmt.Sprintf("there are %d entries, and Options.MaxEntries is %d", e.Has, e.Max)
	case store.LimitRecord:
		return fmt.Sprintf("the change has %d bytes, and what is kept at Options.Path changes by at most %d at one moment; make it in several", e.Wants, e.Max)
	}
	return fmt.Sprintf("%d bytes are in use, the call brings up to %d more, and Options.MaxMemory is %d", e.Has, e.Wants, e.Max)
}

// remoteError is the error that a client makes of a failure.
func remoteError(f *failure) error {
	switch f.code {
	case codeNotFound:
		return fmt.Errorf("%w: %s", ErrNotFound, f.text)
	case codeType:
		return fmt.Errorf("%w: %s", ErrType, f.text)
	case codeRange:
		return fmt.Errorf("%w: %s", ErrRange, f.text)
	case codeOverflow:
		return fmt.Errorf("%w: %s", ErrOverflow, f.text)
	case codeTooLarge:
		return fmt.Errorf("%w: %s", ErrTooLarge, f.text)
	case codeLimit, codeFull:
		return fmt.Errorf("%w: %s", ErrLimit, f.text)
	case codeJournal:
		return fmt.Errorf("%w: %s", ErrJournal, f.text)
	case codeDown:
		return fmt.Errorf("%w: %s", ErrDown, f.text)
	}
	for _, known := range sentinels {
		if f.code == known.code {
			return fmt.Errorf("%w (manager: %s)", known.err, f.text)
		}
	}
	return fmt.Errorf("manager: the server refuses: %s", f.text)
}

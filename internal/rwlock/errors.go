package rwlock

import "github.com/go-multiproc/multiproc/internal/lock"

// These are the lock's errors in other words.
var (
	ErrNotRead error = &inOtherWords{"psync: RUnlock: this process does not hold the RWMutex for reading", lock.ErrNotHeld}
	ErrReading error = &inOtherWords{"psync: this process holds the RWMutex for reading: unlock it before closing", lock.ErrHeld}
)

type inOtherWords struct {
	text string
	is   error
}

func (e *inOtherWords) Error() string { return e.text }
func (e *inOtherWords) Unwrap() error { return e.is }

package queue

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/go-multiproc/multiproc/internal/ring"
	"github.com/go-multiproc/multiproc/internal/seg"
	"github.com/go-multiproc/multiproc/psync"
)

var (
	// ErrClosed is returned after Shutdown: by Put at once, by Get when there are no
	// messages left. What a method returns after Close of its Queue is ErrClosed, too, and
	// fs.ErrClosed, which ErrClosed is not.
	ErrClosed = errors.New("queue: shut down")

	// ErrTooLarge is returned by Put for a message that this queue has no place for,
	// however empty it is. The error says how much it has. See Options.MaxMessage.
	ErrTooLarge = ring.ErrTooLarge

	// ErrNotTaken is returned by TaskDone when this process owes none.
	ErrNotTaken = ring.ErrNotTaken

	// ErrTooManyTakers is returned by Get, TryGet and GetMany when MaxTakerProcesses others
	// take messages in this way.
	ErrTooManyTakers = ring.ErrSlots

	// ErrLeaseEnded is returned by Ack and Nack of a lease that has ended already.
	ErrLeaseEnded = errors.New("queue: the lease has ended already")

	// ErrBusy is returned by TryPut, TryGet and TryLease when another process has been in the
	// middle of using the Queue for a second, and does not go on: it was stopped there, by a signal
	// or a debugger, or frozen. It may be about to take the last message, or to fill the last
	// room, so that neither yes nor no would be true. It keeps what it is about until it goes on,
	// or is killed: then the next call works. shm.Inspect tells which process it is, of a Queue that has a
	// name. Methods with a ctx wait as long as that allows. It is also what Nack returns when there
	// is no getting at the dead letters.
	ErrBusy = errors.New("queue: another process has been in the middle of using it for a second and does not go on: is it stopped?")
)

// MaxTakerProcesses is the most processes that can have a Queue open, after they have taken
// messages from it by Get, TryGet or GetMany, at the same time. Others can Put and Lease.
const MaxTakerProcesses = ring.Slots

var errDamaged = ring.ErrDamaged

// A closedError is what methods return after Close.
type closedError struct{}

func (closedError) Error() string { return "queue: use of closed Queue" }

// Is makes the error both sentinels.
func (closedError) Is(target error) bool { return target == fs.ErrClosed || target == ErrClosed }

// A lettersError is what Nack returns when the dead letters cannot be had.
type lettersError struct{}

func (lettersError) Error() string {
	return "queue: the message is to go to the dead letters, which others use: a process that is stopped there, or leases for all of them; the lease goes on"
}

func (lettersError) Is(target error) bool { return target == ErrBusy }

// explain says what an error of the parts means for the whole.
func explain(err error) error {
	if errors.Is(err, seg.ErrClosed) {
		return closedError{}
	}
	return err
}

// died is the error of Join.
func died(n int) error {
	return fmt.Errorf("queue: processes died without TaskDone for %d messages that they had taken; put them again if you know them, and call Recover: %w", n, psync.ErrOwnerDied)
}

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

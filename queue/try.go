package queue

import (
	"context"
	"errors"
	"time"

	"github.com/go-multiproc/multiproc/internal/lock"
	"github.com/go-multiproc/multiproc/internal/mem"
)

// Methods that do not wait answer yes or no, and both have to be true at some moment of the call:
// who takes messages until there are no more must not end because somebody else had the lock. A
// holder is through in a moment as a rule; but it may have lost its CPU to others, be copying a large message,
// or have been killed and not be dead yet. So it is waited for, until it is certain that it
// does not go on. (A no after some milliseconds, as there once was, is wrong on every busy machine.)

const (
	// frozen is for how long one hold of a lock lasts until its process counts as one that does
	// not go on.
	frozen = time.Second
	// looks is how often that is looked at meanwhile. If all processes are stopped together,
	// and continued, as a shell does it, that costs this one a look, and not the second.
	looks = 20
)

// tryPut adds a message if there is room.
func (q *core) tryPut(b []byte) (bool, error) {
	ok, err := q.putIfRoom(b)
	if ok || err != nil || !q.sweepFirst(q.r.Big(len(b))) {
		return ok, err
	}
	return q.putIfRoom(b)
}

func (q *core) putIfRoom(b []byte) (bool, error) {
	ok, err := q.producers.TryLock(lock.Scoped)
	if ok {
		return q.putLocked(b)
	}
	if err == nil && q.r.NoRoomFor(len(b)) {
		return false, q.stillOpen()
	}
	if err == nil {
		err = q.lockToTry(q.producers)
	}
	if err != nil {
		return false, explain(err)
	}
	return q.putLocked(b)
}

// tryGet takes a message if there is one. dst is as in getNow.
func (q *core) tryGet(dst []byte) ([]byte, bool, error) {
	if ok, err := q.lockToTake(); !ok || err != nil {
		return nil, false, err
	}
	return q.getLocked(dst)
}

// tryLease leases a message if there is one.
func (q *core) tryLease() (*hold, []byte, int, error) {
	if ok, err := q.lockToTake(); !ok || err != nil {
		return nil, nil, 0, err
	}
	h, n, err := q.leaseLocked()
	if h == nil || err != nil {
		return nil, nil, 0, err
	}
	return q.leased(h, n)
}

// lockToTake takes the consumers' lock, unless it has seen that there is nothing to take.
func (q *core) lockToTake() (bool, error) {
	ok, err := q.consumers.TryLock(lock.Scoped)
	if ok {
		return true, nil
	}
	if err == nil && q.r.Vacant() {
		return false, q.stillOpen()
	}
	if err == nil {
		err = q.lockToTry(q.consumers)
	}
	return err == nil, explain(err)
}

// stillOpen is for who has looked without a lock: what is closed looks empty.
func (q *core) stillOpen() error {
	if q.h.Closed() {
		return closedError{}
	}
	return nil
}

// lockToTry takes one of the locks. The error is ErrBusy if another process has it, and does not go on.
func (q *core) lockToTry(l *sideLock) error {
	if mem.Explored {
		return l.Lock(context.Background(), lock.Scoped) // nobody is stopped there
	}
	w := watch{l: l, hold: l.HeldElsewhere()}
	w.ctx, w.giveUp = context.WithCancel(context.Background())
	defer w.giveUp()
	w.timer = time.AfterFunc(time.Hour, w.look)
	w.timer.Reset(frozen / looks) // now it has w.timer
	defer w.timer.Stop()
	err := l.Lock(w.ctx, lock.Scoped)
	if errors.Is(err, context.Canceled) {
		return ErrBusy
	}
	return err
}

// A watch ends a ctx when another process's hold of a lock lasts for too long. The lock may go from
// one to the next all that time: then the turn of who waits comes.
type watch struct {
	l      *sideLock
	hold   uint64
	seen   int // how often in a row
	ctx    context.Context
	giveUp context.CancelFunc
	timer  *time.Timer
}

// look is called by the timer.
func (w *watch) look() {
	if w.ctx.Err() != nil {
		return
	}
	hold := w.l.HeldElsewhere()
	if hold == 0 || hold != w.hold {
		w.hold, w.seen = hold, 0
	} else if w.seen++; w.seen == looks {
		w.giveUp()
		return
	}
	w.timer.Reset(frozen / looks)
}

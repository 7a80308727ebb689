package queue

import (
	"context"
	"errors"
	"sync/atomic"
)

// A Lease is a message in the hands of this process, which has to end it: by Ack when the
// message is dealt with, or by Nack. Until then the message stays in the queue, where
// nobody else gets it, and takes up its room; and what was put after it cannot make
// room for others before it has. When the process dies, or closes its Queue, the
// message is delivered again, to whoever asks next.
//
// A Lease is safe for use by several goroutines. One that is forgotten lasts until the
// Queue is closed.
type Lease[T any] struct {
	h *hold
	v T
	n int
}

// Lease takes the oldest message that nobody has taken, as Get does, but as a lease. If
// it cannot be decoded, that is an error, and the message is gone. Messages that are
// delivered again come before those that never were.
//
// Who deals with messages this way deals with each at least once: it may have been dealt
// with by one who died before Ack.
func (q *Queue[T]) Lease(ctx context.Context) (*Lease[T], error) {
	c := q.use()
	h, b, n, err := c.lease(ctx)
	if err != nil {
		return nil, err
	}
	return newLease[T](q, h, b, n)
}

// TryLease is Lease without waiting. It returns nil if there is no message; see TryGet.
func (q *Queue[T]) TryLease() (*Lease[T], error) {
	c := q.use()
	h, b, n, err := c.tryLease()
	if h == nil || err != nil {
		return nil, err
	}
	return newLease[T](q, h, b, n)
}

func newLease[T any](q *Queue[T], h *hold, b []byte, n int) (*Lease[T], error) {
	l := &Lease[T]{h: h, n: n}
	if q.form.face == raw {
		h.q.h.DataForUser() // the slice leaves the library
	}
	if err := decode(&q.form, b, &l.v); err != nil {
		if h.end() {
			_ = h.ack()
		}
		return nil, err
	}
	return l, nil
}

// Value is the message. Of a Queue[[]byte], it is the memory of the queue itself, without a
// copy, to be read until the lease ends: afterwards other messages are written there. A
// slice that was kept never faults, and reads zeros after Close.
func (l *Lease[T]) Value() T { return l.v }

// Deliveries is how often the message was delivered, this time included.
func (l *Lease[T]) Deliveries() int { return l.n }

// Ack ends the lease: the message is dealt with, and gone. For Join that is as good as
// TaskDone. The error is ErrLeaseEnded if the lease has ended before, by Close for one.
func (l *Lease[T]) Ack() error {
	if !l.h.end() {
		return ErrLeaseEnded
	}
	return l.h.ack()
}

// Nack ends the lease: the message is to be delivered again. If it was delivered
// Options.MaxDeliveries times, it goes to the dead letters instead. The error is
// ErrLeaseEnded if the lease has ended before. It is ErrBusy, and the lease goes on, if there is
// no getting at the dead letters: another process was stopped in the middle of using them, or
// they are full, and all leased.
func (l *Lease[T]) Nack() error {
	if !l.h.end() {
		return ErrLeaseEnded
	}
	err := l.h.nack()
	if errors.Is(err, ErrBusy) && l.h.q.keep(l.h) {
		return lettersError{}
	}
	return err
}

// A Reservation is the place of a message that is being written, in the queue's own
// memory. It has to be ended by Commit or Cancel: until then, nobody gets what was put
// after it. If its process dies, or closes its Queue, it is passed over.
type Reservation struct {
	h *hold
	b atomic.Pointer[[]byte]
}

// Reserve makes a place for a message of n bytes in a Queue[[]byte], to be written to
// without a copy, and waits for room as long as ctx allows. The errors are those of Put; n
// must not be negative.
// Messages arrive in the order in which their places were reserved.
func Reserve(ctx context.Context, q *Queue[[]byte], n int) (*Reservation, error) {
	if n < 0 {
		panic("queue: Reserve of a negative number of bytes")
	}
	c := q.use()
	h, b, err := c.reserve(ctx, n)
	if err != nil {
		return nil, err
	}
	c.h.DataForUser()
	r := &Reservation{h: h}
	r.b.Store(&b)
	return r, nil
}

// Bytes is where the message is to be written: n bytes with any content. They must not be
// written to after Commit or Cancel, when it is nil.
func (r *Reservation) Bytes() []byte {
	b := r.b.Load()
	if b == nil {
		return nil
	}
	return *b
}

// Commit puts the message into the queue, which has had a place for it: it does not wait,
// and works after Shutdown too. The error is ErrLeaseEnded if the reservation has ended
// before.
func (r *Reservation) Commit() error {
	if !r.end() {
		return ErrLeaseEnded
	}
	r.h.commit()
	return nil
}

// Cancel gives the place up. The error is ErrLeaseEnded if the reservation has ended
// before.
func (r *Reservation) Cancel() error {
	if !r.end() {
		return ErrLeaseEnded
	}
	return r.h.giveBack()
}

func (r *Reservation) end() bool {
	r.b.Store(nil)
	return r.h.end()
}

package queue

import (
	"context"
	"runtime"

	"github.com/go-multiproc/multiproc/internal/crash"
	"github.com/go-multiproc/multiproc/internal/lock"
	"github.com/go-multiproc/multiproc/internal/mem"
	"github.com/go-multiproc/multiproc/internal/ring"
)

// A hold is a lease or a reservation of this handle. It ends once: by its owner, or
// with the handle.
type hold struct {
	q   *core
	rec ring.Record
	// reserved: the place is still to be written to; else a message is leased.
	reserved bool
}

// keep notes a hold down. It reports false, after giving it back, when the handle is
// being closed.
func (q *core) keep(h *hold) bool {
	q.mu.Lock()
	closing := q.closing
	if !closing {
		if q.held == nil {
			q.held = map[*hold]struct{}{}
		}
		q.held[h] = struct{}{}
	}
	q.mu.Unlock()
	if closing {
		_ = h.giveBack()
	}
	return !closing
}

// digest is what is known of it, for mem.Mark.
func (h *hold) digest() uint64 {
	if h == nil {
		return 0
	}
	return h.rec.Digest()
}

// end takes the hold off the list. It reports whether the caller has to end it.
func (h *hold) end() bool {
	h.q.mu.Lock()
	defer h.q.mu.Unlock()
	_, ok := h.q.held[h]
	delete(h.q.held, h)
	return ok
}

// letGo gives back what the closing handle holds, so that others need not wait until the
// process has gone. What cannot be had at once is left to that.
func (q *core) letGo() {
	q.mu.Lock()
	held := q.held
	q.held = nil
	q.mu.Unlock()
	for h := range held {
		_ = h.giveBack()
	}
}

// giveBack ends a hold as if its process had died.
func (h *hold) giveBack() error {
	if h.reserved {
		h.q.r.Cancel(&h.rec)
		h.q.notEmpty.Broadcast()
		return nil
	}
	// Closing does not wait for a process that was stopped in the middle of a Get.
	if err := h.q.lockFor(h.q.consumers, 10*moment); err != nil {
		return err
	}
	return h.nackLocked()
}

// ack ends a lease whose message is dealt with.
func (h *hold) ack() error {
	q := h.q
	if err := q.consumers.Lock(context.Background(), lock.Scoped); err != nil {
		return explain(err)
	}
	room, err := q.r.Ack(&h.rec)
	mem.Mark("queue.hold.1", mem.Flags(room, err != nil))
	mem.Enter()
	if e := q.consumers.Unlock(); e != nil && err == nil {
		err = e
	}
	mem.Leave()
	if room {
		q.moved()
	}
	return explain(err)
}

// nack ends a lease whose message is to be delivered again.
func (h *hold) nack() error {
	if err := h.q.consumers.Lock(context.Background(), lock.Scoped); err != nil {
		return explain(err)
	}
	return h.nackLocked()
}

// nackLocked is nack, and gives the consumers' lock back.
func (h *hold) nackLocked() error {
	q := h.q
	again, room, err := q.r.Nack(&h.rec, q.bury)
	mem.Mark("queue.hold.2", mem.Flags(again, room, err != nil))
	mem.Enter()
	if e := q.consumers.Unlock(); e != nil && err == nil {
		err = e
	}
	mem.Leave()
	if again {
		q.notEmpty.Notify()
	}
	if room {
		q.moved()
	}
	return explain(err)
}

// moved tells everybody that the head has moved over what was leased: several messages,
// perhaps, and the last ones.
func (q *core) moved() {
	q.notFull.Broadcast()
	q.idle.Broadcast()
	if q.r.IsShut() { // getters wait for leases to end
		q.notEmpty.Broadcast()
	}
}

// lease takes a message into this process's hands, and waits for one as long as ctx
// allows.
func (q *core) lease(ctx context.Context) (*hold, []byte, int, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, 0, err
	}
	var h *hold
	var n int
	try := func() (bool, error) {
		if err := q.consumers.Lock(ctx, lock.Scoped); err != nil {
			return false, explain(err)
		}
		var err error
		h, n, err = q.leaseLocked()
		return h != nil, err
	}
	if ok, err := try(); err != nil {
		return nil, nil, 0, err
	} else if !ok {
		if err := q.awaitMessage(ctx, try); err != nil {
			return nil, nil, 0, err
		}
	}
	return q.leased(h, n)
}

func (q *core) leased(h *hold, n int) (*hold, []byte, int, error) {
	if !q.keep(h) {
		return nil, nil, 0, closedError{}
	}
	return h, q.r.Payload(&h.rec), n, nil
}

// leaseLocked leases a message, if there is one, and gives the consumers' lock back.
func (q *core) leaseLocked() (h *hold, deliveries int, err error) {
	var rd ring.Reader
	o, err := q.nextLocked(&rd)
	if o == ring.Done && err == nil {
		h = &hold{q: q}
		h.rec, deliveries = rd.Lease()
	}
	room, e := rd.Publish()
	if err == nil {
		err = e
	}
	q.order.Acquire()
	mem.Mark("queue.hold.3", uint64(o), uint64(deliveries), mem.Flags(room, err != nil), h.digest())
	mem.Enter()
	if e := q.consumers.Unlock(); e != nil && err == nil {
		err = explain(e)
	}
	mem.Leave()
	if room {
		q.moved()
	}
	runtime.KeepAlive(q)
	return h, deliveries, result(o, err)
}

// reserve makes a place for a message of n bytes, and waits for room as long as ctx
// allows.
func (q *core) reserve(ctx context.Context, n int) (*hold, []byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	h := &hold{q: q, reserved: true}
	try := func() (bool, error) {
		if err := q.producers.Lock(ctx, lock.Scoped); err != nil {
			return false, explain(err)
		}
		w := q.r.Writer()
		rec, o, err := w.Reserve(n)
		w.Publish()
		if o == ring.Full {
			q.r.Large(n)
		}
		h.rec = rec
		mem.Mark("queue.hold.4", uint64(o), h.digest(), mem.Flags(err != nil))
		mem.Enter()
		if e := q.producers.Unlock(); e != nil && err == nil {
			err = explain(e)
		}
		mem.Leave()
		crash.At("queue.reserved")
		return o == ring.Done, result(o, err)
	}
	ok, err := try()
	if err == nil && !ok {
		err = q.awaitRoom(ctx, n, try)
	}
	if err != nil {
		return nil, nil, err
	}
	if !q.keep(h) {
		return nil, nil, closedError{}
	}
	return h, q.r.Payload(&h.rec), nil
}

// commit shows everybody what was written to the place.
func (h *hold) commit() {
	h.q.order.Release()
	h.q.r.Commit(&h.rec)
	// Behind it, others may be waiting that have been announced already.
	h.q.notEmpty.Broadcast()
}

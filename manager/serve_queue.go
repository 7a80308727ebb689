package manager

import (
	"context"
	"errors"

	"github.com/go-multiproc/multiproc/internal/store"
)

func (r *request) queue() func() (*store.Queue, error) {
	id := store.ID(r.uint())
	return func() (*store.Queue, error) { return r.store.Queue(id) }
}

// onQueue does what has an object as its only argument, and a number as its result.
func (r *request) onQueue(do func(q *store.Queue) (uint64, error)) error {
	queue := r.queue()
	q, err := found(r, queue)
	if err != nil {
		return err
	}
	n, err := do(q)
	if err != nil {
		return err
	}
	return r.number(n)
}

func (r *request) queueLen(context.Context) error {
	return r.onQueue(func(q *store.Queue) (uint64, error) { return uint64(q.Len()), nil })
}

func (r *request) queueCap(context.Context) error {
	return r.onQueue(func(q *store.Queue) (uint64, error) { return q.Cap(), nil })
}

func (r *request) queueRecover(context.Context) error {
	return r.onQueue(func(q *store.Queue) (uint64, error) { return q.Recover(), nil })
}

func (r *request) queueDrop(context.Context) error {
	return r.onQueue(func(q *store.Queue) (uint64, error) { return uint64(q.Drop()), nil })
}

func (r *request) queueDeadLetters(context.Context) error {
	return r.onQueue(func(q *store.Queue) (uint64, error) {
		id, err := q.DeadLetters(r.store)
		return uint64(id), err
	})
}

func (r *request) queueTaskDone(context.Context) error {
	return onObject(r, r.store.Queue, func(q *store.Queue) error { return q.TaskDone(r.store) })
}

func (r *request) queueShutdown(context.Context) error {
	return onObject(r, r.store.Queue, func(q *store.Queue) error { q.Shutdown(); return nil })
}

func (r *request) queuePut(context.Context) error {
	queue, v := r.queue(), r.storedValue()
	q, err := found(r, queue)
	if err != nil {
		return err
	}
	return r.await(func(w *store.Wait) error { return q.Put(r.store, w, v) }, nil)
}

func (r *request) queuePutMany(context.Context) error {
	queue := r.queue()
	values := make([]store.Value, 0, min(max(r.items-1, 0), len(r.b)))
	for range cap(values) {
		values = append(values, r.storedValue())
		if r.err != nil {
			return nil
		}
	}
	q, err := found(r, queue)
	if err != nil {
		return err
	}
	n, err := q.PutMany(r.store, values)
	if err != nil {
		return err
	}
	return r.number(uint64(n))
}

// taken adds the messages that a Get got.
func taken(p *replier, w *store.Wait) {
	p.bool(w.Flag)
	for _, v := range w.Values {
		p.value(v)
	}
}

// mostTaken bounds how many messages one request takes: their number stands in the head of a short reply.
const mostTaken = 16 << 10

func (r *request) queueGet(context.Context) error {
	queue, n := r.queue(), r.uint()
	q, err := found(r, queue)
	if err != nil {
		return err
	}
	return r.await(func(w *store.Wait) error { return q.Get(r.store, w, howMany(n)) }, taken)
}

func howMany(n uint64) int { return int(min(max(n, 1), mostTaken)) }

func (r *request) queueTryGet(context.Context) error {
	queue, n := r.queue(), r.uint()
	q, err := found(r, queue)
	if err != nil {
		return err
	}
	return r.await(func(w *store.Wait) error {
		err := q.TryGet(r.store, w, howMany(n))
		if errors.Is(err, store.ErrBusy) {
			err = nil
		}
		return err
	}, taken)
}

func leasedOne(p *replier, w *store.Wait) {
	p.value(w.Value)
	p.uint(w.N)
}

func (r *request) queueLease(context.Context) error {
	queue := r.queue()
	q, err := found(r, queue)
	if err != nil {
		return err
	}
	return r.await(func(w *store.Wait) error { return q.Lease(r.store, w) }, leasedOne)
}

func (r *request) queueTryLease(context.Context) error {
	queue := r.queue()
	q, err := found(r, queue)
	if err != nil {
		return err
	}
	return r.await(func(w *store.Wait) error {
		err := q.TryLease(r.store, w)
		if errors.Is(err, store.ErrBusy) {
			err = nil
		}
		return err
	}, func(p *replier, w *store.Wait) {
		if w.N == 0 {
			p.null()
			p.uint(0)
			return
		}
		leasedOne(p, w)
	})
}

func (r *request) queueAck(context.Context) error { return r.endLease((*store.Queue).Ack) }

func (r *request) queueNack(context.Context) error { return r.endLease((*store.Queue).Nack) }

func (r *request) endLease(end func(*store.Queue, *store.Session, uint64) error) error {
	queue, id := r.queue(), r.uint()
	if !r.ok() {
		return nil
	}
	q, err := queue()
	if err == nil {
		err = end(q, r.store, id)
	}
	if err != nil {
		return err
	}
	return r.done()
}

func (r *request) queueJoin(context.Context) error {
	queue := r.queue()
	q, err := found(r, queue)
	if err != nil {
		return err
	}
	return r.await(func(w *store.Wait) error { return q.Join(r.store, w) }, nil)
}

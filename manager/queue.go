package manager

import (
	"context"
	"fmt"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/store"
	"github.com/go-multiproc/multiproc/queue"
)

// QueueOptions say what a new Queue is like. The zero value is the default.
type QueueOptions struct {
	// Capacity is how many messages the Queue holds, leased ones included, before Put waits. 0 is any number.
	Capacity int

	// MaxDeliveries is how often a message is leased before it counts as one that nobody can deal with, and goes to
	// DeadLetters. 0 is any number of times.
	MaxDeliveries int
}

func (o QueueOptions) params() ([]uint64, error) {
	if o.Capacity < 0 || o.MaxDeliveries < 0 {
		return nil, fmt.Errorf("manager: a Queue with a capacity of %d and %d deliveries: neither can be negative", o.Capacity, o.MaxDeliveries)
	}
	return []uint64{uint64(o.Capacity), uint64(o.MaxDeliveries)}, nil
}

// A Queue is a queue of messages on the server: any number of goroutines and processes, on any number of machines, put messages in and
// take them out. It is what package queue has in shared memory, method by method, with contexts; the errors are the same values:
// queue.ErrClosed, psync.ErrOwnerDied and so on.
//
// Messages are taken in the order in which they were put, and those who wait, for a message or for room, are served in the order
// in which they came. A message that nobody waits for is kept by the server; it may contain handles to objects of the same server.
//
// A process that dies while it waits takes no message along. Get takes a message at most once: it is lost if the process dies before it has dealt with it, and
// Join says so. Lease takes it at least once: it is delivered again if the process dies before Ack, at once.
//
// If the ctx of Put or Get ends, the message is in the queue or it is not, and the error says which: with ctx's own error nothing was put, nothing
// taken. (If the server is stopped and does not say within a quarter of a second how it was, a Put may still take place. What a
// Get would take, goes back.)
//
// A *Queue is safe for concurrent use. It crosses to other processes in arguments and messages. An unreachable one closes itself.
type Queue[T any] struct {
	_ noCopy
	w waiter

	mu     sync.Mutex
	leases map[*leaseState]struct{} // of this handle
}

func (*Queue[T]) layout() string { return queueLayout[T]() }

func (*Queue[T]) elements() (store.Kind, []reflect.Type) {
	return store.KindQueue, []reflect.Type{reflect.TypeFor[T]()}
}

func queueLayout[T any]() string { return describe(reflect.TypeFor[*Queue[T]]()) }

func queueParams(o []QueueOptions) ([]uint64, error) {
	if len(o) == 0 {
		return nil, nil
	}
	return o[0].params()
}

// NewQueue makes an empty queue. It lives until the last handle in the last process is gone, and no container mentions it.
func NewQueue[T any](m *Manager, o ...QueueOptions) (*Queue[T], error) {
	params, err := queueParams(o)
	if err != nil {
		return nil, err
	}
	q := new(Queue[T])
	if err := create(m, q, &q.w.handle, store.KindQueue, queueLayout[T](), params...); err != nil {
		return nil, err
	}
	return q, nil
}

// OpenQueue returns the queue of that name, and makes it if there is none; see OpenDict. If it was made with another capacity or
// number of deliveries than the options say, the error is ErrType; what they leave 0 is as it is.
func OpenQueue[T any](m *Manager, name string, o ...QueueOptions) (*Queue[T], error) {
	params, err := queueParams(o)
	if err != nil {
		return nil, err
	}
	q := new(Queue[T])
	if err := open(m, q, &q.w.handle, name, store.KindQueue, queueLayout[T](), params...); err != nil {
		return nil, err
	}
	return q, nil
}

// Close lets go of this handle; other handles are not touched. Messages that were leased through it are delivered again, and
// calls that wait through it end. Calls after it fail with fs.ErrClosed. It is safe to call twice.
func (q *Queue[T]) Close() error {
	q.w.stop() // first: what comes back is not for those
	q.mu.Lock()
	leases := q.leases
	q.leases = nil
	q.mu.Unlock()
	for l := range leases {
		if l.end() {
			l.r.client.notify(newCall(opCancel).uint(l.id))
		}
	}
	return q.w.close()
}

// HandOver describes q to another process. It is for the packages of this module.
func (q *Queue[T]) HandOver(e *handover.Encoder) error {
	return q.w.handOver(e, store.KindQueue, queueLayout[T]())
}

// TakeOver makes the zero Queue q what another process described. It is for the packages of this module.
func (q *Queue[T]) TakeOver(d *handover.Decoder) error {
	return takeOver(q, &q.w.handle, d, store.KindQueue, queueLayout[T]())
}

func (q *Queue[T]) begin(op uint64) (*remote, *call, error) { return q.w.handle.begin("Queue", op) }

// number is a round trip with a number as result.
func (q *Queue[T]) number(ctx context.Context, op uint64) (int, error) {
	r, cl, err := q.begin(op)
	if err != nil {
		return 0, err
	}
	defer runtime.KeepAlive(q)
	return r.doInt(ctx, cl)
}

// nothing is a round trip without a result.
func (q *Queue[T]) nothing(ctx context.Context, op uint64) error {
	r, cl, err := q.begin(op)
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(q)
	return r.doNothingElse(ctx, cl)
}

// Put adds v, and waits for room as long as ctx allows. The error is queue.ErrClosed after Shutdown.
func (q *Queue[T]) Put(ctx context.Context, v T) error {
	r, cl, err := q.begin(opQueuePut)
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(q)
	holds, err := addValue(r.client, cl, v, "v", -1)
	if err != nil {
		cl.free()
		return err
	}
	defer releaseAll(holds)
	if _, err = q.w.await(ctx, r, cl, "Queue"); err == nil {
		cl.free()
	}
	return err
}

// TryPut is Put without waiting for room. It reports false if there is none.
func (q *Queue[T]) TryPut(ctx context.Context, v T) (bool, error) {
	n, err := q.putSome(ctx, []T{v})
	return n == 1, err
}

// putBytes bounds a request of PutMany.
const putBytes = 256 << 10

// putSome puts as many as there is room for, and for as long as one request has room for them.
func (q *Queue[T]) putSome(ctx context.Context, v []T) (int, error) {
	r, cl, err := q.begin(opQueuePutMany)
	if err != nil {
		return 0, err
	}
	defer runtime.KeepAlive(q)
	var holds []*remote
	defer func() { releaseAll(holds) }()
	for i := range v {
		more, err := addValue(r.client, cl, v[i], "v", i)
		if err != nil {
			cl.free()
			return 0, err
		}
		holds = append(holds, more...)
		if len(cl.out) > putBytes {
			break
		}
	}
	return r.doInt(ctx, cl)
}

// PutMany is Put for all elements of v, in order, in few round trips. It returns how many were put: all of them, unless there is an
// error. If ctx ends, those of the request under way may be put and not be counted.
func (q *Queue[T]) PutMany(ctx context.Context, v []T) (n int, err error) {
	for n < len(v) {
		k, err := q.putSome(ctx, v[n:])
		n += k
		if err != nil {
			return n, err
		}
		if k == 0 { // no room: wait with the next one
			if err := q.Put(ctx, v[n]); err != nil {
				return n, err
			}
			n++
		}
	}
	return n, ctx.Err()
}

// Get takes the oldest message, and waits for one as long as ctx allows. The error is queue.ErrClosed when the queue is shut down and
// empty, or says why the message, which is gone, cannot be decoded.
func (q *Queue[T]) Get(ctx context.Context) (v T, err error) {
	var buf [1]T
	_, err = q.get(ctx, opQueueGet, buf[:])
	return buf[0], err
}

// TryGet is Get without waiting for a message. It reports false if there is none.
func (q *Queue[T]) TryGet(ctx context.Context) (v T, ok bool, err error) {
	var buf [1]T
	n, err := q.get(ctx, opQueueTryGet, buf[:])
	return buf[0], n == 1, err
}

// GetMany is Get for up to len(buf) messages, in one round trip: it waits for one, and takes those that are there with it, some
// hundred kilobytes of them at most. It returns how many there are in buf. If one of them cannot be decoded, it returns those before
// it; the others are gone.
func (q *Queue[T]) GetMany(ctx context.Context, buf []T) (n int, err error) {
	if len(buf) == 0 {
		return 0, ctx.Err()
	}
	return q.get(ctx, opQueueGet, buf)
}

func (q *Queue[T]) get(ctx context.Context, op uint64, buf []T) (n int, err error) {
	r, cl, err := q.begin(op)
	if err != nil {
		return 0, err
	}
	defer runtime.KeepAlive(q)
	rep, err := q.w.await(ctx, r, cl.uint(uint64(len(buf))), "Queue")
	if err != nil {
		return 0, err
	}
	defer cl.free()
	waited := rep.bool()
	if rep.items > 1 {
		r.client.confirm(cl.id, waited)
	}
	for range rep.items - 1 {
		if n == len(buf) {
			rep.fail("more than %d messages", n)
			break
		}
		if buf[n], err = readValue[T](r.client, &rep); err != nil {
			return n, discardRest(r.client, &rep, err)
		}
		n++
	}
	return n, rep.close()
}

// Len returns how many messages wait to be taken.
func (q *Queue[T]) Len(ctx context.Context) (int, error) { return q.number(ctx, opQueueLen) }

// Cap returns QueueOptions.Capacity.
func (q *Queue[T]) Cap(ctx context.Context) (int, error) { return q.number(ctx, opQueueCap) }

// TaskDone says that a message that this process took by Get, TryGet or GetMany is dealt with, for Join to know. It is called once
// for each of them, in the process that took it; else the error is queue.ErrNotTaken. For leases, Ack does it.
func (q *Queue[T]) TaskDone(ctx context.Context) error { return q.nothing(ctx, opQueueTaskDone) }

// Join waits until all messages that were put are dealt with: taken, and for each of them TaskDone or Ack called. Others may go on
// putting.
//
// If a process died, or closed its last handle, with messages that it took but did not call TaskDone for, the error is
// psync.ErrOwnerDied, and says how many. Join then returns the same again until Recover is called.
func (q *Queue[T]) Join(ctx context.Context) error { return q.w.awaitDone(ctx, "Queue", opQueueJoin) }

// Recover counts the messages that processes which are gone took, and did not call TaskDone for, as dealt with, and returns how many
// that were.
func (q *Queue[T]) Recover(ctx context.Context) (int, error) { return q.number(ctx, opQueueRecover) }

// Drop takes away all messages that wait to be taken, and returns how many that were. What is leased stays. They count as dealt with.
func (q *Queue[T]) Drop(ctx context.Context) (int, error) { return q.number(ctx, opQueueDrop) }

// DeadLetters returns the queue of the messages that were delivered QueueOptions.MaxDeliveries times and not acknowledged. It is a
// Queue like any other; if it is as full as the queue's capacity, the oldest messages in it give way. If the queue was
// made without MaxDeliveries, the error is ErrNotFound.
func (q *Queue[T]) DeadLetters(ctx context.Context) (*Queue[T], error) {
	r, cl, err := q.begin(opQueueDeadLetters)
	if err != nil {
		return nil, err
	}
	defer runtime.KeepAlive(q)
	o, err := r.related(ctx, cl)
	if err != nil {
		return nil, err
	}
	dead := new(Queue[T])
	attach(dead, &dead.w.handle, o)
	return dead, nil
}

// related is a round trip with an object as result, and a hold on that.
func (r *remote) related(ctx context.Context, cl *call) (*remote, error) {
	rep, err := r.do(ctx, cl)
	if err != nil {
		return nil, err
	}
	defer cl.free()
	id := store.ID(rep.uint())
	if err := rep.close(); err != nil {
		return nil, err
	}
	return r.client.adopt(id, 1), nil
}

// Shutdown ends the queue for everybody, in all processes: from here on Put fails with queue.ErrClosed, and Get and Lease return what
// is there, and then queue.ErrClosed. As long as somebody has a lease, which may come back, they wait. It cannot be undone.
func (q *Queue[T]) Shutdown(ctx context.Context) error { return q.nothing(ctx, opQueueShutdown) }

// A QueueLease is a message in the hands of this process, which has to end it: by Ack when the message is dealt with, or by Nack. Until
// then nobody else gets it, and it takes up its room. When the process dies, or closes its Queue, the message is delivered
// again, to whoever asks next.
//
// A QueueLease is safe for concurrent use. One that is forgotten lasts until the Queue is closed.
type QueueLease[T any] struct {
	q     *Queue[T]
	state *leaseState
	v     T
	n     int
}

type leaseState struct {
	r     *remote
	id    uint64
	ended atomic.Bool
}

func (l *leaseState) end() bool { return !l.ended.Swap(true) }

// Lease takes the oldest message that nobody has taken, as Get does, but as a lease. If it cannot be decoded, that is an error, and
// the message is gone. Messages that are delivered again come before those that never were.
//
// Who deals with messages this way deals with each at least once: it may have been dealt with by one who died before Ack.
func (q *Queue[T]) Lease(ctx context.Context) (*QueueLease[T], error) {
	return q.lease(ctx, opQueueLease)
}

// TryLease is Lease without waiting. It returns nil if there is no message.
func (q *Queue[T]) TryLease(ctx context.Context) (*QueueLease[T], error) {
	return q.lease(ctx, opQueueTryLease)
}

func (q *Queue[T]) lease(ctx context.Context, op uint64) (*QueueLease[T], error) {
	r, cl, err := q.begin(op)
	if err != nil {
		return nil, err
	}
	defer runtime.KeepAlive(q)
	rep, err := q.w.await(ctx, r, cl, "Queue")
	if err != nil {
		return nil, err
	}
	defer cl.free()
	if rep.null() {
		rep.uint()
		return nil, rep.close()
	}
	l := &QueueLease[T]{q: q, state: &leaseState{r: r, id: cl.id}}
	v, err := readValue[T](r.client, &rep)
	if err != nil {
		r.client.notifyAck(r, cl.id)
		return nil, discardRest(r.client, &rep, err)
	}
	l.v, l.n = v, int(rep.uint())
	if err := rep.close(); err != nil {
		return nil, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.w.isClosed() {
		r.client.notify(newCall(opCancel).uint(cl.id))
		l.state.end()
		return l, nil
	}
	if q.leases == nil {
		q.leases = map[*leaseState]struct{}{}
	}
	q.leases[l.state] = struct{}{}
	return l, nil
}

// notifyAck ends a lease for good, of a message that is of no use.
func (c *client) notifyAck(r *remote, id uint64) {
	c.work.Go(func() { _ = r.doSoon(newCall(opQueueAck).uint(uint64(r.id)).uint(id)) })
}

// Value is the message.
func (l *QueueLease[T]) Value() T { return l.v }

// Deliveries is how often the message was delivered, this time included.
func (l *QueueLease[T]) Deliveries() int { return l.n }

// Ack ends the lease: the message is dealt with, and gone. For Join that is as good as TaskDone. The error is queue.ErrLeaseEnded if
// the lease has ended before, by Close for one. With another error, the message may or may not be delivered again.
func (l *QueueLease[T]) Ack(ctx context.Context) error { return l.end(ctx, opQueueAck) }

// Nack ends the lease: the message is to be delivered again. If it was delivered QueueOptions.MaxDeliveries times, it goes to the
// dead letters instead. The error is queue.ErrLeaseEnded if the lease has ended before.
func (l *QueueLease[T]) Nack(ctx context.Context) error { return l.end(ctx, opQueueNack) }

func (l *QueueLease[T]) end(ctx context.Context, op uint64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !l.state.end() {
		return queue.ErrLeaseEnded
	}
	l.q.mu.Lock()
	delete(l.q.leases, l.state)
	l.q.mu.Unlock()
	defer runtime.KeepAlive(l.q)
	r := l.state.r
	return r.doNothingElse(ctx, newCall(op).uint(uint64(r.id)).uint(l.state.id))
}

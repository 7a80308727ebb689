package queue

import (
	"context"
	"fmt"
	"io/fs"
	"sync"

	"github.com/go-multiproc/multiproc/internal/cell"
	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/seg"
)

// Options say what a new Queue is like. The zero value is the default.
type Options struct {
	// Capacity is how many messages the Queue holds, leased ones included, before Put
	// waits. 0 is as many as fit into Bytes.
	Capacity int
	// Bytes is the size of the ring that the messages are in, rounded up to a power of
	// two; 0 is 1 MiB, the least is 4 KiB. A message takes its own bytes and 16 to 23 more.
	// It is memory from the beginning.
	Bytes int
	// MaxMessage is the largest message, in bytes; 0 is 256 MiB. Messages of more than half of
	// Bytes get memory of their own while they are in the Queue, and no other: that is
	// slower, so let Bytes be some times the usual message.
	MaxMessage int
	// MaxDeliveries is how often a message is leased before it counts as one that nobody can
	// deal with, and goes to DeadLetters. 0 is any number of times. It doubles the memory.
	MaxDeliveries int

	// Dir and Mode are for Create: the directory of the file ("" is /dev/shm), and its
	// permissions (0 is 0600).
	Dir  string
	Mode fs.FileMode
}

// A Place says where a named Queue is. The zero value is the default.
type Place struct {
	Dir      string // "" is /dev/shm
	AnyOwner bool   // Open: accept one that belongs to another user
}

func place(p []Place) seg.Options {
	if len(p) == 0 {
		return seg.Options{}
	}
	return seg.Options{Dir: p[0].Dir, AnyOwner: p[0].AnyOwner}
}

// A Queue is a queue of messages of type T in shared memory, as this process has it. It
// is safe for use by goroutines and processes, through its pointer; it must not be copied.
//
// A *Queue can stand anywhere in the arguments of a child process and in what is sent
// through a pipe. It cannot be put in a queue.
//
// After Close, methods that return an error return one that is fs.ErrClosed and ErrClosed,
// and Len panics. The zero Queue can not be used: all its methods but Close panic.
type Queue[T any] struct {
	core *core // immutable; nil in a zero Queue
	form form
	sub  bool // the dead letters of another Queue, which closes them
}

// New makes an anonymous Queue, to be passed to child processes. The error is
// shm.ErrNoSpace if there is no memory for it, or fs.ErrInvalid.
func New[T any](o Options) (*Queue[T], error) {
	return build[T](o, seg.New)
}

// Create makes a named Queue, which stays until Remove, with the messages in it. Nobody can
// see it before it is complete. If the name exists, the error is fs.ErrExist. A name is
// one plain file name of at most 250 bytes.
func Create[T any](name string, o Options) (*Queue[T], error) {
	return build[T](o, func(s seg.Spec) (*seg.Handle, error) {
		return seg.Create(name, s, seg.Options{Dir: o.Dir, Mode: o.Mode})
	})
}

func build[T any](o Options, newSeg func(seg.Spec) (*seg.Handle, error)) (*Queue[T], error) {
	f := formOf[T]()
	p, err := o.plan()
	if err != nil {
		return nil, err
	}
	h, err := newSeg(p.spec(f.text))
	if err != nil {
		return nil, err
	}
	c, err := join(h, false)
	if err != nil {
		return nil, err
	}
	return &Queue[T]{core: c, form: f}, nil
}

// Open joins a Queue that Create made, here or in another process. T must be what it was
// made for: a type of fixed size has to have the same layout, whatever its name, and
// another one the same shape and name, where the fields of a struct may differ. The error
// is shm.ErrType if it is not, fs.ErrNotExist if there is no such name, and shm.ErrFormat
// if the file is no Queue that this version can use.
func Open[T any](name string, at ...Place) (*Queue[T], error) {
	f := formOf[T]()
	h, err := seg.Open(name, kind, f.text, place(at))
	if err != nil {
		return nil, err
	}
	c, err := join(h, false)
	if err != nil {
		return nil, fmt.Errorf("queue: %s: %w", name, err)
	}
	return &Queue[T]{core: c, form: f}, nil
}

// Remove deletes the name of a Queue. Processes that have it open keep it. If there is no
// such name, the error is fs.ErrNotExist.
func Remove(name string, at ...Place) error { return seg.Remove(name, kind, place(at)) }

// use is the core, of a Queue that was made.
func (q *Queue[T]) use() *core {
	if q.core == nil {
		panic("queue: use of a Queue that was not made by New, Create or Open")
	}
	return q.core
}

// Name is the name that the Queue was created or opened with; "" if none.
func (q *Queue[T]) Name() string { return q.use().h.Name() }

// Put adds v to the Queue, and waits for room as long as ctx allows. When it has returned
// nil, the message is in shared memory, and stays there whatever becomes of this process.
// Messages of one goroutine are taken in the order in which it put them.
//
// The error is ctx's own, ErrClosed after Shutdown, ErrTooLarge, shm.ErrNoSpace if the
// message needs memory of its own and there is none, or says what in v cannot cross to
// another process. Then nothing was put.
func (q *Queue[T]) Put(ctx context.Context, v T) error {
	c := q.use()
	switch q.form.face {
	case raw:
		return c.put(ctx, *bytesOf(&v))
	case fixed:
		return c.put(ctx, cell.Wipe(cell.Bytes(&v), q.form.padding))
	}
	return q.putEncoded(ctx, &v)
}

func (q *Queue[T]) putEncoded(ctx context.Context, v *T) (err error) {
	b := buffers.Get().(*[]byte)
	defer keepBuffer(b)
	if *b, err = encode((*b)[:0], &q.form, v); err != nil {
		return err
	}
	return q.core.put(ctx, *b)
}

// TryPut is Put without waiting for room. It reports false if there is none, and that is true at
// some moment of the call: another process that is in the middle of a Put is waited for, which
// takes a moment, unless it is stopped there. Then the error is ErrBusy, after a second.
func (q *Queue[T]) TryPut(v T) (bool, error) {
	c := q.use()
	switch q.form.face {
	case raw:
		return c.tryPut(*bytesOf(&v))
	case fixed:
		return c.tryPut(cell.Wipe(cell.Bytes(&v), q.form.padding))
	}
	b := buffers.Get().(*[]byte)
	defer keepBuffer(b)
	var err error
	if *b, err = encode((*b)[:0], &q.form, &v); err != nil {
		return false, err
	}
	return c.tryPut(*b)
}

// batch is how many messages PutMany puts in one step, at most.
const batch = 128

// PutMany is Put for all elements of v, in order, at a lower price. It returns how many
// were put: all of them, unless there is an error. Those that there is room for become
// visible together, up to 128 of them.
func (q *Queue[T]) PutMany(ctx context.Context, v []T) (n int, err error) {
	c := q.use()
	if err := c.begin(ctx); err != nil {
		return 0, err
	}
	var bs [batch][]byte
	all := buffers.Get().(*[]byte)
	defer keepBuffer(all)
	for n < len(v) {
		part := v[n:min(n+batch, len(v))]
		if err := q.encodeAll(all, bs[:len(part)], part); err != nil {
			return n, err
		}
		done := 0
		for done < len(part) {
			k, err := c.putMany(ctx, bs[done:len(part)])
			n, done = n+k, done+k
			if err != nil {
				return n, err
			}
			if done == len(part) {
				break
			}
			// The next one does not fit: wait with it.
			if err := c.put(ctx, bs[done]); err != nil {
				return n, err
			}
			n, done = n+1, done+1
		}
	}
	return n, nil
}

// encodeAll sets bs to the messages of v. all is room for some of them.
func (q *Queue[T]) encodeAll(all *[]byte, bs [][]byte, v []T) (err error) {
	*all = (*all)[:0]
	for i := range v {
		switch q.form.face {
		case raw:
			bs[i] = *bytesOf(&v[i])
		case fixed:
			if bs[i] = cell.Bytes(&v[i]); len(q.form.padding) > 0 {
				own := v[i] // v is the caller's
				bs[i] = cell.Wipe(cell.Bytes(&own), q.form.padding)
			}
		default:
			from := len(*all)
			if *all, err = encode(*all, &q.form, &v[i]); err != nil {
				return err
			}
			// What it was, if it had to grow, stays what it is.
			bs[i] = (*all)[from:len(*all):len(*all)]
		}
	}
	return nil
}

// Get takes the oldest message, and waits for one as long as ctx allows. The error is
// ctx's own, ErrClosed when the Queue is shut down and empty, ErrTooManyTakers, or says why
// the message, which is gone, cannot be decoded.
//
// A message is taken once: if the process dies before it has dealt with it, it is lost.
// See Lease.
func (q *Queue[T]) Get(ctx context.Context) (T, error) {
	c := q.use()
	var v T
	switch q.form.face {
	case raw:
		b, err := c.get(ctx, nil)
		if err == nil {
			*bytesOf(&v) = b
		}
		return v, err
	case fixed:
		_, err := c.get(ctx, cell.Bytes(&v))
		return v, err
	}
	err := q.getEncoded(ctx, &v)
	return v, err
}

func (q *Queue[T]) getEncoded(ctx context.Context, v *T) (err error) {
	b := buffers.Get().(*[]byte)
	defer keepBuffer(b)
	if *b, err = q.core.get(ctx, (*b)[:0]); err != nil {
		return err
	}
	return decode(&q.form, *b, v)
}

// TryGet is Get without waiting for a message. It reports false if there is none, or if the next one is a
// Reservation that has not been committed. That is true at some moment of the call: another
// process that is in the middle of a Get is waited for, which takes a moment, unless it is
// stopped there. Then the error is ErrBusy, after a second.
func (q *Queue[T]) TryGet() (v T, ok bool, err error) {
	c := q.use()
	if q.form.face == fixed {
		_, ok, err := c.tryGet(cell.Bytes(&v))
		return v, ok, err
	}
	if q.form.face == raw {
		b, ok, err := c.tryGet(nil)
		if ok && err == nil {
			*bytesOf(&v) = b
		}
		return v, ok, err
	}
	b := buffers.Get().(*[]byte)
	defer keepBuffer(b)
	if *b, ok, err = c.tryGet((*b)[:0]); !ok || err != nil {
		return v, false, err
	}
	if err = decode(&q.form, *b, &v); err != nil {
		return v, false, err
	}
	return v, true, nil
}

// buffers are for messages on their way to be decoded, or encoded.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

func keepBuffer(b *[]byte) {
	if cap(*b) > 1<<20 {
		*b = nil
	}
	buffers.Put(b)
}

// GetMany is Get for up to len(buf) messages, at a lower price: it waits for one, and takes
// those that are there with it. It returns how many there are in buf. Of a Queue[[]byte], it
// writes to the slices that stand in buf where they have the capacity. If one of them cannot
// be decoded, it returns those before it; the others are gone.
func (q *Queue[T]) GetMany(ctx context.Context, buf []T) (n int, err error) {
	c := q.use()
	if err := c.begin(ctx); err != nil {
		return 0, err
	}
	if len(buf) == 0 {
		return 0, nil
	}
	n, err = q.getMany(ctx, buf)
	if n > 0 || err != nil {
		return n, err
	}
	err = c.awaitMessage(ctx, func() (bool, error) {
		var err error
		n, err = q.getMany(ctx, buf)
		return n > 0, err
	})
	return n, err
}

func (q *Queue[T]) getMany(ctx context.Context, buf []T) (int, error) {
	c := q.use()
	switch q.form.face {
	case raw:
		return c.getMany(ctx, len(buf), func(i int, payload []byte) error {
			b := bytesOf(&buf[i])
			*b = append((*b)[:0], payload...)
			return nil
		})
	case fixed:
		return c.getMany(ctx, len(buf), func(i int, payload []byte) error {
			return decode(&q.form, payload, &buf[i])
		})
	}
	// Decoding takes longer than copying, and others wait for the lock.
	all := buffers.Get().(*[]byte)
	defer keepBuffer(all)
	*all = (*all)[:0]
	var ends []int
	n, err := c.getMany(ctx, len(buf), func(i int, payload []byte) error {
		*all = append(*all, payload...)
		ends = append(ends, len(*all))
		return nil
	})
	from := 0
	for i := range n {
		if err := decode(&q.form, (*all)[from:ends[i]], &buf[i]); err != nil {
			return i, err
		}
		from = ends[i]
	}
	return n, err
}

// Len is the number of messages that nobody has taken or leased, at some moment during the call. One that is to be delivered again, after Nack
// or the death of who leased it, is not among them: TryGet and TryLease know of it.
func (q *Queue[T]) Len() int {
	c := q.use()
	n := c.r.Len()
	if c.h.Closed() {
		panic("queue: use of closed Queue")
	}
	return n
}

// Cap is Options.Capacity: how many messages there can be, or 0 if only the size of the
// ring limits them.
func (q *Queue[T]) Cap() int { return q.use().limit }

// TaskDone says that a message that this process took by Get, TryGet or GetMany is dealt
// with, for Join to know. It is called once for each of them, in the process that took it;
// else the error is ErrNotTaken. For leases, Ack does it.
func (q *Queue[T]) TaskDone() error {
	c := q.use()
	if c.h.Closed() {
		return closedError{}
	}
	return c.taskDone()
}

// Join waits until all messages that were put are dealt with: taken, and for each of them
// TaskDone or Ack called. Others may go on putting.
//
// If a process died, or closed its last handle, with messages that it took but did not
// call TaskDone for, the error is psync.ErrOwnerDied, and says how many. What these were is
// not known any more (use Lease if it has to be). Join then returns the same again until
// Recover is called. A process that dies in the middle of Get may count as one that took a
// message, although the message is still there.
func (q *Queue[T]) Join(ctx context.Context) error { return q.use().join(ctx) }

// Recover counts the messages that dead processes took, and did not call TaskDone for, as
// dealt with, and returns how many that were.
func (q *Queue[T]) Recover(ctx context.Context) (int, error) { return q.use().writeOff(ctx) }

// DeadLetters is the queue of the messages that were delivered Options.MaxDeliveries times
// and not acknowledged. It is a Queue like any other, in the same memory, and as large; it is
// closed with q, and its own Close does nothing. If it is full, the oldest messages in it give
// way. A message is there at least once: twice, if the process that moved it died over it. It
// is nil if q was made without MaxDeliveries.
func (q *Queue[T]) DeadLetters() *Queue[T] {
	c := q.use()
	if c.dead == nil {
		return nil
	}
	return &Queue[T]{core: c.dead, form: q.form, sub: true}
}

// Drop takes away all messages that wait to be taken, and returns how many that were. What is
// leased stays. They count as dealt with.
func (q *Queue[T]) Drop(ctx context.Context) (int, error) { return q.use().drop(ctx) }

// Shutdown ends the Queue for everybody, in all processes: from here on Put fails with
// ErrClosed, and Get and Lease return what is there, and then ErrClosed. As long as another
// process has a lease, which may come back, they wait. It cannot be undone. It waits for a
// Put that is in progress.
func (q *Queue[T]) Shutdown() error { return q.use().shutdown() }

// Close ends this process's hold on the Queue; the messages stay. It waits for calls in
// progress that do not wait themselves; those that do return. Messages that this handle
// has leased are delivered again. Calling Close again does nothing.
//
// A process may exit without Close: nothing is left in it that would be lost.
func (q *Queue[T]) Close() error {
	if q.core == nil || q.sub {
		return nil
	}
	return q.core.close()
}

// HandOver describes the Queue to another process. Packages process and pipe call it.
func (q *Queue[T]) HandOver(e *handover.Encoder) error {
	if q.core == nil {
		return fmt.Errorf("queue: a Queue that was not made by New, Create or Open: %w", fs.ErrInvalid)
	}
	return q.core.handOver(e)
}

// TakeOver makes the zero Queue a hold on one that another process handed over. Packages
// process and pipe call it.
func (q *Queue[T]) TakeOver(d *handover.Decoder) error {
	f := formOf[T]()
	c, err := takeOver(d, f.text)
	if err != nil {
		return err
	}
	q.core, q.form = c, f
	return nil
}

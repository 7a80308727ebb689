package psync

import (
	"context"
	"runtime"

	"github.com/go-multiproc/multiproc/internal/crash"
	"github.com/go-multiproc/multiproc/internal/detector"
	"github.com/go-multiproc/multiproc/internal/eventcount"
	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/mem"
	"github.com/go-multiproc/multiproc/internal/seg"
	"github.com/go-multiproc/multiproc/shm"
)

// EventSize is the number of bytes that an Event takes in a segment.
const EventSize = 64

// The layout of an Event: how often it was set and cleared, and the count to wait by. It
// is set when the number is odd; and who waits while it is cleared goes on when it is
// another number, so that he does not miss an Event that is set and cleared at once.
const eventCount = 8

var eventKind = newKind(eventCode, fixed(EventSize))

// An Event is a flag that goroutines of any number of processes wait for. It is cleared in
// the beginning.
//
// It belongs to nobody, and so the death of a process leaves it as it is. One that dies
// in Set has set it or not; if it has, those who wait go on within some milliseconds.
//
// After Close, Set, Clear and Wait return an error that is fs.ErrClosed, and IsSet
// panics. The zero Event can not be used: all its methods but Close panic.
type Event struct {
	word  *mem.Uint64
	count *eventcount.Count
	order *detector.Order
	at    spot
}

func newEvent(p spot, err error) (*Event, error) {
	if err != nil {
		return nil, err
	}
	e := &Event{}
	e.stand(p)
	return e, nil
}

// stand makes the zero e the Event at p.
func (e *Event) stand(p spot) {
	m := p.h.Mapping()
	e.at, e.word, e.count = p, m.Word(p.off), eventcount.At(m, p.off+eventCount)
	e.order = m.Local(p.off, func() any { return new(detector.Order) }).(*detector.Order)
}

// NewEvent makes an anonymous Event, to be passed to child processes. The error is
// shm.ErrNoSpace if there is no memory for it.
func NewEvent() (*Event, error) { return newEvent(eventKind.make(0, nil)) }

// CreateEvent makes a named Event. If the name exists, the error is fs.ErrExist.
func CreateEvent(name string, opts ...Options) (*Event, error) {
	return newEvent(eventKind.create(name, 0, nil, options(opts)))
}

// OpenEvent joins an Event that CreateEvent made, here or in another process. Its errors
// are those of OpenMutex.
func OpenEvent(name string, opts ...Options) (*Event, error) {
	return newEvent(eventKind.open(name, options(opts)))
}

// EventAt joins the Event that stands at byte off of s, where it takes EventSize bytes, and
// makes it if they are zero. Its errors are those of MutexAt.
func EventAt(s *shm.Segment, off int) (*Event, error) { return newEvent(eventKind.place(s, off, 0)) }

// handle is where an Event that was made stands.
func (e *Event) handle() *seg.Handle {
	if e.word == nil {
		panic("psync: use of an Event that was not made by NewEvent, CreateEvent, OpenEvent or EventAt")
	}
	return e.at.h
}

// isSet says what a value of the word means.
func isSet(w uint64) bool { return w&1 != 0 }

// Set sets the Event, and wakes everybody who waits for it. If it is set already, it does
// nothing. Without waiters, it makes no system call.
func (e *Event) Set() error {
	if e.handle().Closed() {
		return e.at.h.ErrClosed()
	}
	e.order.Release()
	w := e.word.Load()
	for ; !isSet(w); w = e.word.Load() {
		if e.word.CompareAndSwap(w, w+1) {
			crash.At("event.set")
			e.count.Broadcast()
			break
		}
	}
	runtime.KeepAlive(e)
	return nil
}

// Clear clears the Event. Those who waited when it was set go on all the same.
func (e *Event) Clear() error {
	if e.handle().Closed() {
		return e.at.h.ErrClosed()
	}
	for w := e.word.Load(); isSet(w) && !e.word.CompareAndSwap(w, w+1); w = e.word.Load() {
	}
	runtime.KeepAlive(e)
	return nil
}

// IsSet reports whether the Event is set. If it is, that costs one load.
func (e *Event) IsSet() bool {
	h := e.handle()
	set := isSet(e.word.Load())
	if !set && h.Closed() {
		panic("psync: use of closed Event")
	}
	if set {
		e.order.Acquire()
	}
	runtime.KeepAlive(e)
	return set
}

// Wait waits until the Event is set, as long as ctx allows. If it is set, Wait returns nil
// at once, without a look at ctx. It also returns nil when the Event was set meanwhile and
// cleared again. Otherwise the error is ctx's own, or one that is fs.ErrClosed.
func (e *Event) Wait(ctx context.Context) error {
	h := e.handle()
	w := e.word.Load()
	if !isSet(w) || h.Closed() {
		if err := e.wait(ctx, w); err != nil {
			return err
		}
	}
	e.order.Acquire()
	runtime.KeepAlive(e)
	return nil
}

func (e *Event) wait(ctx context.Context, seen uint64) error {
	return e.count.Wait(ctx, eventcount.Wanted{
		Try:    func() (bool, error) { return e.word.Load() != seen, nil },
		Handle: e.at.h,
	})
}

// Name is the name that the Event was created or opened with; "" if none.
func (e *Event) Name() string { return e.handle().Name() }

// Close ends this handle. Goroutines that wait through it return with an error that is
// fs.ErrClosed. Calling Close again does nothing.
func (e *Event) Close() error {
	if e.word == nil {
		return nil
	}
	return e.at.h.Close(closing{wake: e.count.HandleClosed})
}

// HandOver describes the Event to another process. Packages process and pipe call it.
func (e *Event) HandOver(enc *handover.Encoder) error { return eventKind.handOver(enc, e.at) }

// TakeOver makes the zero Event a hold on one that another process handed over. Packages
// process and pipe call it.
func (e *Event) TakeOver(d *handover.Decoder) error {
	p, err := eventKind.takeOver(d)
	if err == nil {
		e.stand(p)
	}
	return err
}

// closing is seg.Quiescer for objects that nobody holds: there is nothing to refuse and
// nothing to give back.
type closing struct {
	wake  func() // the goroutines that wait through the closed handle
	drain func() // waits until nobody is inside; may be nil
	off   int
}

func (c closing) Refuse() error { return nil }
func (c closing) HandleClosed() { c.wake() }
func (c closing) Offset() int   { return c.off }

func (c closing) Quiesce() (resume func([]byte)) {
	if c.drain != nil {
		c.drain()
	}
	return func([]byte) {}
}

package psync

import (
	"context"
	"runtime"

	"github.com/go-multiproc/multiproc/internal/crash"
	"github.com/go-multiproc/multiproc/internal/detector"
	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/lock"
	"github.com/go-multiproc/multiproc/internal/mem"
	"github.com/go-multiproc/multiproc/internal/seg"
	"github.com/go-multiproc/multiproc/shm"
)

// OnceSize is the number of bytes that a Once takes in a segment.
const OnceSize = lock.Size + 64

// A Once is a lock, and on the next cache line a word that is 1 when it is done: so that
// those who look whether it is do not disturb those who wait for it.
const onceDone = lock.Size

var onceKind = newKind(onceCode, fixed(OnceSize))

// A Once sees to it that something is done once by all processes together: filling
// shared memory, running a migration.
//
// It is done when a function that Do was given returned nil. One that fails has not done
// it: Do returns its error to that caller, and the next one runs its own function. The
// same holds for one that panics, and for one whose process dies in it, which the others
// notice within some milliseconds. (A sync.Once counts a panic as done, which leaves the
// others with something that is half made.) So the function has to cope with what an earlier
// run may have left.
//
// After Close, Do returns an error that is fs.ErrClosed. The zero Once can not be used: all
// its methods but Close panic.
type Once struct {
	l     *lock.Mutex
	done  *mem.Uint64
	order *detector.Order
	at    spot
}

func newOnce(p spot, err error) (*Once, error) {
	if err != nil {
		return nil, err
	}
	o := &Once{}
	o.stand(p)
	return o, nil
}

// stand makes the zero o the Once at p.
func (o *Once) stand(p spot) {
	m := p.h.Mapping()
	o.at, o.l, o.done = p, lock.At(p.h, p.meta()), m.Word(p.off+onceDone)
	o.order = m.Local(p.off+onceDone, func() any { return new(detector.Order) }).(*detector.Order)
	if p.placed {
		p.h.Part(p.off, lock.Inner(p.h, p.meta()))
	}
}

// NewOnce makes an anonymous Once, to be passed to child processes. The error is
// shm.ErrNoSpace if there is no memory for it.
func NewOnce() (*Once, error) { return newOnce(onceKind.make(0, nil)) }

// CreateOnce makes a named Once. If the name exists, the error is fs.ErrExist. (OpenOnce is
// then the other half of an initialisation that every process of a program attempts; but
// that a name exists is also known when nobody has done anything yet.)
func CreateOnce(name string, opts ...Options) (*Once, error) {
	return newOnce(onceKind.create(name, 0, nil, options(opts)))
}

// OpenOnce joins a Once that CreateOnce made, here or in another process. Its errors are
// those of OpenMutex.
func OpenOnce(name string, opts ...Options) (*Once, error) {
	return newOnce(onceKind.open(name, options(opts)))
}

// OnceAt joins the Once that stands at byte off of s, where it takes OnceSize bytes, and
// makes it if they are zero. Its errors are those of MutexAt.
func OnceAt(s *shm.Segment, off int) (*Once, error) { return newOnce(onceKind.place(s, off, 0)) }

// handle is where a Once that was made stands.
func (o *Once) handle() *seg.Handle {
	if o.l == nil {
		panic("psync: use of a Once that was not made by NewOnce, CreateOnce, OpenOnce or OnceAt")
	}
	return o.at.h
}

// Do returns nil when it is done. If it is not, Do runs f, in one caller of all processes at a
// time, while the others wait, as long as their ctx allows. Once it is done, Do costs two
// loads. It returns f's error if f was run, ctx's, or one that is fs.ErrClosed.
//
// What f wrote, into shared memory or, for callers in its own process, anywhere, is there
// to be seen when Do has returned nil. f must not call Do, nor Close, of the same Once:
// it would wait for itself.
func (o *Once) Do(ctx context.Context, f func() error) error {
	if o.handle().Closed() {
		return o.at.h.ErrClosed()
	}
	if o.done.Load() != 0 {
		o.order.Acquire()
		runtime.KeepAlive(o)
		return nil
	}
	return o.do(ctx, f)
}

func (o *Once) do(ctx context.Context, f func() error) (err error) {
	// Not a user's hold: when its process dies, the lock is free again, and the next one
	// runs its function.
	if err := o.l.Lock(ctx, lock.Scoped); err != nil {
		return err
	}
	defer func() { // also when f panics or calls runtime.Goexit
		_ = o.l.Unlock()
	}()
	if o.done.Load() != 0 {
		return nil
	}
	if err := f(); err != nil {
		return err
	}
	crash.At("once.ran")
	o.order.Release()
	o.done.Store(1)
	crash.At("once.done")
	return nil
}

// Name is the name that the Once was created or opened with; "" if none.
func (o *Once) Name() string { return o.handle().Name() }

// Close ends this handle. Goroutines that wait in Do through it return with an error
// that is fs.ErrClosed. Closing the last handle of this process waits for a Do that runs its
// function. Calling Close again does nothing.
func (o *Once) Close() error {
	if o.l == nil {
		return nil
	}
	return o.l.Close()
}

// HandOver describes the Once to another process. Packages process and pipe call it.
func (o *Once) HandOver(e *handover.Encoder) error { return onceKind.handOver(e, o.at) }

// TakeOver makes the zero Once a hold on one that another process handed over. Packages
// process and pipe call it.
func (o *Once) TakeOver(d *handover.Decoder) error {
	p, err := onceKind.takeOver(d)
	if err == nil {
		o.stand(p)
	}
	return err
}

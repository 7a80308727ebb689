package psync

import (
	"context"
	"fmt"
	"io/fs"
	"runtime"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/seg"
	"github.com/go-multiproc/multiproc/internal/sema"
	"github.com/go-multiproc/multiproc/shm"
)

// MaxPermits is the most permits that a Semaphore can have, unless it is counting.
const MaxPermits = sema.MaxSlots

// ErrTooManyReleases is returned by Release of a counting Semaphore that is at its
// maximum.
var ErrTooManyReleases = sema.ErrTooMany

// SemaphoreOptions say what a Semaphore is like. The zero value is the default.
type SemaphoreOptions struct {
	// Counting makes the Semaphore a plain counter, which anyone may release, whether
	// or not he has acquired it: for signalling, from a producer to a consumer for
	// instance, and for large numbers. It is not robust: a process that dies between
	// Acquire and Release takes its permit along.
	Counting bool

	// Max is the largest count that a counting Semaphore can have; Release beyond it is
	// an error. 0 is 2^31 - 1, which is also the most that it can be. Without
	// Counting, it must be 0: there are never more permits than in the beginning.
	Max int

	// Options say where CreateSemaphore makes it.
	Options
}

// A Semaphore lets a limited number of goroutines, of any number of processes, do
// something at a time: as many as it has permits.
//
// A permit belongs to the process that acquired it, and any of that one's goroutines may
// release it. When the process dies, its permits come back: those who wait go on within
// some milliseconds. What the dead one was doing may be half done, and nobody is told;
// where that matters, use a Mutex. (A counting Semaphore knows nothing of processes: see
// [SemaphoreOptions].)
//
// Without contention, Acquire and Release make no system call. Waiters of one process get
// their permits in the order of their arrival, and between processes there is no order;
// newcomers that find a free permit go first, but not for more than some milliseconds.
//
// After Close, all methods that return an error return one that is fs.ErrClosed. The
// zero Semaphore can not be used: all its methods but Close panic.
type Semaphore struct {
	s  *sema.Semaphore
	at spot
}

var semaphoreKind = newKind(semaphoreCode, func(param uint32) (int, error) { return sema.Param(param).Size() })

// semaphoreParam checks what a Semaphore is to be like.
func semaphoreParam(n int, opts []SemaphoreOptions) (param sema.Param, limit int, o SemaphoreOptions, err error) {
	if len(opts) > 0 {
		o = opts[0]
	}
	limit = o.Max
	switch {
	case !o.Counting && limit != 0:
		err = fmt.Errorf("psync: a Semaphore with a maximum of %d: only a counting one can have more permits than in the beginning: %w", limit, fs.ErrInvalid)
	case !o.Counting && (n < 1 || n > MaxPermits):
		err = fmt.Errorf("psync: a Semaphore of %d: it can have 1 to %d permits, and a counting one any number up to %d: %w", n, MaxPermits, sema.MaxCount, fs.ErrInvalid)
	case !o.Counting:
		return sema.Slots(n), 0, o, nil
	}
	if limit == 0 {
		limit = sema.MaxCount
	}
	if err == nil && (n < 0 || limit < 1 || limit > sema.MaxCount || n > limit) {
		err = fmt.Errorf("psync: a counting Semaphore that starts at %d, with a maximum of %d: both must be from 0 to %d, and the first is not the larger: %w", n, limit, sema.MaxCount, fs.ErrInvalid)
	}
	return sema.Counting(max(n, 0)), limit, o, err
}

// semaphoreInit fills the bytes of a new one.
func semaphoreInit(limit int) func([]byte) { return func(b []byte) { sema.Init(b, limit) } }

func newSemaphore(p spot, limit int, err error) (*Semaphore, error) {
	if err != nil {
		return nil, err
	}
	s := &Semaphore{}
	if err := s.stand(p, limit); err != nil {
		p.h.Close(nil)
		return nil, err
	}
	return s, nil
}

// stand makes the zero s the Semaphore at p.
func (s *Semaphore) stand(p spot, limit int) (err error) {
	if s.s, err = sema.At(p.h.Mapping(), p.off, sema.Param(p.param), limit); err != nil {
		return err
	}
	s.at = p
	if p.placed {
		p.h.Part(p.off, s.s.Part(p.off))
	}
	return nil
}

// NewSemaphore makes an anonymous Semaphore with n permits, to be passed to child
// processes. n is from 1 to MaxPermits; for a counting one, it is the count in the
// beginning. Anything else is fs.ErrInvalid. The error is shm.ErrNoSpace if there is no
// memory for it.
func NewSemaphore(n int, opts ...SemaphoreOptions) (*Semaphore, error) {
	param, limit, _, err := semaphoreParam(n, opts)
	if err != nil {
		return nil, err
	}
	p, err := semaphoreKind.make(uint32(param), semaphoreInit(limit))
	return newSemaphore(p, 0, err)
}

// CreateSemaphore makes a named Semaphore with n permits: see NewSemaphore. If the name
// exists, the error is fs.ErrExist.
func CreateSemaphore(name string, n int, opts ...SemaphoreOptions) (*Semaphore, error) {
	param, limit, o, err := semaphoreParam(n, opts)
	if err != nil {
		return nil, err
	}
	p, err := semaphoreKind.create(name, uint32(param), semaphoreInit(limit), seg.Options(o.Options))
	return newSemaphore(p, 0, err)
}

// OpenSemaphore joins a Semaphore that CreateSemaphore made, here or in another process.
// How many permits it has, and whether it is counting, it knows. The error is
// fs.ErrNotExist if there is no such name, shm.ErrType if it is another object's, and
// shm.ErrFormat if its file is no object that this version can use.
func OpenSemaphore(name string, opts ...Options) (*Semaphore, error) {
	p, err := semaphoreKind.open(name, options(opts))
	return newSemaphore(p, 0, err)
}

// SemaphoreAt joins the Semaphore of n permits that stands at byte off of s, where it takes
// SemaphoreSize bytes, and makes it if they are zero: see the package documentation. off is a
// multiple of Alignment. The error is shm.ErrType if something else stands there, such
// as a Semaphore with other permits or options, and fs.ErrInvalid if nothing can.
func SemaphoreAt(s *shm.Segment, off, n int, opts ...SemaphoreOptions) (*Semaphore, error) {
	param, limit, _, err := semaphoreParam(n, opts)
	if err != nil {
		return nil, err
	}
	p, err := semaphoreKind.place(s, off, uint32(param))
	return newSemaphore(p, limit, err)
}

// SemaphoreSize is the number of bytes that a Semaphore takes in a segment. It panics if
// there can be no such Semaphore.
func SemaphoreSize(n int, opts ...SemaphoreOptions) int {
	param, _, _, err := semaphoreParam(n, opts)
	if err != nil {
		panic(err.Error())
	}
	size, _ := param.Size()
	return size
}

// handle is where a Semaphore that was made stands.
func (s *Semaphore) handle() *seg.Handle {
	if s.s == nil {
		sema.Unmade()
	}
	return s.at.h
}

// Acquire takes a permit, and waits for one as long as ctx allows. A free one is taken
// without a look at ctx. When Acquire returns an error, nothing was taken: it is ctx's
// own, or one that is fs.ErrClosed.
func (s *Semaphore) Acquire(ctx context.Context) error {
	err := s.s.Acquire(ctx, s.at.h)
	runtime.KeepAlive(s)
	return err
}

// TryAcquire takes a permit if there is a free one. It does not wait; if there is none, it
// asks the kernel whether those who have them are alive. It returns false also when the
// permit that is free is due to somebody who has waited for long.
func (s *Semaphore) TryAcquire() (bool, error) {
	ok, err := s.s.TryAcquire(s.at.h)
	runtime.KeepAlive(s)
	return ok, err
}

// Release gives a permit back. It returns ErrNotHeld if this process has none. Of a
// counting Semaphore it adds one to the count, and returns ErrTooManyReleases if that is
// at its maximum.
func (s *Semaphore) Release() error {
	err := s.s.Release(s.at.h)
	runtime.KeepAlive(s)
	return err
}

// Value is the number of permits that are free at this moment. It panics after Close.
func (s *Semaphore) Value() int {
	if s.handle().Closed() {
		panic("psync: use of closed Semaphore")
	}
	n := s.s.Value()
	runtime.KeepAlive(s)
	return n
}

// Name is the name that the Semaphore was created or opened with; "" if none. That of a placed
// one is its segment's.
func (s *Semaphore) Name() string { return s.handle().Name() }

// Close ends this handle; it releases nothing. Goroutines that wait through it return
// with an error that is fs.ErrClosed. Closing the last handle that this process has to
// the Semaphore, while this process has permits of it, is ErrHeld and closes nothing,
// unless it is counting. Calling Close again does nothing.
func (s *Semaphore) Close() error {
	if s.s == nil {
		return nil
	}
	return s.at.h.Close(s.s.Part(s.at.off))
}

// HandOver describes the Semaphore to another process. Packages process and pipe
// call it.
func (s *Semaphore) HandOver(e *handover.Encoder) error { return semaphoreKind.handOver(e, s.at) }

// TakeOver makes the zero Semaphore a hold on one that another process handed over.
// Packages process and pipe call it.
func (s *Semaphore) TakeOver(d *handover.Decoder) error {
	p, err := semaphoreKind.takeOver(d)
	if err != nil {
		return err
	}
	return s.stand(p, 0)
}

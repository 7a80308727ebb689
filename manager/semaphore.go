package manager

import (
	"context"
	"fmt"
	"io/fs"
	"runtime"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/store"
)

// SemaphoreOptions say what a Semaphore is like. The zero value is the default.
type SemaphoreOptions struct {
	// Counting makes the Semaphore a plain counter, which anyone may release, whether or not he has acquired it: for signalling. A
	// process that dies between Acquire and Release takes its permit along.
	Counting bool

	// Max is the largest count that a counting Semaphore can have; Release beyond it is an error. 0 is 2^31 - 1, which is also the most
	// that it can be. Without Counting, it must be 0: there are never more permits than in the beginning.
	Max int
}

// A Semaphore lets a limited number of goroutines, of any number of processes on any number of machines, do something at a time: as
// many as it has permits. It is what psync.Semaphore is in shared memory.
//
// A permit belongs to the process that acquired it, and any of that one's goroutines may release it. When the process dies, or loses its
// last handle, its permits come back at once. (Of a counting one they do not: see [SemaphoreOptions].) Who waits gets a permit in
// the order of arrival.
//
// A *Semaphore is safe for concurrent use. It crosses to other processes in arguments and messages. An unreachable one closes itself.
type Semaphore struct {
	_ noCopy
	w waiter
}

func (*Semaphore) layout() string { return store.KindSemaphore.String() }

// The second parameter of a semaphore.
const (
	plainSort    = 1
	countingSort = 2
)

func semaphoreParams(n int, opts []SemaphoreOptions) ([]uint64, error) {
	var o SemaphoreOptions
	if len(opts) > 0 {
		o = opts[0]
	}
	if n < 0 || o.Max < 0 {
		return nil, fmt.Errorf("manager: a Semaphore of %d, with a maximum of %d: neither can be negative: %w", n, o.Max, fs.ErrInvalid)
	}
	sort := uint64(plainSort)
	if o.Counting {
		sort = countingSort
	}
	return []uint64{uint64(n), sort, uint64(o.Max)}, nil
}

// NewSemaphore makes a semaphore with n permits, 1 to 2^20; for a counting one, n is the count in the beginning. It lives until the
// last handle in the last process is gone, and no container mentions it.
func NewSemaphore(m *Manager, n int, opts ...SemaphoreOptions) (*Semaphore, error) {
	params, err := semaphoreParams(n, opts)
	if err != nil {
		return nil, err
	}
	s := new(Semaphore)
	return newObject(m, s, &s.w.handle, store.KindSemaphore, params...)
}

// OpenSemaphore returns the semaphore of that name, and makes it if there is none; see OpenDict. If it was made with another number of
// permits, or is of the other sort, the error is ErrType. An n of 0 is for one that exists, whatever it has: if there is none, the error is ErrNotFound. (A counting
// one is made, with a count of 0.)
func OpenSemaphore(m *Manager, name string, n int, opts ...SemaphoreOptions) (*Semaphore, error) {
	params, err := semaphoreParams(n, opts)
	if err != nil {
		return nil, err
	}
	s := new(Semaphore)
	return openObject(m, s, &s.w.handle, name, store.KindSemaphore, params...)
}

// Close lets go of this handle; it releases nothing. Calls that wait through it end with fs.ErrClosed. Closing this process's
// last handle to a semaphore of which it has permits is psync.ErrHeld and closes nothing, unless it is counting. It is safe to call twice.
func (s *Semaphore) Close() error { return s.w.close() }

// HandOver describes s to another process. It is for the packages of this module.
func (s *Semaphore) HandOver(e *handover.Encoder) error {
	return s.w.handOver(e, store.KindSemaphore, store.KindSemaphore.String())
}

// TakeOver makes the zero Semaphore s what another process described. It is for the packages of this module.
func (s *Semaphore) TakeOver(d *handover.Decoder) error {
	return takeOver(s, &s.w.handle, d, store.KindSemaphore, store.KindSemaphore.String())
}

// Acquire takes a permit, and waits for one as long as ctx allows. When it returns an error, nothing was taken.
func (s *Semaphore) Acquire(ctx context.Context) error {
	r, cl, err := s.w.handle.begin("Semaphore", opSemaphoreAcquire)
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(s)
	rep, err := s.w.await(ctx, r, cl, "Semaphore")
	if err != nil {
		return err
	}
	defer cl.free()
	counting, waited := rep.bool(), rep.bool()
	s.acquired(r, cl.id, counting, waited)
	return rep.close()
}

// acquired notes a permit, or that the count has arrived.
func (s *Semaphore) acquired(r *remote, id uint64, counting, waited bool) {
	if counting {
		r.client.confirm(id, waited)
		return
	}
	r.got(hold{id: id})
}

// TryAcquire takes a permit if there is a free one, without waiting for others.
func (s *Semaphore) TryAcquire(ctx context.Context) (bool, error) {
	r, cl, err := s.w.handle.begin("Semaphore", opSemaphoreTryAcquire)
	if err != nil {
		return false, err
	}
	defer runtime.KeepAlive(s)
	rep, err := s.w.await(ctx, r, cl, "Semaphore")
	if err != nil {
		return false, err
	}
	defer cl.free()
	ok, counting := rep.bool(), rep.bool()
	if ok {
		s.acquired(r, cl.id, counting, false)
	}
	return ok, rep.close()
}

// Release gives a permit back. It returns psync.ErrNotHeld if this process has none. Of a counting Semaphore it adds one to the count,
// and returns psync.ErrTooManyReleases if that is at its maximum.
func (s *Semaphore) Release(ctx context.Context) error {
	r, cl, err := s.w.handle.begin("Semaphore", opSemaphoreRelease)
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(s)
	if err := ctx.Err(); err != nil {
		cl.free()
		return err
	}
	h, _ := r.give(0) // without a permit the id is 0, which is right for a counting one
	return r.doNothingElse(ctx, cl.uint(h.id))
}

// Value is the number of permits that are free at some moment during the call.
func (s *Semaphore) Value(ctx context.Context) (int, error) {
	r, cl, err := s.w.handle.begin("Semaphore", opSemaphoreValue)
	if err != nil {
		return 0, err
	}
	defer runtime.KeepAlive(s)
	return r.doInt(ctx, cl)
}

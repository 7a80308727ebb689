package psync

import (
	"context"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/rwlock"
	"github.com/go-multiproc/multiproc/shm"
)

const (
	// RWMutexSize is the number of bytes that an RWMutex takes in a segment.
	RWMutexSize = rwlock.Size

	// MaxReaderProcesses is the most processes that can have an RWMutex open, after they
	// have read under it, at the same time.
	MaxReaderProcesses = rwlock.MaxProcesses
)

// ErrTooManyReaders is returned by RLock in a process for which an RWMutex has no room:
// see MaxReaderProcesses.
var ErrTooManyReaders = rwlock.ErrTooMany

// An RWMutex is a lock between goroutines of any number of processes that either any
// number of readers hold, or one writer.
//
// It is held by processes. Any goroutine of one that holds it for writing may unlock it,
// and a process that has called RLock so many times may call RUnlock so many times. It is
// not re-entrant: who holds it for reading must not call Lock, nor RLock once more, since
// that waits for a writer who comes meanwhile, and he for the first.
//
// Nobody starves: when a writer waits, readers who come later wait too, and when it has
// unlocked, those come in, before the next writer. Writers get the lock in
// the order that a Mutex is taken in.
//
// A writer that dies leaves the lock abandoned, as a Mutex: see the package
// documentation. RLock is told, too. A reader that dies has changed nothing: the lock goes on,
// some milliseconds later if a writer was waiting for it. Without contention, no method
// makes a system call.
//
// Where holds are short, a Mutex is as fast or faster, and takes a hundredth of the memory.
//
// After Close, all methods that return an error return one that is fs.ErrClosed. The
// zero RWMutex can not be used: all its methods but Close panic.
type RWMutex struct {
	l  *rwlock.RWMutex
	at spot
}

var _ Locker = (*RWMutex)(nil)

var rwmutexKind = newKind(rwmutexCode, fixed(RWMutexSize))

func newRWMutex(p spot, err error) (*RWMutex, error) {
	if err != nil {
		return nil, err
	}
	m := &RWMutex{}
	m.stand(p)
	return m, nil
}

// stand makes the zero m the RWMutex at p.
func (m *RWMutex) stand(p spot) {
	m.at, m.l = p, rwlock.At(p.h, p.meta())
	if p.placed {
		p.h.Part(p.off, rwlock.Part(p.h, p.meta()))
	}
}

// NewRWMutex makes an anonymous RWMutex, to be passed to child processes. The error is
// shm.ErrNoSpace if there is no memory for it.
func NewRWMutex() (*RWMutex, error) { return newRWMutex(rwmutexKind.make(0, nil)) }

// CreateRWMutex makes a named RWMutex. If the name exists, the error is fs.ErrExist.
func CreateRWMutex(name string, opts ...Options) (*RWMutex, error) {
	return newRWMutex(rwmutexKind.create(name, 0, nil, options(opts)))
}

// OpenRWMutex joins an RWMutex that CreateRWMutex made, here or in another process. The
// error is fs.ErrNotExist if there is no such name, shm.ErrType if it is another
// object's, and shm.ErrFormat if its file is no object that this version can use.
func OpenRWMutex(name string, opts ...Options) (*RWMutex, error) {
	return newRWMutex(rwmutexKind.open(name, options(opts)))
}

// RWMutexAt joins the RWMutex that stands at byte off of s, where it takes RWMutexSize
// bytes, and makes it if they are zero: see the package documentation. off is a multiple
// of Alignment. The error is shm.ErrType if something else stands there, and
// fs.ErrInvalid if nothing can.
func RWMutexAt(s *shm.Segment, off int) (*RWMutex, error) {
	return newRWMutex(rwmutexKind.place(s, off, 0))
}

// use is the lock, of an RWMutex that was made.
func (m *RWMutex) use() *rwlock.RWMutex {
	if m.l == nil {
		panic("psync: use of an RWMutex that was not made by NewRWMutex, CreateRWMutex, OpenRWMutex or RWMutexAt")
	}
	return m.l
}

// RLock takes the lock for reading, and waits for it as long as ctx allows. A free one is
// taken without a look at ctx. When RLock returns an error, the lock is not held:
// ErrOwnerDied if it is abandoned, ErrTooManyReaders, ctx's own error, or one that is
// fs.ErrClosed.
func (m *RWMutex) RLock(ctx context.Context) error { return m.use().RLock(ctx) }

// TryRLock takes the lock for reading if no writer has it. It does not wait; if another
// process has it for writing, it asks the kernel whether that process is alive, and returns
// ErrOwnerDied if it is not.
func (m *RWMutex) TryRLock() (bool, error) { return m.use().TryRLock() }

// RUnlock gives back what one RLock took. It returns ErrNotHeld if this process does not
// hold the lock for reading.
func (m *RWMutex) RUnlock() error { return m.use().RUnlock() }

// Lock takes the lock for writing, and waits for it, and for the readers to leave, as long
// as ctx allows. A free one is taken without a look at ctx. When Lock returns an error,
// the lock is not held: ErrOwnerDied if it is abandoned, ctx's own error, or one that is
// fs.ErrClosed.
func (m *RWMutex) Lock(ctx context.Context) error { return m.use().Lock(ctx) }

// TryLock takes the lock for writing if nobody holds it. It does not wait; if others hold
// it, it asks the kernel whether they are alive, and returns ErrOwnerDied if it was a
// writer who is not.
func (m *RWMutex) TryLock() (bool, error) { return m.use().TryLock() }

// Unlock gives back what Lock took. It returns ErrNotHeld if this process does not hold
// the lock for writing, and ErrLockLost if it was taken away by an operator.
func (m *RWMutex) Unlock() error { return m.use().Unlock() }

// Recover makes an abandoned lock usable again: it runs repair, as the only one inside,
// and does not keep the lock. See [Mutex.Recover], to which it is equal.
func (m *RWMutex) Recover(ctx context.Context, repair func() error) error {
	return m.use().Recover(ctx, repair)
}

// LockOrRecover takes the lock for writing, after running repair as Recover does if it is
// abandoned. When it returns nil, the lock is held.
func (m *RWMutex) LockOrRecover(ctx context.Context, repair func() error) error {
	return m.use().LockOrRecover(ctx, repair)
}

// Fence is the number of this hold for writing: see [Mutex.Fence]. What is read under
// RLock is what the writer with the largest number has left.
func (m *RWMutex) Fence() uint64 { return m.use().Fence() }

// Name is the name that the lock was created or opened with; "" if none. That of a placed
// one is its segment's.
func (m *RWMutex) Name() string { return m.use().Handle().Name() }

// Close ends this handle; it does not unlock. Goroutines that wait for the lock through it
// return with an error that is fs.ErrClosed. Closing the last handle that this process
// has to the lock, while this process holds it, is ErrHeld and closes nothing; and it
// waits for a Recover that is running, whose repair must therefore not call it. Calling
// Close again does nothing.
func (m *RWMutex) Close() error {
	if m.l == nil {
		return nil
	}
	return m.l.Close()
}

// HandOver describes the RWMutex to another process. Packages process and pipe call it.
func (m *RWMutex) HandOver(e *handover.Encoder) error { return rwmutexKind.handOver(e, m.at) }

// TakeOver makes the zero RWMutex a hold on one that another process handed over.
// Packages process and pipe call it.
func (m *RWMutex) TakeOver(d *handover.Decoder) error {
	p, err := rwmutexKind.takeOver(d)
	if err != nil {
		return err
	}
	m.stand(p)
	return nil
}

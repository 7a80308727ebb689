package psync

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/go-multiproc/multiproc/internal/lock"
)

// A FileLock is a lock on a whole file, flock(2), for guarding files on disk and
// for working together with programs in other languages: flock(1) in a shell
// script and fcntl.flock in Python take the same lock. It is held exclusively
// (Lock) or shared (RLock), like a sync.RWMutex. It is a [Locker], so it can
// guard a Value, an Array or a Cond.
//
// It is safe for use by goroutines and processes, and excludes both: two
// goroutines of one process never hold it at once, whether they share one
// FileLock or have opened the file twice, through other paths included. Like
// Mutex, a hold belongs to the process: any goroutine may end it, through any
// FileLock of the file. Within a process, waiting goroutines are served in their
// order; between processes, the kernel promises no order, and a steady stream of
// readers can keep a writer out.
//
// The kernel releases the lock when the holding process dies, however it dies.
// It leaves no trace of that: whoever comes next gets the lock like any other,
// and never sees ErrOwnerDied. Where the successor must know that a change was
// cut off half-way, use Mutex.
//
// The lock is advisory, and is on the file and not on its name. The file is made
// when it is missing, with mode 0600, and never removed: removing a lock file
// lets two processes hold two locks under one name. If others replace it all the
// same (an editor does), Lock notices and locks the file that is there now. The
// file is opened for each hold, and its content is neither read nor written. On
// NFS, the lock works between machines as well, if the server supports locks.
//
// While other processes hold the lock, a process that waits for it has one
// thread in the kernel for each file, two when it waits both for Lock and for
// RLock, however many goroutines wait. A flock(2) that waits cannot be called
// off. So when the last goroutine gives up, it returns at once, but that thread
// stays, and serves whoever waits next, until the lock is free; then it takes
// the lock and gives it back at once. The same holds after Close.
//
// The zero FileLock can not be used: its methods return an error that is fs.ErrInvalid.
//
// Use Mutex for what only this library's processes share: it is a hundred times
// faster, and its successors learn of a death.
type FileLock struct {
	path string

	once   sync.Once
	closed chan struct{} // nil for a FileLock that nobody made
}

// NewFileLock returns a lock on the file at path. It makes the file if it is
// missing, and locks nothing yet. A path that cannot be opened for reading, or
// is not a regular file, is an *fs.PathError.
//
// A FileLock crosses to other processes as the file's absolute path.
func NewFileLock(path string) (*FileLock, error) {
	if path == "" {
		return nil, &fs.PathError{Op: "lock", Path: path, Err: syscall.ENOENT}
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("psync: %s has no absolute path: %w", path, err)
	}
	if err := probeFile(abs); err != nil {
		return nil, err
	}
	return newFileLock(abs), nil
}

func newFileLock(abs string) *FileLock {
	return &FileLock{path: abs, closed: make(chan struct{})}
}

// Path is the absolute path of the file.
func (l *FileLock) Path() string { return l.path }

// Lock takes the lock exclusively. A free lock is taken without a look at ctx;
// otherwise Lock waits until it is free or ctx ends, and returns ctx's error
// then. Errors of the file system are *fs.PathError.
//
// A goroutine that has the lock already waits for itself: only ctx ends that.
func (l *FileLock) Lock(ctx context.Context) error { return l.lock(ctx, exclusive) }

// TryLock takes the lock exclusively if it is free. It does not wait, and it
// does not overtake goroutines of this process that do.
func (l *FileLock) TryLock() (bool, error) { return l.tryLock(exclusive) }

// Unlock ends this process's exclusive hold. It returns ErrNotHeld when there is
// none; a shared hold is none.
func (l *FileLock) Unlock() error { return l.unlock(exclusive) }

// RLock takes the lock shared: other goroutines and processes may have it shared
// too, but nobody exclusively. Otherwise it is as Lock. A goroutine that has the
// lock shared must not call Lock or RLock: with another one waiting for Lock in
// between, both would wait for ever.
func (l *FileLock) RLock(ctx context.Context) error { return l.lock(ctx, shared) }

// TryRLock takes the lock shared if that is possible at once.
func (l *FileLock) TryRLock() (bool, error) { return l.tryLock(shared) }

// RUnlock ends one shared hold of this process. It returns ErrNotHeld when there
// is none.
func (l *FileLock) RUnlock() error { return l.unlock(shared) }

// Recover does nothing, since the kernel releases the lock of a dead process: a
// FileLock is never abandoned, so repair is never due and never called.
func (l *FileLock) Recover(ctx context.Context, repair func() error) error {
	return l.usable("recover")
}

// Close lets go of the FileLock. Goroutines that wait through it return an error
// that is fs.ErrClosed, and so does every later call. Closing while the lock is
// held through this FileLock is an error, and does not close. Closing again does
// nothing. The file stays.
func (l *FileLock) Close() error {
	if l.closed == nil {
		return nil
	}
	if fileLocks.heldThrough(l) {
		return &fs.PathError{Op: "close", Path: l.path, Err: lock.ErrHeld}
	}
	l.once.Do(func() { close(l.closed) })
	return nil
}

// maxMoves is how often in a row a file may be replaced while it is being locked.
// More means a file system whose inode numbers change at every look, such as
// some in user space: there it cannot be told what is locked.
const maxMoves = 100

var errMoves = errors.New("the file is replaced again and again, or its file system gives it a new inode number every time")

var errNoFileLock = fmt.Errorf("psync: use of a FileLock that was not made by NewFileLock: %w", fs.ErrInvalid)

func (l *FileLock) usable(op string) error {
	if l.closed == nil {
		return errNoFileLock
	}
	select {
	case <-l.closed:
		return l.errClosed(op)
	default:
		return nil
	}
}

func (l *FileLock) errClosed(op string) error {
	return &fs.PathError{Op: op, Path: l.path, Err: fs.ErrClosed}
}

func (l *FileLock) lock(ctx context.Context, m flockMode) error {
	for range maxMoves {
		if err := l.usable("lock"); err != nil {
			return err
		}
		f, err := fileLocks.enter(l.path)
		if err != nil {
			return err
		}
		err = f.acquire(ctx, l, m)
		fileLocks.leave(f)
		if err == nil {
			return l.keepIfOpen(m)
		}
		if err != errMoved {
			return err
		}
	}
	return &fs.PathError{Op: "lock", Path: l.path, Err: errMoves}
}

// keepIfOpen gives the lock back if l was closed while it was being taken.
func (l *FileLock) keepIfOpen(m flockMode) error {
	err := l.usable("lock")
	if err != nil {
		_ = l.unlock(m)
	}
	return err
}

func (l *FileLock) tryLock(m flockMode) (bool, error) {
	for range maxMoves {
		if err := l.usable("lock"); err != nil {
			return false, err
		}
		f, err := fileLocks.enter(l.path)
		if err != nil {
			return false, err
		}
		ok, err := f.try(l, m)
		fileLocks.leave(f)
		if ok {
			err = l.keepIfOpen(m)
			return err == nil, err
		}
		if err != errMoved {
			return false, err
		}
	}
	return false, &fs.PathError{Op: "lock", Path: l.path, Err: errMoves}
}

func (l *FileLock) unlock(m flockMode) error {
	// A hold that was taken in the instant of Close can be ended after it.
	h := fileLocks.takeHold(l, m)
	if h == nil {
		if err := l.usable("unlock"); err != nil {
			return err
		}
		return &fs.PathError{Op: "unlock", Path: l.path, Err: lock.ErrNotHeld}
	}
	err := h.file.release(m)
	fileLocks.leave(h.file)
	return err
}

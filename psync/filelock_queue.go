package psync

import (
	"container/list"
	"context"
	"errors"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

// flockMode is how a file is locked.
type flockMode int

const (
	unlocked flockMode = iota
	shared
	exclusive
)

// A lockedFile is what this process has to do with one file, whatever paths and
// FileLocks lead to it.
//
// flock(2) locks belong to open descriptions, so two FileLocks exclude each
// other by themselves, if each uses a Flock of its own. What is kept here makes
// that cheap, ordered, and obedient to ctx: one goroutine for each mode, the
// stander, waits in the kernel on behalf of the queue's head, with a Flock of
// its own; everybody else waits on a channel. (gofrs's own TryLockContext polls;
// and one Flock locks twice without an error, so none is ever shared.)
type lockedFile struct {
	id   fileID
	refs int // guarded by fileRegistry.mu

	mu sync.Mutex // protects all below
	// mode is how this process holds the file, through fl.
	mode    flockMode
	fl      *flock.Flock
	readers int       // mode == shared: how many goroutines share fl
	queue   list.List // of *fileWaiter, in order of arrival
	// standing tells for each mode whether a stander is in flock(2).
	standing [exclusive + 1]bool
	// since when, and for how many holds, the process has had the file.
	since time.Time
	holds int
}

// A fileWaiter is a goroutine in acquire.
type fileWaiter struct {
	l     *FileLock
	mode  flockMode
	done  bool       // guarded by lockedFile.mu: the outcome is in ready
	ready chan error // nil: it holds the file
}

// A process passes the file on to its own goroutines without unlocking, which
// takes no system calls, at most so often and so long. Then others get a chance.
const (
	maxHandovers = 16
	maxTenure    = time.Millisecond
)

// errMoved says that the path names another file by now.
var errMoved = errors.New("psync: file was replaced")

// try takes the file if nobody has it and nobody of this process waits for it.
func (f *lockedFile) try(l *FileLock, m flockMode) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.queue.Len() > 0 {
		return false, nil
	}
	ok, err := f.tryLocked(l, m)
	if ok {
		fileLocks.addHold(l, f, m)
	}
	return ok, err
}

// tryLocked takes the file if that is possible at once.
func (f *lockedFile) tryLocked(l *FileLock, m flockMode) (bool, error) {
	if f.mode != unlocked {
		if f.mode == shared && m == shared {
			f.readers++
			return true, nil
		}
		return false, nil
	}
	fl := newFlock(l.path)
	ok, err := tryFlock(fl, m)
	if err != nil || !ok {
		return false, flockError(l.path, err)
	}
	if !f.isAt(l.path, fl) {
		_ = dropFlock(fl)
		return false, errMoved
	}
	f.takeLocked(fl, m)
	return true, nil
}

// takeLocked writes down that fl has the file, for one goroutine.
func (f *lockedFile) takeLocked(fl *flock.Flock, m flockMode) {
	f.fl, f.mode, f.readers = fl, m, 0
	if m == shared {
		f.readers = 1
	}
	f.since, f.holds = time.Now(), 0
}

// acquire takes the file for l, or waits for it.
func (f *lockedFile) acquire(ctx context.Context, l *FileLock, m flockMode) error {
	f.mu.Lock()
	if f.queue.Len() == 0 {
		ok, err := f.tryLocked(l, m)
		if ok {
			fileLocks.addHold(l, f, m)
		}
		if ok || err != nil {
			f.mu.Unlock()
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		f.mu.Unlock()
		return err
	}
	w := &fileWaiter{l: l, mode: m, ready: make(chan error, 1)}
	place := f.queue.PushBack(w)
	f.standLocked()
	f.mu.Unlock()

	var err error
	select {
	case err = <-w.ready:
		return err
	case <-ctx.Done():
		err = ctx.Err()
	case <-l.closed:
		err = l.errClosed("lock")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if w.done {
		// It arrived in the same instant: then that is the answer.
		return <-w.ready
	}
	first := f.queue.Front() == place
	f.queue.Remove(place)
	if first {
		f.serveLocked()
	}
	return err
}

// answerLocked ends the wait of the queue's head.
func (f *lockedFile) answerLocked(err error) {
	w := f.queue.Remove(f.queue.Front()).(*fileWaiter)
	if err == nil {
		fileLocks.addHold(w.l, f, w.mode)
	}
	w.done = true
	w.ready <- err
}

func (f *lockedFile) headLocked() *fileWaiter {
	if e := f.queue.Front(); e != nil {
		return e.Value.(*fileWaiter)
	}
	return nil
}

// serveLocked gives the file to as many of the queue, from its head, as can have
// it now, and sees to it that somebody waits for the next.
func (f *lockedFile) serveLocked() {
	for w := f.headLocked(); w != nil; w = f.headLocked() {
		ok, err := f.tryLocked(w.l, w.mode)
		if !ok && err == nil {
			f.standLocked()
			return
		}
		f.answerLocked(err)
	}
}

// standLocked sees to it that somebody waits in the kernel for what the queue's
// head wants, unless this process has the file: then release comes by.
func (f *lockedFile) standLocked() {
	w := f.headLocked()
	if w == nil || f.mode != unlocked || f.standing[w.mode] {
		return
	}
	f.standing[w.mode] = true
	fileLocks.again(f)
	go f.stand(w.l.path, w.mode)
}

// stand waits for the file in the kernel, and gives it to whoever is the head of
// the queue by then. If that is nobody, or somebody who wants it otherwise, the
// file goes back at once.
func (f *lockedFile) stand(path string, m flockMode) {
	defer fileLocks.leave(f)
	fl := newFlock(path)
	err := flockError(path, waitFlock(fl, m))

	f.mu.Lock()
	defer f.mu.Unlock()
	f.standing[m] = false
	w := f.headLocked()
	suits := w != nil && w.mode == m
	switch {
	case err != nil:
		if suits && w.l.path == path {
			f.answerLocked(err)
		}
	// f.mode is unlocked, since fl has the file, but for one case: both are
	// shared. Then the head joins in serveLocked.
	case suits && f.mode == unlocked && f.isAt(w.l.path, fl):
		f.takeLocked(fl, m)
		f.answerLocked(nil)
	case suits && f.mode == unlocked:
		_ = dropFlock(fl)
		f.answerLocked(errMoved)
	default:
		_ = dropFlock(fl)
	}
	f.serveLocked()
}

// release ends a hold of mode m.
func (f *lockedFile) release(m flockMode) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m == shared {
		if f.readers--; f.readers > 0 {
			return nil
		}
	}
	if w := f.headLocked(); w != nil && m == exclusive && w.mode == exclusive &&
		f.holds < maxHandovers && time.Since(f.since) < maxTenure && f.isAt(w.l.path, f.fl) {
		f.holds++
		f.answerLocked(nil)
		return nil
	}
	path := f.fl.Path()
	err := dropFlock(f.fl)
	f.fl, f.mode = nil, unlocked
	// Not serveLocked: its try would mostly overtake those in other processes,
	// who have yet to wake up.
	f.standLocked()
	return flockError(path, err)
}

// isAt reports whether the file that fl has open is f, and is what path names.
func (f *lockedFile) isAt(path string, fl *flock.Flock) bool {
	open, err := fl.Stat()
	if err != nil || idOf(open) != f.id {
		return false
	}
	now, err := os.Stat(path)
	return err == nil && idOf(now) == f.id
}

// newFlock returns a Flock that opens, and does not make, the file at path.
func newFlock(path string) *flock.Flock {
	return flock.New(path, flock.SetFlag(os.O_RDONLY))
}

func tryFlock(fl *flock.Flock, m flockMode) (bool, error) {
	if m == shared {
		return fl.TryRLock()
	}
	return fl.TryLock()
}

// waitFlock takes the file, for however long that takes.
func waitFlock(fl *flock.Flock, m flockMode) error {
	for {
		err := fl.Lock
		if m == shared {
			err = fl.RLock
		}
		// A signal handler that cgo installed without SA_RESTART interrupts.
		if e := err(); !errors.Is(e, syscall.EINTR) {
			return e
		}
	}
}

func dropFlock(fl *flock.Flock) error { return fl.Close() }

// flockError gives an error of Flock the path, which it lacks when it comes from
// flock(2) itself. A file that is gone between two looks at it was replaced.
func flockError(path string, err error) error {
	var pe *fs.PathError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return errMoved
	case errors.As(err, &pe):
		return err
	}
	return &fs.PathError{Op: "flock", Path: path, Err: err}
}

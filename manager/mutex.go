package manager

import (
	"context"
	"errors"
	"runtime"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/store"
	"github.com/go-multiproc/multiproc/psync"
)

// A Mutex is a mutual exclusion lock on the server, between goroutines of any number of processes, on any number of machines. It is what psync.Mutex is
// in shared memory, method by method and error by error, and a psync.Locker.
//
// It is held by a process, and any goroutine of that may unlock it. It is not re-entrant: a second Lock waits until ctx ends. Who waits gets it in the order
// of arrival.
//
// When the process that holds it dies, or loses its last handle to it, the lock is abandoned, at once: what it guards may be half
// done. Lock returns psync.ErrOwnerDied then, without holding it, to everybody, until somebody calls Recover, or LockOrRecover.
//
// A *Mutex is safe for concurrent use. It crosses to other processes in arguments and messages; who holds it does not change by that.
// An unreachable one closes itself.
type Mutex struct {
	_ noCopy
	w waiter
}

var (
	_ psync.Locker   = (*Mutex)(nil)
	_ psync.Relocker = (*Mutex)(nil)
)

func (*Mutex) layout() string { return store.KindMutex.String() }

// NewMutex makes a mutex. It lives until the last handle in the last process is gone, and no container mentions it.
func NewMutex(m *Manager) (*Mutex, error) {
	l := new(Mutex)
	return newObject(m, l, &l.w.handle, store.KindMutex)
}

// OpenMutex returns the mutex of that name, and makes it if there is none; see OpenDict.
func OpenMutex(m *Manager, name string) (*Mutex, error) {
	l := new(Mutex)
	return openObject(m, l, &l.w.handle, name, store.KindMutex)
}

// Close lets go of this handle; it does not unlock. Calls that wait through it end with fs.ErrClosed. Closing this
// process's last handle to a mutex that it holds is psync.ErrHeld and closes nothing. It is safe to call twice.
func (l *Mutex) Close() error { return l.w.close() }

// HandOver describes l to another process. It is for the packages of this module.
func (l *Mutex) HandOver(e *handover.Encoder) error {
	return l.w.handOver(e, store.KindMutex, store.KindMutex.String())
}

// TakeOver makes the zero Mutex l what another process described. It is for the packages of this module.
func (l *Mutex) TakeOver(d *handover.Decoder) error {
	return takeOver(l, &l.w.handle, d, store.KindMutex, store.KindMutex.String())
}

// lockMode is Lock in one of the server's modes. ok is false if there was nothing to recover.
func (w *waiter) lockMode(ctx context.Context, what string, mode store.LockMode) (h hold, ok bool, err error) {
	r, cl, err := w.handle.begin(what, opMutexLock)
	if err != nil {
		return h, false, err
	}
	defer runtime.KeepAlive(w)
	rep, err := w.await(ctx, r, cl.uint(uint64(mode)), what)
	if err != nil {
		return h, false, err
	}
	return r.readHold(cl, &rep)
}

// readHold reads what was locked, and notes it. It frees the call.
func (r *remote) readHold(cl *call, rep *reply) (h hold, ok bool, err error) {
	defer cl.free()
	h = hold{id: cl.id, fence: rep.uint(), marked: rep.bool()}
	if err := rep.close(); err != nil || h.fence == 0 {
		return h, false, err
	}
	r.got(h)
	return h, true, nil
}

func (w *waiter) tryLock(what string) (h hold, ok bool, err error) {
	r, cl, err := w.handle.begin(what, opMutexTryLock)
	if err != nil {
		return h, false, err
	}
	defer runtime.KeepAlive(w)
	ctx, cancel := answerSoon()
	defer cancel()
	rep, err := w.await(ctx, r, cl, what)
	if err != nil {
		return h, false, noAnswer(r.client, err)
	}
	return r.readHold(cl, &rep)
}

// unlock gives back a hold, the only one if id is 0.
func (w *waiter) unlock(what string, id uint64, mended bool) error {
	r, err := w.handle.remote(what)
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(w)
	h, ok := r.give(id)
	if !ok {
		return psync.ErrNotHeld
	}
	return lockLost(r.doSoon(newCall(opMutexUnlock).uint(uint64(r.id)).uint(h.id).bool(mended)))
}

// lockLost is the error of what was asked of a hold that this process knows of. If the server does not, somebody has taken it away.
func lockLost(err error) error {
	if errors.Is(err, psync.ErrNotHeld) {
		return psync.ErrLockLost
	}
	return err
}

// force takes the lock away from its holder.
func (w *waiter) force(ctx context.Context, what string) error {
	r, cl, err := w.handle.begin(what, opMutexForce)
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(w)
	return r.doNothingElse(ctx, cl)
}

// recover does what Recover and LockOrRecover have in common.
func (w *waiter) recover(ctx context.Context, what string, mode store.LockMode, repair func() error) (h hold, err error) {
	h, ok, err := w.lockMode(ctx, what, mode)
	if err != nil || !ok || !h.marked {
		return h, err
	}
	repaired := false
	defer func() { // also when repair panics or calls runtime.Goexit
		if !repaired {
			if e := w.unlock(what, h.id, false); e != nil {
				err = errors.Join(err, e)
			}
		}
	}()
	if repair != nil {
		if err := repair(); err != nil {
			return h, err
		}
	}
	repaired = true
	if mode == store.LockToRecover {
		return h, w.unlock(what, h.id, true)
	}
	r, cl, err := w.handle.begin(what, opMutexMend)
	if err == nil {
		r.mended(h.id)
		err = lockLost(r.doSoon(cl.uint(h.id)))
	}
	return h, err
}

// mended notes that a hold's lock is not abandoned any more.
func (r *remote) mended(id uint64) {
	r.client.mu.Lock()
	defer r.client.mu.Unlock()
	for i := range r.held {
		if r.held[i].id == id {
			r.held[i].marked = false
		}
	}
}

// Lock takes the lock, and waits for it as long as ctx allows. When it returns an error, the lock is not held: psync.ErrOwnerDied if it
// is abandoned, ctx's own error, or one that says that the connection is down. If ctx has ended before, it is not even asked for.
func (l *Mutex) Lock(ctx context.Context) error {
	_, _, err := l.w.lockMode(ctx, "Mutex", store.LockPlain)
	return err
}

// TryLock takes the lock if it is free, without waiting for others. It returns psync.ErrOwnerDied if it is abandoned.
func (l *Mutex) TryLock() (bool, error) {
	_, ok, err := l.w.tryLock("Mutex")
	return ok, err
}

// Unlock gives the lock back. It returns psync.ErrNotHeld if this process does not hold it, and psync.ErrLockLost if somebody has taken it away: see ForceUnlock.
func (l *Mutex) Unlock() error { return l.w.unlock("Mutex", 0, false) }

// Recover makes an abandoned lock usable again: it runs repair under the lock, which it does not keep. repair must put right whatever
// a holder that died at any point may have left behind; nil is for when there is nothing to repair.
//
// Among several callers one runs its repair; the others wait for it and then return nil, as does a call when the lock is not abandoned. If repair
// returns an error, Recover returns it, and the lock stays abandoned, as it does when repair panics or its process dies; then another
// caller that waits runs its own repair. repair must not use the lock itself.
func (l *Mutex) Recover(ctx context.Context, repair func() error) error {
	_, err := l.w.recover(ctx, "Mutex", store.LockToRecover, repair)
	return err
}

// LockOrRecover takes the lock, after running repair as Recover does if it is abandoned. When it returns nil, the lock is held.
func (l *Mutex) LockOrRecover(ctx context.Context, repair func() error) error {
	_, err := l.w.recover(ctx, "Mutex", store.LockOrRecover, repair)
	return err
}

// Relock is for a psync.Cond: see psync.Relocker. It waits as long as it takes, or until the server is down.
func (l *Mutex) Relock() error {
	h, _, err := l.w.lockMode(context.Background(), "Mutex", store.LockOrRecover)
	if err == nil && h.marked {
		err = psync.ErrOwnerDied
	}
	return err
}

// Fence is the number of this hold: larger than that of every hold before, in any process. A store that remembers the largest number
// it has seen can refuse what a former holder, that was stopped for too long, sends late. It is 0 if this process does not hold the lock.
func (l *Mutex) Fence() uint64 {
	r, err := l.w.handle.remote("Mutex")
	if err != nil {
		return 0
	}
	h, _ := r.latest()
	return h.fence
}

// ForceUnlock takes the lock away from the process that holds it, which need not know. It is for an operator who knows that the holder will not come back: it is stopped, or waits for something that never
// happens. The lock is abandoned then, as if the holder had died: others get psync.ErrOwnerDied, until somebody recovers it. The former holder's Unlock returns psync.ErrLockLost, and every later hold
// has a larger Fence. But nothing keeps it from touching what the lock guards until it finds out: whoever can kill it instead should.
//
// If nobody holds the lock the error is psync.ErrNotHeld. It is what psync.ForceUnlock is in shared memory. The permits of a Semaphore cannot be taken away; killing their holder returns them.
func (l *Mutex) ForceUnlock(ctx context.Context) error { return l.w.force(ctx, "Mutex") }

// Locked reports whether some process holds the lock, at some moment during the call.
func (l *Mutex) Locked(ctx context.Context) (bool, error) {
	r, cl, err := l.w.handle.begin("Mutex", opMutexState)
	if err != nil {
		return false, err
	}
	defer runtime.KeepAlive(l)
	rep, err := r.do(ctx, cl)
	if err != nil {
		return false, err
	}
	defer cl.free()
	held := rep.bool()
	rep.bool()
	return held, rep.close()
}

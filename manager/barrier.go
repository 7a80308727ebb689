package manager

import (
	"context"
	"runtime"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/store"
)

// A Barrier lets a fixed number of parties wait for each other: Wait returns when all of them have called it, and then the
// Barrier is ready for the next round. A party is a goroutine of any process; several may be in one. It is what psync.Barrier is in
// shared memory.
//
// A Barrier breaks rather than have its parties wait for one that does not come. Then all who wait, and all who come, get psync.ErrBroken, until
// somebody calls Reset. It breaks
//
//   - when a process that takes part has died, at once. A process takes part from its first Wait on. It does so no more when it
//     has left in good order (it has closed its last handle, or returned nil from the function that package process started it
//     for), when a round was completed without it, and after a Reset. One that dies before its first Wait is not noticed.
//   - when a party stops waiting: its ctx ends, or it closes its Barrier.
//   - when somebody calls Abort.
//
// A *Barrier is safe for concurrent use. It crosses to other processes in arguments and messages. An unreachable one closes itself.
type Barrier struct {
	_ noCopy
	w waiter
}

func (*Barrier) layout() string { return store.KindBarrier.String() }

// NewBarrier makes a barrier of 1 to 2^20 parties. It lives until the last handle in the last process is gone, and no container mentions it.
func NewBarrier(m *Manager, parties int) (*Barrier, error) {
	b := new(Barrier)
	return newObject(m, b, &b.w.handle, store.KindBarrier, uint64(max(parties, 0)))
}

// OpenBarrier returns the barrier of that name, and makes it if there is none; see OpenDict. If it was made for another number of
// parties, the error is ErrType. 0 is for one that exists, whatever it has: if there is none, the error is ErrNotFound.
func OpenBarrier(m *Manager, name string, parties int) (*Barrier, error) {
	b := new(Barrier)
	return openObject(m, b, &b.w.handle, name, store.KindBarrier, uint64(max(parties, 0)))
}

// Close lets go of this handle. Calls that wait through it end with fs.ErrClosed, and break the Barrier. With its last handle, the process
// leaves in good order. It is safe to call twice.
func (b *Barrier) Close() error { return b.w.close() }

// HandOver describes b to another process. It is for the packages of this module.
func (b *Barrier) HandOver(e *handover.Encoder) error {
	return b.w.handOver(e, store.KindBarrier, store.KindBarrier.String())
}

// TakeOver makes the zero Barrier b what another process described. It is for the packages of this module.
func (b *Barrier) TakeOver(d *handover.Decoder) error {
	return takeOver(b, &b.w.handle, d, store.KindBarrier, store.KindBarrier.String())
}

// Wait arrives at the Barrier, and waits until all parties have, as long as ctx allows. Then it returns the party's index: 0 for the
// first that arrived in the round, Parties-1 for the last.
//
// The error is psync.ErrBroken, ctx's own, or one that is fs.ErrClosed; with the latter two, the Barrier is broken for the others.
func (b *Barrier) Wait(ctx context.Context) (index int, err error) {
	r, cl, err := b.w.handle.begin("Barrier", opBarrierWait)
	if err != nil {
		return 0, err
	}
	defer runtime.KeepAlive(b)
	rep, err := b.w.await(ctx, r, cl, "Barrier")
	if err != nil {
		return 0, err
	}
	defer cl.free()
	index = int(rep.uint())
	return index, rep.close()
}

func (b *Barrier) change(ctx context.Context, op uint64) error {
	r, cl, err := b.w.handle.begin("Barrier", op)
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(b)
	return r.doNothingElse(ctx, cl)
}

// Abort breaks the Barrier: whoever waits, or comes, gets psync.ErrBroken, until somebody calls Reset.
func (b *Barrier) Abort(ctx context.Context) error { return b.change(ctx, opBarrierAbort) }

// Reset makes the Barrier empty and whole. Those who wait get psync.ErrBroken. Nobody who took part before is missed.
func (b *Barrier) Reset(ctx context.Context) error { return b.change(ctx, opBarrierReset) }

func (b *Barrier) look(ctx context.Context) (parties, waiting int, broken bool, err error) {
	r, cl, err := b.w.handle.begin("Barrier", opBarrierState)
	if err != nil {
		return 0, 0, false, err
	}
	defer runtime.KeepAlive(b)
	rep, err := r.do(ctx, cl)
	if err != nil {
		return 0, 0, false, err
	}
	defer cl.free()
	parties, waiting, broken = int(rep.uint()), int(rep.uint()), rep.bool()
	return parties, waiting, broken, rep.close()
}

// Parties is how many parties have to arrive.
func (b *Barrier) Parties(ctx context.Context) (int, error) {
	n, _, _, err := b.look(ctx)
	return n, err
}

// Waiting is how many parties have arrived in the present round; 0 if the Barrier is broken.
func (b *Barrier) Waiting(ctx context.Context) (int, error) {
	_, n, _, err := b.look(ctx)
	return n, err
}

// Broken reports whether the Barrier is broken.
func (b *Barrier) Broken(ctx context.Context) (bool, error) {
	_, _, broken, err := b.look(ctx)
	return broken, err
}

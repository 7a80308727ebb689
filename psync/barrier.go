package psync

import (
	"context"
	"fmt"
	"io/fs"
	"runtime"
	"sync"

	"github.com/go-multiproc/multiproc/internal/barrier"
	"github.com/go-multiproc/multiproc/internal/gate"
	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/seg"
	"github.com/go-multiproc/multiproc/shm"
)

// MaxParties is the largest number of parties of a Barrier.
const MaxParties = barrier.MaxParties

// ErrBroken is returned by Wait of a Barrier that is broken, or breaks meanwhile. The
// error's text says why.
var ErrBroken = barrier.ErrBroken

// checkParties says whether there are Barriers of n parties.
func checkParties(n int) error {
	if n < 1 || n > MaxParties {
		return fmt.Errorf("psync: a Barrier of %d parties: there can be 1 to %d: %w", n, MaxParties, fs.ErrInvalid)
	}
	return nil
}

var barrierKind = newKind(barrierCode, func(param uint32) (int, error) {
	if param < 1 || param > MaxParties {
		return 0, fmt.Errorf("%d parties", param)
	}
	return barrier.Size(int(param)), nil
})

// A Barrier lets a fixed number of parties wait for each other: Wait returns when all of
// them have called it, and then the Barrier is ready for the next round. A party is a
// goroutine of any process; several may be in one.
//
// A Barrier breaks rather than have its parties wait for one that does not come. Then all
// who wait, and all who come, get [ErrBroken], until somebody calls Reset. It breaks
//
//   - when a process that takes part is lost: it has died, and somebody waits. A process
//     takes part from its first Wait on. It does so no more when it has left in good order
//     (it has closed the Barrier, or returned nil from the function that package process
//     started it for), when a round was completed without it, and after a Reset. A child
//     that fails is lost like one that is killed. One that dies before its first Wait is
//     not noticed, since nothing tells that it would have come. One that dies after it
//     has arrived has arrived: if all others come before anybody notices, it breaks the
//     next round.
//   - when a party stops waiting: its ctx ends, or had ended when it came, or it closes
//     its Barrier. (Python's does the same on a timeout. To take the party out again instead would leave the others to
//     wait for it.)
//   - when somebody calls Abort.
//
// So the processes that take part may change: any one may leave, and another come in its
// place, between two rounds or in the middle of one.
//
// After Close, Wait, Abort and Reset return an error that is fs.ErrClosed, and Waiting and
// Broken panic. The zero Barrier can not be used: all its methods but Close panic.
type Barrier struct {
	b    *barrier.Barrier
	at   spot
	gate gate.Gate // around Wait: who has arrived must give up before the memory goes
	once sync.Once // around retiring
}

func newBarrier(p spot, err error) (*Barrier, error) {
	if err != nil {
		return nil, err
	}
	b := &Barrier{}
	b.stand(p)
	return b, nil
}

// stand makes the zero b the Barrier at p.
func (b *Barrier) stand(p spot) {
	b.at, b.b = p, barrier.At(p.h.Mapping(), p.off, int(p.param))
	b.b.Use()
}

// NewBarrier makes an anonymous Barrier, to be passed to child processes. parties is from
// 1 to MaxParties; anything else is fs.ErrInvalid. The error is shm.ErrNoSpace if there is
// no memory for it.
func NewBarrier(parties int) (*Barrier, error) {
	if err := checkParties(parties); err != nil {
		return nil, err
	}
	return newBarrier(barrierKind.make(uint32(parties), nil))
}

// CreateBarrier makes a named Barrier. If the name exists, the error is fs.ErrExist.
func CreateBarrier(name string, parties int, opts ...Options) (*Barrier, error) {
	if err := checkParties(parties); err != nil {
		return nil, err
	}
	return newBarrier(barrierKind.create(name, uint32(parties), nil, options(opts)))
}

// OpenBarrier joins a Barrier that CreateBarrier made, here or in another process. How many
// parties it has, it knows. Its errors are those of OpenMutex.
func OpenBarrier(name string, opts ...Options) (*Barrier, error) {
	return newBarrier(barrierKind.open(name, options(opts)))
}

// BarrierAt joins the Barrier of that many parties that stands at byte off of s, where it
// takes BarrierSize bytes, and makes it if they are zero. Its errors are those of MutexAt.
func BarrierAt(s *shm.Segment, off, parties int) (*Barrier, error) {
	if err := checkParties(parties); err != nil {
		return nil, err
	}
	return newBarrier(barrierKind.place(s, off, uint32(parties)))
}

// BarrierSize is the number of bytes that a Barrier takes in a segment. It panics if there
// can be no such Barrier.
func BarrierSize(parties int) int {
	if err := checkParties(parties); err != nil {
		panic(err.Error())
	}
	return barrier.Size(parties)
}

// handle is where a Barrier that was made stands.
func (b *Barrier) handle() *seg.Handle {
	if b.b == nil {
		panic("psync: use of a Barrier that was not made by NewBarrier, CreateBarrier, OpenBarrier or BarrierAt")
	}
	return b.at.h
}

// Wait arrives at the Barrier, and waits until all parties have, as long as ctx allows. Then
// it returns the party's index: 0 for the first that arrived in the round, Parties()-1 for
// the last. The last one does not wait, nor look at ctx.
//
// The error is ErrBroken, ctx's own, or one that is fs.ErrClosed; with the latter two, the
// Barrier is broken for the others. A Reset in the short time between a round's end and
// the return of a party's Wait can give it ErrBroken, though the round was complete.
//
// What parties wrote before Wait, the others see after it.
func (b *Barrier) Wait(ctx context.Context) (index int, err error) {
	h := b.handle()
	if !b.gate.Enter() {
		return 0, h.ErrClosed()
	}
	defer b.gate.Leave()
	if h.Closed() {
		return 0, h.ErrClosed()
	}
	return b.b.Wait(ctx, h)
}

// Abort breaks the Barrier: whoever waits, or comes, gets ErrBroken, until somebody calls
// Reset.
func (b *Barrier) Abort() error { return b.change((*barrier.Barrier).Abort) }

// Reset makes the Barrier empty and whole. Those who wait get ErrBroken. Nobody who took
// part before is missed.
func (b *Barrier) Reset() error { return b.change((*barrier.Barrier).Reset) }

func (b *Barrier) change(how func(*barrier.Barrier)) error {
	h := b.handle()
	if !b.gate.Enter() {
		return h.ErrClosed()
	}
	defer b.gate.Leave()
	if h.Closed() {
		return h.ErrClosed()
	}
	how(b.b)
	return nil
}

// Parties is how many parties have to arrive.
func (b *Barrier) Parties() int {
	b.handle()
	return b.b.Parties()
}

// Waiting is how many parties have arrived in the present round; 0 if the Barrier is
// broken.
func (b *Barrier) Waiting() int {
	b.mustBeOpen()
	n := b.b.Waiting()
	runtime.KeepAlive(b)
	return n
}

// Broken reports whether the Barrier is broken.
func (b *Barrier) Broken() bool {
	b.mustBeOpen()
	broken := b.b.Broken()
	runtime.KeepAlive(b)
	return broken
}

func (b *Barrier) mustBeOpen() {
	if b.handle().Closed() {
		panic("psync: use of closed Barrier")
	}
}

// Name is the name that the Barrier was created or opened with; "" if none.
func (b *Barrier) Name() string { return b.handle().Name() }

// Close ends this handle. Goroutines that wait through it return with an error that is
// fs.ErrClosed, and break the Barrier. With its last handle, the process leaves in good
// order. Calling Close again does nothing.
func (b *Barrier) Close() error {
	if b.b == nil {
		return nil
	}
	err := b.at.h.Close(closing{wake: b.b.HandleClosed, drain: b.gate.Shut, off: b.at.off})
	b.gate.Shut()
	b.once.Do(b.b.Retire)
	return err
}

// HandOver describes the Barrier to another process. Packages process and pipe call it.
func (b *Barrier) HandOver(e *handover.Encoder) error { return barrierKind.handOver(e, b.at) }

// TakeOver makes the zero Barrier a hold on one that another process handed over. Packages
// process and pipe call it.
func (b *Barrier) TakeOver(d *handover.Decoder) error {
	p, err := barrierKind.takeOver(d)
	if err == nil {
		b.stand(p)
	}
	return err
}

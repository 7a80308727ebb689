package manager

import (
	"context"
	"runtime"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/store"
)

// An Event is a flag on the server that goroutines of any number of processes wait for. It is cleared in the beginning. It is what psync.Event is in
// shared memory.
//
// It belongs to nobody, and so the death of a process leaves it as it is.
//
// An *Event is safe for concurrent use. It crosses to other processes in arguments and messages. An unreachable one closes itself.
type Event struct {
	_ noCopy
	w waiter
}

func (*Event) layout() string { return store.KindEvent.String() }

// NewEvent makes an event. It lives until the last handle in the last process is gone, and no container mentions it.
func NewEvent(m *Manager) (*Event, error) {
	e := new(Event)
	return newObject(m, e, &e.w.handle, store.KindEvent)
}

// OpenEvent returns the event of that name, and makes it if there is none; see OpenDict.
func OpenEvent(m *Manager, name string) (*Event, error) {
	e := new(Event)
	return openObject(m, e, &e.w.handle, name, store.KindEvent)
}

// Close lets go of this handle. Calls that wait through it end with fs.ErrClosed. It is safe to call twice.
func (e *Event) Close() error { return e.w.close() }

// HandOver describes e to another process. It is for the packages of this module.
func (e *Event) HandOver(enc *handover.Encoder) error {
	return e.w.handOver(enc, store.KindEvent, store.KindEvent.String())
}

// TakeOver makes the zero Event e what another process described. It is for the packages of this module.
func (e *Event) TakeOver(d *handover.Decoder) error {
	return takeOver(e, &e.w.handle, d, store.KindEvent, store.KindEvent.String())
}

func (e *Event) change(ctx context.Context, op uint64) error {
	r, cl, err := e.w.handle.begin("Event", op)
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(e)
	return r.doNothingElse(ctx, cl)
}

// Set sets the event, and wakes everybody who waits for it. If it is set already, it does nothing.
func (e *Event) Set(ctx context.Context) error { return e.change(ctx, opEventSet) }

// Clear clears the event. Those who waited when it was set go on all the same.
func (e *Event) Clear(ctx context.Context) error { return e.change(ctx, opEventClear) }

// IsSet reports whether the event is set.
func (e *Event) IsSet(ctx context.Context) (bool, error) {
	r, cl, err := e.w.handle.begin("Event", opEventIsSet)
	if err != nil {
		return false, err
	}
	defer runtime.KeepAlive(e)
	rep, err := r.do(ctx, cl)
	if err != nil {
		return false, err
	}
	defer cl.free()
	set := rep.bool()
	return set, rep.close()
}

// Wait waits until the event is set, as long as ctx allows. It also returns nil when the event was set meanwhile and cleared again.
func (e *Event) Wait(ctx context.Context) error { return e.w.awaitDone(ctx, "Event", opEventWait) }

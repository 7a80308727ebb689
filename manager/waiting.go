package manager

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"sync"
	"time"

	"github.com/go-multiproc/multiproc/internal/registered"
	"github.com/go-multiproc/multiproc/internal/store"
	"github.com/go-multiproc/multiproc/psync"
)

// settleTime is how long a caller whose context has ended waits for the server to say what became of its request. It is
// not meant to be reached: a server that is not stopped says so at once.
const settleTime = 250 * time.Millisecond

// A waiter is a handle to an object on which calls wait. Closing it ends them.
type waiter struct {
	handle

	mu      sync.Mutex
	closing bool
	calls   map[uint64]*client // under way, by their ids
}

// await is do for a request that may have to wait for other clients. When ctx ends the server is told to give up, and says whether
// that came in time: what was granted at that moment is neither lost nor held without anybody's knowledge. If the server is
// silent the call is abandoned, and then whatever the server grants it takes back.
func (w *waiter) await(ctx context.Context, r *remote, cl *call, what string) (reply, error) {
	return w.awaitUntil(ctx, r, cl, what, settleTime)
}

// awaitUntil is await with another patience; 0 is any.
func (w *waiter) awaitUntil(ctx context.Context, r *remote, cl *call, what string, settle time.Duration) (reply, error) {
	c := r.client
	err := ctx.Err()
	if err == nil && !c.isReady() {
		err = c.waitReady(ctx)
	}
	if err != nil {
		cl.free()
		return reply{}, err
	}
	if err := c.start(ctx, cl); err != nil {
		return reply{}, err
	}
	id := cl.id
	w.begin(c, id)
	defer w.end(id)
	if !c.arrives(ctx, cl) {
		c.notify(newCall(opGiveUp).uint(id))
		later, cancel := context.Background(), func() {}
		if settle > 0 {
			later, cancel = context.WithTimeout(later, settle)
		}
		err := c.wait(later, cl)
		cancel()
		if err != nil {
			return reply{}, ctx.Err()
		}
	}
	rep, err := cl.result()
	if err == nil {
		return rep, nil
	}
	cl.free()
	switch {
	case errors.Is(err, errCancelled) && ctx.Err() != nil:
		err = ctx.Err()
	case errors.Is(err, errCancelled) || errors.Is(err, ErrNotFound):
		if w.isClosed() {
			err = fmt.Errorf("manager: the %s was closed: %w", what, fs.ErrClosed)
		}
	}
	return rep, err
}

func (w *waiter) begin(c *client, id uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.calls == nil {
		w.calls = map[uint64]*client{}
	}
	w.calls[id] = c
	if w.closing {
		c.notify(newCall(opGiveUp).uint(id))
	}
}

func (w *waiter) end(id uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.calls, id)
}

func (w *waiter) isClosed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closing
}

// close ends the handle, and the calls that wait through it. The last handle of this process to something that
// it holds cannot be closed.
func (w *waiter) close() error {
	r := w.state.Load()
	if r == nil || r == closedRemote {
		return nil
	}
	if r.holding() {
		return psync.ErrHeld
	}
	w.stop()
	return w.handle.close()
}

// stop ends the calls that wait through the handle.
func (w *waiter) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closing = true
	for id, c := range w.calls {
		c.notify(newCall(opGiveUp).uint(id))
	}
}

// awaitDone is await for a request with an empty reply.
func (w *waiter) awaitDone(ctx context.Context, what string, op uint64) error {
	r, cl, err := w.handle.begin(what, op)
	if err != nil {
		return err
	}
	if _, err = w.await(ctx, r, cl, what); err == nil {
		cl.free()
	}
	runtime.KeepAlive(w)
	return err
}

// A hold is a lock or a permit that this process has. The server knows it by the number of the request that got it.
type hold struct {
	id     uint64
	fence  uint64
	marked bool // the lock is abandoned, and goes back so
}

// holding reports whether this process holds something through this object and has one handle to it only.
func (r *remote) holding() bool {
	r.client.mu.Lock()
	defer r.client.mu.Unlock()
	return r.client.err == nil && r.holds == 1 && len(r.held) > 0
}

// got notes a hold.
func (r *remote) got(h hold) {
	r.client.mu.Lock()
	r.held = append(r.held, h)
	r.client.mu.Unlock()
}

// give takes a hold to give it back: the last, or that of an id.
func (r *remote) give(id uint64) (h hold, ok bool) {
	r.client.mu.Lock()
	defer r.client.mu.Unlock()
	for i := len(r.held) - 1; i >= 0; i-- {
		if h := r.held[i]; id == 0 || h.id == id {
			r.held = append(r.held[:i], r.held[i+1:]...)
			return h, true
		}
	}
	return h, false
}

// latest returns the last hold, and leaves it.
func (r *remote) latest() (h hold, ok bool) {
	r.client.mu.Lock()
	defer r.client.mu.Unlock()
	if n := len(r.held); n > 0 {
		return r.held[n-1], true
	}
	return h, false
}

// doSoon is a round trip with an empty reply, of a call that has no context.
func (r *remote) doSoon(cl *call) error {
	ctx, cancel := answerSoon()
	defer cancel()
	return noAnswer(r.client, r.doNothingElse(ctx, cl))
}

// confirm tells the server that what it granted to a request is here. It need not be sent at once, unless the server
// says that it had to wait: it cannot know then whether this process was still there.
func (c *client) confirm(id uint64, now bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.confirms = append(c.confirms, id)
	if now || len(c.confirms) >= 64 {
		c.queueReleasesLocked()
		c.flushLocked()
		return
	}
	c.releaseSoonLocked()
}

// queueConfirmsLocked queues the request that says what has arrived.
func (c *client) queueConfirmsLocked() {
	if len(c.confirms) == 0 {
		return
	}
	b := appendUint(make([]byte, frameSpace, frameSpace+16+9*len(c.confirms)), opConfirm)
	for _, id := range c.confirms {
		b = appendUint(b, id)
	}
	c.out = append(c.out, sealFrame(b, 0, 1+len(c.confirms))...)
	c.confirms = c.confirms[:0]
}

func init() { registered.Leave = leaveAll }

// leaveAll tells the servers that this process ends in good order.
func leaveAll() {
	clients.mu.Lock()
	all := make([]*client, 0, len(clients.m))
	for _, c := range clients.m {
		all = append(all, c)
	}
	clients.mu.Unlock()
	for _, c := range all {
		c.notify(newCall(opLeave))
	}
}

// newObject makes an object without element types.
func newObject[T any](m *Manager, outer *T, h *handle, k store.Kind, params ...uint64) (*T, error) {
	if err := create(m, outer, h, k, k.String(), params...); err != nil {
		return nil, err
	}
	return outer, nil
}

func openObject[T any](m *Manager, outer *T, h *handle, name string, k store.Kind, params ...uint64) (*T, error) {
	if err := open(m, outer, h, name, k, k.String(), params...); err != nil {
		return nil, err
	}
	return outer, nil
}

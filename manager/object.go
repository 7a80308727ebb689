package manager

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/go-multiproc/multiproc/internal/codec"
	"github.com/go-multiproc/multiproc/internal/store"
)

// What all types of objects have in common: how they are made, and the round trips of their methods.

// answerTime is how long calls that take no context wait for the server. It is not meant to be reached: a dead server is
// noticed at once, and only a stopped one is silent.
const answerTime = 30 * time.Second

func answerSoon() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), answerTime)
}

// noAnswer says what the end of that context means.
func noAnswer(c *client, err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("manager: the server at %v has not answered for %v: is it stopped? %w", c.target, answerTime, err)
	}
	return err
}

// create makes an object, and outer, of which h is part, a handle to it. What params mean is the kind's affair.
func create[T any](m *Manager, outer *T, h *handle, k store.Kind, layout string, params ...uint64) error {
	return build(m, outer, h, newCall(opCreate).uint(uint64(k)).text(layout).uints(params))
}

func open[T any](m *Manager, outer *T, h *handle, name string, k store.Kind, layout string, params ...uint64) error {
	return build(m, outer, h, newCall(opOpen).text(name).uint(uint64(k)).text(layout).bool(!mustExist(k, params)).uints(params))
}

// mustExist reports whether an object with such parameters is not to be made by who opens it: the one that says how large it is is 0.
func mustExist(k store.Kind, params []uint64) bool {
	switch k {
	case store.KindBarrier:
		return params[0] == 0
	case store.KindSemaphore:
		return params[0] == 0 && params[1] != countingSort
	}
	return false
}

func build[T any](m *Manager, outer *T, h *handle, cl *call) error {
	c, err := m.use()
	if err != nil {
		cl.free()
		return err
	}
	defer runtime.KeepAlive(m)
	ctx, cancel := answerSoon()
	defer cancel()
	rep, err := c.do(ctx, cl)
	if err != nil {
		return noAnswer(c, err)
	}
	defer cl.free()
	id := store.ID(rep.uint())
	if err := rep.close(); err != nil {
		return err
	}
	attach(outer, h, c.adopt(id, 1))
	return nil
}

// begin begins a call on the object.
func (h *handle) begin(what string, op uint64) (*remote, *call, error) {
	r, err := h.remote(what)
	if err != nil {
		return nil, nil, err
	}
	return r, newCall(op).uint(uint64(r.id)), nil
}

// do is a round trip on the object.
func (r *remote) do(ctx context.Context, cl *call) (reply, error) {
	rep, err := r.client.do(ctx, cl)
	if err != nil && errors.Is(err, ErrNotFound) {
		r.client.mu.Lock()
		defer r.client.mu.Unlock()
		if r.lost != nil {
			err = r.lost
		}
	}
	return rep, err
}

// doNothingElse is a round trip with an empty reply.
func (r *remote) doNothingElse(ctx context.Context, cl *call) error {
	rep, err := r.do(ctx, cl)
	if err != nil {
		return err
	}
	defer cl.free()
	return rep.close()
}

// doBool is a round trip with yes or no as reply.
func (r *remote) doBool(ctx context.Context, cl *call) (bool, error) {
	rep, err := r.do(ctx, cl)
	if err != nil {
		return false, err
	}
	defer cl.free()
	yes := rep.bool()
	return yes, rep.close()
}

// doInt is a round trip with a number as reply.
func (r *remote) doInt(ctx context.Context, cl *call) (int, error) {
	rep, err := r.do(ctx, cl)
	if err != nil {
		return 0, err
	}
	defer cl.free()
	n := int(rep.uint())
	return n, rep.close()
}

// snapshot reads an object as it is at one moment, page by page; read takes one entry, of that many items, out of the page.
func snapshot(ctx context.Context, h *handle, what string, op uint64, entry int, read func(c *client, rep *reply) error) error {
	r, cl, err := h.begin(what, op)
	if err != nil {
		return err
	}
	return pages(ctx, r, cl, entry, read)
}

// pages does a request that takes a snapshot, and reads all of that.
func pages(ctx context.Context, r *remote, cl *call, entry int, read func(c *client, rep *reply) error) error {
	c := r.client
	kept := uint64(0) // what the server keeps for us, as long as there are more pages
	defer func() {
		if kept != 0 {
			c.notify(newCall(opCancel).uint(kept))
		}
	}()
	for {
		rep, err := r.do(ctx, cl)
		if err != nil {
			return err
		}
		kept = rep.uint()
		for range (rep.items - 1) / entry {
			if err := read(c, &rep); err != nil {
				err = discardRest(c, &rep, err)
				cl.free()
				return err
			}
		}
		err = rep.close()
		cl.free()
		if err != nil || kept == 0 {
			return err
		}
		cl = newCall(opNext).uint(kept)
	}
}

// addObject adds another object of the same manager to a request about r.
func addObject(cl *call, r *remote, h *handle, what string) error {
	o, err := h.remote(what)
	if err != nil {
		return err
	}
	if o.client != r.client {
		return fmt.Errorf("manager: a %s at %v and one at %v: objects of two managers cannot work together", what, r.client.target, o.client.target)
	}
	cl.uint(uint64(o.id))
	return nil
}

// copyObject makes an object like another one, and outer, of which h is part, a handle to it.
func copyObject[T any](ctx context.Context, from *handle, what string, outer *T, h *handle) error {
	r, cl, err := from.begin(what, opCopy)
	if err != nil {
		return err
	}
	return r.doMake(ctx, cl, func(o *remote) { attach(outer, h, o) })
}

// doMake is a round trip with a new object as reply.
func (r *remote) doMake(ctx context.Context, cl *call, made func(o *remote)) error {
	rep, err := r.do(ctx, cl)
	if err != nil {
		return err
	}
	defer cl.free()
	id := store.ID(rep.uint())
	if err := rep.close(); err != nil {
		return err
	}
	made(r.client.adopt(id, 1))
	return nil
}

// skipOrRelease passes over one item of a reply, and gives back the references in it.
func skipOrRelease(c *client, r *itemReader) {
	if codec.Major(r.b[0]>>5) != codec.Array {
		skipItem(r)
		return
	}
	_, refs := r.value()
	for _, id := range refs {
		c.adopt(id, 1).release()
	}
}

// leased names a key that is being updated.
type leased struct {
	id  store.ID
	key string
}

// noteUpdate notes that this goroutine holds the lease of a key, until done. Only one does at any time, but the next may begin before
// the last has taken its note away.
func (c *client) noteUpdate(k leased) (done func()) {
	me := goroutine()
	c.mu.Lock()
	c.updates[k] = me
	c.mu.Unlock()
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.updates[k] == me {
			delete(c.updates, k)
		}
	}
}

// mayChange refuses what would wait for this goroutine itself.
func (r *remote) mayChange(key []byte) error {
	c := r.client
	c.mu.Lock()
	by := uint64(0)
	if len(c.updates) > 0 {
		by = c.updates[leased{r.id, string(key)}]
	}
	c.mu.Unlock()
	if by != 0 && by == goroutine() {
		return ErrDeadlock
	}
	return nil
}

// mayChangeAny is mayChange for a change of the object as a whole.
func (r *remote) mayChangeAny() error {
	c := r.client
	var by []uint64
	c.mu.Lock()
	for k, goroutine := range c.updates {
		if k.id == r.id {
			by = append(by, goroutine)
		}
	}
	c.mu.Unlock()
	if len(by) > 0 && slices.Contains(by, goroutine()) {
		return ErrDeadlock
	}
	return nil
}

// goroutine returns the number of the calling goroutine, as it stands in stack traces: the runtime shows it in no other
// way. It takes about a microsecond.
func goroutine() uint64 {
	var buf [40]byte
	b := bytes.TrimPrefix(buf[:runtime.Stack(buf[:], false)], []byte("goroutine "))
	b, _, _ = bytes.Cut(b, []byte(" "))
	n, err := strconv.ParseUint(string(b), 10, 64)
	if err != nil {
		panic("manager: unexpected stack trace: " + string(buf[:]))
	}
	return n
}

func indexed(name string, i int) string { return name + "[" + strconv.Itoa(i) + "]" }

// typeNames are what the program calls objects.
var typeNames = map[store.Kind]string{
	store.KindDict:      "Dict",
	store.KindList:      "List",
	store.KindSet:       "Set",
	store.KindQueue:     "Queue",
	store.KindMutex:     "Mutex",
	store.KindRMutex:    "RMutex",
	store.KindSemaphore: "Semaphore",
	store.KindCond:      "Cond",
	store.KindEvent:     "Event",
	store.KindBarrier:   "Barrier",
	store.KindNamespace: "Namespace",
	store.KindValue:     "Value",
	store.KindArray:     "Array",
	store.KindOwn:       "Object",
}

// typeName is what the program calls objects of a kind.
func typeName(k store.Kind) string {
	if name, ok := typeNames[k]; ok {
		return name
	}
	return k.String()
}

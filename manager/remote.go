package manager

import (
	"fmt"
	"io/fs"
	"runtime"
	"sync/atomic"

	"github.com/go-multiproc/multiproc/internal/store"
)

// A remote is an object on a server as this process knows it, for all of its handles together.
//
// The server counts how often it has told a session of an object; the client counts how often it was told. When the
// last handle goes, the client releases as many references as it has counted. If a reply with one more is
// on its way at that moment, that one stays. (Cap'n Proto counts so, too. A mere "I no longer need it" would race.)
type remote struct {
	client *client
	id     store.ID

	// Guarded by client.mu.
	received uint64 // references counted so far
	holds    int    // handles of this process
	held     []hold // locks and permits that this process has of it
	lost     error  // why the server does not let us have it; nil if it does
}

// adopt counts n references to an object, and one hold on it, which the caller must release.
func (c *client) adopt(id store.ID, n uint64) *remote {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.objects[id]
	if r == nil {
		r = &remote{client: c, id: id}
		c.objects[id] = r
		c.users++
	}
	r.received += n
	r.holds++
	return r
}

// release gives a hold up, and reports whether the connection ended with it. It does not block.
func (r *remote) release() (last bool) {
	c := r.client
	c.mu.Lock()
	r.holds--
	if r.holds > 0 {
		c.mu.Unlock()
		return false
	}
	delete(c.objects, r.id)
	if r.received > 0 {
		c.releaseLocked(release{r.id, r.received})
	}
	c.mu.Unlock()
	return c.dropUser()
}

// hold is one more hold on an object that the caller has one on.
func (r *remote) hold() {
	r.client.mu.Lock()
	r.holds++
	r.client.mu.Unlock()
}

// A handle is what a Dict, a List, … is to the program: one hold on an object, which ends with Close, or when the
// garbage collector finds that nobody can reach the handle.
type handle struct {
	state   atomic.Pointer[remote]
	cleanup runtime.Cleanup
}

// closedRemote is the state of a handle after Close.
var closedRemote = new(remote)

// attach makes h, which is part of the object that the program has, own a hold. outer is a pointer to that.
func attach[T any](outer *T, h *handle, r *remote) {
	h.cleanup = runtime.AddCleanup(outer, func(r *remote) { r.release() }, r)
	h.state.Store(r)
}

// remote returns the object, or why there is none. what names the handle's type.
func (h *handle) remote(what string) (*remote, error) {
	switch r := h.state.Load(); r {
	case nil:
		return nil, fmt.Errorf("manager: use of a zero %s: make one with New%[1]s or Open%[1]s", what)
	case closedRemote:
		return nil, fmt.Errorf("manager: use of a closed %s: %w", what, fs.ErrClosed)
	default:
		return r, nil
	}
}

// close gives the hold up. It is safe to call twice.
func (h *handle) close() error {
	r := h.state.Swap(closedRemote)
	if r == nil || r == closedRemote {
		return nil
	}
	h.cleanup.Stop()
	if r.release() {
		r.client.work.Wait()
	}
	return nil
}

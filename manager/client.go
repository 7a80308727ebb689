package manager

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-multiproc/multiproc/internal/store"
)

// A client is this process's connection to one server, shared by all handles to its objects. Any number of calls are
// under way at once.
//
// There is no goroutine that reads. One of the callers who wait for a reply reads for all of them: the leader. It hands
// out the replies that are not its own, and when it has its own, the next caller leads. So a lone caller sends, spins
// and receives on one thread, with no goroutine to be woken up, which would cost more than everything else together.
// Requests are written in the same spirit: who finds nobody writing writes what everybody has queued.
// Only when the server does not take them at once does a goroutine of its own go on writing, because the
// caller must obey its context.
type client struct {
	target target
	ready  chan struct{} // closed when the connection stands, or err does
	lead   chan struct{} // holds one element while somebody reads
	busy   int           // the leader's: for so many waits there were other calls not long ago
	cancel context.CancelFunc
	stage  atomic.Pointer[string] // how far the connection has come that is being made
	stream *stream                // set before ready
	server serverHello            // likewise

	// explain, if not nil, finds out more about why the connection is lost.
	explain func(error) error

	mu        sync.Mutex
	connected bool
	err       error // why every call fails from now on
	users     int   // managers and objects of this process that need the connection
	lastID    uint64
	pending   map[uint64]*call
	abandoned int // of pending
	draining  bool
	hungUp    bool   // the server has: reading will tell why
	out       []byte // queued for writing
	spare     []byte
	writing   bool
	drained   chan struct{} // closed when out is short again; nil if nobody waits for that
	objects   map[store.ID]*remote
	releases  []release // to be sent with the next request, or soon
	confirms  []uint64  // likewise: what has arrived
	timer     *time.Timer
	lifelines map[*os.File]struct{} // of handles on their way to other processes
	updates   map[leased]uint64     // keys that goroutines of this process are updating, and which goroutine

	work sync.WaitGroup // goroutines of this client
}

const (
	// queueLimit bounds what is queued while the server does not read. Callers beyond it wait, obeying their contexts.
	queueLimit = 1 << 20

	// busyWaits is how many waits alone make a lone caller, for whose replies it pays to spin on a socket.
	busyWaits = 16

	// releaseDelay is how long a dropped reference waits for others, or for a request to travel with.
	releaseDelay = 5 * time.Millisecond
)

// clients are this process's connections.
var clients = struct {
	mu sync.Mutex
	m  map[targetKey]*client
}{m: map[targetKey]*client{}}

// share returns the connection to a target, which may still be being made, with the caller as one user more.
func share(t target, explain func(error) error) (c *client, old bool) {
	key := t.shareKey()
	clients.mu.Lock()
	defer clients.mu.Unlock()
	if c := clients.m[key]; c != nil && c.addUser() {
		return c, true
	}
	ctx, cancel := context.WithCancel(context.Background())
	c = &client{
		target:    t,
		ready:     make(chan struct{}),
		lead:      make(chan struct{}, 1),
		cancel:    cancel,
		explain:   explain,
		users:     1,
		pending:   map[uint64]*call{},
		objects:   map[store.ID]*remote{},
		updates:   map[leased]uint64{},
		lifelines: map[*os.File]struct{}{},
	}
	c.lead <- struct{}{} // there is nothing to read yet
	clients.m[key] = c
	c.work.Go(func() { c.connect(ctx) })
	return c, false
}

func (c *client) connect(ctx context.Context) {
	s, hello, err := c.target.dial(ctx, func(stage string) { c.stage.Store(&stage) })
	if err != nil {
		c.fail(err)
		<-c.lead
		return
	}
	c.mu.Lock()
	if c.err != nil { // nobody wants it any more
		c.mu.Unlock()
		s.close()
		<-c.lead
		return
	}
	c.stream, c.server, c.connected = s, hello, true
	close(c.ready)
	c.flushLocked()
	c.mu.Unlock()
	<-c.lead
}

// isReady reports whether the connection stands, or has failed.
func (c *client) isReady() bool {
	select {
	case <-c.ready:
		return true
	default:
		return false
	}
}

// waitReady waits until the connection stands. If ctx ends before, its error says how far the connection has come.
func (c *client) waitReady(ctx context.Context) error {
	select {
	case <-c.ready:
	case <-ctx.Done():
		if stage := c.stage.Load(); stage != nil {
			return fmt.Errorf("manager: connection to %v: %s: %w", c.target, *stage, ctx.Err())
		}
		return ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// addUser reports whether the connection can be shared.
func (c *client) addUser() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil || c.users == 0 { // it is being closed
		return false
	}
	c.users++
	return true
}

// dropUser closes the connection with its last user, and reports whether that was the last. The server then drops
// whatever the session still holds.
func (c *client) dropUser() (last bool) {
	c.mu.Lock()
	c.users--
	last = c.users == 0
	c.mu.Unlock()
	if last {
		c.fail(fs.ErrClosed)
	}
	return last
}

// fail ends the connection. Calls under way and later ones get the error.
func (c *client) fail(cause error) {
	if c.explain != nil && !errors.Is(cause, fs.ErrClosed) && !errors.Is(cause, ErrDown) {
		cause = c.explain(cause)
	}
	clients.mu.Lock()
	if key := c.target.shareKey(); clients.m[key] == c {
		delete(clients.m, key)
	}
	clients.mu.Unlock()

	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	switch {
	case errors.Is(cause, fs.ErrClosed):
		c.err = fmt.Errorf("manager: connection to %v: its last handle in this process was closed: %w", c.target, cause)
	case errors.Is(cause, ErrDown), errors.Is(cause, ErrLimit):
		c.err = fmt.Errorf("%w (%v)", cause, c.target)
	default:
		c.err = fmt.Errorf("%w: %v: %w", ErrDown, c.target, cause)
	}
	c.cancel()
	if c.connected {
		c.stream.close()
	} else {
		close(c.ready)
	}
	for _, cl := range c.pending {
		cl.err = c.err
		cl.done <- struct{}{}
	}
	clear(c.pending)
	c.abandoned = 0
	for l := range c.lifelines {
		l.Close()
	}
	if c.timer != nil {
		c.timer.Stop()
	}
	c.out, c.spare, c.releases, c.confirms = nil, nil, nil, nil
	c.wakeQueuedLocked()
}

// do sends a request and waits for its reply. The reply is good until cl.free, which is the caller's to call when do
// returns no error; with an error the call must not be used again.
func (c *client) do(ctx context.Context, cl *call) (reply, error) {
	err := ctx.Err()
	if err == nil && !c.isReady() { // the server has not said yet how large a request may be
		err = c.waitReady(ctx)
	}
	if err != nil {
		cl.free()
		return reply{}, err
	}
	if err := c.start(ctx, cl); err != nil {
		return reply{}, err
	}
	if err := c.wait(ctx, cl); err != nil {
		return reply{}, err // the call belongs to whoever reads its reply
	}
	r, err := cl.result()
	if err != nil {
		cl.free()
	}
	return r, err
}

// start queues a request and sees to it that it is sent.
func (c *client) start(ctx context.Context, cl *call) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.err == nil && len(c.out) > queueLimit {
		if c.drained == nil {
			c.drained = make(chan struct{})
		}
		drained := c.drained
		c.mu.Unlock()
		select {
		case <-drained:
		case <-ctx.Done():
		}
		c.mu.Lock()
		if err := ctx.Err(); err != nil {
			cl.free()
			return err
		}
	}
	if c.err != nil {
		cl.free()
		return c.err
	}
	if n := uint64(len(cl.out)); c.connected && n > c.server.max {
		cl.free()
		return fmt.Errorf("%w: a request of %d bytes to a server that takes %d (Options.MaxMessage)", ErrTooLarge, n, c.server.max)
	}
	c.lastID++
	cl.id = c.lastID
	c.pending[cl.id] = cl
	c.queueReleasesLocked()
	frame := sealFrame(cl.out, cl.id, cl.items)
	if len(c.out) == 0 && len(frame) > keepCall {
		c.out, cl.out = frame, nil // saves a copy
	} else {
		c.out = append(c.out, frame...)
	}
	if len(c.pending) > 1 && !c.writing {
		// Other goroutines have calls under way, and probably one reply woke several of us at once. Whoever is
		// ready to run may queue its request too: then they all go in one write.
		c.mu.Unlock()
		runtime.Gosched()
		c.mu.Lock()
	}
	c.flushLocked()
	return nil
}

// notify sends a request that has no reply.
func (c *client) notify(cl *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.queueReleasesLocked()
		c.out = append(c.out, sealFrame(cl.out, 0, cl.items)...)
		c.flushLocked()
	}
	cl.free()
}

// flushLocked writes what is queued unless somebody does already. The lock is released while it writes.
func (c *client) flushLocked() {
	if c.writing || !c.connected || c.err != nil {
		return
	}
	c.writing = true
	// Not for ever: others may queue as fast as this caller writes.
	for range 2 {
		if len(c.out) == 0 {
			c.writing = false
			return
		}
		b := c.takeQueuedLocked()
		c.mu.Unlock()
		n, err := c.stream.tryWrite(b)
		if err != nil {
			c.writeFailed(err)
			c.mu.Lock()
			return
		}
		c.mu.Lock()
		if c.err != nil {
			return
		}
		if n < len(b) {
			c.work.Go(func() { c.writeOn(b, n) })
			return
		}
		c.reuseLocked(b)
	}
	if len(c.out) == 0 {
		c.writing = false
		return
	}
	c.work.Go(func() { c.writeOn(nil, 0) })
}

// writeOn goes on writing what the server did not take at once, until nothing is left.
func (c *client) writeOn(b []byte, sent int) {
	for {
		if sent < len(b) {
			if err := c.stream.write(b[sent:]); err != nil {
				c.writeFailed(err)
				return
			}
		}
		c.mu.Lock()
		c.reuseLocked(b)
		if c.err != nil || len(c.out) == 0 {
			c.writing = false
			c.mu.Unlock()
			return
		}
		b, sent = c.takeQueuedLocked(), 0
		c.mu.Unlock()
	}
}

// writeFailed ends the connection after a failed write. If the server has hung up, it may have said why: that
// stands before the end of what there is to read.
func (c *client) writeFailed(err error) {
	if !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		c.fail(lost(err))
		return
	}
	c.ended() // writing stays true, so nobody tries again
}

// ended says that the server has hung up. What it said before is still to be read, and then how it ended.
func (c *client) ended() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hungUp = true
	c.drainLocked()
}

func (c *client) takeQueuedLocked() []byte {
	b := c.out
	c.out = c.spare[:0]
	c.spare = nil
	c.wakeQueuedLocked()
	return b
}

func (c *client) reuseLocked(b []byte) {
	if cap(b) <= keepSize {
		c.spare = b[:0]
	}
}

func (c *client) wakeQueuedLocked() {
	if c.drained != nil {
		close(c.drained)
		c.drained = nil
	}
}

// wait waits for a call's reply. If ctx ends first it abandons the call.
func (c *client) wait(ctx context.Context, cl *call) error {
	if c.arrives(ctx, cl) {
		return nil
	}
	return c.abandon(ctx, cl)
}

// arrives waits for a call's reply, and reports false if ctx ends first.
func (c *client) arrives(ctx context.Context, cl *call) bool {
	select {
	case <-cl.done:
		return true
	case c.lead <- struct{}{}:
		// Another leader may have read our reply before it left.
		select {
		case <-cl.done:
			<-c.lead
			return true
		default:
		}
		own := c.readUntil(ctx, cl)
		<-c.lead
		if own {
			return true
		}
	case <-ctx.Done():
	}
	// Either ctx has ended, or the connection, which completes every call.
	select {
	case <-cl.done:
		return true
	default:
	}
	return false
}

// readUntil reads replies for everybody until it has read that of own, and reports whether it has. The caller leads.
func (c *client) readUntil(ctx context.Context, own *call) bool {
	var stop func() bool
	defer func() {
		if stop != nil {
			stop()
		}
	}()
	for {
		found, others, err := c.deliver(own)
		if err != nil {
			c.fail(err)
			return found
		}
		if found {
			return true
		}
		if others {
			// They are ready to run, most likely on this very CPU. Before we spin on it, let them.
			runtime.Gosched()
		}
		// A lone caller's reply is a few microseconds away. With more calls under way the CPU has better to do, and
		// the replies come in larger batches. That a single one is missing for a moment does not make its caller a lone one.
		if others || !c.isAlone() {
			c.busy = busyWaits
		} else if c.busy > 0 {
			c.busy--
		}
		ok, err := c.stream.tryFill(c.stream.rings != nil || c.busy == 0)
		if !ok && err == nil {
			if stop == nil && ctx.Done() != nil {
				stop = context.AfterFunc(ctx, c.stream.stopReading)
			}
			err = c.stream.fill(false)
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			// Ours, or that of an earlier leader who left at the same moment.
			c.stream.goOnReading()
			if ctx.Err() != nil {
				return false
			}
		case err != nil:
			c.fail(lost(err))
			return false
		case ctx.Err() != nil:
			return false
		}
	}
}

// isAlone reports whether a single call is under way.
func (c *client) isAlone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.pending) == 1
}

func lost(err error) error { return fmt.Errorf("connection lost: %w", err) }

// deliver hands out all replies that have arrived whole.
func (c *client) deliver(own *call) (found, others bool, err error) {
	for {
		payload, ok, err := c.stream.frame()
		if !ok || err != nil {
			return found, others, err
		}
		r := itemReader{b: payload}
		r.array()
		id := r.uint()
		if r.err != nil {
			return found, others, r.err
		}
		if id == 0 {
			return found, others, farewell(&r)
		}
		c.mu.Lock()
		cl := c.pending[id]
		delete(c.pending, id)
		gone := cl != nil && cl.abandoned
		if gone {
			c.abandoned--
		}
		c.mu.Unlock()
		switch {
		case cl == nil:
			return found, others, fmt.Errorf("%w: a reply to request %d, which was not sent", errItems, id)
		case gone:
			cl.in = payload
			cl.mentioned(func(id store.ID) { c.adopt(id, 1).release() })
			cl.in = nil
			cl.free()
		default:
			cl.in = c.stream.takePayload(cl.in, payload)
			if cl == own {
				found = true
			} else {
				others = true
				cl.done <- struct{}{}
			}
		}
	}
}

// farewell is the error that the server's last words say.
func farewell(r *itemReader) error {
	f := failure{code: r.uint(), text: r.text()}
	if r.err != nil {
		return r.err
	}
	return remoteError(&f)
}

// abandon leaves a call whose context has ended to itself. The server is told, so that it stops waiting or gives
// back what the call was granted, and somebody has to read the reply: it may mention objects, and it must not
// stand in the way of the server.
func (c *client) abandon(ctx context.Context, cl *call) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pending[cl.id] != cl {
		// The reply came at the last moment, or is being handed out now.
		c.mu.Unlock()
		<-cl.done
		c.mu.Lock()
		return nil
	}
	cl.abandoned = true
	c.abandoned++
	b := appendUint(make([]byte, frameSpace, frameSpace+16), opCancel)
	c.out = append(c.out, sealFrame(appendUint(b, cl.id), 0, 2)...)
	c.flushLocked()
	c.drainLocked()
	return ctx.Err()
}

func (c *client) drainLocked() {
	if !c.draining && c.err == nil {
		c.draining = true
		c.work.Go(c.drain)
	}
}

// drain reads until no reply to an abandoned call is missing; to the end, if the server has hung up.
func (c *client) drain() {
	for {
		c.lead <- struct{}{}
		c.mu.Lock()
		if c.abandoned == 0 && !c.hungUp || c.err != nil {
			c.draining = false
			c.mu.Unlock()
			<-c.lead
			return
		}
		c.mu.Unlock()
		_, _, err := c.deliver(nil)
		if err == nil {
			err = c.stream.fill(false)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				c.stream.goOnReading()
				err = nil
			}
		}
		if err != nil {
			c.fail(lost(err))
		}
		<-c.lead
	}
}

// A release is a number of references to an object that are given back.
type release struct {
	id store.ID
	n  uint64
}

// queueReleasesLocked queues the request that gives back what was dropped.
func (c *client) queueReleasesLocked() {
	c.queueConfirmsLocked()
	if len(c.releases) == 0 {
		return
	}
	b := appendUint(make([]byte, frameSpace, frameSpace+10*len(c.releases)), opRelease)
	for _, r := range c.releases {
		b = appendUint(appendUint(b, uint64(r.id)), r.n)
	}
	c.out = append(c.out, sealFrame(b, 0, 1+2*len(c.releases))...)
	c.releases = c.releases[:0]
}

// releaseLocked queues a release and arranges for it to be sent soon.
func (c *client) releaseLocked(r release) {
	if c.err != nil {
		return
	}
	c.releases = append(c.releases, r)
	c.releaseSoonLocked()
}

// releaseSoonLocked arranges for what is to be told to the server some time to be sent soon.
func (c *client) releaseSoonLocked() {
	if len(c.releases)+len(c.confirms) > 1 {
		return
	}
	if c.timer == nil {
		c.timer = time.AfterFunc(releaseDelay, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.queueReleasesLocked()
			c.flushLocked()
		})
		return
	}
	c.timer.Reset(releaseDelay)
}

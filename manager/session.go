package manager

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-multiproc/multiproc/internal/codec"
	"github.com/go-multiproc/multiproc/internal/duplex"
	"github.com/go-multiproc/multiproc/internal/store"
)

// A session is the server's side of one connection.
//
// One goroutine at a time reads requests and does them, in the order in which they come, and writes all replies of what one read brought in
// one go: a poller, or the watcher if the connection has rings, for as long as that does not block; else the session's own. A request that has to wait for another client gets a goroutine until it is done, so it is in nobody's way.
// A client that does not read its replies has its requests left unread: what it costs is one buffer.
type session struct {
	server *server
	stream *stream
	store  *store.Session
	ctx    context.Context // ends with the connection
	cancel context.CancelFunc
	work   sync.WaitGroup // requests that wait

	watched watched // by the watcher of rings

	polled   polled // by a poller of sockets
	poller   atomic.Pointer[poller]
	recalled atomic.Bool // it is not to be polled any more; set before poller is read, where that is set first

	unpolled  bool           // there is no poller; the reading goroutine's
	requested int            // requests so far; the reading goroutine's, like what follows
	offered   *duplex.Memory // rings of which the client has not said yet whether it takes them
	leaving   string         // under mu: why the farewell is due as soon as that has been said
	moving    bool           // under mu: rings are offered

	mu       sync.Mutex
	out      []byte // replies not yet written
	spare    []byte
	writing  bool
	flushing bool      // a goroutine is about to write
	written  sync.Cond // out was taken, or the connection is at its end
	closed   bool
	parting  bool                          // the farewell was said
	waiting  map[uint64]context.CancelFunc // requests that wait in goroutines of their own, by id

	entered   bool        // counted in server.entered
	displaced atomic.Bool // by a newer stranger
}

const (
	// flushSize is how much is gathered before it is written, and how much may wait for a slow reader.
	flushSize = 256 << 10

	// farewellTime is how long a client that is slow to read may delay the server's end.
	farewellTime = time.Second
)

// serve serves the connection to its end, and gives back all that its client had.
func (s *session) serve() {
	s.stream.conn.SetDeadline(time.Now().Add(s.server.options.helloTimeout()))
	// Why a connection ends is its client's affair. Ours is that nothing stays behind.
	if err := s.server.admit(s); err != nil {
		s.refuseConnection(err)
	} else {
		s.stream.conn.SetDeadline(time.Time{})
		s.mu.Lock()
		s.store = s.server.store.NewSession()
		s.store.Limit(s.server.options.maxWaiting(), s.server.options.maxBuffered())
		s.mu.Unlock()
		select {
		case <-s.server.stopping: // its farewell may have come too early for us
			s.farewell(s.server.reason())
		default:
			s.requests()
		}
	}
	s.cancel()
	s.close()
	s.work.Wait()
	if s.offered != nil {
		s.offered.Close()
	}
	if s.store != nil {
		s.store.End()
	}
}

func (s *session) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.stream.close()
	s.written.Broadcast()
}

// requests reads and does requests until the connection ends.
func (s *session) requests() {
	batch := 0 // requests that the last read brought
	for {
		payload, ok, err := s.stream.frame()
		if err == nil && ok {
			err = s.request(payload)
		}
		if err == nil && ok {
			err = s.flushIfLong()
		}
		if err != nil {
			s.flush()
			return
		}
		if ok {
			batch++
			continue
		}
		// If another goroutine writes, flush does nothing. Whoever asks for more and reads nothing waits here.
		if s.flush() != nil || s.flushIfLong() != nil {
			return
		}
		if s.stream.rings != nil && s.server.watcher.watch(s) {
			ended := s.stream.rings.Listen()
			s.server.watcher.unwatch(s)
			if s.watched.err != nil {
				s.flush()
				return
			}
			batch = 0
			if !ended {
				if _, err := s.stream.tryFill(false); err != nil {
					return
				}
				continue
			}
		}
		if s.poll() {
			if s.polled.err != nil {
				s.flush()
				return
			}
			batch = 0
			continue
		}
		// Where requests come in batches, the CPU is better spent on making the next batch larger. Over rings the watcher has looked already.
		if s.stream.fill(batch <= 1 && s.stream.rings == nil) != nil {
			return
		}
		batch = 0
	}
}

// serveRing does the requests that have come through the rings, without blocking, for the watcher. It reports false if the session's own goroutine is
// to go on.
func (s *session) serveRing() bool {
	if _, err := s.stream.tryFill(false); err != nil {
		s.watched.err = err
		return false
	}
	for turn := (turn{}); ; {
		payload, ok, err := s.stream.frame()
		if err == nil && ok {
			err = s.request(payload)
		}
		if err != nil {
			s.watched.err = err
			return false
		}
		if !ok {
			return s.tryFlush()
		}
		if !s.tryFlushIfLong() || turn.over(s.stream) {
			return false
		}
	}
}

// A turn is the time that a session has had of a goroutine which serves others as well. One read can bring a thousand requests, and each may take
// a while. It is looked at between requests only, so a client that sends one at a time pays nothing.
type turn struct{ began time.Time }

// longTurn is how long a turn is.
const longTurn = 500 * time.Microsecond

// over reports whether the session's own goroutine is to go on with what else the read has brought.
func (t *turn) over(s *stream) bool {
	switch {
	case s.start == s.end:
		return false
	case t.began.IsZero():
		t.began = time.Now()
		return false
	}
	return time.Since(t.began) > longTurn
}

// poll has a poller serve s until that gives it back, or reports that this is not for pollers. A session with rings never is: its client asks for them first of all.
func (s *session) poll() bool {
	if !s.stream.socket.usable() || s.stream.rings != nil || s.offered != nil || s.requested == 0 || s.unpolled {
		return false
	}
	if s.stream.end-s.stream.start > keepSize {
		return false // the rest of a large message, which is put together without the others waiting
	}
	p := s.poller.Load()
	if p == nil {
		if p = s.server.choosePoller(); p == nil {
			s.unpolled = true
			return false
		}
		s.poller.Store(p)
	}
	if !p.poll(s) {
		s.unpolled = true
		return false
	}
	return true
}

// recall wakes the session's goroutine, if a poller has the session, and keeps it from being polled again.
func (s *session) recall() {
	s.recalled.Store(true)
	if p := s.poller.Load(); p != nil {
		p.recall(s)
	}
}

// servePolled does the requests that one read has brought, without blocking, for the poller. It reports false if the session's own goroutine is to
// go on. Its arguments are what the stream's tryFill returned.
func (s *session) servePolled(ok bool, err error) bool {
	for turn := (turn{}); ok && err == nil; {
		var payload []byte
		payload, ok, err = s.stream.frame()
		if err == nil && ok {
			err = s.request(payload)
		}
		if err == nil && (!s.tryFlushIfLong() || ok && turn.over(s.stream)) {
			return false
		}
	}
	s.polled.err = err
	return err == nil && s.stream.end-s.stream.start <= keepSize
}

// A request is one being done.
type request struct {
	*session
	itemReader
	id    uint64
	op    uint64
	items int // that follow the operation

	patient bool // it has waited, and may do so for the client to read what there is
}

// request does one request. An error ends the connection: the peer does not keep to the protocol.
func (s *session) request(payload []byte) error {
	r := request{session: s, itemReader: itemReader{b: payload}}
	s.requested++
	n := r.array()
	r.id, r.op = r.uint(), r.uint()
	if r.err != nil {
		return r.err
	}
	if s.offered != nil && r.op != opRingsTaken {
		return fmt.Errorf("%w: operation %d while rings are being offered", errItems, r.op)
	}
	if n < 2 {
		return fmt.Errorf("%w: a request of %d items", errItems, n)
	}
	r.items = n - 2
	if r.op >= uint64(len(operations)) || operations[r.op].do == nil {
		s.refuse(r.id, &failure{codeOp, fmt.Sprintf("operation %d is not known", r.op)})
		return nil
	}
	op := &operations[r.op]
	switch {
	case op.args != variable && op.args != r.items || op.args == variable && r.items < 1:
		return fmt.Errorf("%w: operation %d with %d arguments", errItems, r.op, r.items)
	case r.id == 0 && !op.silent:
		return fmt.Errorf("%w: operation %d without an id for the reply", errItems, r.op)
	}
	if most := s.server.options.maxItems(); n > most && !op.silent { // which those that are silent go through one by one
		s.refuse(r.id, &failure{codeLimit, fmt.Sprintf("a request of %d items, where at most %d are taken, a sixteenth of the server's Options.MaxMessage; ask for it in several", n, most)})
		return nil
	}
	demand, err := s.admit(&r, len(payload))
	if err == nil {
		if err = op.do(&r, store.NoWait); errors.Is(err, store.ErrBusy) {
			return s.later(payload, demand)
		}
		s.server.store.Done(demand)
	}
	if r.err != nil {
		return r.err
	}
	if err != nil {
		s.refuse(r.id, err)
	}
	return nil
}

// later does a request that has to wait, and that was admitted.
func (s *session) later(payload []byte, demand store.Demand) error {
	r := request{session: s, itemReader: itemReader{b: slices.Clone(payload)}, patient: true}
	r.items = r.array() - 2
	r.id, r.op = r.uint(), r.uint()
	ctx, cancel := context.WithCancel(s.ctx)
	s.mu.Lock()
	_, twice := s.waiting[r.id]
	if !twice {
		s.waiting[r.id] = cancel
	}
	s.mu.Unlock()
	if twice {
		cancel()
		s.server.store.Done(demand)
		return fmt.Errorf("%w: request %d is being done already", errItems, r.id)
	}
	if err := s.store.BeginWait(len(payload)); err != nil {
		s.notWaiting(r.id, ctx)
		cancel()
		s.server.store.Done(demand)
		s.refuse(r.id, err)
		return nil
	}
	size := len(payload)
	s.work.Go(func() {
		defer cancel()
		err := operations[r.op].do(&r, ctx)
		s.server.store.Done(demand)
		s.store.EndWait(size)
		late := s.notWaiting(r.id, ctx)
		switch {
		case err == nil && late: // it got what it waited for at the moment at which it was told to let go
			s.store.Abort(r.id)
		case err == nil:
		case errors.Is(err, context.Canceled):
			s.refuse(r.id, &failure{codeCancelled, "cancelled"})
		default:
			s.refuse(r.id, err)
		}
		s.flush()
	})
	return nil
}

// notWaiting says that a request does not wait any more, and reports whether it was told to let go before.
func (s *session) notWaiting(id uint64, ctx context.Context) (late bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waiting, id)
	return ctx.Err() != nil
}

// letGo ends whatever a request began: its wait, the lease that it was granted, the snapshot that it took. If there is none of these it
// was done already, and there is nothing to do.
func (s *session) letGo(id uint64) {
	s.mu.Lock()
	cancel := s.waiting[id]
	if cancel != nil {
		cancel() // under the lock: see notWaiting
	}
	s.mu.Unlock()
	if cancel != nil {
		return
	}
	s.store.Abort(id)
	s.store.Discard(id)
	s.store.Unwatch(id)
}

// A replier builds one reply in the buffer of those to be written. Between newReply and send the session's mutex is held,
// so nothing that blocks may stand there.
type replier struct {
	s        *session
	id       uint64
	start    int // of the frame
	items    int
	arrayPos int
}

// newReply begins a reply that says that all went well and has a few items.
func (s *session) newReply(id uint64) replier {
	s.mu.Lock()
	p := replier{s: s, id: id, start: len(s.out)}
	s.out = append(s.out, 0, 0, 0, 0)
	p.arrayPos = len(s.out)
	s.out = append(s.out, 0) // the head of an array of up to 23 items
	s.out = appendUint(s.out, id)
	s.out = appendUint(s.out, codeOK)
	return p
}

// newReply of a request that has waited does so again while the client does not read what it has been sent. So what a slow client has had delivered is
// a buffer and no more, however many of its requests end at one time.
func (r *request) newReply(id uint64) replier {
	if r.patient {
		r.mu.Lock()
		for len(r.out) >= flushSize && r.writing && !r.closed {
			r.written.Wait()
		}
		r.mu.Unlock()
	}
	return r.session.newReply(id)
}

// newLongReply is newReply for one with any number of items, of about that size.
func (s *session) newLongReply(id uint64, size int) replier {
	s.mu.Lock()
	s.out = slices.Grow(s.out, size)
	p := replier{s: s, id: id, start: len(s.out)}
	s.out = append(s.out, 0, 0, 0, 0)
	p.arrayPos = len(s.out)
	s.out = appendLongArray(s.out)
	s.out = appendUint(s.out, id)
	s.out = appendUint(s.out, codeOK)
	return p
}

func (p *replier) uint(n uint64) { p.items++; p.s.out = appendUint(p.s.out, n) }
func (p *replier) bool(v bool)   { p.items++; p.s.out = appendBool(p.s.out, v) }
func (p *replier) null()         { p.items++; p.s.out = append(p.s.out, itemNull) }
func (p *replier) bytes(b []byte) {
	p.items++
	p.s.out = appendBytes(p.s.out, b)
}
func (p *replier) text(s string) { p.items++; p.s.out = appendText(p.s.out, s) }
func (p *replier) key(k string)  { p.items++; p.s.out = appendBytes(p.s.out, k) }
func (p *replier) value(v store.Value) {
	p.items++
	p.s.out = appendValue(p.s.out, v.Data, v.Refs)
}

// send completes the reply. To a request that wants none it is dropped. One that is larger than anything the client takes is an error in its place, and
// send reports false: it has a value that was stored when the server took larger ones.
func (p *replier) send() bool {
	defer p.s.mu.Unlock()
	if p.id == 0 {
		p.s.out = p.s.out[:p.start]
		return true
	}
	if n, o := len(p.s.out)-p.start-frameHeader, p.s.server.options; n > o.maxMessage()+envelope {
		p.s.out = p.s.out[:p.start]
		p.s.appendFailureLocked(p.id, failureOf(tooLarge("the reply", n, o)))
		return false
	}
	if p.s.out[p.arrayPos] == byte(codec.Array)<<5|26 {
		setLongArray(p.s.out, p.arrayPos, 2+p.items)
	} else {
		p.s.out[p.arrayPos] = byte(codec.Array)<<5 | byte(2+p.items)
	}
	p.s.sealLocked(p.start)
	return true
}

func (s *session) sealLocked(start int) {
	n := len(s.out) - start - frameHeader
	s.out[start], s.out[start+1], s.out[start+2], s.out[start+3] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
}

// refuse answers a request with an error. One that wants no reply gets none.
func (s *session) refuse(id uint64, err error) {
	if id == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.appendFailureLocked(id, failureOf(err))
}

func (s *session) appendFailureLocked(id uint64, f *failure) {
	start := len(s.out)
	s.out = append(s.out, 0, 0, 0, 0)
	s.out = appendHead(s.out, codec.Array, 3)
	s.out = appendUint(s.out, id)
	s.out = appendUint(s.out, f.code)
	s.out = appendText(s.out, f.text)
	s.sealLocked(start)
}

// flushIfLong writes when much has been gathered, and waits while a slow reader has more than that before it.
func (s *session) flushIfLong() error {
	s.mu.Lock()
	long := len(s.out) >= flushSize
	s.mu.Unlock()
	if !long {
		return nil
	}
	if err := s.flush(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.out) >= flushSize && s.writing && !s.closed {
		s.written.Wait() // another request's goroutine writes
	}
	return nil
}

// flush writes the replies that were gathered, unless another goroutine does already.
func (s *session) flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writing {
		return nil
	}
	s.writing = true
	defer func() { s.writing = false; s.written.Broadcast() }()
	for len(s.out) > 0 && !s.closed {
		b := s.out
		s.out, s.spare = s.spare[:0], nil
		s.written.Broadcast()
		s.mu.Unlock()
		// Whatever these replies say, or follow from, is to outlive the server. Usually it was when they were noted (see package journal); else one write(2) is enough for all of them.
		err := s.server.store.Flush()
		if err != nil {
			b = s.lastWords(err)
		}
		if werr := s.stream.write(b); err == nil {
			err = werr
		}
		s.mu.Lock()
		if cap(b) <= keepSize {
			s.spare = b
		}
		if err != nil {
			s.closed = true
			s.stream.close() // so that the reader notices
			s.recall()
			return err
		}
	}
	return nil
}

// tryFlush is flush without waiting for the client. It reports false if that is what it would have to do.
func (s *session) tryFlush() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writing { // another goroutine does, and goes on until nothing is left
		return len(s.out) < flushSize
	}
	if len(s.out) > 0 && !s.server.store.FlushNow() { // see flush
		return false
	}
	n, err := s.stream.tryWrite(s.out)
	if n < len(s.out) || err != nil {
		s.out = s.out[n:]
		return false
	}
	if s.out = s.out[:0]; cap(s.out) > keepSize {
		s.out = nil
	}
	return true
}

// tryFlushIfLong is flushIfLong likewise.
func (s *session) tryFlushIfLong() bool {
	s.mu.Lock()
	long := len(s.out) >= flushSize
	s.mu.Unlock()
	return !long || s.tryFlush()
}

// lastWords is what a client is told in the place of replies that would not be true.
func (s *session) lastWords(err error) []byte {
	f := failure{codeDown, "the connection ends, because what its calls have done cannot be kept: " + err.Error()}
	b := appendHead(make([]byte, frameHeader, 256), codec.Array, 3)
	b = appendText(appendUint(appendUint(b, 0), f.code), f.text)
	binary.BigEndian.PutUint32(b, uint32(len(b)-frameHeader))
	return b
}

// farewell tells the client why the connection ends, if it listens, and ends it.
func (s *session) farewell(why string) {
	s.mu.Lock()
	if s.moving {
		// On the socket it could come too late for the client, and in the rings too early. takeRings says it, unless the client is too slow.
		s.leaving = why
		s.stream.conn.SetReadDeadline(time.Now().Add(farewellTime))
		s.mu.Unlock()
		return
	}
	stop := s.stream.limitWriting(farewellTime)
	defer stop()
	if s.store != nil && !s.closed && !s.parting {
		s.parting = true
		s.appendFailureLocked(0, &failure{codeDown, why})
	}
	s.mu.Unlock()
	s.flush()
	// If another goroutine is writing, flush has left it to that one; the reader, once
	// it is awake, closes the connection.
	s.mu.Lock()
	for s.writing && !s.closed {
		s.written.Wait()
	}
	defer s.mu.Unlock()
	// The reader wakes up, and does the rest.
	s.stream.stopReading()
	s.recall()
}

package queue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-multiproc/multiproc/internal/detector"
	"github.com/go-multiproc/multiproc/internal/eventcount"
	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/lock"
	"github.com/go-multiproc/multiproc/internal/mem"
	"github.com/go-multiproc/multiproc/internal/ring"
	"github.com/go-multiproc/multiproc/internal/seg"
)

const (
	kind = "queue"

	defaultBytes   = 1 << 20
	minBytes       = 4 << 10
	defaultLargest = 256 << 20
)

// A core is a queue of bytes, as one handle of a process sees it.
type core struct {
	h       *seg.Handle
	r       *ring.Ring
	limit   int // Options.Capacity
	letters bool
	dead    *core // of the same segment, or nil

	producers, consumers    *sideLock
	notEmpty, notFull, idle *eventcount.Count
	order                   *detector.Order

	dig   func() // sweep, made once
	spare atomic.Pointer[late]
	swept atomic.Int64 // when what the dead left behind was last looked for, in ns

	mu      sync.Mutex // protects what follows
	closing bool
	held    map[*hold]struct{} // leases and reservations of this handle
}

// A plan says where the parts of a queue stand in its segment:
//
//	data  the ring; the ring of the dead letters, if there are any; from the next page on
//	      the overflow area of the one, and of the other
//	meta  control blocks, of the one and the other
type plan struct {
	ring.Geometry
	letters bool // there is a ring for dead letters
}

// rings is how many there are.
func (p plan) rings() int {
	if p.letters {
		return 2
	}
	return 1
}

// overflowAt is where the sparse part begins.
func (p plan) overflowAt() int { return up(p.rings()*p.Bytes, p.Page) }

func (p plan) dataSize() int { return p.overflowAt() + p.rings()*p.Overflow }

func up(n, to int) int { return (n + to - 1) / to * to }

func (o Options) plan() (plan, error) {
	bad := func(what string, v int) (plan, error) {
		return plan{}, fmt.Errorf("queue: Options.%s is %d: %w", what, v, fs.ErrInvalid)
	}
	switch {
	case o.Capacity < 0 || o.Capacity >= 1<<31:
		return bad("Capacity", o.Capacity)
	case o.Bytes < 0 || o.Bytes > ring.MaxBytes:
		return bad("Bytes", o.Bytes)
	case o.MaxMessage < 0 || o.MaxMessage > 1<<40:
		return bad("MaxMessage", o.MaxMessage)
	case o.MaxDeliveries < 0 || o.MaxDeliveries >= 1<<16:
		return bad("MaxDeliveries", o.MaxDeliveries)
	}
	if o.Bytes == 0 {
		o.Bytes = defaultBytes
	}
	if o.MaxMessage == 0 {
		o.MaxMessage = defaultLargest
	}
	bytes := minBytes
	for bytes < o.Bytes {
		bytes *= 2
	}
	page := os.Getpagesize()
	p := plan{ring.Geometry{
		Bytes: bytes, Capacity: o.Capacity, Page: page, MaxDeliveries: o.MaxDeliveries,
	}, o.MaxDeliveries > 0}
	if o.MaxMessage > bytes/2-16 {
		p.Overflow = 2 * up(o.MaxMessage, page)
	}
	return p, nil
}

func (p plan) spec(text string) seg.Spec {
	return seg.Spec{
		Kind: kind, Type: text, Data: p.dataSize(), Meta: p.rings() * ring.ControlSize,
		Sparse: p.dataSize() - p.overflowAt(),
		Init: func(_, meta []byte) {
			p.Geometry.Init(meta)
			if p.letters {
				g := p.Geometry
				g.Capacity, g.MaxDeliveries = 0, 0
				g.Init(meta[ring.ControlSize:])
			}
		},
	}
}

// join makes the core of a segment, which may be anybody's, and closes h if it cannot.
func join(h *seg.Handle, letters bool) (*core, error) {
	q, err := joinMain(h)
	if err != nil {
		h.Close(nil)
		return nil, err
	}
	// The locks are parts: nothing of this process is inside when the memory goes.
	m := h.Mapping()
	h.Part(m.MetaOffset()+ring.ProducersLock, lock.Inner(h, ring.ProducersLock))
	h.Part(m.MetaOffset()+ring.ConsumersLock, lock.Inner(h, ring.ConsumersLock))
	if !letters {
		return q, nil
	}
	if q.dead == nil {
		h.Close(nil)
		return nil, fmt.Errorf("%w: it has no dead letters", errDamaged)
	}
	return q.dead, nil
}

func joinMain(h *seg.Handle) (*core, error) {
	meta := h.Meta()
	g, err := ring.ReadGeometry(meta)
	if err != nil {
		return nil, err
	}
	p := plan{g, len(meta) >= 2*ring.ControlSize}
	if p.Page%os.Getpagesize() != 0 || len(meta) != p.rings()*ring.ControlSize || len(h.Data()) != p.dataSize() {
		return nil, fmt.Errorf("%w: its parts do not fit into it", errDamaged)
	}
	q := newCore(h, p, 0)
	if p.letters {
		d, err := ring.ReadGeometry(meta[ring.ControlSize:])
		if err != nil {
			return nil, err
		}
		if d.Bytes != g.Bytes || d.Overflow != g.Overflow || d.Page != g.Page {
			return nil, fmt.Errorf("%w: its dead letters do not fit into it", errDamaged)
		}
		q.dead = newCore(h, plan{d, true}, 1)
		q.dead.letters = true
	}
	return q, nil
}

// newCore is the i-th queue of the segment.
func newCore(h *seg.Handle, p plan, i int) *core {
	m := h.Mapping()
	data := h.Data()
	meta := i * ring.ControlSize
	over := p.overflowAt() + i*p.Overflow
	at := m.MetaOffset() + meta
	q := &core{
		h: h, limit: p.Capacity,
		r: ring.New(p.Geometry, ring.Memory{
			Word:     func(off int) *mem.Uint64 { return m.Word(at + off) },
			Ring:     m.Words(i*p.Bytes, p.Bytes/8),
			Data:     data[i*p.Bytes : (i+1)*p.Bytes : (i+1)*p.Bytes],
			Slots:    ring.Slots,
			Over:     data[over : over+p.Overflow : over+p.Overflow],
			Allocate: func(off, n int) error { return m.Allocate(over+off, n) },
			Free:     func(off, n int) { m.Free(over+off, n) },
			Token:    m.Token(),
			Alive:    m.Alive,
		}),
		producers: sideAt(h, meta+ring.ProducersLock),
		consumers: sideAt(h, meta+ring.ConsumersLock),
		notEmpty:  eventcount.At(m, at+ring.NotEmpty),
		notFull:   eventcount.At(m, at+ring.NotFull),
		idle:      eventcount.At(m, at+ring.Idle),
		order:     m.Local(at, func() any { return new(detector.Order) }).(*detector.Order),
	}
	q.dig = q.sweep
	return q
}

// close ends this handle's hold.
func (q *core) close() error {
	q.mu.Lock()
	if q.closing {
		q.mu.Unlock()
		return nil
	}
	q.closing = true
	q.mu.Unlock()
	q.letGo()
	if q.dead != nil {
		q.dead.mu.Lock()
		q.dead.closing = true
		q.dead.mu.Unlock()
		q.dead.letGo()
	}
	err := q.h.Close(quiescer{q})
	if err == nil {
		// If this was not the process's last handle, the memory is still there, for
		// whoever is inside by way of this one.
		q.producers.Drain()
		q.consumers.Drain()
	}
	return err
}

// A quiescer says when the handle is closed. The locks are parts of the segment, which
// sees to them.
type quiescer struct{ *core }

func (q quiescer) Refuse() error { return nil }

func (q quiescer) HandleClosed() {
	for _, c := range []*core{q.core, q.dead} {
		if c == nil {
			continue
		}
		c.producers.HandleClosed()
		c.consumers.HandleClosed()
		c.notEmpty.HandleClosed()
		c.notFull.HandleClosed()
		c.idle.HandleClosed()
	}
}

func (q quiescer) Quiesce() (resume func([]byte)) { return func([]byte) {} }

func (q quiescer) Offset() int { return q.consumers.Offset() }

// moment is how long those wait for a lock who can do without, or who keep others waiting meanwhile.
const moment = 5 * time.Millisecond

// lockFor takes one of the locks, if it can be had within d. Else the error is ErrBusy.
func (q *core) lockFor(l *sideLock, d time.Duration) error {
	if ok, err := l.TryLock(lock.Scoped); ok || err != nil {
		return explain(err)
	}
	ctx, cancel := mem.WithTimeout(d)
	defer cancel()
	err := l.Lock(ctx, lock.Scoped)
	if errors.Is(err, context.DeadlineExceeded) {
		return ErrBusy
	}
	return explain(err)
}

// begin is an error if there is nothing to begin with: ctx has ended, or the handle is
// closed.
func (q *core) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if q.h.Closed() {
		return closedError{}
	}
	return nil
}

// crossing is what travels with the segment.
type crossing struct {
	Letters bool `cbor:",omitempty"`
}

func (q *core) handOver(e *handover.Encoder) error {
	q.mu.Lock()
	closing := q.closing
	q.mu.Unlock()
	if closing {
		return closedError{}
	}
	if err := q.h.HandOver(e); err != nil {
		return err
	}
	return e.Put(crossing{q.letters})
}

func takeOver(d *handover.Decoder, text string) (*core, error) {
	h, err := seg.TakeOver(d, kind, text)
	if err != nil {
		return nil, err
	}
	var c crossing
	if err := d.Get(&c); err != nil {
		h.Close(nil)
		return nil, err
	}
	return join(h, c.Letters)
}

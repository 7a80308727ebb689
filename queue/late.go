package queue

import (
	"context"

	"github.com/go-multiproc/multiproc/internal/eventcount"
)

// A late is a put or get that has to wait. It is used again: who waits is often about to
// be woken by a process that waits for the answer, and every piece of memory made on the
// way to sleep makes that one wait longer.
type late struct {
	q   *core
	ctx context.Context
	b   []byte // the message; of a get, where it goes

	room []byte // for b

	// The methods, made into functions once.
	put, get func() (bool, error)
	ready    func() bool
}

func newLate(ctx context.Context, q *core) *late {
	l := q.spare.Swap(nil)
	if l == nil {
		l = &late{q: q}
		l.put, l.get, l.ready = l.tryPut, l.tryGet, l.roomFor
	}
	l.ctx = ctx
	return l
}

func (l *late) free() {
	l.ctx, l.b = nil, nil
	if cap(l.room) > 1<<16 {
		l.room = nil
	}
	l.q.spare.Store(l)
}

func (l *late) tryPut() (bool, error) { return l.q.putNow(l.ctx, l.b) }

func (l *late) roomFor() bool { return l.q.r.RoomFor(len(l.b)) }

func (l *late) tryGet() (bool, error) {
	if !l.q.r.Peek() {
		return false, nil
	}
	b, ok, err := l.q.getNow(l.ctx, l.b)
	if ok {
		l.b = b
	}
	return ok, err
}

// putLate is put when there was no room. It copies b for the compiler, which so keeps that
// of those who need not wait off the heap.
func (q *core) putLate(ctx context.Context, b []byte) error {
	l := newLate(ctx, q)
	defer l.free()
	l.room = append(l.room[:0], b...)
	l.b = l.room
	return q.awaitReadyRoom(ctx, l.put, l.ready)
}

// getLate is get when there was no message. It takes it elsewhere first, for the same reason.
func (q *core) getLate(ctx context.Context, dst []byte) ([]byte, error) {
	l := newLate(ctx, q)
	defer l.free()
	if dst != nil {
		if cap(l.room) < max(len(dst), 1) {
			l.room = make([]byte, max(len(dst), 512))
		}
		l.b = l.room[:len(dst)]
	}
	err := q.notEmpty.Wait(ctx, eventcount.Wanted{Try: l.get, Dead: q.dig, Looked: true, Handle: q.h})
	switch {
	case err != nil:
		return nil, explain(err)
	case dst == nil:
		return l.b, nil
	}
	return append(dst[:0], l.b...), nil
}

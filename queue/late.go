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
	n   int    // bytes of the message that is to be put
	b   []byte // the message; of a get, where it goes

	room []byte // for b

	// The methods, made into functions once.
	put, get, look func() (bool, error)
	ready          func() bool
}

func newLate(ctx context.Context, q *core) *late {
	l := q.spare.Swap(nil)
	if l == nil {
		l = &late{q: q}
		l.put, l.get, l.look, l.ready = l.tryPut, l.tryGet, l.lookForRoom, l.roomFor
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

func (l *late) lookForRoom() (bool, error) { return l.roomFor(), nil }

func (l *late) roomFor() bool { return l.q.r.RoomFor(l.n) }

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

// copied is up to how many bytes a message that has to wait is copied.
var copied = 4 << 10

// putLate is put when there was no room.
//
// What waits cannot refer to b: the compiler would have the messages of those who need not
// wait on the heap as well. A small one is copied, and put by whoever waits first when there
// is room. For a large one, that would take as long as to put it: it waits for the
// room alone, and once more if somebody else was faster.
func (q *core) putLate(ctx context.Context, b []byte) error {
	l := newLate(ctx, q)
	defer l.free()
	l.n = len(b)
	if len(b) <= copied {
		l.room = append(l.room[:0], b...)
		l.b = l.room
		return q.awaitReadyRoom(ctx, l.put, l.ready)
	}
	for {
		if err := q.awaitReadyRoom(ctx, l.look, l.ready); err != nil {
			return err
		}
		if ok, err := q.putNow(ctx, b); ok || err != nil {
			return err
		}
	}
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
	case dst == nil || len(l.b) > cap(l.room):
		return l.b, nil // memory of its own
	}
	return append(dst[:0], l.b...), nil
}

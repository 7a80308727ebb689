package ring

import (
	"github.com/go-multiproc/multiproc/internal/crash"
)

// A Reader takes messages from the head on. What it took is everybody's until
// Publish, and gone afterwards.
//
// Preconditions: the consumers' lock is held from Reader to Publish.
type Reader struct {
	r       *Ring
	from, h Place
	cur     Record // what Next found
	taken   uint32 // and not yet published
	big     uint64 // behind the last big message that was taken; 0: none
	old     bool   // cur stands before next
	behind  bool
	orphan  bool // a lease of a process that died in the middle of it was passed over
}

// Reader begins.
func (r *Ring) Reader() (rd Reader) {
	rd.Begin(r)
	return rd
}

// Begin is Reader in a variable of the caller's, which is quicker than to copy one.
func (rd *Reader) Begin(r *Ring) {
	h := Place(r.head.Load())
	rd.r, rd.from, rd.h, rd.behind = r, h, h, h.flag()
	rd.taken, rd.big, rd.old, rd.orphan = 0, 0, false, false
}

// Message is what Next found.
func (rd *Reader) Message() *Record { return &rd.cur }

// Next finds the next message. The caller copies its Payload and then calls Took.
func (rd *Reader) Next() (Outcome, error) {
	r := rd.r
	if rd.behind {
		if o, err := rd.returned(); o == Done || err != nil {
			return o, err
		}
		// The bit stays; what is new is found from next on.
		rd.h = Place(r.next.Load()).plain() | behind
		if h := Place(r.head.Load()); !between(h, rd.h, Place(r.tail.Load())) {
			return Empty, damaged("next is not between head and tail: %v", r)
		}
	}
	rd.old = false
	for {
		t := Place(r.tailSeen.Load()).plain()
		h := rd.h.plain()
		if _, n, err := r.distance(h, t); err != nil || n == 0 {
			full := Place(r.tail.Load())
			t = full.plain()
			if _, n, err = r.distance(h, t); err != nil {
				return Empty, err
			}
			if n == 0 {
				switch {
				case !full.flag():
					return Empty, nil
				case rd.behind && r.leasedElsewhere():
					return Blocked, nil
				}
				return Shut, nil
			}
			r.tailSeen.Store(uint64(t))
		}
		rec := &rd.cur
		if err := r.readRecord(rec, h, t); err != nil {
			return Empty, err
		}
		switch s := r.state(rec); s.kind() {
		case ready:
			return Done, nil
		case reserved:
			return Blocked, nil
		case done: // a reservation that was given up, or a death between two steps
			rd.skip(rec)
		case leased: // its holder died before it had moved next
			if !rd.behind {
				rd.Publish()
				rd.fallBehind()
			}
			rd.skip(rec)
			rd.orphan = true
		default:
			return Empty, damaged("a message of kind %d", s.kind())
		}
	}
}

// skip moves on over a record that is not to be taken.
func (rd *Reader) skip(rec *Record) {
	rd.h = rec.to | rd.h&behind
	if rd.behind {
		rd.r.next.Store(uint64(rd.h.plain()))
		return
	}
	if rec.big {
		rd.big = rd.r.endOf(rec)
	}
}

// endOf is where the overflow area is free again behind a big message.
func (r *Ring) endOf(rec *Record) uint64 { return rec.start + r.over.pages(rec.len) }

// Took says that the message is the caller's, who owes a TaskDone for it; Register
// was called before. Its bytes are no longer to be looked at after Publish.
func (rd *Reader) Took() {
	r, rec := rd.r, &rd.cur
	if !rd.behind {
		rd.h = rec.to | rd.h&behind
		rd.taken++
		if rec.big {
			rd.big = r.endOf(rec)
		}
		return
	}
	r.owe(1)
	crash.At("queue.get.owing")
	r.setState(rec, done)
	crash.At("queue.get.done")
	rd.moved()
}

// Drop takes the message away without anybody to owe for it. It is gone with Publish.
func (rd *Reader) Drop() {
	r, rec := rd.r, &rd.cur
	if !rd.behind {
		rd.skip(rec)
		return
	}
	r.setState(rec, done)
	rd.moved()
}

// moved moves next over the message.
func (rd *Reader) moved() {
	if !rd.old {
		rd.h = rd.cur.to | behind
		rd.r.next.Store(uint64(rd.cur.to))
	}
	rd.taken++
}

// CountDropped counts a message that was dropped for lack of room.
func (r *Ring) CountDropped() { r.dropped.Add(1) }

// Dropped is how many messages were dropped.
func (r *Ring) Dropped() uint64 { return r.dropped.Load() }

// Orphan reports whether Next has found that a process died while it leased a message, which a
// Sweep gives back at once.
func (rd *Reader) Orphan() bool { return rd.orphan }

// Behind reports whether anything is leased.
func (rd *Reader) Behind() bool { return rd.behind }

// Publish makes room of what was taken. It reports whether there is more of it now.
func (rd *Reader) Publish() (room bool, err error) {
	r := rd.r
	if rd.behind {
		if rd.taken == 0 {
			return false, nil
		}
		rd.taken = 0
		return r.reclaim()
	}
	if rd.h == rd.from {
		return false, nil
	}
	if rd.taken != 0 {
		r.owe(rd.taken)
		crash.At("queue.get.owing")
	}
	r.head.Store(uint64(rd.h))
	crash.At("queue.get.published")
	rd.from, rd.taken = rd.h, 0
	if rd.big != 0 {
		r.passed(rd.big)
		rd.big = 0
	}
	return true, nil
}

// fallBehind begins to lease: from here on next counts.
func (rd *Reader) fallBehind() {
	rd.r.next.Store(uint64(rd.h.plain()))
	crash.At("queue.lease.next")
	rd.h |= behind
	rd.r.head.Store(uint64(rd.h))
	rd.behind = true
}

// reclaim moves the head over what is done, at most to next.
//
// Preconditions: the consumers' lock is held, and head is behind.
func (r *Ring) reclaim() (room bool, err error) {
	from := Place(r.head.Load())
	n := Place(r.next.Load()).plain()
	h := from.plain()
	if !between(h, n, Place(r.tail.Load())) {
		return false, damaged("next is not between head and tail: %v", r)
	}
	big := uint64(0)
	for h != n {
		rec, err := r.record(h, n)
		if err != nil {
			return false, err
		}
		if r.state(&rec).kind() != done {
			break
		}
		h = rec.to
		if rec.big {
			big = r.endOf(&rec)
		}
	}
	moved := h != from.plain()
	if h != n {
		h |= behind
	}
	if h == from {
		return false, nil
	}
	r.head.Store(uint64(h))
	crash.At("queue.reclaimed")
	if big != 0 {
		r.passed(big)
	}
	return moved, nil
}

// between reports whether n is one of the places from h to t.
func between(h, n, t Place) bool {
	words, messages := n.since(h)
	w, m := t.since(h)
	return words <= w && messages <= m
}

// Behind reports whether anything is leased, without the lock.
func (r *Ring) Behind() bool { return Place(r.head.Load()).flag() }

// Peek reports whether there is something to take, or will never be again, without
// the lock: by the time that its caller has that, it may be different.
func (r *Ring) Peek() bool {
	t, h := Place(r.tail.Load()), Place(r.head.Load())
	if h.flag() {
		if r.returned.Load() != 0 {
			return true
		}
		h = Place(r.next.Load())
	}
	return t.flag() || t.count() != h.count()
}

// Vacant reports that there was nothing to take, nor leased, at some moment of the call, without the lock. A
// false says nothing.
func (r *Ring) Vacant() bool {
	t := Place(r.tail.Load())
	h := Place(r.head.Load())
	// The head stood where the tail did before and does after: so it did then.
	return h == t && !t.flag() && Place(r.tail.Load()) == t
}

// Leased reports whether there may be messages that are leased, or were, without the lock.
func (r *Ring) Leased() bool { return Place(r.head.Load()).flag() }

// Len is the number of messages that wait: those that are leased do not. It takes
// no lock.
func (r *Ring) Len() int {
	for {
		h := Place(r.head.Load())
		n := h
		if h.flag() {
			n = Place(r.next.Load())
		}
		t := Place(r.tail.Load())
		if Place(r.head.Load()) != h || h.flag() && Place(r.next.Load()) != n {
			continue
		}
		_, m := t.since(n)
		return int(min(m, uint32(r.words/headWords)))
	}
}

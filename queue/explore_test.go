//go:build multiproc_explore

package queue

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/go-multiproc/multiproc/internal/detector"
	"github.com/go-multiproc/multiproc/internal/eventcount"
	"github.com/go-multiproc/multiproc/internal/explore"
	"github.com/go-multiproc/multiproc/internal/mem"
	"github.com/go-multiproc/multiproc/internal/ring"
	"github.com/go-multiproc/multiproc/internal/seg"
)

// The memory of an explored queue: what a control block has, without what lies between.
const (
	producersAt = 0
	consumersAt = 8
	wordsAt     = 16
	slotsAt     = wordsAt + 8*16
	maxSlots    = 3
	ringAt      = slotsAt + 16*maxSlots
)

// words are the offsets in a real control block, in the order in which they stand here.
var words = []int{48, 192, 200, 256, 448, 456, 464, 472, 480, 488, 512, ring.NotEmpty, ring.NotFull, ring.Idle}

func wordAt(off int) int {
	if off >= 1024 { // a slot
		return slotsAt + (off-1024)/64*16 + off%64
	}
	for i, o := range words {
		if o == off {
			return wordsAt + 8*i
		}
	}
	panic("no such word")
}

const tailOffset, headOffset = 256, 512

// content is message n: sixteen bytes, which say n in both halves, so that who reads half of one
// sees it. With its record it takes up half of a ring of 64 bytes.
func content(n uint64) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, n), n)
}

func explored(p *explore.Process, g ring.Geometry) *core {
	q := exploredRing(p.Handle(), g)
	q.dig = q.sweep
	p.Digest(func() []uint64 { return []uint64{uint64(q.r.Slot())} })
	return q
}

// holding puts messages 1 to n into new memory, and shuts the queue down if it is to.
func holding(g ring.Geometry, n uint64, closed bool) func(memory []byte) {
	return func(memory []byte) {
		noteBase(memory)
		r := exploredRing(seg.Simulate(memory, 99), g).r
		w := r.Writer()
		for i := uint64(1); i <= n; i++ {
			if o, err := w.Add(content(i)); o != ring.Done || err != nil {
				panic("no room")
			}
		}
		w.Publish()
		if closed {
			r.Shut()
		}
	}
}

func exploredRing(h *seg.Handle, g ring.Geometry) *core {
	m := h.Mapping()
	count := func(off int) *eventcount.Count { return eventcount.New(m.Word(wordAt(off)), m.Token()) }
	return &core{
		h: h, limit: g.Capacity, order: new(detector.Order),
		r: ring.New(g, ring.Memory{
			Word: func(off int) *mem.Uint64 { return m.Word(wordAt(off)) },
			Ring: m.Words(ringAt, g.Bytes/8), Data: h.Meta()[ringAt : ringAt+g.Bytes], Slots: maxSlots,
			Token: m.Token(), Alive: m.Alive,
		}),
		producers: sideAt(h, producersAt), consumers: sideAt(h, consumersAt),
		notEmpty: count(ring.NotEmpty), notFull: count(ring.NotFull), idle: count(ring.Idle),
	}
}

// What a model notes of message n: bits.
const (
	sending = 1 << iota // its Put was called
	sent                // and has returned
	received
	acking   // Ack was called
	finished // and has returned
)

const (
	holders = 8 // + n: who has leased message n
	tried   = holders + 6
)

// What the model notes at tried, of one who tries: bits, which are no actor's.
const (
	wasEmpty = 1 << (8 + iota) // at some moment since it was called
	wasFull
)

// seen is what there is to be noted there now.
func seen(v *explore.View) (bits uint64) {
	t, h := ring.Place(v.Word(wordAt(tailOffset))), ring.Place(v.Word(wordAt(headOffset)))
	switch uint32(t) - uint32(h) {
	case 0:
		return wasEmpty
	case 2:
		return wasFull
	}
	return 0
}

// keepSeen notes it at each step.
func keepSeen(v *explore.View) { v.Ghost.Set(tried, v.Ghost.Get(tried)|seen(v)) }

// says checks a no: it must have been true at some moment of the call, the end of which it is noted at.
func says(p *explore.Process, what string, needs uint64) {
	p.Note(func(v *explore.View) {
		if v.Ghost.Get(tried)&needs == 0 {
			v.Failf("%s says no, which was never so", what)
		}
	})
}

func called(p *explore.Process) { p.Note(func(v *explore.View) { v.Ghost.Set(tried, seen(v)) }) }

// tryGetter tries to take a message some times.
func tryGetter(g ring.Geometry, n int) explore.Actor {
	return explore.Actor{Name: "who tries to get", Run: func(p *explore.Process) {
		q := explored(p, g)
		last := uint64(0)
		for i := range n {
			p.At(uint64(i), last)
			called(p)
			b, ok, err := q.tryGet(nil)
			switch {
			case errors.Is(err, ErrClosed):
			case err != nil:
				p.Failf("tryGet: %v", err)
			case ok:
				last = take(p, b, last, true)
			default:
				says(p, "tryGet", wasEmpty)
			}
		}
		p.At(99)
	}}
}

// watcher waits until there is something to be had, and then takes it if that is still so.
func watcher(g ring.Geometry) explore.Actor {
	return explore.Actor{Name: "who watches", Run: func(p *explore.Process) {
		q := explored(p, g)
		p.At(0)
		if err := q.awaitReady(context.Background()); err != nil {
			p.Failf("awaitReady: %v", err)
		}
		p.At(1)
		b, ok, err := q.tryGet(nil)
		if err != nil && !errors.Is(err, ErrClosed) {
			p.Failf("tryGet: %v", err)
		}
		if ok {
			take(p, b, 0, true)
		}
		p.At(99)
	}}
}

// tryPutter tries to put a message.
func tryPutter(g ring.Geometry, m uint64) explore.Actor {
	return explore.Actor{Name: "who tries to put", Run: func(p *explore.Process) {
		q := explored(p, g)
		p.At(0)
		called(p)
		note(p, m, sending)
		ok, err := q.tryPut(content(m))
		switch {
		case err != nil:
			p.Failf("tryPut: %v", err)
		case ok:
			note(p, m, sent)
		default:
			says(p, "tryPut", wasFull)
		}
		p.At(99)
	}}
}

func note(p *explore.Process, n uint64, bit uint64) {
	p.Note(func(v *explore.View) {
		was := v.Ghost.Get(int(n))
		switch {
		case bit == received && was&sending == 0:
			v.Failf("message %d was taken and never put", n)
		case bit == received && was&(received|acking) != 0:
			v.Failf("message %d was taken twice", n)
		}
		v.Ghost.Set(int(n), was|bit)
	})
}

// producer puts messages, the first of which has the number first, and then shuts the queue
// down if it is to.
func producer(g ring.Geometry, first, n uint64, thenShut bool) explore.Actor {
	return explore.Actor{Name: "producer", Run: func(p *explore.Process) {
		q := explored(p, g)
		for i := first; i < first+n; i++ {
			p.At(i)
			note(p, i, sending)
			err := q.put(context.Background(), content(i))
			if errors.Is(err, ErrClosed) && !thenShut {
				break
			}
			if err != nil {
				p.Failf("put: %v", err)
			}
			note(p, i, sent)
		}
		p.At(98)
		if thenShut {
			shut(p, q)
		}
		p.At(99)
	}}
}

// reserver reserves a place for one message, writes it, and then shuts the queue down if it is
// to.
func reserver(g ring.Geometry, n uint64, thenShut bool) explore.Actor {
	return explore.Actor{Name: "reserver", Run: func(p *explore.Process) {
		q := explored(p, g)
		p.At(0)
		note(p, n, sending)
		h, b, err := q.reserve(context.Background(), len(content(n)))
		if err == nil {
			mem.Copy(b, content(n))
			h.end()
			h.commit()
			note(p, n, sent)
		} else if !errors.Is(err, ErrClosed) {
			p.Failf("reserve: %v", err)
		}
		p.At(98)
		if thenShut {
			shut(p, q)
		}
		p.At(99)
	}}
}

func shut(p *explore.Process, q *core) {
	if err := q.shutdown(); err != nil {
		p.Failf("shutdown: %v", err)
	}
}

// closer shuts the queue down at some time.
func closer(g ring.Geometry) explore.Actor {
	return explore.Actor{Name: "closer", Immortal: true, Run: func(p *explore.Process) {
		q := explored(p, g)
		p.At(0)
		shut(p, q)
		p.At(1)
	}}
}

// consumer takes n messages, or fewer when the queue is shut down or its context ends. ordered says
// that they are those of one producer.
func consumer(g ring.Geometry, n int, ordered bool) explore.Actor {
	return consumerWith(g, n, ordered, func(*explore.Process) context.Context { return context.Background() })
}

// fickle is a consumer whose context may end.
func fickle(g ring.Geometry, n int) explore.Actor {
	return consumerWith(g, n, true, (*explore.Process).Context)
}

func consumerWith(g ring.Geometry, n int, ordered bool, ctx func(*explore.Process) context.Context) explore.Actor {
	return explore.Actor{Name: "consumer", Run: func(p *explore.Process) {
		q := explored(p, g)
		last := uint64(0)
		for i := range n {
			p.At(uint64(i), last)
			b, err := q.get(ctx(p), nil)
			if errors.Is(err, ErrClosed) || errors.Is(err, context.Canceled) {
				break
			}
			if err != nil {
				p.Failf("get: %v", err)
				return
			}
			last = take(p, b, last, ordered)
		}
		p.At(99)
	}}
}

// leaser leases messages until the queue is shut down and empty. It gives the first one back
// that is new, if it is to.
func leaser(g ring.Geometry, fickle bool) explore.Actor {
	return explore.Actor{Name: "leaser", Run: func(p *explore.Process) {
		q := explored(p, g)
		for round := uint64(0); ; round++ {
			p.At(min(round, 1))
			h, b, deliveries, err := q.lease(context.Background())
			if errors.Is(err, ErrClosed) {
				break
			}
			if err != nil {
				p.Failf("lease: %v", err)
				return
			}
			own := make([]byte, len(b))
			mem.Copy(own, b)
			n := binary.LittleEndian.Uint64(own)
			if n != binary.LittleEndian.Uint64(own[8:]) || n >= holders {
				p.Failf("a damaged message: %#x", own)
				return
			}
			p.At(2, n, uint64(deliveries), h.rec.Digest(), min(round, 1))
			p.Note(func(v *explore.View) {
				switch s := v.Ghost.Get(int(n)); {
				case s&finished != 0:
					v.Failf("message %d is leased after its end", n)
				case v.Ghost.Get(holders+int(n)) != 0:
					v.Failf("message %d is leased to two", n)
				case deliveries > 1 && v.Deaths() == 0 && v.Ghost.Get(0) == 0:
					v.Failf("message %d is delivered again", n)
				}
				v.Ghost.Set(holders+int(n), 1<<p.ID)
			})
			p.Step()
			h.end()
			if fickle && deliveries == 1 && round == 0 {
				p.Note(func(v *explore.View) {
					v.Ghost.Set(holders+int(n), 0)
					v.Ghost.Set(0, 1) // somebody gave a message back
				})
				err = h.nack()
			} else {
				p.Note(func(v *explore.View) {
					v.Ghost.Set(holders+int(n), 0)
					v.Ghost.Set(int(n), v.Ghost.Get(int(n))|acking)
				})
				if err = h.ack(); err == nil {
					note(p, n, finished)
				}
			}
			if err != nil {
				p.Failf("the end of a lease: %v", err)
				return
			}
		}
		p.At(99)
	}}
}

func take(p *explore.Process, b []byte, last uint64, ordered bool) uint64 {
	n := binary.LittleEndian.Uint64(b)
	if binary.LittleEndian.Uint64(b[8:]) != n || n >= 16 {
		p.Failf("a damaged message: %#x", b)
		return last
	}
	if ordered && n <= last {
		p.Failf("message %d after %d", n, last)
	}
	note(p, n, received)
	return n
}

func queueModel(name string, g ring.Geometry, actors ...explore.Actor) explore.Model {
	return explore.Model{
		Name: "queue: " + name, Size: ringAt + g.Bytes, Ghost: 16, Actors: actors,
		MaxStates: 8e6,
		Died: func(v *explore.View, actor int) {
			for n := range holders {
				if v.Ghost.Get(holders+n) == 1<<actor {
					v.Ghost.Set(holders+n, 0)
				}
			}
		},
		Finally: func(v *explore.View) {
			// Nothing that was sent is lost, but with a consumer that died in the middle of it.
			t, h := ring.Place(v.Word(wordAt(tailOffset))), ring.Place(v.Word(wordAt(headOffset)))
			left := uint64(uint32(t) - uint32(h))
			open := uint64(0)
			for n := range holders {
				if s := v.Ghost.Get(n); s&sent != 0 && s&(received|finished) == 0 {
					open++
				}
			}
			if dead := uint64(v.Deaths()); open > left+dead || dead == 0 && open != left {
				v.Failf("%d messages were put and not taken, %d are there", open, left)
			}
		},
	}
}

var (
	two = ring.Geometry{Bytes: 64, Page: 4096} // room for two messages
	one = ring.Geometry{Bytes: 64, Page: 4096, Capacity: 1}
)

func immortal(a explore.Actor) explore.Actor {
	a.Immortal = true
	return a
}

func TestExploreQueue(t *testing.T) {
	type actors = []explore.Actor
	for _, tt := range []struct {
		name             string
		held             uint64 // messages 1 to held are there already
		closed           bool   // the queue is shut down
		deaths, spurious int
		cancels          int
		long             bool
		actors           actors
	}{
		{"large messages, from full", 2, false, 0, 0, 0, false, actors{producer(two, 3, 1, false), consumer(two, 3, true)}},
		{"large messages, two producers", 0, false, 0, 0, 0, true, actors{producer(one, 1, 1, false), producer(one, 2, 1, false), consumer(one, 2, false)}},
		{"large messages, the consumer dies, or not", 1, false, 1, 0, 0, false, actors{immortal(producer(two, 2, 1, true)), consumer(two, 2, true)}},
		{"from empty", 0, false, 0, 1, 0, false, actors{producer(two, 1, 1, false), consumer(two, 1, true)}},
		{"from full", 2, false, 0, 0, 0, false, actors{producer(two, 3, 1, false), consumer(two, 3, true)}},
		{"capacity 1", 0, false, 0, 0, 0, false, actors{producer(one, 1, 2, false), consumer(one, 2, true)}},
		{"shut down at some time", 0, false, 0, 0, 0, true, actors{producer(two, 1, 1, false), consumer(two, 2, true), closer(two)}},
		{"the producer dies, or not", 0, false, 1, 0, 1, false, actors{producer(two, 1, 2, false), immortal(fickle(two, 2))}},
		{"the consumer dies, or not", 1, false, 1, 0, 0, false, actors{immortal(producer(two, 2, 1, true)), consumer(two, 2, true)}},
		{"two producers", 0, false, 0, 0, 0, true, actors{producer(one, 1, 1, false), producer(one, 2, 1, false), consumer(one, 2, false)}},
		{"two consumers, a death", 2, true, 1, 0, 0, false, actors{consumer(two, 3, true), consumer(two, 3, true)}},
		{"three consumers, a death", 2, true, 1, 0, 0, true, actors{consumer(two, 3, true), consumer(two, 3, true), consumer(two, 3, true)}},
		{"leases", 2, true, 0, 0, 0, true, actors{leaser(two, true), leaser(two, false)}},
		{"leases, a death", 1, true, 1, 0, 0, true, actors{leaser(two, true), leaser(two, false)}},
		{"a put and leases, a death", 0, false, 1, 0, 0, false, actors{immortal(producer(two, 1, 2, true)), leaser(two, false)}},
		{"one tries to get", 1, false, 0, 0, 0, false, actors{producer(two, 2, 1, true), consumer(two, 2, true), tryGetter(two, 1)}},
		{"one tries to get, a death", 1, false, 1, 0, 0, true, actors{immortal(producer(two, 2, 1, true)), consumer(two, 2, true), immortal(tryGetter(two, 1))}},
		{"one tries twice to get", 1, false, 0, 0, 0, true, actors{producer(two, 2, 1, true), consumer(two, 1, true), tryGetter(two, 2)}},
		{"one tries to put", 2, false, 0, 0, 0, false, actors{producer(two, 3, 1, false), consumer(two, 2, true), tryPutter(two, 4)}},
		{"one tries to put, a death", 2, false, 1, 0, 1, false, actors{producer(two, 3, 1, false), consumer(two, 1, true), immortal(tryPutter(two, 4))}},
		{"one watches", 1, false, 0, 0, 0, false, actors{producer(two, 2, 1, true), consumer(two, 1, true), watcher(two)}},
		{"a reservation", 0, false, 0, 0, 0, false, actors{reserver(two, 1, true), consumer(two, 2, true)}},
		{"a reservation, a death", 0, false, 1, 0, 1, false, actors{reserver(two, 1, false), immortal(fickle(two, 1))}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.long && testing.Short() {
				t.Skip("takes long")
			}
			if strings.HasPrefix(tt.name, "large") {
				defer func(was int) { copied = was }(copied)
				copied = 0
			}
			m := queueModel(tt.name, two, tt.actors...)
			m.Init = holding(two, tt.held, tt.closed)
			m.Start = func(v *explore.View) {
				for n := range tt.held {
					v.Ghost.Set(int(n)+1, sending|sent)
				}
			}
			if strings.HasPrefix(tt.name, "one tries") {
				m.Stepped = keepSeen
			}
			m.Deaths, m.Spurious, m.Cancels = tt.deaths, tt.spurious, tt.cancels
			m.AnySlices = tt.cancels > 0 // who waits for a message of the dead has to give up
			m.Slices = -1                // while nobody dies, nobody needs the end of one
			if tt.deaths > 0 {
				m.Slices = 2
			}
			explore.Check(t, m)
		})
	}
}

// Faults that queues in shared memory have had are found.
func TestExploreFindsFaultsInQueue(t *testing.T) {
	for _, tt := range []struct {
		name   string
		deaths int
		held   uint64
		actors []explore.Actor
		fault  explore.Fault
		found  string
	}{
		{
			"head advanced before the copy", 0, 2,
			[]explore.Actor{producer(two, 3, 1, false), consumer(two, 3, true)},
			explore.Fault{Copy: func(real mem.Scheduler, dst, src []byte) {
				if head := headOf(src); head != nil { // from the ring: a consumer
					h := ring.Place(real.Word(mem.Load, head, 0, 0))
					real.Word(mem.Store, head, uint64(h)+4<<32+1, 0)
				}
				real.Copy(dst, src)
			}}, "damaged",
		},
		{
			"tail advanced before the copy", 0, 0,
			[]explore.Actor{producer(two, 1, 1, false), consumer(two, 1, true)},
			explore.Fault{Copy: func(real mem.Scheduler, dst, src []byte) {
				if head := headOf(dst); head != nil { // into the ring: a producer
					tail := wordBeside(head, wordAt(tailOffset)-wordAt(headOffset))
					v := real.Word(mem.Load, tail, 0, 0)
					real.Word(mem.Store, tail, v+4<<32+1, 0)
				}
				real.Copy(dst, src)
			}}, "message 0",
		},
		{
			"no news of a message", 0, 0,
			[]explore.Actor{producer(two, 1, 1, false), consumer(two, 1, true)},
			explore.Fault{Word: func(real mem.Scheduler, op mem.Op, w *mem.Uint64, a, b uint64) uint64 {
				v := real.Word(op, w, a, b)
				if placeOf(w) == wordAt(ring.NotEmpty) && op == mem.Load {
					return v &^ 1 // nobody seems to wait
				}
				return v
			}}, "slice",
		},
		{
			"the tail as it was one message ago", 0, 1,
			[]explore.Actor{producer(two, 2, 1, false), tryGetter(two, 1)},
			explore.Fault{Word: func(real mem.Scheduler, op mem.Op, w *mem.Uint64, a, b uint64) uint64 {
				v := real.Word(op, w, a, b)
				if placeOf(w) == wordAt(tailOffset) && op == mem.Load && uint32(v) == 1 {
					return 0
				}
				return v
			}}, "which was never so",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := queueModel(tt.name, two, tt.actors...)
			m.Init = holding(two, tt.held, false)
			m.Start = func(v *explore.View) {
				for n := range tt.held {
					v.Ghost.Set(int(n)+1, sending|sent)
				}
			}
			m.Deaths, m.Slices, m.Stepped = tt.deaths, -1, keepSeen
			explore.Find(t, m, tt.fault, tt.found)
		})
	}
}

package torture_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/go-multiproc/multiproc/array"
	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/queue"
	"github.com/go-multiproc/multiproc/value"
)

// A parcel is a numbered message.
type parcel struct {
	From   uint32 // the producer's slot
	_      uint32
	Number uint64 // from 1, without a gap
}

const (
	posters = 3
	takers  = 3
	// window is how many of a producer's last parcels the book remembers. It is more than can
	// be on their way, even with a taker that is stopped.
	window   = 1 << 20
	missings = 1 << 16
)

// A book says what became of every parcel.
type book struct {
	// Sent and Posted are, for each producer, the number it was about to put, and the last of
	// which Put returned. A producer that is killed leaves one between the two, about which nobody
	// can tell.
	Sent, Posted *array.Array[uint64]
	// Seen has, for each producer, the last parcel with each number modulo window.
	Seen *array.Array[uint64]
	// Missing lists what had not come when the window came around, as producer<<48 | number.
	Missing  *array.Array[uint64]
	Missed   *value.Value[uint64] // how many stand in it
	Doubled  *value.Value[uint64]
	Reversed *value.Value[uint64]
}

// enter writes down that a parcel has come, and checks the one that was in its place.
func (b book) enter(p parcel) {
	i := int(p.From)*window + int(p.Number%window)
	was := b.Seen.Load(i)
	b.Seen.Store(i, p.Number)
	switch {
	case was == p.Number:
		value.Add(b.Doubled, 1)
	case p.Number > window && was != p.Number-window:
		b.miss(p.From, p.Number-window)
	}
}

func (b book) miss(from uint32, number uint64) {
	if n := value.Add(b.Missed, 1); n <= missings {
		b.Missing.Store(int(n)-1, uint64(from)<<48|number)
	}
}

type worker struct {
	Queue *queue.Queue[parcel]
	Book  book
	Slot  slot
	Lease bool
}

var poster = process.Register(func(ctx context.Context, w worker) error {
	n := w.Slot.N
	for number := w.Book.Sent.Load(n) + 1; ctx.Err() == nil; number++ {
		w.Book.Sent.Store(n, number)
		if err := w.Queue.Put(ctx, parcel{From: uint32(n), Number: number}); err != nil {
			return ignoreEnd(ctx, err)
		}
		w.Book.Posted.Store(n, number)
		w.Slot.step()
	}
	return nil
})

var taker = process.Register(func(ctx context.Context, w worker) error {
	var last [posters]uint64
	for ctx.Err() == nil {
		if w.Lease {
			l, err := w.Queue.Lease(ctx)
			if err != nil {
				return ignoreEnd(ctx, err)
			}
			w.Book.enter(l.Value())
			if err := l.Ack(); err != nil {
				return err
			}
		} else {
			p, err := w.Queue.Get(ctx)
			if err != nil {
				return ignoreEnd(ctx, err)
			}
			if p.Number <= last[p.From] {
				value.Add(w.Book.Reversed, 1)
			}
			last[p.From] = p.Number
			w.Book.enter(p)
		}
		w.Slot.step()
	}
	return nil
})

func TestQueueGet(t *testing.T)   { queueStorm(t, "queue-get", false) }
func TestQueueLease(t *testing.T) { queueStorm(t, "queue-lease", true) }

func queueStorm(t *testing.T, name string, lease bool) {
	q, err := queue.New[parcel](queue.Options{Bytes: 1 << 16})
	keep(t, q, err)
	words := func(n int) *array.Array[uint64] {
		a, err := array.NewRaw[uint64](n)
		keep(t, a, err)
		return a
	}
	count := func() *value.Value[uint64] {
		v, err := value.NewRaw[uint64](0)
		keep(t, v, err)
		return v
	}
	b := book{words(posters), words(posters), words(posters * window), words(missings), count(), count(), count()}
	doubtful := map[uint64]bool{} // producer<<48 | number
	doubt := func(n int) {
		if sent := b.Sent.Load(n); sent != b.Posted.Load(n) {
			doubtful[uint64(n)<<48|sent] = true
		}
	}
	takersKilled := 0
	a := &act{name: name, killed: func(n int) {
		if n < posters {
			doubt(n)
		} else {
			takersKilled++
		}
	}}
	for range posters {
		a.slots = append(a.slots, func(s slot) *process.Process {
			return process.New(poster, worker{q, b, s, lease})
		})
	}
	for range takers {
		a.slots = append(a.slots, func(s slot) *process.Process {
			return process.New(taker, worker{q, b, s, lease})
		})
	}
	storm(t, a)
	for n := range posters {
		doubt(n) // told to end while it waited for room
	}
	// What is left is taken here. A lease of somebody who was killed comes back.
	for {
		p, ok, err := q.TryGet()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		b.enter(p)
	}
	if n := q.Len(); n != 0 {
		t.Errorf("%d are left, and cannot be taken", n)
	}
	var total uint64
	for n := range posters {
		last := b.Sent.Load(n)
		total += b.Posted.Load(n)
		for number := max(window, last) - window + 1; number <= last; number++ {
			if b.Seen.Load(n*window+int(number%window)) != number {
				b.miss(uint32(n), number)
			}
		}
	}
	missed := b.Missed.Load()
	if missed > missings {
		t.Fatalf("%d are missing", missed)
	}
	lost := 0
	example := ""
	for i := range int(missed) {
		if m := b.Missing.Load(i); !doubtful[m] {
			lost++
			example = fmt.Sprintf("; number %d of producer %d, for example", m&(1<<48-1), m>>48)
		}
	}
	doubled, reversed := int(b.Doubled.Load()), b.Reversed.Load()
	t.Logf("%s: %d messages, %d takers killed; %d lost, %d doubled, %d put or not by a producer that was killed",
		name, total, takersKilled, lost, doubled, len(doubtful))
	if reversed != 0 {
		t.Errorf("%d came before an earlier one of the same producer", reversed)
	}
	switch {
	case lease && lost != 0:
		t.Errorf("%d are lost%s (seed %d)", lost, example, seed)
	case lease && doubled > takersKilled:
		t.Errorf("%d came twice; %d takers were killed (seed %d)", doubled, takersKilled, seed)
	case !lease && doubled != 0:
		t.Errorf("%d came twice (seed %d)", doubled, seed)
	case !lease && lost > takersKilled:
		t.Errorf("%d are lost%s; %d takers were killed (seed %d)", lost, example, takersKilled, seed)
	}
	if err := q.Shutdown(); err != nil {
		t.Error(err)
	}
	if _, err := q.Get(t.Context()); !errors.Is(err, queue.ErrClosed) {
		t.Errorf("Get after Shutdown: %v", err)
	}
}

package ring

import (
	"errors"
	"fmt"

	"github.com/go-multiproc/multiproc/internal/crash"
	"github.com/go-multiproc/multiproc/internal/mem"
)

// ErrTooLarge is returned for a message that is larger than the ring and the
// overflow area allow.
var ErrTooLarge = errors.New("queue: message too large")

// An Outcome says what became of an attempt.
type Outcome int

// These are the outcomes.
const (
	Done    Outcome = iota
	Full            // no room now
	Empty           // no message now
	Shut            // nothing comes, or goes, any more
	Blocked         // what may come is in another process's hands: reserved, or leased
)

// A Writer puts messages behind the tail, which nobody sees before Publish.
//
// Preconditions: the producers' lock is held from Writer to Publish.
type Writer struct {
	r       *Ring
	from, t Place
}

// Writer begins.
func (r *Ring) Writer() Writer {
	t := Place(r.tail.Load())
	return Writer{r, t, t}
}

// Publish shows everybody what was added, in one step. It reports whether that was
// anything.
func (w *Writer) Publish() bool {
	if w.t == w.from {
		return false
	}
	crash.At("queue.put.written")
	w.r.tail.Store(uint64(w.t))
	crash.At("queue.put.published")
	return true
}

// Add adds a message.
func (w *Writer) Add(b []byte) (Outcome, error) {
	if uint64(len(b)) > w.r.most {
		return w.addBig(len(b), b, ready)
	}
	at, o, err := w.claim(w.r.wordsFor(uint64(len(b)), false))
	if o != Done || err != nil {
		return o, err
	}
	w.r.ring[at].Store(uint64(len(b)) << lengthShift)
	w.r.ring[at+1].Store(uint64(ready))
	crash.At("queue.put.begun")
	from := (at + headWords) * wordSize
	mem.Copy(w.r.data[from:from+uint64(len(b))], b)
	return Done, nil
}

// Reserve adds a message of n bytes that this process is going to write, without
// the lock, and then to Commit or Cancel.
func (w *Writer) Reserve(n int) (Record, Outcome, error) {
	s := reserved | state(w.r.token)<<tokenShift
	before := w.t
	if uint64(n) > w.r.most {
		if o, err := w.addBig(n, nil, s); o != Done || err != nil {
			return Record{}, o, err
		}
	} else {
		at, o, err := w.claim(w.r.wordsFor(uint64(n), false))
		if o != Done || err != nil {
			return Record{}, o, err
		}
		w.r.ring[at].Store(uint64(n) << lengthShift)
		w.r.ring[at+1].Store(uint64(s))
	}
	rec, err := w.r.record(before.plain(), w.t.plain())
	return rec, Done, err
}

// claim finds room for a record, and moves on behind it.
func (w *Writer) claim(words uint64) (at uint64, o Outcome, err error) {
	r := w.r
	if w.t.flag() {
		return 0, Shut, nil
	}
	at = w.t.pos() & r.mask
	pad := r.padFor(at, words)
	seen := Place(r.headSeen.Load())
	if !r.fits(seen, w.t, pad+words) {
		h := Place(r.head.Load()).plain()
		if h == seen {
			return 0, Full, nil
		}
		if _, _, err := r.distance(h, w.from.plain()); err != nil {
			return 0, Full, err
		}
		r.headSeen.Store(uint64(h))
		if !r.fits(h, w.t, pad+words) {
			return 0, Full, nil
		}
	}
	if pad != 0 {
		r.ring[at].Store(padFlag)
		at = 0
	}
	w.t = w.t.plus(pad+words, 1)
	return at, Done, nil
}

// padFor is how many words are left out so that as many stand together.
func (r *Ring) padFor(at, words uint64) uint64 {
	if rest := r.words - at; rest < words {
		return rest
	}
	return 0
}

// Large says that a message of n bytes is about to wait for room. Producers with
// small messages wait for something else than it: what is room for one of them is
// not for it. So once it has waited, each of them has to be told.
func (r *Ring) Large(n int) {
	if uint64(n) > r.words*wordSize/64 && r.large.Load() == 0 {
		r.large.Store(1)
	}
}

// Mixed reports whether a large message has waited.
func (r *Ring) Mixed() bool { return r.large.Load() != 0 }

// RoomFor reports whether a message of n bytes fits now, or never will again, without the
// lock: by the time that its caller has that, it may be different.
func (r *Ring) RoomFor(n int) bool {
	t, h := Place(r.tail.Load()), Place(r.head.Load())
	for again := Place(r.tail.Load()); again != t; again = Place(r.tail.Load()) {
		t, h = again, Place(r.head.Load())
	}
	if t.flag() {
		return true
	}
	words := r.wordsFor(uint64(n), false)
	if uint64(n) > r.most {
		if _, _, ok := r.over.place(r.overHead.Load(), r.overTail.Load(), uint64(n)); !ok {
			return false
		}
		words = bigWords
	}
	return r.fits(h, t, r.padFor(t.pos()&r.mask, words)+words)
}

// NoRoomFor reports that there was no room for a message of n bytes at some moment of the call,
// without the lock. A false says nothing.
func (r *Ring) NoRoomFor(n int) bool {
	// The ends of the overflow area are not read at one moment.
	return !r.Big(n) && !r.RoomFor(n)
}

// Big reports whether a message of n bytes is one for the overflow area.
func (r *Ring) Big(n int) bool { return uint64(n) > r.most }

// fits reports whether so many words more fit behind t.
func (r *Ring) fits(h, t Place, more uint64) bool {
	words, messages := t.since(h)
	return words+more <= r.words && messages < r.limit
}

// addBig adds a message whose bytes stand in the overflow area: b, or n bytes that
// are to be written.
func (w *Writer) addBig(n int, b []byte, s state) (Outcome, error) {
	r := w.r
	if n > len(r.over.data)/2 {
		return Full, fmt.Errorf("%w: %d bytes; at most %d fit into this queue", ErrTooLarge, n, r.Largest())
	}
	before := w.t
	start, end, ok := r.over.place(r.overHead.Load(), r.overTail.Load(), uint64(n))
	if !r.over.holds(start, uint64(n)) {
		return Full, damaged("the overflow area ends at %d", r.overTail.Load())
	}
	if w.t.flag() {
		return Shut, nil
	}
	if !ok {
		return Full, nil
	}
	at, o, err := w.claim(bigWords)
	if o != Done || err != nil {
		return o, err
	}
	size := uint64(len(r.over.data))
	if err := r.over.allocate(int(start%size), int(end-start)); err != nil {
		r.over.free(int(start%size), int(end-start))
		w.t = before
		return Full, err
	}
	crash.At("queue.put.allocated")
	r.ring[at].Store(uint64(n)<<lengthShift | bigFlag)
	r.ring[at+1].Store(uint64(s))
	r.ring[at+headWords].Store(start)
	mem.Copy(r.over.bytes(start, uint64(n)), b)
	// Before the tail: who dies in between leaves a gap, which goes with the next
	// big message that is taken, or with a sweep. The other way round the next
	// producer would write over the message.
	r.overTail.Store(end)
	return Done, nil
}

// Commit shows everybody a message that was reserved.
func (r *Ring) Commit(rec *Record) {
	crash.At("queue.commit")
	r.setState(rec, ready)
}

// Cancel gives a reservation up. The place is passed over.
func (r *Ring) Cancel(rec *Record) { r.setState(rec, done) }

// Shut lets nothing in any more. It reports whether that is new.
//
// Preconditions: the producers' lock is held.
func (r *Ring) Shut() bool {
	t := Place(r.tail.Load())
	if t.flag() {
		return false
	}
	r.tail.Store(uint64(t | shut))
	crash.At("queue.shut")
	return true
}

// IsShut reports whether nothing comes in any more.
func (r *Ring) IsShut() bool { return Place(r.tail.Load()).flag() }

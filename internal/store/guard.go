package store

import (
	"errors"
	"sync"
	"time"

	"github.com/go-multiproc/multiproc/internal/journal"
)

// A guard is the lock of a container's content. Whatever is noted under one hold of it becomes one record of the
// journal with Unlock: after a kill all of it is there or nothing, in the order in which the holds were. Without a journal
// noting costs a comparison.
//
// A body that has one implements kept, and tells it in place which object it belongs to.
type guard struct {
	mu sync.RWMutex
	drafting
}

// A drafting is what was noted under one hold of a lock. In a body that is not kept it stays empty.
type drafting struct {
	self  *object
	body  kept
	draft *journal.Writer // nil if nothing was noted
}

// An effect is what a change does to a body, as it stands in the journal. The numbers are never reassigned; each
// kind has its own, from firstEffect.
type effect uint64

const (
	effectCreate effect = 1 // of the object: kind, typ, params
	effectName   effect = 2 // the object has this name now
	effectUnname effect = 3 // it has none
	effectAs     effect = 4 // in a snapshot: the body as it was at that position in the journal; what was noted up to there is in it
	effectWith   effect = 5 // first in its record: another object's id, and effects on that

	firstEffect effect = 16
)

// errEffect is the error of replaying an effect that the kind does not have.
var errEffect = errors.New("unknown effect")

// kept is a body that the journal keeps. One that does not implement it comes back as if it were just made.
type kept interface {
	body
	// weight counts the entries, and what they take in memory. It is called with the guard held.
	weight() (entries, bytes int64)
	// dump writes effects that make an empty body what it is now. It locks the guard and calls d.begin, which says which moment is now, and may unlock
	// it before it writes.
	dump(d *dump)
	// replay does what note noted. It notes that again, in vain.
	replay(e effect, r *replayer) error
}

func (n *drafting) place(self *object, body kept) { n.self, n.body = self, body }

// note notes an effect; what it is about, the caller writes.
func (n *drafting) note(e effect) *journal.Writer {
	if n.self.ledger.journal == nil {
		return nil
	}
	if n.draft == nil {
		n.draft = drafts.Get().(*journal.Writer)
	}
	n.draft.Uint(uint64(e))
	return n.draft
}

// commit makes what was noted a record. The lock is held still.
func (n *drafting) commit() {
	if n.draft != nil {
		w := n.self.ledger.journal.Begin()
		w.Uint(uint64(n.self.id))
		w.Raw(n.draft)
		w.End()
		n.drop()
	}
	if n.self != nil {
		n.self.weigh(n.body)
	}
}

// commitWith makes what was noted here and there one record: after a kill there is both or neither. Both locks are held still, so that each object's
// records stand in the order of its changes.
func (n *drafting) commitWith(other *drafting) {
	if n.draft != nil && other.draft != nil {
		w := n.self.ledger.journal.Begin()
		w.Uint(uint64(n.self.id))
		// In front, since a reader that knows the effects on the one already passes over the rest of the record.
		w.Uint(uint64(effectWith))
		w.Uint(uint64(other.self.id))
		w.Uint(uint64(other.draft.Size()))
		w.Raw(other.draft)
		w.Raw(n.draft)
		w.End()
		n.drop()
		other.drop()
	}
	n.commit()
	other.commit()
}

func (n *drafting) drop() {
	n.draft.Reset()
	drafts.Put(n.draft)
	n.draft = nil
}

var drafts = sync.Pool{New: func() any { return new(journal.Writer) }}

// noteValue writes a value.
func noteValue(w *journal.Writer, data string, m *mentions) {
	if w == nil {
		return
	}
	w.Text(data)
	if m == nil {
		w.Uint(0)
		return
	}
	w.Uint(uint64(len(m.objs)))
	for _, o := range m.objs {
		w.Uint(uint64(o.id))
	}
}

// noteTime writes a moment; the zero one is none.
func noteTime(w *journal.Writer, t time.Time) {
	if t.IsZero() {
		w.Int(0)
		return
	}
	w.Int(t.UnixNano())
}

// Lock locks for changing.
func (g *guard) Lock() { g.mu.Lock() }

// Unlock makes what was noted a record.
func (g *guard) Unlock() {
	g.commit()
	g.mu.Unlock()
}

// RLock locks for reading.
func (g *guard) RLock() { g.mu.RLock() }

// RUnlock ends RLock.
func (g *guard) RUnlock() { g.mu.RUnlock() }

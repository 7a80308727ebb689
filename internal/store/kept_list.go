package store

import (
	"fmt"

	"github.com/go-multiproc/multiproc/internal/journal"
)

// The effects on a list and an array.
const (
	effectListAppend  = firstEffect     // values
	effectListSet     = firstEffect + 1 // index, values: one
	effectListInsert  = firstEffect + 2 // index, values: one
	effectListRemove  = firstEffect + 3 // index
	effectListSplice  = firstEffect + 4 // from, to, values
	effectListFill    = firstEffect + 5 // values: one
	effectListArrange = firstEffect + 6 // for each place, the one at which its value was
	effectListReverse = firstEffect + 7
)

func (l *List) weight() (entries, bytes int64) {
	n := int64(l.rope.n)
	return n, l.bytes + n*itemBytes
}

// noteItems writes values.
func noteItems(w *journal.Writer, items ...item) {
	if w == nil {
		return
	}
	w.Uint(uint64(len(items)))
	for _, it := range items {
		noteValue(w, it.data, it.refs)
	}
}

// items reads values, at least as many as the least.
func (r *replayer) items(least int) []item {
	items := make([]item, r.Count())
	for i := range items {
		items[i].data, items[i].refs = r.value()
	}
	if len(items) < least {
		r.Fail("a value")
	}
	return items
}

func (l *List) dump(w *dump) {
	l.mu.Lock()
	w.begin()
	chunks, filling := l.rope.snapshot(), l.rope.filling
	l.mu.Unlock()
	const atOnce = 64
	from := 0
	if len(filling) > 0 && filling[0] != (item{data: null}) { // which is there from the beginning
		noteItems(w.note(effectListFill), filling[0])
	}
	for _, c := range chunks {
		if isFilling(c, filling) { // not written out: there may be 2^28 of them, which take no memory either
			from += len(c)
			continue
		}
		for len(c) > 0 && w.ok() {
			n := min(len(c), atOnce)
			if l.fixed { // it has that many values from the beginning
				r := w.note(effectListSplice)
				r.Uint(uint64(from))
				r.Uint(uint64(from + n))
				noteItems(r, c[:n]...)
			} else {
				noteItems(w.note(effectListAppend), c[:n]...)
			}
			from += n
			c = c[n:]
		}
	}
}

func (l *List) replay(e effect, r *replayer) error {
	// place reads an index below a limit.
	place := func(limit int) int {
		n := r.Uint()
		if r.Err() == nil && n >= uint64(limit) {
			r.Fail(fmt.Sprintf("a place of a list of %d", l.rope.n))
		}
		return int(n)
	}
	switch e {
	case effectListAppend:
		if items := r.items(0); r.Err() == nil {
			l.appendLocked(items)
		}
	case effectListSet:
		at, items := place(l.rope.n), r.items(1)
		if r.Err() == nil {
			l.setLocked(at, items[0])
		}
	case effectListInsert:
		at, items := place(l.rope.n+1), r.items(1)
		if r.Err() == nil {
			l.insertLocked(at, items[0])
		}
	case effectListRemove:
		if at := place(l.rope.n); r.Err() == nil {
			l.removeLocked(at)
		}
	case effectListSplice:
		from, to, items := place(l.rope.n+1), place(l.rope.n+1), r.items(0)
		if r.Err() == nil && from > to {
			r.Fail("a range")
		}
		if r.Err() == nil {
			l.spliceLocked(from, to, items)
		}
	case effectListFill:
		if items := r.items(1); r.Err() == nil {
			l.fillLocked(items[0])
		}
	case effectListArrange:
		if r.Len() < l.rope.n { // each has at least a byte
			r.Fail("an order of all values")
			return r.Err()
		}
		places := make([]int, l.rope.n)
		for i := range places {
			places[i] = place(l.rope.n)
		}
		if r.Err() == nil {
			l.arrangeLocked(places)
		}
	case effectListReverse:
		l.reverseLocked()
	default:
		return errEffect
	}
	return r.Err()
}

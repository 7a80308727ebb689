package handover

import (
	"bytes"
	"reflect"
	"slices"
)

// Sorted has the entries of maps written in the order of their keys' bytes, so that a value that is what it was has the bytes that it had. What a type
// writes by methods of its own is its affair.
func Sorted() Option { return Option{sorted: true} }

// sorts reports whether values of p's type have to be walked for the sake of an order.
func (e *Encoder) sorts(p *plan) bool { return e.sorted && p.maps }

// inOrder writes the entries of a map. The keys come first, to be sorted: handles are numbered as they are met, so the values have to be written in the
// order in which they are to stand.
func (e *Encoder) inOrder(m reflect.Value, key, elem func(reflect.Value) error) error {
	type entry struct {
		from, to int // of the key in keys
		key      reflect.Value
		elem     reflect.Value
	}
	entries := make([]entry, 0, m.Len())
	start := e.buf.Len()
	for i := m.MapRange(); i.Next(); {
		k := i.Key()
		from := e.buf.Len() - start
		if err := key(k); err != nil {
			return within(keyStep(k), err)
		}
		entries = append(entries, entry{from, e.buf.Len() - start, k, i.Value()})
	}
	keys := slices.Clone(e.buf.Bytes()[start:])
	e.buf.Truncate(start)
	slices.SortFunc(entries, func(a, b entry) int { return bytes.Compare(keys[a.from:a.to], keys[b.from:b.to]) })
	for _, n := range entries {
		e.buf.Write(keys[n.from:n.to])
		if err := elem(n.elem); err != nil {
			return within(keyStep(n.key), err)
		}
	}
	return nil
}

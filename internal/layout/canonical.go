package layout

import (
	"fmt"
	"reflect"
	"strings"
)

// A kind is what a run of bytes means. Its String is what stands in layout texts.
type kind uint8

const (
	group kind = iota // not a scalar: a repeated sequence of items
	boolean
	int8s
	int16s
	int32s
	int64s
	uint8s
	uint16s
	uint32s
	uint64s
	float32s
	float64s
	complex64s
	complex128s
)

var kinds = [...]struct {
	name string
	size int
}{
	boolean: {"bool", 1},
	int8s:   {"i8", 1}, int16s: {"i16", 2}, int32s: {"i32", 4}, int64s: {"i64", 8},
	uint8s: {"u8", 1}, uint16s: {"u16", 2}, uint32s: {"u32", 4}, uint64s: {"u64", 8},
	float32s: {"f32", 4}, float64s: {"f64", 8}, complex64s: {"c64", 8}, complex128s: {"c128", 16},
}

func (k kind) String() string { return kinds[k].name }
func (k kind) size() int      { return kinds[k].size }
func (k kind) float() bool    { return k >= float32s }

// kindOf is the kind of a scalar type that check has let pass.
func kindOf(t reflect.Type) kind {
	switch t.Kind() {
	case reflect.Bool:
		return boolean
	case reflect.Int8:
		return int8s
	case reflect.Int16:
		return int16s
	case reflect.Int32:
		return int32s
	case reflect.Int, reflect.Int64:
		return int64s
	case reflect.Uint8:
		return uint8s
	case reflect.Uint16:
		return uint16s
	case reflect.Uint32:
		return uint32s
	case reflect.Uint, reflect.Uint64:
		return uint64s
	case reflect.Float32:
		return float32s
	case reflect.Float64:
		return float64s
	case reflect.Complex64:
		return complex64s
	case reflect.Complex128:
		return complex128s
	}
	panic("layout: no scalar: " + t.String())
}

// An item is n scalars of a kind in a row, or n times a sequence of items, each
// stride bytes behind the last.
type item struct {
	off    int
	n      int
	kind   kind
	stride int    // bytes from one to the next
	items  []item // kind == group: offsets count from the start of each repetition
}

func (it item) end() int { return it.off + it.n*it.stride }

// flatten lists what lies in a t, by ascending offset, in a normal form that
// does not depend on how the type was put together: scalars of a kind that
// follow each other without a gap are one run, nested structs are dissolved, and
// so are arrays of one element. struct{X, Y float64} and [2]float64 are equal.
func flatten(t reflect.Type) []item { return appendItems(nil, 0, t) }

func appendItems(items []item, off int, t reflect.Type) []item {
	switch t.Kind() {
	case reflect.Struct:
		for i := range t.NumField() {
			// A blank field is padding: nothing can read it.
			if f := t.Field(i); f.Name != "_" {
				items = appendItems(items, off+int(f.Offset), f.Type)
			}
		}
		return items
	case reflect.Array:
		return appendArray(items, off, t)
	}
	k := kindOf(t)
	return appendRun(items, item{off: off, n: 1, kind: k, stride: k.size()})
}

func appendArray(items []item, off int, t reflect.Type) []item {
	n, elem := t.Len(), t.Elem()
	each := flatten(elem)
	stride := int(elem.Size())
	switch {
	case n == 0 || len(each) == 0:
		return items
	case n == 1:
		return appendItems(items, off, elem)
	case len(each) == 1 && each[0].off == 0 && each[0].end() == stride:
		// Without gaps, an array of runs is a longer run.
		run := each[0]
		run.off, run.n = off, n*run.n
		return appendRun(items, run)
	}
	return append(items, item{off: off, n: n, stride: stride, items: each})
}

// appendRun appends an item, joined with the last one if they make one run.
func appendRun(items []item, it item) []item {
	if it.kind != group && len(items) > 0 {
		if last := &items[len(items)-1]; last.kind == it.kind && last.end() == it.off {
			last.n += it.n
			return items
		}
	}
	return append(items, it)
}

// text writes items down. A single run that fills the type is written alone:
// "f64", "u8x32". Everything else is "size{items}", with the offset of each:
// "16{f64@0 i32@8}", "40{u8x3@0 2*16{f64@0 i32@8}@8}".
func text(items []item, size int) string {
	var b strings.Builder
	writeGroup(&b, items, size)
	return b.String()
}

func writeGroup(b *strings.Builder, items []item, size int) {
	if len(items) == 1 && items[0].off == 0 && items[0].end() == size {
		writeItem(b, items[0])
		return
	}
	fmt.Fprintf(b, "%d{", size)
	for i, it := range items {
		if i > 0 {
			b.WriteByte(' ')
		}
		writeItem(b, it)
		fmt.Fprintf(b, "@%d", it.off)
	}
	b.WriteByte('}')
}

func writeItem(b *strings.Builder, it item) {
	if it.kind == group {
		fmt.Fprintf(b, "%d*", it.n)
		writeGroup(b, it.items, it.stride)
		return
	}
	b.WriteString(it.kind.String())
	if it.n > 1 {
		fmt.Fprintf(b, "x%d", it.n)
	}
}

// padding lists the bytes of a type that no item covers, and calls scalars for
// each run that it meets.
func padding(items []item, size int, scalars func(item)) []Span {
	var holes []Span
	pos := 0
	for _, it := range items {
		holes = addSpan(holes, pos, it.off)
		pos = it.end()
		if it.kind != group {
			scalars(it)
			continue
		}
		inner := padding(it.items, it.stride, scalars)
		if len(inner) == 0 {
			continue
		}
		for i := range it.n {
			for _, s := range inner {
				holes = addSpan(holes, it.off+i*it.stride+s.From, it.off+i*it.stride+s.To)
			}
		}
	}
	return addSpan(holes, pos, size)
}

// addSpan appends [from, to) unless it is empty, joined with its neighbour.
func addSpan(spans []Span, from, to int) []Span {
	if from >= to {
		return spans
	}
	if n := len(spans); n > 0 && spans[n-1].To == from {
		spans[n-1].To = to
		return spans
	}
	return append(spans, Span{from, to})
}

package document

import (
	"bytes"
	"cmp"
	"math"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/go-multiproc/multiproc/internal/codec"
)

// Equal reports whether two items are the same value: the order of a map's pairs, the width of heads, whether lengths are definite, and whether arrays of numbers are typed ones, do not matter. An
// integer is never equal to a floating-point number, and those are equal if their widths and bits are. Bytes that are not one whole item, or that are nested
// more than 1000 deep, or so that maps are in dozens of maps around nearly all of it, are equal to themselves only.
func Equal(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	if len(a) == 0 || len(b) == 0 || differ(a[0], b[0]) {
		return false
	}
	ca, aok := canonical(a)
	if !aok {
		return false
	}
	cb, bok := canonical(b)
	return bok && bytes.Equal(ca, cb)
}

// differ reports whether items that begin so cannot be equal: they are of different types, and neither has a tag, which may make an array of it.
func differ(a, b byte) bool {
	return a>>5 != b>>5 && codec.Major(a>>5) != codec.Tag && codec.Major(b>>5) != codec.Tag
}

// A Matcher compares many items with one.
type Matcher struct {
	item, canonical []byte
	ok, composed    bool
}

// Match returns a Matcher for an item.
func Match(item []byte) *Matcher {
	m := &Matcher{item: item}
	m.canonical, m.ok = canonical(item)
	if len(item) > 0 {
		major := codec.Major(item[0] >> 5)
		m.composed = major == codec.Array || major == codec.Map || major == codec.Tag
	}
	return m
}

// Equal reports whether another item is equal to m's, as the function Equal does.
func (m *Matcher) Equal(item string) bool {
	if item == string(m.item) {
		return true
	}
	if !m.ok || item == "" || differ(m.item[0], item[0]) {
		return false
	}
	return m.equal([]byte(item))
}

func (m *Matcher) equal(item []byte) bool {
	if bytes.Equal(item, m.item) {
		return true
	}
	if !m.ok || len(item) == 0 || differ(m.item[0], item[0]) {
		return false
	}
	if !m.composed && isShortest(item) {
		return bytes.Equal(item, m.canonical)
	}
	c, ok := canonical(item)
	return ok && bytes.Equal(c, m.canonical)
}

// isShortest reports whether an item that is no array, map or tag has its canonical encoding.
func isShortest(item []byte) bool {
	h, err := codec.ReadHead(item)
	if err != nil || h.Indefinite {
		return false
	}
	var b bytes.Buffer
	codec.WriteHead(&b, h.Major, h.Arg)
	return h.Major == codec.Simple || h.Size == b.Len()
}

// maxDepth is how deep the arrays and maps of two items may nest to be compared otherwise than byte by byte. Bringing a map into order copies it, in
// each of the maps around it again, so maxCopies bounds how often that may happen to an item as a whole; otherwise a large one that is nested deep
// would take minutes.
const (
	maxDepth  = 1000
	maxCopies = 64
)

// canonical returns the one encoding that all equal items share; ok is false if b is not one item, or nested too deep.
func canonical(b []byte) (c []byte, ok bool) {
	if whole(b) != nil {
		return nil, false
	}
	w := canonicalWriter{in: untyped(b)}
	w.copies = maxCopies * (len(w.in) + 1024)
	if !w.item(0) {
		return nil, false
	}
	return w.out.Bytes(), true
}

type canonicalWriter struct {
	in     []byte
	out    bytes.Buffer
	copies int // bytes that may still be copied to bring them into order
}

// take returns a copy of what was written from start on, which is taken back. It reports false when that has been done too often.
func (w *canonicalWriter) take(start int) (b []byte, ok bool) {
	b = w.out.Bytes()[start:]
	if w.copies -= len(b); w.copies < 0 {
		return nil, false
	}
	b = bytes.Clone(b)
	w.out.Truncate(start)
	return b, true
}

// item writes the item that w.in begins with.
func (w *canonicalWriter) item(depth int) bool {
	h, err := codec.ReadHead(w.in)
	if err != nil || depth > maxDepth {
		return false
	}
	switch h.Major {
	case codec.Simple:
		if h.Indefinite {
			return false
		}
		w.out.Write(w.in[:h.Size])
		w.in = w.in[h.Size:]
		return true
	case codec.Bytes, codec.Text:
		return w.string(h)
	case codec.Array:
		return w.array(h, depth)
	case codec.Map:
		return w.pairs(h, depth)
	}
	w.in = w.in[h.Size:]
	codec.WriteHead(&w.out, h.Major, h.Arg)
	return h.Major != codec.Tag || w.item(depth+1)
}

func (w *canonicalWriter) string(h codec.Head) bool {
	w.in = w.in[h.Size:]
	if !h.Indefinite {
		if h.Arg > uint64(len(w.in)) {
			return false
		}
		codec.WriteHead(&w.out, h.Major, h.Arg)
		w.out.Write(w.in[:h.Arg])
		w.in = w.in[h.Arg:]
		return true
	}
	var whole []byte
	for !w.broken() {
		part, err := codec.ReadHead(w.in)
		if err != nil || part.Major != h.Major || part.Indefinite || part.Arg > uint64(len(w.in)-part.Size) {
			return false
		}
		end := part.Size + int(part.Arg)
		whole = append(whole, w.in[part.Size:end]...)
		w.in = w.in[end:]
	}
	codec.WriteHead(&w.out, h.Major, uint64(len(whole)))
	w.out.Write(whole)
	return true
}

// broken takes the break that ends an item of indefinite length, if it stands there.
func (w *canonicalWriter) broken() bool {
	if len(w.in) == 0 || w.in[0] != 0xff {
		return false
	}
	w.in = w.in[1:]
	return true
}

func (w *canonicalWriter) array(h codec.Head, depth int) bool {
	w.in = w.in[h.Size:]
	if !h.Indefinite {
		codec.WriteHead(&w.out, codec.Array, h.Arg)
		for range h.Arg {
			if !w.item(depth + 1) {
				return false
			}
		}
		return true
	}
	start, n := w.out.Len(), uint64(0)
	for ; !w.broken(); n++ {
		if !w.item(depth + 1) {
			return false
		}
	}
	items, ok := w.take(start)
	if !ok {
		return false
	}
	codec.WriteHead(&w.out, codec.Array, n)
	w.out.Write(items)
	return true
}

func (w *canonicalWriter) pairs(h codec.Head, depth int) bool {
	w.in = w.in[h.Size:]
	type pair struct{ start, value, end int }
	var pairs []pair
	start := w.out.Len()
	for n := uint64(0); h.Indefinite || n < h.Arg; n++ {
		if h.Indefinite && w.broken() {
			break
		}
		p := pair{start: w.out.Len()}
		if !w.item(depth + 1) {
			return false
		}
		p.value = w.out.Len()
		if !w.item(depth + 1) {
			return false
		}
		p.end = w.out.Len()
		pairs = append(pairs, p)
	}
	all, ok := w.take(start)
	if !ok {
		return false
	}
	slices.SortStableFunc(pairs, func(a, b pair) int {
		return bytes.Compare(all[a.start-start:a.value-start], all[b.start-start:b.value-start])
	})
	codec.WriteHead(&w.out, codec.Map, uint64(len(pairs)))
	for _, p := range pairs {
		w.out.Write(all[p.start-start : p.end-start])
	}
	return true
}

// A Rank is an item's place in the order of all items. It is made once for each item that is to be sorted.
type Rank struct {
	class   class
	number  number
	text    string
	instant time.Time
}

type class uint8

// Classes, in order.
const (
	nothing class = iota
	no
	yes
	numbers
	texts
	byteStrings
	instants
	others
)

// A number is an integer, with the magnitude of -1-n if it is negative, or a floating-point number.
type number struct {
	negative, fraction bool
	n                  uint64
	f                  float64
}

// maxHead is the largest size of a head, which a number is as a whole.
const maxHead = 9

// RankOf returns an item's place in the order:
//
//   - null (and what is no item at all), false, true;
//   - numbers by value, integers and floating-point numbers together, NaN first, as with Go's cmp.Compare; of an integer and a floating-point number that are
//     equal, neither comes first;
//   - texts, and then byte strings, byte by byte;
//   - times (tag 0), as instants;
//   - everything else by the bytes of its encoding, maps with their keys in order: an order, so that equal ones stand together, but without a meaning.
func RankOf(item string) Rank {
	b := []byte(item[:min(len(item), maxHead)]) // a text may be long, and a list have many
	h, err := codec.ReadHead(b)
	if err != nil {
		return Rank{class: nothing}
	}
	content := item[h.Size:]
	switch {
	case h.Major == codec.Uint:
		return Rank{class: numbers, number: number{n: h.Arg}}
	case h.Major == codec.Nint:
		return Rank{class: numbers, number: number{n: h.Arg, negative: true}}
	case codec.IsNull(b):
		return Rank{class: nothing}
	case b[0] == 0xf4:
		return Rank{class: no}
	case b[0] == 0xf5:
		return Rank{class: yes}
	case h.Major == codec.Text && !h.Indefinite && h.Arg == uint64(len(content)):
		return Rank{class: texts, text: content}
	case h.Major == codec.Bytes && !h.Indefinite && h.Arg == uint64(len(content)):
		return Rank{class: byteStrings, text: content}
	case h.Major == codec.Tag && h.Arg == 0:
		if inner := RankOf(content); inner.class == texts {
			if at, err := time.Parse(time.RFC3339Nano, inner.text); err == nil {
				return Rank{class: instants, instant: at}
			}
		}
	}
	if f, ok := float(b, h); ok {
		return Rank{class: numbers, number: number{f: f, fraction: true}}
	}
	if c, ok := canonical([]byte(item)); ok {
		return Rank{class: others, text: string(c)}
	}
	return Rank{class: others, text: item}
}

// Compare returns -1, 0 or 1 as r comes before s, neither comes first, or s before r.
func (r Rank) Compare(s Rank) int {
	if c := cmp.Compare(r.class, s.class); c != 0 {
		return c
	}
	switch r.class {
	case numbers:
		return r.number.compare(s.number)
	case instants:
		return r.instant.Compare(s.instant)
	}
	return strings.Compare(r.text, s.text)
}

func (a number) compare(b number) int {
	switch {
	case a.fraction && b.fraction:
		return cmp.Compare(a.f, b.f)
	case a.fraction:
		return -b.compare(a)
	case b.fraction:
		return a.compareFloat(b.f)
	case a.negative != b.negative:
		if a.negative {
			return -1
		}
		return 1
	case a.negative:
		return cmp.Compare(b.n, a.n)
	}
	return cmp.Compare(a.n, b.n)
}

// compareFloat compares an integer with a floating-point number, exactly.
func (a number) compareFloat(f float64) int {
	if math.IsNaN(f) {
		return 1
	}
	if f >= 1<<64 {
		return -1
	}
	if f < -1<<64 {
		return 1
	}
	n := new(big.Int).SetUint64(a.n)
	if a.negative {
		n.Not(n)
	}
	return new(big.Float).SetInt(n).Cmp(big.NewFloat(f))
}

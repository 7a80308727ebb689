package document

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/go-multiproc/multiproc/internal/codec"
)

// What operations fail with.
var (
	// ErrType: there is something else than the operation, or the next step, needs.
	ErrType = errors.New("document: wrong type")
	// ErrRange: an array has no such index.
	ErrRange = errors.New("document: index out of range")
	// ErrOverflow: a sum does not fit in the type of number that was asked for.
	ErrOverflow = errors.New("document: overflow")
	// ErrMalformed: a value is no CBOR.
	ErrMalformed = errors.New("document: malformed value")
)

// A Path is the steps that lead to a part of a value, each an encoded item: in a map the key, in an array the index, which counts from the
// end if it is negative. The empty path is the value itself.
type Path [][]byte

// A spot is where a path leads.
type spot struct {
	steps      int // of the path, that were gone; not all, where something is missing
	found      bool
	start, end int // of the item; where it is missing, of the null in its place, or empty, where it would have to be inserted
	in         int // where the container begins of which the item is part; -1 if it is the whole value
	head       codec.Head
	pair       int // where the item's key begins, in a map
}

// find follows a path.
func find(doc []byte, p Path) (s spot, err error) {
	s = spot{found: len(doc) > 0, end: len(doc), in: -1}
	for i, step := range p {
		if !s.found {
			return s, nil
		}
		if codec.IsNull(doc[s.start:]) {
			s.found = false
			return s, nil
		}
		at := s.start
		h, err := codec.ReadHead(doc[at:])
		if err != nil {
			return s, malformed(err)
		}
		s.steps, s.in, s.head = i+1, at, h
		switch h.Major {
		case codec.Map:
			err = s.key(doc, at, step)
		case codec.Array:
			err = s.index(doc, at, step)
		default:
			return s, fmt.Errorf("%w: step %d of the path goes into a %v", ErrType, i+1, h.Major)
		}
		if err != nil {
			return s, err
		}
	}
	return s, nil
}

// key looks for a key in the map that begins at at.
func (s *spot) key(doc []byte, at int, key []byte) error {
	s.found = false
	at += s.head.Size
	wanted := Match(key) // once: the map may have millions of keys, and this one be as long as all of them
	for n := uint64(0); s.head.Indefinite || n < s.head.Arg; n++ {
		if s.head.Indefinite && at < len(doc) && doc[at] == 0xff {
			break
		}
		value, err := after(doc, at)
		if err != nil {
			return err
		}
		end, err := after(doc, value)
		if err != nil {
			return err
		}
		if wanted.equal(doc[at:value]) {
			s.found, s.pair, s.start, s.end = true, at, value, end
			return nil
		}
		at = end
	}
	s.pair, s.start, s.end = at, at, at
	return nil
}

// index looks for an element of the array that begins at at.
func (s *spot) index(doc []byte, at int, step []byte) error {
	i, err := integer(step)
	if err != nil {
		return fmt.Errorf("%w: an array has indexes, and step %d of the path is none", ErrType, s.steps)
	}
	n := int64(s.head.Arg)
	if s.head.Indefinite || n < 0 {
		if n, err = count(doc, at+s.head.Size, s.head); err != nil {
			return err
		}
	}
	if i < 0 {
		i += n
	}
	if i < 0 || i >= n {
		return fmt.Errorf("%w: step %d of the path is index %s of an array of %d", ErrRange, s.steps, show(step), n)
	}
	at += s.head.Size
	for range i {
		if at, err = after(doc, at); err != nil {
			return err
		}
	}
	s.found, s.pair, s.start = true, at, at
	s.end, err = after(doc, at)
	return err
}

// count counts the items of an array whose items begin at at.
func count(doc []byte, at int, h codec.Head) (n int64, err error) {
	for ; h.Indefinite || uint64(n) < h.Arg; n++ {
		if h.Indefinite && at < len(doc) && doc[at] == 0xff {
			break
		}
		if at, err = after(doc, at); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// after returns where the item ends that begins at at.
func after(doc []byte, at int) (int, error) {
	rest, err := codec.Skip(doc[at:])
	if err != nil {
		return 0, malformed(err)
	}
	return len(doc) - len(rest), nil
}

// untyped returns doc with ordinary arrays in the place of typed ones, into which no path leads and to which nothing can be appended.
func untyped(doc []byte) []byte {
	if plain, err := codec.Untyped(doc); err == nil {
		return plain
	}
	return doc // what is wrong with it shows where it is read
}

// whole makes sure that b is one item.
func whole(b []byte) error {
	switch rest, err := codec.Skip(b); {
	case err != nil:
		return malformed(err)
	case len(rest) > 0:
		return fmt.Errorf("%w: %d bytes behind its end", ErrMalformed, len(rest))
	}
	return nil
}

// check makes sure that what is to become part of a value will leave it one item.
func check(p Path, item []byte) error {
	for _, step := range p {
		if err := whole(step); err != nil {
			return err
		}
	}
	return whole(item)
}

func malformed(err error) error { return fmt.Errorf("%w: %w", ErrMalformed, err) }

func integer(item []byte) (int64, error) {
	h, err := codec.ReadHead(item)
	switch {
	case err != nil:
		return 0, malformed(err)
	case h.Major == codec.Uint && int64(h.Arg) >= 0:
		return int64(h.Arg), nil
	case h.Major == codec.Nint && int64(h.Arg) >= 0:
		return ^int64(h.Arg), nil
	}
	return 0, ErrType
}

func show(item []byte) string {
	n, err := integer(item)
	if err != nil {
		return "?"
	}
	return fmt.Sprint(n)
}

// Get returns the item that the path leads to, usually as part of doc's memory; ok is false if there is none. An array that has no such index is
// ErrRange.
func Get(doc []byte, p Path) (item []byte, ok bool, err error) {
	doc = untyped(doc)
	s, err := find(doc, p)
	if err != nil || !s.found {
		return nil, false, err
	}
	return doc[s.start:s.end:s.end], true, nil
}

// Set returns a copy of doc in which item stands where the path leads. Where a map on the way, or doc itself, is missing or null, one
// is made. An array must have the index.
func Set(doc []byte, p Path, item []byte) ([]byte, error) {
	if err := check(p, item); err != nil {
		return nil, err
	}
	doc = untyped(doc)
	s, err := find(doc, p)
	if err != nil {
		return nil, err
	}
	return s.put(doc, p, item), nil
}

// put returns a copy of doc with item at the spot.
func (s *spot) put(doc []byte, p Path, item []byte) []byte {
	rest := p[s.steps:] // maps that have to be made
	if s.found {
		return splice(doc, s.start, s.end, item)
	}
	var b bytes.Buffer
	if s.start == s.end && s.in >= 0 { // a new key
		b.Write(p[s.steps-1])
	}
	for _, step := range rest {
		codec.WriteHead(&b, codec.Map, 1)
		b.Write(step)
	}
	b.Write(item)
	if s.start == s.end && s.in >= 0 {
		return s.resize(splice(doc, s.start, s.end, b.Bytes()), 1)
	}
	return splice(doc, s.start, s.end, b.Bytes())
}

func splice(doc []byte, start, end int, item []byte) []byte {
	to := make([]byte, 0, len(doc)-(end-start)+len(item)+8)
	to = append(to, doc[:start]...)
	to = append(to, item...)
	return append(to, doc[end:]...)
}

// resize changes the number that the container's head says.
func (s *spot) resize(doc []byte, by int) []byte {
	if s.head.Indefinite {
		return doc
	}
	var b bytes.Buffer
	codec.WriteHead(&b, s.head.Major, s.head.Arg+uint64(by))
	return splice(doc, s.in, s.in+s.head.Size, b.Bytes())
}

// Delete returns a copy of doc without what the path leads to, which must not be empty; existed is false if there is none, and then nothing has changed. Elements of an array behind it move up.
func Delete(doc []byte, p Path) (changed []byte, existed bool, err error) {
	doc = untyped(doc)
	s, err := find(doc, p)
	if err != nil || !s.found || s.in < 0 {
		return doc, false, err
	}
	return s.resize(splice(doc, s.pair, s.end, nil), -1), true, nil
}

// Append returns a copy of doc in which the array that the path leads to has the elements of another one at its end, and how many it then has. If
// there is nothing, or null, the array is made.
func Append(doc []byte, p Path, elements []byte) (changed []byte, n int64, err error) {
	if err := check(p, elements); err != nil {
		return nil, 0, err
	}
	doc, elements = untyped(doc), untyped(elements)
	s, err := find(doc, p)
	if err != nil {
		return nil, 0, err
	}
	h, err := codec.ReadHead(elements)
	if err != nil {
		return nil, 0, malformed(err)
	}
	if h.Major != codec.Array || h.Indefinite {
		return nil, 0, fmt.Errorf("%w: what is to be appended is no array of definite length", ErrType)
	}
	if !s.found || codec.IsNull(doc[s.start:s.end]) {
		return s.put(doc, p, elements), int64(h.Arg), nil
	}
	to, err := codec.ReadHead(doc[s.start:s.end])
	if err != nil {
		return nil, 0, malformed(err)
	}
	if to.Major != codec.Array {
		return nil, 0, fmt.Errorf("%w: appending to a %v", ErrType, to.Major)
	}
	if n, err = count(doc, s.start+to.Size, to); err != nil {
		return nil, 0, err
	}
	end := s.end
	if to.Indefinite {
		end-- // before the break
	}
	whole := spot{in: s.start, head: to}
	return whole.resize(splice(doc, end, end, elements[h.Size:]), int(h.Arg)), n + int64(h.Arg), nil
}

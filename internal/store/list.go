package store

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// A List is a sequence of values. A negative index counts from the end, as in Python: -1
// is the last. An index that the list does not have is ErrRange. A range is given by two indexes, the second one past its end; as in Python, what
// lies outside the list is left out, and a range whose end lies before its beginning is empty. Its methods are safe for
// concurrent use and never wait for anybody; sessions are passed as to a Dict's.
//
// An array is a List whose length does not change: methods that would change it are ErrInvalid.
type List struct {
	self  *object
	graph *graph
	fixed bool

	mu      guard
	rope    rope
	bytes   int64
	version uint64 // counts changes

	watching
}

func newList([]uint64) (body, error) { return &List{}, nil }

// MaxArray is how many values an array may have.
const MaxArray = 1 << 28

// null is what an array's values are at first, unless it is made with another value: CBOR's null, which decodes into the zero value of every type.
const null = "\xf6"

// MaxFirst bounds the size in bytes of the value with which an array is made.
const MaxFirst = 4 << 10

// ArrayParams are the parameters of an array of n values that are all first in the beginning; "" is null. Parameters are numbers, so first is put into some: its length,
// and its bytes, eight in each. Whoever opens an array by its name need not agree on it.
func ArrayParams(n uint64, first string) []uint64 {
	if first == "" || first == null {
		return []uint64{n}
	}
	params := []uint64{n, uint64(len(first))}
	for len(first) > 0 {
		var word [8]byte
		first = first[copy(word[:], first):]
		params = append(params, binary.BigEndian.Uint64(word[:]))
	}
	return params
}

// firstOf takes first out of such parameters.
func firstOf(params []uint64) (string, error) {
	if len(params) < 2 {
		return null, nil
	}
	n, words := params[1], params[2:]
	if n == 0 || n > MaxFirst || (n+7)/8 != uint64(len(words)) {
		return "", fmt.Errorf("%w: the value that an array has at first can have 1 to %d bytes", ErrInvalid, MaxFirst)
	}
	var b []byte
	for _, w := range words {
		b = binary.BigEndian.AppendUint64(b, w)
	}
	return string(b[:n]), nil
}

func newArray(params []uint64) (body, error) {
	if len(params) == 0 || params[0] > MaxArray {
		return nil, fmt.Errorf("%w: an array is made with its length, 0 to %d", ErrInvalid, MaxArray)
	}
	first, err := firstOf(params)
	if err != nil {
		return nil, err
	}
	l := &List{fixed: true}
	l.rope.fill(int(params[0]), item{data: first})
	l.bytes = int64(l.rope.n) * int64(len(first))
	return l, nil
}

func (l *List) place(self *object, g *graph) {
	l.self, l.graph = self, g
	l.mu.place(self, l)
}

// List returns the list with that id, to which the session must hold a reference.
func (s *Session) List(id ID) (*List, error) { return bodyOf[*List](s, id, KindList) }

// Array returns the array with that id, to which the session must hold a reference.
func (s *Session) Array(id ID) (*List, error) { return bodyOf[*List](s, id, KindArray) }

// Len returns the number of values.
func (l *List) Len() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.rope.n
}

// Size returns the number of values, and about how many bytes they have.
func (l *List) Size() (values, bytes int64) { return l.size() }

// Version returns a number that every change of the list changes.
func (l *List) Version() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.version
}

func (l *List) size() (entries, bytes int64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return int64(l.rope.n), l.bytes
}

// indexLocked makes an index of one that may be negative.
func (l *List) indexLocked(i int64) (int, error) {
	at, n := i, int64(l.rope.n)
	if at < 0 {
		at += n
	}
	if at < 0 || at >= n {
		what := "a list"
		if l.fixed {
			what = "an array"
		}
		return 0, fmt.Errorf("%w: index %d of %s of %d", ErrRange, i, what, n)
	}
	return int(at), nil
}

// span makes a range of one whose ends may be negative or outside.
func span(i, j int64, limit int) (from, to int) {
	n := int64(limit)
	if i < 0 {
		i = max(i+n, 0)
	}
	if j < 0 {
		j += n
	}
	from = int(min(i, n))
	return from, max(int(max(min(j, n), 0)), from)
}

// Get returns the value at i.
func (l *List) Get(s *Session, i int64) (Value, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	at, err := l.indexLocked(i)
	if err != nil {
		return Value{}, err
	}
	it := l.rope.get(at)
	return s.value(it.data, it.refs)
}

// items makes items of values that the session wants to store.
func (s *Session) items(values []Value) ([]item, error) {
	items := make([]item, len(values))
	for i, v := range values {
		m, err := s.mention(v.Refs)
		if err != nil {
			return nil, err
		}
		items[i] = item{v.Data, m}
	}
	return items, nil
}

// Append adds values at the end, all at one moment.
func (l *List) Append(s *Session, values []Value) error {
	if err := l.growable(); err != nil {
		return err
	}
	items, err := s.items(values)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.appendLocked(items)
	return nil
}

func (l *List) growable() error {
	if l.fixed {
		return fmt.Errorf("%w: the length of an array does not change", ErrInvalid)
	}
	return nil
}

// Set replaces the value at i.
func (l *List) Set(s *Session, i int64, v Value) error {
	m, err := s.mention(v.Refs)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	at, err := l.indexLocked(i)
	if err != nil {
		return err
	}
	l.setLocked(at, item{v.Data, m})
	return nil
}

// Edit lets f decide what becomes of the value at i, and returns the one that was there if the verdict asks for it.
func (l *List) Edit(s *Session, i int64, f Editor) (old Value, ok bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, err := l.indexLocked(i)
	if err != nil {
		return Value{}, false, err
	}
	it := *l.rope.get(at)
	verdict, err := f(Value{it.data, it.refs.ids()}, true)
	if err != nil {
		return Value{}, false, err
	}
	var m *mentions
	switch verdict.Do {
	case Put:
		if m, err = s.mention(verdict.Value.Refs); err != nil {
			return Value{}, false, err
		}
	case Remove:
		if err := l.growable(); err != nil {
			return Value{}, false, err
		}
	}
	if verdict.Fetch {
		if old, err = s.value(it.data, it.refs); err != nil {
			return Value{}, false, err
		}
	}
	switch verdict.Do {
	case Put:
		l.setLocked(at, item{verdict.Value.Data, m})
	case Remove:
		l.removeLocked(at)
	}
	return old, verdict.Fetch, nil
}

// Insert puts a value before the one at i; i may be the length, which appends.
func (l *List) Insert(s *Session, i int64, v Value) error {
	if err := l.growable(); err != nil {
		return err
	}
	m, err := s.mention(v.Refs)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.rope.n
	if i != int64(at) {
		if at, err = l.indexLocked(i); err != nil {
			return err
		}
	}
	l.insertLocked(at, item{v.Data, m})
	return nil
}

// Pop takes the value at i out.
func (l *List) Pop(s *Session, i int64) (Value, error) {
	v, _, err := l.Edit(s, i, func(Value, bool) (Verdict, error) { return Verdict{Do: Remove, Fetch: true}, nil })
	return v, err
}

// Splice replaces a range by values, which may be more or fewer, and returns how many there were.
func (l *List) Splice(s *Session, i, j int64, values []Value) (removed int, err error) {
	items, err := s.items(values)
	if err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	from, to := span(i, j, l.rope.n)
	if l.fixed && to-from != len(items) {
		return 0, fmt.Errorf("%w: %d values of an array cannot be replaced by %d", ErrInvalid, to-from, len(items))
	}
	l.spliceLocked(from, to, items)
	return to - from, nil
}

// Extend appends the values that another list has at this moment.
func (l *List) Extend(from *List) error {
	if err := l.growable(); err != nil {
		return err
	}
	demand := growth(from)
	if err := l.self.ledger.admit(demand); err != nil {
		return err
	}
	defer l.self.ledger.done(demand)
	n := from.Snapshot()
	defer n.Free()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.appendLocked(slices.Concat(n.items...))
	return nil
}

// Replace replaces everything, if the list still has that version, and reports whether it did.
func (l *List) Replace(s *Session, version uint64, values []Value) (bool, error) {
	items, err := s.items(values)
	if err != nil {
		return false, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fixed && len(items) != l.rope.n {
		return false, fmt.Errorf("%w: the %d values of an array cannot be replaced by %d", ErrInvalid, l.rope.n, len(items))
	}
	if l.version != version {
		return false, nil
	}
	l.spliceLocked(0, l.rope.n, items)
	return true, nil
}

// Fill gives all places of an array one value.
func (l *List) Fill(s *Session, v Value) error {
	m, err := s.mention(v.Refs)
	if err != nil {
		return err
	}
	// It is one value, but each place counts, since each can be set to another that is not smaller.
	demand := Demand{Bytes: int64(l.Len()) * sizeOf(v.Data, m), Record: sizeOf(v.Data, m)}
	if m != nil {
		demand.Record *= int64(l.Len())
	}
	if err := l.self.ledger.admit(demand); err != nil {
		return err
	}
	defer l.self.ledger.done(demand)
	l.mu.Lock()
	defer l.mu.Unlock()
	if m != nil {
		items := slices.Repeat([]item{{v.Data, m}}, l.rope.n)
		l.spliceLocked(0, l.rope.n, items)
		return nil
	}
	l.fillLocked(item{data: v.Data})
	return nil
}

// Find returns the index of the first value in a range for which f is true, -1 if there is none. f must not block. What others change meanwhile
// makes no difference.
func (l *List) Find(i, j int64, f func(data string) bool) int {
	found := 0
	l.through(func(r *rope) { found = r.first(i, j, f) })
	return found
}

// inLock is how many values are gone through with the list locked, and of how many bytes.
const inLock, inLockBytes = 4096, 1 << 20

// through calls f with the values as they are now: with the list locked, if they are few, and otherwise beside those who change it.
func (l *List) through(f func(r *rope)) {
	l.mu.RLock()
	if l.rope.n <= inLock && l.bytes <= inLockBytes {
		defer l.mu.RUnlock()
		f(&l.rope)
		return
	}
	l.mu.RUnlock()
	r, _ := l.still()
	f(&r)
}

// still returns the values as they are now, and the version. While somebody goes through many, nobody has to wait.
func (l *List) still() (r rope, version uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r = l.rope
	r.chunks = l.rope.snapshot()
	return r, l.version
}

func (r *rope) first(i, j int64, f func(data string) bool) int {
	from, to := span(i, j, r.n)
	found := -1
	r.each(from, to, func(i int, it *item) bool {
		if f(it.data) {
			found = i
		}
		return found < 0
	})
	return found
}

// RemoveFirst removes the first value for which f is true, and reports whether there is one. f must not block.
func (l *List) RemoveFirst(f func(data string) bool) (bool, error) {
	tries := 0
	if err := l.growable(); err != nil {
		return false, err
	}
	for n, bytes := l.size(); n > inLock || bytes > inLockBytes; n, bytes = l.size() {
		if tries++; tries > 3 { // as with Arrange
			break
		}
		r, version := l.still()
		i := r.first(0, toEnd, f)
		if i < 0 {
			return false, nil
		}
		l.mu.Lock()
		if l.version == version {
			l.removeLocked(i)
			l.mu.Unlock()
			return true, nil
		}
		l.mu.Unlock()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	i := l.rope.first(0, toEnd, f)
	if i >= 0 {
		l.removeLocked(i)
	}
	return i >= 0, nil
}

// Clear removes everything.
func (l *List) Clear() error {
	if err := l.growable(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spliceLocked(0, l.rope.n, nil)
	return nil
}

// Reverse reverses the order.
func (l *List) Reverse() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reverseLocked()
}

// Arrange puts the values in another order, in which f puts what it is given; data returns a value by its place. f may take long, and is called
// again when the list has changed meanwhile.
func (l *List) Arrange(f func(n int, data func(i int) string) (order []int)) {
	order := func(items []item) []int {
		return f(len(items), func(i int) string { return items[i].data })
	}
	// With the list locked for all that time nobody could even read it. But who never gets through has to.
	for range 3 {
		l.mu.Lock()
		version, chunks := l.version, l.rope.snapshot()
		l.mu.Unlock()
		places := order(slices.Concat(chunks...))
		l.mu.Lock()
		if l.version == version {
			l.arrangeLocked(places)
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.arrangeLocked(order(slices.Concat(l.rope.chunks...)))
}

// Every change of the values is one of the following. They take new references before they drop old ones: what is mentioned by both must not be
// freed in between.

func (l *List) setLocked(at int, it item) {
	if w := l.mu.note(effectListSet); w != nil {
		w.Uint(uint64(at))
		noteItems(w, it)
	}
	l.graph.link(l.self, it.refs)
	old := l.rope.set(at, it)
	l.bytes += sizeOf(it.data, it.refs) - sizeOf(old.data, old.refs)
	l.graph.unlink(l.self, old.refs)
	l.noteLocked(at, at+1)
}

func (l *List) appendLocked(items []item) {
	if len(items) == 0 {
		return
	}
	noteItems(l.mu.note(effectListAppend), items...)
	n := l.rope.n
	for _, it := range items {
		l.graph.link(l.self, it.refs)
		l.rope.append(it)
		l.bytes += sizeOf(it.data, it.refs)
	}
	l.noteLocked(n, toEnd)
}

func (l *List) insertLocked(at int, it item) {
	if w := l.mu.note(effectListInsert); w != nil {
		w.Uint(uint64(at))
		noteItems(w, it)
	}
	l.graph.link(l.self, it.refs)
	l.rope.insert(at, it)
	l.bytes += sizeOf(it.data, it.refs)
	l.noteLocked(at, toEnd)
}

func (l *List) removeLocked(at int) {
	l.mu.note(effectListRemove).Uint(uint64(at))
	old := l.rope.remove(at)
	l.bytes -= sizeOf(old.data, old.refs)
	l.graph.unlink(l.self, old.refs)
	l.noteLocked(at, toEnd)
}

func (l *List) spliceLocked(from, to int, items []item) {
	if from == to && len(items) == 0 {
		return
	}
	if w := l.mu.note(effectListSplice); w != nil {
		w.Uint(uint64(from))
		w.Uint(uint64(to))
		noteItems(w, items...)
	}
	for _, it := range items {
		l.graph.link(l.self, it.refs)
		l.bytes += sizeOf(it.data, it.refs)
	}
	for _, old := range l.rope.splice(from, to, items) {
		l.bytes -= sizeOf(old.data, old.refs)
		l.graph.unlink(l.self, old.refs)
	}
	if len(items) == to-from {
		l.noteLocked(from, to)
	} else {
		l.noteLocked(from, toEnd)
	}
}

// fillLocked gives all places a value without references.
func (l *List) fillLocked(it item) {
	noteItems(l.mu.note(effectListFill), it)
	for _, c := range l.rope.chunks {
		for i := range c {
			l.graph.unlink(l.self, c[i].refs)
		}
	}
	l.rope.fill(l.rope.n, it)
	l.bytes = int64(l.rope.n) * int64(len(it.data))
	l.noteLocked(0, l.rope.n)
}

// arrangeLocked puts the same items in another order: at each place the one that was at that place so far.
func (l *List) arrangeLocked(places []int) {
	if w := l.mu.note(effectListArrange); w != nil {
		for _, at := range places {
			w.Uint(uint64(at))
		}
	}
	was := slices.Concat(l.rope.chunks...)
	items := make([]item, len(was))
	for i, at := range places {
		items[i] = was[at]
	}
	l.rope.splice(0, l.rope.n, items)
	l.noteLocked(0, len(items))
}

func (l *List) reverseLocked() {
	l.mu.note(effectListReverse)
	items := slices.Concat(l.rope.chunks...)
	slices.Reverse(items)
	l.rope.splice(0, l.rope.n, items)
	l.noteLocked(0, len(items))
}

// noteLocked notes a change of the values from an index up to before another.
func (l *List) noteLocked(from, to int) {
	l.version++
	if l.watches != nil {
		l.changedSpan(from, to)
	}
}

// Snapshot returns the list as it is now, in time that hardly depends on its size.
func (l *List) Snapshot() *Snapshot { return l.Slice(0, toEnd) }

// Slice returns a range as it is now.
func (l *List) Slice(i, j int64) *Snapshot {
	l.mu.Lock()
	defer l.mu.Unlock()
	from, to := span(i, j, l.rope.n)
	n := &Snapshot{
		graph:  l.graph,
		pin:    l.graph.pin(l.self),
		size:   to - from,
		valued: true,
	}
	if from == to {
		return n
	}
	first, offset := l.rope.find(from)
	last, end := l.rope.find(to - 1)
	n.items = l.rope.snapshot()[first : last+1]
	n.items[len(n.items)-1] = n.items[len(n.items)-1][:end+1]
	n.items[0] = n.items[0][offset:]
	return n
}

// watch begins to watch the list.
func (l *List) watch() *Watch {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.watching.begin(l.graph, l.self, nil)
}

func (l *List) unwatch(w *Watch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watching.end(w)
}

func (l *List) String() string { return fmt.Sprintf("list %d", l.self.id) }

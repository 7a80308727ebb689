package store

import "slices"

// A rope is a sequence in chunks, so that inserting in the middle moves a chunk and not
// everything, taking from either end moves nothing, and a snapshot takes only the chunks'
// slice headers. It is not safe for concurrent use. Chunks are copied before they are
// changed in place if a snapshot may see them.
type rope struct {
	chunks [][]item // none is empty, none longer than itemsPerChunk
	copied []uint64 // by chunk: the epoch in which it was made or last copied
	epoch  uint64   // counts snapshots
	n      int
	ragged bool // some chunk other than the last may not be full

	filling []item // what fill has made: chunks that are this one have not been changed since; nil if there are none
}

const itemsPerChunk = 512

type item struct {
	data string
	refs *mentions
}

// find returns the chunk and the offset in it of index i, 0 <= i < n. It walks from the
// nearer end, past the chunks' lengths only: 2000 steps for the middle of two million.
func (r *rope) find(i int) (chunk, offset int) {
	if !r.ragged {
		return i / itemsPerChunk, i % itemsPerChunk
	}
	if i < r.n/2 {
		for c, items := range r.chunks {
			if i < len(items) {
				return c, i
			}
			i -= len(items)
		}
	}
	i = r.n - i // counted from the end: 1 is the last
	for c := len(r.chunks) - 1; ; c-- {
		if i <= len(r.chunks[c]) {
			return c, len(r.chunks[c]) - i
		}
		i -= len(r.chunks[c])
	}
}

// get returns the item at i. It is good until the next change.
func (r *rope) get(i int) *item {
	c, o := r.find(i)
	return &r.chunks[c][o]
}

// set replaces the item at i and returns what was there.
func (r *rope) set(i int, it item) (old item) {
	c, o := r.find(i)
	r.own(c)
	old = r.chunks[c][o]
	r.chunks[c][o] = it
	return old
}

// own makes sure that no snapshot sees the chunk.
func (r *rope) own(c int) {
	if r.copied[c] != r.epoch {
		r.chunks[c] = append(make([]item, 0, cap(r.chunks[c])), r.chunks[c]...)
		r.copied[c] = r.epoch
	}
}

func (r *rope) append(it item) {
	last := len(r.chunks) - 1
	if last < 0 || len(r.chunks[last]) == itemsPerChunk {
		r.chunks = append(r.chunks, nil)
		r.copied = append(r.copied, r.epoch)
		last++
	}
	// No copy for a snapshot's sake: its slice ends before the new item. But a pop may
	// have freed a place that a snapshot still sees; then pop has clipped the chunk.
	r.chunks[last] = append(r.chunks[last], it)
	r.n++
}

// insert puts the item before index i, 0 <= i <= n.
func (r *rope) insert(i int, it item) {
	if i == r.n {
		r.append(it)
		return
	}
	c, o := r.find(i)
	if c < len(r.chunks)-1 || len(r.chunks[c]) == itemsPerChunk {
		r.ragged = true
	}
	if len(r.chunks[c]) == itemsPerChunk {
		if o == 0 {
			// At an edge a new chunk will do; filling a list from its front would
			// otherwise leave every chunk half empty.
			if c == 0 || len(r.chunks[c-1]) == itemsPerChunk {
				r.chunks = slices.Insert(r.chunks, c, []item{it})
				r.copied = slices.Insert(r.copied, c, r.epoch)
				r.n++
				return
			}
			c--
			o = len(r.chunks[c])
		} else {
			full := r.chunks[c]
			half := itemsPerChunk / 2
			left := append(make([]item, 0, itemsPerChunk), full[:half]...)
			right := append(make([]item, 0, itemsPerChunk), full[half:]...)
			r.chunks[c] = left
			r.copied[c] = r.epoch
			r.chunks = slices.Insert(r.chunks, c+1, right)
			r.copied = slices.Insert(r.copied, c+1, r.epoch)
			if o > half {
				c, o = c+1, o-half
			}
		}
	}
	r.own(c)
	r.chunks[c] = slices.Insert(r.chunks[c], o, it)
	r.n++
}

// remove takes the item at i out and returns it.
func (r *rope) remove(i int) item {
	c, o := r.find(i)
	items := r.chunks[c]
	old := items[o]
	r.n--
	r.ragged = r.n > 0 && (r.ragged || c < len(r.chunks)-1)
	switch shared := r.copied[c] != r.epoch; {
	case len(items) == 1:
		r.chunks = slices.Delete(r.chunks, c, c+1)
		r.copied = slices.Delete(r.copied, c, c+1)
	case o == 0:
		if !shared {
			items[0] = item{}
		}
		r.chunks[c] = items[1:]
	case o == len(items)-1:
		if !shared {
			items[o] = item{}
			r.chunks[c] = items[:o]
		} else {
			r.chunks[c] = items[:o:o] // the next append must not write where a snapshot reads
		}
	default:
		r.own(c)
		r.chunks[c] = slices.Delete(r.chunks[c], o, o+1)
	}
	return old
}

// splice replaces the items from i up to before j, 0 <= i <= j <= n, and returns them.
func (r *rope) splice(i, j int, with []item) (old []item) {
	if len(with) == j-i {
		return r.overwrite(i, with)
	}
	from := r.cut(i)
	to := r.cut(j)
	for _, c := range r.chunks[from:to] {
		old = append(old, c...)
	}
	r.n += len(with) - len(old)
	var chunks [][]item
	for len(with) > 0 {
		n := min(len(with), itemsPerChunk)
		chunks = append(chunks, slices.Clone(with[:n]))
		with = with[n:]
	}
	r.chunks = slices.Replace(r.chunks, from, to, chunks...)
	r.copied = slices.Replace(r.copied, from, to, slices.Repeat([]uint64{r.epoch}, len(chunks))...)
	// Otherwise many small changes would leave many small chunks.
	r.merge(from + len(chunks) - 1)
	r.merge(from - 1)
	r.ragged = false
	for _, c := range r.chunks[:max(len(r.chunks)-1, 0)] {
		if len(c) < itemsPerChunk {
			r.ragged = true
			break
		}
	}
	return old
}

// overwrite replaces the items from i on, as many as there are in with, and returns them.
func (r *rope) overwrite(i int, with []item) (old []item) {
	if len(with) == 0 {
		return nil
	}
	old = make([]item, 0, len(with))
	for c, o := r.find(i); len(with) > 0; c, o = c+1, 0 {
		r.own(c)
		part := r.chunks[c][o:]
		old = append(old, part[:min(len(part), len(with))]...)
		with = with[copy(part, with):]
	}
	return old
}

// cut makes a chunk begin at index i, 0 <= i <= n, and returns which.
func (r *rope) cut(i int) int {
	if i == r.n {
		return len(r.chunks)
	}
	c, o := r.find(i)
	if o == 0 {
		return c
	}
	r.ragged = true
	whole := r.chunks[c]
	r.chunks[c] = slices.Clone(whole[:o])
	r.copied[c] = r.epoch
	r.chunks = slices.Insert(r.chunks, c+1, slices.Clone(whole[o:]))
	r.copied = slices.Insert(r.copied, c+1, r.epoch)
	return c + 1
}

// merge makes one chunk of c and the next, if there are such and they fit.
func (r *rope) merge(c int) {
	if c < 0 || c+1 >= len(r.chunks) || len(r.chunks[c])+len(r.chunks[c+1]) > itemsPerChunk {
		return
	}
	r.chunks[c] = slices.Concat(r.chunks[c], r.chunks[c+1])
	r.copied[c] = r.epoch
	r.chunks = slices.Delete(r.chunks, c+1, c+2)
	r.copied = slices.Delete(r.copied, c+1, c+2)
}

// each calls f for the items from i up to before j, with their indexes, until f returns false.
func (r *rope) each(i, j int, f func(i int, it *item) bool) {
	if i >= j {
		return
	}
	c, o := r.find(i)
	for ; i < j; c, o = c+1, 0 {
		for ; i < j && o < len(r.chunks[c]); i, o = i+1, o+1 {
			if !f(i, &r.chunks[c][o]) {
				return
			}
		}
	}
}

// fill makes the rope n times the same item. All chunks are one, until they are changed.
func (r *rope) fill(n int, it item) {
	one := slices.Repeat([]item{it}, min(n, itemsPerChunk))
	*r = rope{n: n, epoch: r.epoch + 1, filling: one}
	for left := n; left > 0; left -= itemsPerChunk {
		m := min(left, itemsPerChunk)
		r.chunks = append(r.chunks, one[:m:m])
		r.copied = append(r.copied, r.epoch-1)
	}
}

// isFilling reports whether a chunk is what fill has made, of which each item is the same.
func isFilling(chunk, filling []item) bool {
	return len(chunk) > 0 && len(filling) > 0 && &chunk[0] == &filling[0]
}

// snapshot returns the items as they are now; it will not see later changes.
func (r *rope) snapshot() [][]item {
	r.epoch++
	return slices.Clone(r.chunks)
}

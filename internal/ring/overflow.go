package ring

import "github.com/go-multiproc/multiproc/internal/crash"

// overflow is the area where big messages are. Positions count bytes and never
// wrap (2^64 bytes take centuries); what is between overHead and overTail is in use.
type overflow struct {
	data     []byte
	page     uint64
	allocate func(off, n int) error
	free     func(off, n int)
}

// holds reports whether a message can be there.
func (o *overflow) holds(start, length uint64) bool {
	size := uint64(len(o.data))
	return size != 0 && length <= size && start%size <= size-length && start%o.page == 0
}

func (o *overflow) bytes(start, length uint64) []byte {
	from := start % uint64(len(o.data))
	return o.data[from : from+length : from+length]
}

// pages is length, rounded up.
func (o *overflow) pages(length uint64) uint64 { return (length + o.page - 1) / o.page * o.page }

// place is where a message of the length can stand, if there is room for it
// between tail and head.
func (o *overflow) place(head, tail, length uint64) (start, end uint64, ok bool) {
	size, need := uint64(len(o.data)), o.pages(length)
	if size == 0 || need > size {
		return 0, 0, false
	}
	start = tail
	if rest := size - tail%size; rest < need {
		start += rest // it does not run around the end
	}
	end = start + need
	return start, end, end-head <= size
}

// release takes the memory away from what is between the positions.
func (o *overflow) release(from, to uint64) {
	size := uint64(len(o.data))
	if to-from > size {
		from = to - size
	}
	for from != to {
		n := min(to-from, size-from%size)
		o.free(int(from%size), int(n))
		from += n
	}
}

// passed is called when the head has moved over big messages, the last of which
// ends at the position.
//
// Preconditions: the consumers' lock is held.
func (r *Ring) passed(end uint64) {
	from := r.overHead.Load()
	if end-from > uint64(len(r.over.data)) || end%r.over.page != 0 {
		return // not to be believed; a sweep puts it right
	}
	// First the memory, then the position: behind that, a producer writes.
	crash.At("queue.big.passed")
	r.over.release(from, end)
	crash.At("queue.big.released")
	r.overHead.Store(end)
}

// HasOverflow reports whether there is an overflow area.
func (r *Ring) HasOverflow() bool { return len(r.over.data) > 0 }

// SweepOverflow finds out what of the overflow area is in use, when a process died
// while it put or took a big message. It reports whether there is more room now.
//
// Preconditions: both locks are held.
func (r *Ring) SweepOverflow() (bool, error) {
	if !r.HasOverflow() {
		return false, nil
	}
	end := r.overTail.Load() / r.over.page * r.over.page
	start := end
	t := Place(r.tail.Load()).plain()
	h := Place(r.head.Load()).plain()
	if _, _, err := r.distance(h, t); err != nil {
		return false, err
	}
	for h.count() != t.count() {
		rec, err := r.record(h, t)
		if err != nil {
			return false, err
		}
		if rec.big {
			start = rec.start
			break
		}
		h = rec.to
	}
	from := r.overHead.Load()
	if from == start {
		return false, nil
	}
	r.passed(start)
	r.overHead.Store(start)
	return true, nil
}

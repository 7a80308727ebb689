package store

// What is kept of a queue: its messages, those that are leased included, which come back in the order in which they were put, and whether it was shut down. Who had taken
// messages and not said that they are done is gone with the server.

// The effects on a queue.
const (
	effectQueuePut       = firstEffect     // number, deliveries, value
	effectQueueRemove    = firstEffect + 1 // number
	effectQueueDelivered = firstEffect + 2 // number, deliveries
	effectQueueShut      = firstEffect + 3
)

// messageBytes is about what a message takes beyond its value.
const messageBytes = 48

func (q *Queue) weight() (entries, bytes int64) {
	n := int64(q.lenLocked() + len(q.leased))
	return n, q.bytes + q.out + n*messageBytes
}

func (q *Queue) notePut(it qitem) {
	if w := q.note(effectQueuePut); w != nil {
		w.Uint(it.seq)
		w.Uint(it.deliveries)
		noteValue(w, it.data, it.refs)
	}
}

func (q *Queue) noteRemove(it qitem) { q.note(effectQueueRemove).Uint(it.seq) }

func (q *Queue) noteDelivered(it qitem) {
	w := q.note(effectQueueDelivered)
	w.Uint(it.seq)
	w.Uint(it.deliveries)
}

func (q *Queue) dump(d *dump) {
	q.lock()
	d.begin()
	messages := make([]qitem, 0, q.lenLocked()+len(q.leased))
	for _, it := range q.leased {
		messages = append(messages, it)
	}
	for _, some := range []*deque[qitem]{&q.again, &q.items} {
		for i := range some.len() {
			messages = append(messages, *some.at(i))
		}
	}
	shut := q.shut
	q.unlock()
	for _, it := range messages {
		w := d.note(effectQueuePut)
		w.Uint(it.seq)
		w.Uint(it.deliveries)
		noteValue(w, it.data, it.refs)
		if !d.ok() {
			return
		}
	}
	if shut {
		d.note(effectQueueShut)
	}
}

func (q *Queue) replay(e effect, r *replayer) error {
	switch e {
	case effectQueuePut:
		it := qitem{seq: r.Uint(), deliveries: r.Uint()}
		it.data, it.refs = r.value()
		at, there := q.placeOf(it.seq)
		if r.Err() != nil || there {
			return r.Err()
		}
		q.graph.link(q.self, it.refs)
		q.bytes += sizeOf(it.data, it.refs)
		q.items.insert(at, it)
		q.seq = max(q.seq, it.seq)
	case effectQueueRemove:
		at, there := q.placeOf(r.Uint())
		if r.Err() != nil || !there {
			return r.Err()
		}
		it := q.items.remove(at)
		q.bytes -= sizeOf(it.data, it.refs)
		q.graph.unlink(q.self, it.refs)
	case effectQueueDelivered:
		at, there := q.placeOf(r.Uint())
		n := r.Uint()
		if r.Err() == nil && there {
			q.items.at(at).deliveries = n
		}
	case effectQueueShut:
		q.shut = true
	default:
		return errEffect
	}
	return r.Err()
}

// placeOf returns where the message of that number stands, or would stand. All are in items while the queue is loaded, in the order of
// their numbers.
func (q *Queue) placeOf(seq uint64) (at int, there bool) {
	from, to := 0, q.items.len()
	if to > 0 && q.items.at(to-1).seq < seq { // usually
		return to, false
	}
	for from < to {
		if middle := (from + to) / 2; q.items.at(middle).seq < seq {
			from = middle + 1
		} else {
			to = middle
		}
	}
	return from, from < q.items.len() && q.items.at(from).seq == seq
}

package store

// A deque is a sequence that grows and shrinks at both ends. The zero deque is empty. It is not safe for concurrent use.
type deque[T any] struct {
	ring []T // its length is a power of two
	head int
	n    int
}

// dequeKeep is the room that an empty deque keeps.
const dequeKeep = 64

func (d *deque[T]) len() int { return d.n }

func (d *deque[T]) at(i int) *T { return &d.ring[(d.head+i)&(len(d.ring)-1)] }

func (d *deque[T]) pushBack(v T) {
	d.grow()
	*d.at(d.n) = v
	d.n++
}

func (d *deque[T]) pushFront(v T) {
	d.grow()
	d.head = (d.head - 1) & (len(d.ring) - 1)
	d.ring[d.head] = v
	d.n++
}

// popFront takes the first out. There must be one.
func (d *deque[T]) popFront() T {
	var zero T
	v := d.ring[d.head]
	d.ring[d.head] = zero
	d.head = (d.head + 1) & (len(d.ring) - 1)
	if d.n--; d.n <= len(d.ring)/8 && len(d.ring) > dequeKeep {
		d.resize(len(d.ring) / 2)
	}
	return v
}

// insert puts one before the one at i. It moves those behind it.
func (d *deque[T]) insert(i int, v T) {
	d.pushBack(v)
	for j := d.n - 1; j > i; j-- {
		*d.at(j) = *d.at(j - 1)
	}
	*d.at(i) = v
}

// remove takes the one at i out. It moves those before it.
func (d *deque[T]) remove(i int) T {
	v := *d.at(i)
	for ; i > 0; i-- {
		*d.at(i) = *d.at(i - 1)
	}
	d.popFront()
	return v
}

func (d *deque[T]) grow() {
	if d.n == len(d.ring) {
		d.resize(max(8, 2*d.n))
	}
}

func (d *deque[T]) resize(size int) {
	ring := make([]T, size)
	for i := range d.n {
		ring[i] = *d.at(i)
	}
	d.ring, d.head = ring, 0
}

package duplex

import (
	"errors"

	"github.com/go-multiproc/multiproc/internal/crash"
	"github.com/go-multiproc/multiproc/internal/mem"
)

// ErrGarbage is in the error of an operation that found a position in the shared memory that the peer cannot have come to.
var ErrGarbage = errors.New("the peer has written garbage into the shared memory")

// A ring has one producer and one consumer. Its words, each on lines of its own, because each is written by one side often and by the
// other hardly ever:
//
//	tail     bytes written so far, ever; the producer's
//	head     bytes taken so far, ever; the consumer's
//	asleep   1: the consumer sleeps until there is something; the producer takes it back to 0 and rings
//	stalled  1: the producer sleeps until there is room; the consumer takes it back to 0 and rings
//
// Positions do not wrap around: 2^64 bytes take centuries. The byte at position p stands at p modulo the size, a power of two.
//
// Waking is Dekker's scheme: who goes to sleep stores its flag and then looks at the position; who moves a position stores it and then
// looks at the flag. Go's atomics are sequentially consistent, so at least one of the two sees the other.
type ring struct {
	tail, head, asleep, stalled *mem.Uint64

	data []byte
}

func (r *ring) size() uint64 { return uint64(len(r.data)) }

// A producer is the writing end of a ring.
type producer struct {
	ring
	at    uint64 // where it is: tail, but nobody else can change it
	taken uint64 // the consumer's position when last looked at
}

// look reads the consumer's position.
func (p *producer) look() error {
	head := p.head.Load()
	// Neither behind what it was, nor before what we have written.
	if head-p.taken > p.at-p.taken {
		return ErrGarbage
	}
	p.taken = head
	return nil
}

// write publishes as much of b as there is room for. bell: the consumer is to be woken.
func (p *producer) write(b []byte) (n int, bell bool, err error) {
	if uint64(len(b)) > p.size()-(p.at-p.taken) {
		if err := p.look(); err != nil {
			return 0, false, err
		}
	}
	n = int(min(uint64(len(b)), p.size()-(p.at-p.taken)))
	if n == 0 {
		return 0, false, nil
	}
	off := p.at & (p.size() - 1)
	first := int(min(uint64(n), p.size()-off))
	mem.Copy(p.data[off:off+uint64(first)], b[:first])
	if first < n {
		mem.Copy(p.data[:n-first], b[first:n])
	}
	crash.At("duplex-copied-in")
	p.at += uint64(n)
	p.tail.Store(p.at)
	crash.At("duplex-written")
	return n, p.asleep.Load() != 0 && p.asleep.Swap(0) != 0, nil
}

// room reports whether there is any, or a reason not to wait for it.
func (p *producer) room() bool {
	return p.at-p.head.Load() != p.size()
}

// stall says that the producer is about to sleep, and reports whether it must not, because there is room.
func (p *producer) stall() bool {
	p.stalled.Store(1)
	crash.At("duplex-stalled")
	return p.room()
}

// A consumer is the reading end of a ring.
type consumer struct {
	ring
	at      uint64 // where it is: head, but nobody else can change it
	written uint64 // the producer's position when last looked at
}

// read takes as many bytes as there are, at most len(b). bell: the producer is to be woken.
func (c *consumer) read(b []byte) (n int, bell bool, err error) {
	if uint64(len(b)) > c.written-c.at {
		tail := c.tail.Load()
		if tail-c.at > c.size() || tail-c.at < c.written-c.at {
			return 0, false, ErrGarbage
		}
		c.written = tail
	}
	n = int(min(uint64(len(b)), c.written-c.at))
	if n == 0 {
		return 0, false, nil
	}
	off := c.at & (c.size() - 1)
	first := int(min(uint64(n), c.size()-off))
	mem.Copy(b[:first], c.data[off:off+uint64(first)])
	if first < n {
		mem.Copy(b[first:n], c.data[:n-first])
	}
	crash.At("duplex-copied-out")
	c.at += uint64(n)
	c.head.Store(c.at)
	crash.At("duplex-read")
	// Not for every byte: a producer that is woken into a nearly full ring is asleep again soon. It cannot be
	// missed: who reads on comes to where half is free, and who does not read on owes nobody room.
	if c.stalled.Load() == 0 || c.written-c.at > c.size()/2 {
		return n, false, nil
	}
	return n, c.stalled.Swap(0) != 0, nil
}

// ready reports whether there is something to read, or a reason not to wait for it.
func (c *consumer) ready() bool { return c.tail.Load() != c.at }

// sleep says that the consumer is about to sleep, and reports whether it must not, because there is something.
func (c *consumer) sleep() bool {
	c.asleep.Store(1)
	crash.At("duplex-asleep")
	return c.ready()
}

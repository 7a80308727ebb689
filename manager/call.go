package manager

import (
	"fmt"
	"sync"

	"github.com/go-multiproc/multiproc/internal/codec"
	"github.com/go-multiproc/multiproc/internal/store"
)

// A call is one request and its reply. Calls are used again, with their memory: the reply that a call returns is good
// until free.
type call struct {
	op    uint64
	out   []byte // the request: frameSpace free bytes, then operation and arguments
	items int    // how many, the operation included

	id   uint64
	in   []byte        // the reply's payload
	err  error         // instead of a reply: the connection is down
	done chan struct{} // receives once, when in or err stands; not if the caller itself read the reply

	abandoned bool // guarded by client.mu: its caller is gone
}

// keepCall is the memory that a call which is not in use keeps.
const keepCall = 64 << 10

var calls = sync.Pool{New: func() any { return &call{done: make(chan struct{}, 1)} }}

// newCall begins a request.
func newCall(op uint64) *call {
	c := calls.Get().(*call)
	c.op = op
	if c.out == nil {
		c.out = make([]byte, frameSpace, 256)
	}
	c.out = appendUint(c.out[:frameSpace], op)
	c.items = 1
	return c
}

// free gives a call back that has ended or never begun.
func (c *call) free() {
	if cap(c.out) > keepCall {
		c.out = nil
	}
	if cap(c.in) > keepCall {
		c.in = nil
	}
	c.in = c.in[:0]
	c.id, c.err, c.abandoned = 0, nil, false
	calls.Put(c)
}

func (c *call) uint(n uint64) *call { c.items++; c.out = appendUint(c.out, n); return c }
func (c *call) uints(ns []uint64) *call {
	for _, n := range ns {
		c.uint(n)
	}
	return c
}
func (c *call) int(n int64) *call   { c.items++; c.out = appendInt(c.out, n); return c }
func (c *call) text(s string) *call { c.items++; c.out = appendText(c.out, s); return c }
func (c *call) bool(v bool) *call   { c.items++; c.out = appendBool(c.out, v); return c }
func (c *call) null() *call         { c.items++; c.out = append(c.out, itemNull); return c }

// raw adds an item that is encoded already.
func (c *call) raw(item []byte) *call { c.items++; c.out = append(c.out, item...); return c }

func (c *call) bytes(b []byte) *call {
	c.items++
	c.out = appendBytes(c.out, b)
	return c
}

func (c *call) value(v encoded) *call {
	c.items++
	c.out = appendValue(c.out, v.data, v.refs)
	return c
}

// A reply is what a call returned.
type reply struct {
	itemReader
	items int // that follow the code
}

// result takes the reply apart as far as its code. An error that the server returned is an error here.
func (c *call) result() (reply, error) {
	if c.err != nil {
		return reply{}, c.err
	}
	r := reply{itemReader: itemReader{b: c.in}}
	n := r.array()
	r.uint() // the id, by which it was found
	code := r.uint()
	r.items = n - 2
	if r.err != nil {
		return r, replyError(r.err)
	}
	if code == codeOK {
		return r, nil
	}
	f := failure{code, r.text()}
	if r.err != nil {
		return r, replyError(r.err)
	}
	return r, remoteError(&f)
}

func replyError(err error) error {
	return fmt.Errorf("manager: the server's reply cannot be read: %w", err)
}

// close checks that all of the reply was read as it should be.
func (r *reply) close() error {
	r.end()
	if r.err != nil {
		return replyError(r.err)
	}
	return nil
}

// mentioned calls f for each reference in the reply: the object that was made or found, or those in values. An array in a reply is always a value that mentions objects.
func (c *call) mentioned(f func(id store.ID)) {
	r, err := c.result()
	if err != nil {
		return
	}
	switch c.op {
	case opCreate, opOpen, opClaim, opCopy, opSetCombined:
		f(store.ID(r.uint()))
		return
	}
	for range r.items {
		if r.err != nil || len(r.b) == 0 {
			return
		}
		if codec.Major(r.b[0]>>5) != codec.Array {
			skipItem(&r.itemReader)
			continue
		}
		_, refs := r.value()
		for _, id := range refs {
			f(id)
		}
	}
}

func skipItem(r *itemReader) {
	h, err := codec.ReadHead(r.b)
	switch {
	case err != nil:
		r.fail("%w", err)
	case h.Major == codec.Bytes || h.Major == codec.Text:
		r.string(h.Major)
	default:
		r.b = r.b[h.Size:]
	}
}

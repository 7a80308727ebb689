package manager

import (
	"context"
	"fmt"

	"github.com/go-multiproc/multiproc/internal/store"
)

// ok reports whether the arguments have been read to the end and were right. If not, r.err says why, and the
// connection will end.
func (r *request) ok() bool {
	r.end()
	return r.err == nil
}

// found reads to the end of the request, and then finds what that is about.
func found[T any](r *request, find func() (T, error)) (v T, err error) {
	if !r.ok() {
		return v, r.err // which ends the connection, whatever the operation returns
	}
	return find()
}

// done replies with nothing.
func (r *request) done() error {
	p := r.newReply(r.id)
	p.send()
	return nil
}

func (r *request) number(n uint64) error {
	p := r.newReply(r.id)
	p.uint(n)
	p.send()
	return nil
}

// whether replies with yes or no.
func (r *request) whether(yes bool) error {
	p := r.newReply(r.id)
	p.bool(yes)
	p.send()
	return nil
}

// storedValue reads a value into memory of its own.
func (r *request) storedValue() store.Value {
	data, refs := r.itemReader.value()
	return store.Value{Data: string(data), Refs: refs}
}

func (r *request) cancelOther(context.Context) error {
	id := r.uint()
	if r.ok() {
		r.letGo(id)
		return r.done()
	}
	return nil
}

func (r *request) ping(context.Context) error {
	if r.ok() {
		return r.done()
	}
	return nil
}

func (r *request) shutdown(context.Context) error {
	if !r.ok() {
		return nil
	}
	err := r.done() // the farewell will write it
	r.server.stop("it was shut down")
	return err
}

func (r *request) create(context.Context) error {
	kind, layout := r.uint(), r.text()
	params := r.params(kind, 2)
	if !r.ok() {
		return nil
	}
	if kind > 255 {
		return fmt.Errorf("%w: there are no objects of kind %d", store.ErrInvalid, kind)
	}
	if err := checkOwn(kind, layout); err != nil {
		return err
	}
	id, err := r.store.Create(store.Kind(kind), layout, params...)
	if err != nil {
		return err
	}
	return r.number(uint64(id))
}

// params reads what an object is to be made with, behind a number of other arguments: numbers, and for an array also the value that it has at first.
func (r *request) params(kind uint64, behind int) []uint64 {
	n := r.items - behind
	if n < 0 || n > maxParams {
		r.fail("an object with %d parameters", n)
		return nil
	}
	params := make([]uint64, n)
	for i := range params {
		if i == 1 && store.Kind(kind) == store.KindArray {
			return store.ArrayParams(params[0], string(r.bytes()))
		}
		params[i] = r.uint()
	}
	return params
}

func (r *request) open(context.Context) error {
	name, kind, layout, create := r.text(), r.uint(), r.text(), r.bool()
	params := r.params(kind, 4)
	if !r.ok() {
		return nil
	}
	if kind > 255 {
		return fmt.Errorf("%w: there are no objects of kind %d", store.ErrInvalid, kind)
	}
	if err := checkOwn(kind, layout); err != nil {
		return err
	}
	id, err := r.store.Open(name, store.Kind(kind), layout, create, params...)
	if err != nil {
		return err
	}
	return r.number(uint64(id))
}

func (r *request) remove(context.Context) error {
	name := r.text()
	if !r.ok() {
		return nil
	}
	if err := r.server.store.Remove(name); err != nil {
		return err
	}
	return r.done()
}

func (r *request) release(context.Context) error {
	if r.items%2 != 0 {
		r.fail("a release of %d items", r.items)
		return nil
	}
	for range r.items / 2 {
		id, n := r.uint(), r.uint()
		if r.err != nil {
			return nil
		}
		if err := r.store.Release(store.ID(id), n); err != nil {
			return err
		}
	}
	if r.ok() {
		return r.done()
	}
	return nil
}

func (r *request) offer(context.Context) error {
	id := r.uint()
	if !r.ok() {
		return nil
	}
	token, err := r.store.Offer(store.ID(id))
	if err != nil {
		return err
	}
	p := r.newReply(r.id)
	p.bytes(token[:])
	p.send()
	return nil
}

func (r *request) token() (t store.Token) {
	b := r.bytes()
	if r.err == nil && len(b) != len(t) {
		r.fail("a token of %d bytes", len(b))
	}
	copy(t[:], b)
	return t
}

func (r *request) claim(context.Context) error {
	token := r.token()
	if !r.ok() {
		return nil
	}
	id, err := r.store.Claim(token)
	if err != nil {
		return err
	}
	return r.number(uint64(id))
}

func (r *request) withdraw(context.Context) error {
	token := r.token()
	if !r.ok() {
		return nil
	}
	r.store.Withdraw(token)
	return r.done()
}

// next replies with the next page of a snapshot that the session keeps.
func (r *request) next(context.Context) error {
	id := r.uint()
	if !r.ok() {
		return nil
	}
	n, err := r.store.Kept(id)
	if err != nil {
		return err
	}
	end, err := r.snapshotPage(n, id)
	if end {
		r.store.Discard(id)
	}
	return err
}

// snapshotPage replies with a page of a snapshot, and reports whether it was the last.
func (r *request) snapshotPage(n *store.Snapshot, id uint64) (end bool, err error) {
	// The page is gathered before the reply is begun: the snapshot may be large, and the session's mutex is not to be held for long.
	entries, size, end, err := gather(func(f func(string, store.Value) bool) (bool, error) { return n.Page(r.store, f) })
	if err != nil {
		return false, err
	}
	p := r.newLongReply(r.id, size)
	if end {
		id = 0
	}
	p.uint(id)
	for _, e := range entries {
		if n.Keyed() {
			p.key(e.key)
		}
		if n.Valued() {
			p.value(e.value)
		}
	}
	p.send()
	return end, nil
}

type pageEntry struct {
	key   string
	value store.Value
}

// gather collects entries until a page is full, and says how large it is.
func gather(page func(f func(string, store.Value) bool) (end bool, err error)) (entries []pageEntry, size int, end bool, err error) {
	end, err = page(func(key string, v store.Value) bool {
		entries = append(entries, pageEntry{key, v})
		size += len(key) + valueSize(v)
		return size < pageSize
	})
	return entries, size, end, err
}

func (r *request) optional(v store.Value, ok bool) error {
	p := r.newReply(r.id)
	if ok {
		p.value(v)
	} else {
		p.null()
	}
	p.send()
	return nil
}

// keys reads byte strings to the end of the request.
func (r *request) keys() [][]byte {
	keys := make([][]byte, 0, min(max(r.items-1, 0), len(r.b)))
	for range cap(keys) {
		keys = append(keys, r.bytes())
	}
	return keys
}

// giveBack drops references that the session was given for a reply which is not sent.
func (r *request) giveBack(refs []store.ID) {
	for _, id := range refs {
		r.store.Release(id, 1)
	}
}

// firstPage replies with the first page of a new snapshot, which the session keeps under the request's id if there are more.
func (r *request) firstPage(n *store.Snapshot) error {
	end, err := r.snapshotPage(n, r.id)
	if end || err != nil {
		n.Free()
		return err
	}
	return r.store.Keep(r.id, n)
}

package manager

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/go-multiproc/multiproc/internal/store"
)

// An operation does a request and replies. It reads all arguments before it does anything, checks with ok that they are what
// they should be, and keeps none of their memory. With store.NoWait it returns store.ErrBusy instead of waiting, and has done nothing. An
// error that it returns is the reply.
type operation func(r *request, ctx context.Context) error

// variable is the number of arguments where that varies.
const variable = -1

// operations has what the protocol's numbers stand for. Numbers between them have none.
var operations = [...]struct {
	do     operation
	args   int  // how many arguments it has
	silent bool // it may be sent without wanting a reply
}{
	opCancel:   {do: (*request).cancelOther, args: 1, silent: true},
	opPing:     {do: (*request).ping},
	opShutdown: {do: (*request).shutdown},
	opStats:    {do: (*request).stats},
	opCreate:   {do: (*request).create, args: 2},
	opOpen:     {do: (*request).open, args: 4},
	opRemove:   {do: (*request).remove, args: 1},
	opRelease:  {do: (*request).release, args: variable, silent: true},
	opOffer:    {do: (*request).offer, args: 1},
	opClaim:    {do: (*request).claim, args: 1},
	opWithdraw: {do: (*request).withdraw, args: 1, silent: true},
	opNext:     {do: (*request).next, args: 1},

	opDictLen:        {do: (*request).dictLen, args: 1},
	opDictGet:        {do: (*request).dictGet, args: 2},
	opDictSet:        {do: (*request).dictSet, args: 3},
	opDictDelete:     {do: (*request).dictDelete, args: 2},
	opDictGetMany:    {do: (*request).dictGetMany, args: variable},
	opDictSetMany:    {do: (*request).dictSetMany, args: variable},
	opDictDeleteMany: {do: (*request).dictDeleteMany, args: variable},
	opDictPage:       {do: (*request).dictPage, args: 2},
	opDictSnapshot:   {do: (*request).dictSnapshot, args: 1},
	opDictLease:      {do: (*request).dictLease, args: 2},
	opDictCommit:     {do: (*request).dictCommit, args: 2},

	opListLen:      {do: (*request).listLen, args: 1},
	opListGet:      {do: (*request).listGet, args: 2},
	opListSet:      {do: (*request).listSet, args: 3},
	opListAppend:   {do: (*request).listAppend, args: variable},
	opListInsert:   {do: (*request).listInsert, args: 3},
	opListPop:      {do: (*request).listPop, args: 2},
	opListSnapshot: {do: (*request).listSnapshot, args: 1},
}

// ok reports whether the arguments have been read to the end and were right. If not, r.err says why, and the
// connection will end.
func (r *request) ok() bool {
	r.end()
	return r.err == nil
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
	err := r.done()
	r.flush() // before the connection goes
	r.server.stop("it was shut down")
	return err
}

func (r *request) stats(context.Context) error {
	if !r.ok() {
		return nil
	}
	s := r.server.store.Stats()
	p := r.newLongReply(r.id, 0)
	for _, n := range []int64{s.Entries, s.Bytes, int64(s.Named), int64(s.Offers), int64(s.Sessions), int64(s.Leases)} {
		p.uint(uint64(n))
	}
	for _, k := range slices.Sorted(maps.Keys(s.Objects)) {
		p.uint(uint64(k))
		p.uint(uint64(s.Objects[k]))
	}
	p.send()
	return nil
}

func (r *request) create(context.Context) error {
	kind, layout := r.uint(), r.text()
	if !r.ok() {
		return nil
	}
	if kind > 255 {
		return fmt.Errorf("%w: there are no objects of kind %d", store.ErrInvalid, kind)
	}
	id, err := r.store.Create(store.Kind(kind), layout)
	if err != nil {
		return err
	}
	return r.number(uint64(id))
}

func (r *request) open(context.Context) error {
	name, kind, layout, create := r.text(), r.uint(), r.text(), r.bool()
	if !r.ok() {
		return nil
	}
	if kind > 255 {
		return fmt.Errorf("%w: there are no objects of kind %d", store.ErrInvalid, kind)
	}
	id, err := r.store.Open(name, store.Kind(kind), layout, create)
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
		p.value(e.value)
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
		size += len(key) + len(v.Data) + 10
		return size < pageSize
	})
	return entries, size, end, err
}

// dict and list read which object is meant.

func (r *request) dict() func() (*store.Dict, error) {
	id := store.ID(r.uint())
	return func() (*store.Dict, error) { return r.store.Dict(id) }
}

func (r *request) list() func() (*store.List, error) {
	id := store.ID(r.uint())
	return func() (*store.List, error) { return r.store.List(id) }
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

func (r *request) dictLen(context.Context) error {
	dict := r.dict()
	if !r.ok() {
		return nil
	}
	d, err := dict()
	if err != nil {
		return err
	}
	return r.number(uint64(d.Len()))
}

func (r *request) dictGet(context.Context) error {
	dict, key := r.dict(), r.bytes()
	if !r.ok() {
		return nil
	}
	d, err := dict()
	if err != nil {
		return err
	}
	v, ok, err := d.Get(r.store, key)
	if err != nil {
		return err
	}
	return r.optional(v, ok)
}

func (r *request) dictSet(ctx context.Context) error {
	dict, key, v := r.dict(), r.bytes(), r.storedValue()
	if !r.ok() {
		return nil
	}
	d, err := dict()
	if err != nil {
		return err
	}
	if err := d.Set(ctx, r.store, key, v); err != nil {
		return err
	}
	return r.done()
}

func (r *request) dictDelete(ctx context.Context) error {
	dict, key := r.dict(), r.bytes()
	if !r.ok() {
		return nil
	}
	d, err := dict()
	if err != nil {
		return err
	}
	existed, err := d.Delete(ctx, key)
	if err != nil {
		return err
	}
	p := r.newReply(r.id)
	p.bool(existed)
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

func (r *request) dictGetMany(context.Context) error {
	dict, keys := r.dict(), r.keys()
	if !r.ok() {
		return nil
	}
	d, err := dict()
	if err != nil {
		return err
	}
	values, err := d.GetMany(r.store, keys)
	if err != nil {
		return err
	}
	size := 0
	for _, v := range values {
		if v != nil {
			size += len(v.Data) + 10 + 10*len(v.Refs)
		}
	}
	if limit := r.server.options.maxMessage(); size > limit {
		for _, v := range values {
			if v != nil {
				r.giveBack(v.Refs)
			}
		}
		return &failure{codeTooLarge, fmt.Sprintf("the values of these %d keys have %d bytes, of which one reply can hold %d; ask for fewer", len(keys), size, limit)}
	}
	p := r.newLongReply(r.id, size)
	for _, v := range values {
		if v != nil {
			p.value(*v)
		} else {
			p.null()
		}
	}
	p.send()
	return nil
}

// giveBack drops references that the session was given for a reply which is not sent.
func (r *request) giveBack(refs []store.ID) {
	for _, id := range refs {
		r.store.Release(id, 1)
	}
}

func (r *request) dictSetMany(ctx context.Context) error {
	dict := r.dict()
	if r.items%2 != 1 {
		r.fail("%d keys and values", r.items-1)
		return nil
	}
	pairs := make([]store.Pair, 0, min(max(r.items/2, 0), len(r.b)))
	for range cap(pairs) {
		pairs = append(pairs, store.Pair{Key: r.bytes(), Value: r.storedValue()})
		if r.err != nil {
			return nil
		}
	}
	if !r.ok() {
		return nil
	}
	d, err := dict()
	if err != nil {
		return err
	}
	if err := d.SetMany(ctx, r.store, pairs); err != nil {
		return err
	}
	return r.done()
}

func (r *request) dictDeleteMany(ctx context.Context) error {
	dict, keys := r.dict(), r.keys()
	if !r.ok() {
		return nil
	}
	d, err := dict()
	if err != nil {
		return err
	}
	n, err := d.DeleteMany(ctx, keys)
	if err != nil {
		return err
	}
	return r.number(uint64(n))
}

func (r *request) dictPage(context.Context) error {
	dict, from := r.dict(), store.Cursor(r.uint())
	if !r.ok() {
		return nil
	}
	d, err := dict()
	if err != nil {
		return err
	}
	var next store.Cursor
	entries, size, end, err := gather(func(f func(string, store.Value) bool) (end bool, err error) {
		next, end, err = d.Page(r.store, from, f)
		return end, err
	})
	if err != nil {
		return err
	}
	if end {
		next = 0
	}
	p := r.newLongReply(r.id, size)
	p.uint(uint64(next))
	for _, e := range entries {
		p.key(e.key)
		p.value(e.value)
	}
	p.send()
	return nil
}

func (r *request) dictSnapshot(context.Context) error {
	dict := r.dict()
	if !r.ok() {
		return nil
	}
	d, err := dict()
	if err != nil {
		return err
	}
	return r.firstPage(d.Snapshot())
}

func (r *request) dictLease(ctx context.Context) error {
	dict, key := r.dict(), r.bytes()
	if !r.ok() {
		return nil
	}
	d, err := dict()
	if err != nil {
		return err
	}
	v, ok, err := d.Lease(ctx, r.store, key, r.id)
	if err != nil {
		return err
	}
	return r.optional(v, ok)
}

func (r *request) dictCommit(context.Context) error {
	lease, v := r.uint(), r.storedValue()
	if !r.ok() {
		return nil
	}
	if err := r.store.Commit(lease, v); err != nil {
		return err
	}
	return r.done()
}

func (r *request) listLen(context.Context) error {
	list := r.list()
	if !r.ok() {
		return nil
	}
	l, err := list()
	if err != nil {
		return err
	}
	return r.number(uint64(l.Len()))
}

func (r *request) listGet(context.Context) error {
	return r.listOne((*store.List).Get)
}

func (r *request) listPop(context.Context) error {
	return r.listOne((*store.List).Pop)
}

func (r *request) listOne(do func(*store.List, *store.Session, int64) (store.Value, error)) error {
	list, i := r.list(), r.int()
	if !r.ok() {
		return nil
	}
	l, err := list()
	if err != nil {
		return err
	}
	v, err := do(l, r.store, i)
	if err != nil {
		return err
	}
	return r.optional(v, true)
}

func (r *request) listSet(context.Context) error {
	return r.listPut((*store.List).Set)
}

func (r *request) listInsert(context.Context) error {
	return r.listPut((*store.List).Insert)
}

func (r *request) listPut(do func(*store.List, *store.Session, int64, store.Value) error) error {
	list, i, v := r.list(), r.int(), r.storedValue()
	if !r.ok() {
		return nil
	}
	l, err := list()
	if err != nil {
		return err
	}
	if err := do(l, r.store, i, v); err != nil {
		return err
	}
	return r.done()
}

func (r *request) listAppend(context.Context) error {
	list := r.list()
	values := make([]store.Value, 0, min(max(r.items-1, 0), len(r.b)))
	for range cap(values) {
		values = append(values, r.storedValue())
		if r.err != nil {
			return nil
		}
	}
	if !r.ok() {
		return nil
	}
	l, err := list()
	if err != nil {
		return err
	}
	if err := l.Append(r.store, values); err != nil {
		return err
	}
	return r.done()
}

func (r *request) listSnapshot(context.Context) error {
	list := r.list()
	if !r.ok() {
		return nil
	}
	l, err := list()
	if err != nil {
		return err
	}
	return r.firstPage(l.Snapshot())
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

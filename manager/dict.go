package manager

import (
	"context"
	"fmt"
	"iter"
	"reflect"
	"runtime"
	"time"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/store"
)

// A Dict is a map on the server, shared by everybody who has a handle to it. Its entries keep the order in which their keys
// first came.
//
// Keys are the same if their encodings are: 0.0 and -0.0 are two keys, and so is one instant in two time zones. Values are plain data, and
// may contain handles to objects of the same server (*Dict, *List, *Queue…, anywhere inside): they arrive as live handles, and the
// container keeps what they refer to. Other handles are refused.
//
// Every call is one round trip, and atomic. Reads never wait; a change of a key waits while somebody is in Update with that key. If ctx ends
// while a change is under way, the change may or may not take place.
//
// A *Dict is safe for concurrent use. It crosses to other processes in arguments and messages. An unreachable one closes itself.
type Dict[K comparable, V any] struct {
	_ noCopy
	h handle
}

// noCopy makes go vet complain about copies.
type noCopy struct{}

func (*noCopy) Lock()   {}
func (*noCopy) Unlock() {}

func (*Dict[K, V]) layout() string { return dictLayout[K, V]() }

func (*Dict[K, V]) elements() (store.Kind, []reflect.Type) {
	return store.KindDict, []reflect.Type{reflect.TypeFor[K](), reflect.TypeFor[V]()}
}

func dictLayout[K comparable, V any]() string {
	return describe(reflect.TypeFor[*Dict[K, V]]())
}

// NewDict makes an empty dict. It lives until the last handle in the last process is gone, and no container mentions it.
//
// K may not be, nor contain, a pointer, an interface, or a struct with unexported fields or others that an encoding would leave out (tagged `json:"-"`, two of one name).
func NewDict[K comparable, V any](m *Manager) (*Dict[K, V], error) {
	if err := checkKey(reflect.TypeFor[K](), "the key type of a Dict"); err != nil {
		return nil, err
	}
	d := new(Dict[K, V])
	if err := create(m, d, &d.h, store.KindDict, dictLayout[K, V]()); err != nil {
		return nil, err
	}
	return d, nil
}

// OpenDict returns the dict of that name, and makes it if there is none. It lives until Remove, whether or not anybody
// has a handle. If there is an object of that name which is not a dict, or one of another K or V, the error is ErrType. A name has 1 to
// 255 bytes.
func OpenDict[K comparable, V any](m *Manager, name string) (*Dict[K, V], error) {
	if err := checkKey(reflect.TypeFor[K](), "the key type of a Dict"); err != nil {
		return nil, err
	}
	d := new(Dict[K, V])
	if err := open(m, d, &d.h, name, store.KindDict, dictLayout[K, V]()); err != nil {
		return nil, err
	}
	return d, nil
}

// Close lets go of this handle; other handles are not touched. Calls after it fail with fs.ErrClosed. It is safe to call twice.
func (d *Dict[K, V]) Close() error { return d.h.close() }

// HandOver describes d to another process. It is for the packages of this module.
func (d *Dict[K, V]) HandOver(e *handover.Encoder) error {
	return d.h.handOver(e, store.KindDict, dictLayout[K, V]())
}

// TakeOver makes the zero Dict d what another process described. It is for the packages of this module.
func (d *Dict[K, V]) TakeOver(dec *handover.Decoder) error {
	return takeOver(d, &d.h, dec, store.KindDict, dictLayout[K, V]())
}

// begin begins a call.
func (d *Dict[K, V]) begin(op uint64) (*remote, *call, error) { return d.h.begin("Dict", op) }

// beginKey begins a call about one key. The key is returned as the request has it.
func (d *Dict[K, V]) beginKey(op uint64, k K) (*remote, *call, []byte, error) {
	r, cl, err := d.begin(op)
	if err != nil {
		return nil, nil, nil, err
	}
	key, err := addKey(cl, k)
	if err != nil {
		cl.free()
		return nil, nil, nil, err
	}
	return r, cl, key, nil
}

// addKey adds a key to a request, and returns it as the request has it; it is good until the next addition.
func addKey[K comparable](cl *call, k K) ([]byte, error) {
	from := len(cl.out)
	b, err := appendKey(cl.out, k)
	if err != nil {
		return nil, err
	}
	cl.out = b
	cl.items++
	return b[from:], nil
}

// Get returns the value of k; ok is false if there is none.
func (d *Dict[K, V]) Get(ctx context.Context, k K) (v V, ok bool, err error) {
	r, cl, _, err := d.beginKey(opDictGet, k)
	if err != nil {
		return v, false, err
	}
	defer runtime.KeepAlive(d)
	rep, err := r.do(ctx, cl)
	if err != nil {
		return v, false, err
	}
	defer cl.free()
	return readOptional[V](r.client, &rep)
}

// readOptional reads a value, or null where there is none.
func readOptional[V any](c *client, rep *reply) (v V, ok bool, err error) {
	if rep.null() {
		return v, false, rep.close()
	}
	v, err = readValue[V](c, rep)
	if err == nil {
		err = rep.close()
	}
	return v, err == nil, err
}

func readValue[V any](c *client, rep *reply) (v V, err error) {
	data, refs := rep.value()
	if rep.err != nil {
		return v, replyError(rep.err)
	}
	return decodeValue[V](c, data, refs)
}

// Set gives k the value v.
func (d *Dict[K, V]) Set(ctx context.Context, k K, v V) error {
	r, cl, key, err := d.beginKey(opDictSet, k)
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(d)
	if err := r.mayChange(key); err != nil {
		cl.free()
		return err
	}
	holds, err := addValue(r.client, cl, v, "value", -1)
	if err != nil {
		cl.free()
		return err
	}
	defer releaseAll(holds)
	return r.doNothingElse(ctx, cl)
}

// GetOr returns the value of k, or other if there is none.
func (d *Dict[K, V]) GetOr(ctx context.Context, k K, other V) (V, error) {
	v, ok, err := d.Get(ctx, k)
	if !ok {
		v = other
	}
	return v, err
}

// GetOrSet returns the value of k, and sets it to v if there is none; loaded says whether there was one. It waits only if there is none.
func (d *Dict[K, V]) GetOrSet(ctx context.Context, k K, v V) (actual V, loaded bool, err error) {
	actual, loaded, err = d.put(ctx, opDictGetOrSet, k, v)
	if !loaded && err == nil {
		actual = v
	}
	return actual, loaded, err
}

// Swap gives k the value v, and returns the one that it had; loaded says whether it had one.
func (d *Dict[K, V]) Swap(ctx context.Context, k K, v V) (old V, loaded bool, err error) {
	return d.put(ctx, opDictSwap, k, v)
}

// put sends a key and a value, and receives a value or none.
func (d *Dict[K, V]) put(ctx context.Context, op uint64, k K, v V) (old V, ok bool, err error) {
	r, cl, key, err := d.beginKey(op, k)
	if err != nil {
		return old, false, err
	}
	defer runtime.KeepAlive(d)
	if err := r.mayChange(key); err != nil {
		cl.free()
		return old, false, err
	}
	holds, err := addValue(r.client, cl, v, "value", -1)
	if err != nil {
		cl.free()
		return old, false, err
	}
	defer releaseAll(holds)
	rep, err := r.do(ctx, cl)
	if err != nil {
		return old, false, err
	}
	defer cl.free()
	return readOptional[V](r.client, &rep)
}

// CompareAndSwap gives k the value wanted if it has the value expected, and reports whether it had. How values are compared is said at Place.CompareAndSwap.
func (d *Dict[K, V]) CompareAndSwap(ctx context.Context, k K, expected, wanted V) (swapped bool, err error) {
	return d.At(k).CompareAndSwap(ctx, expected, wanted)
}

// CompareAndDelete removes k if it has the value expected, and reports whether it had.
func (d *Dict[K, V]) CompareAndDelete(ctx context.Context, k K, expected V) (deleted bool, err error) {
	return d.At(k).CompareAndDelete(ctx, expected)
}

// At returns the place of k's value, through which parts of it can be got at.
func (d *Dict[K, V]) At(k K) Place[V] {
	key, err := appendKey(nil, k)
	return Place[V]{h: &d.h, what: "Dict", key: key, said: 'k', err: err}
}

// Contains reports whether k is there. It never waits.
func (d *Dict[K, V]) Contains(ctx context.Context, k K) (bool, error) {
	r, cl, _, err := d.beginKey(opDictHas, k)
	if err != nil {
		return false, err
	}
	defer runtime.KeepAlive(d)
	return r.doBool(ctx, cl)
}

// Pop removes k and returns its value; ok is false if there is none.
//
// If ctx ends while the call is under way, the value may be removed and lost. The same holds for PopItem.
func (d *Dict[K, V]) Pop(ctx context.Context, k K) (v V, ok bool, err error) {
	r, cl, key, err := d.beginKey(opDictPop, k)
	if err != nil {
		return v, false, err
	}
	defer runtime.KeepAlive(d)
	if err := r.mayChange(key); err != nil {
		cl.free()
		return v, false, err
	}
	rep, err := r.do(ctx, cl)
	if err != nil {
		return v, false, err
	}
	defer cl.free()
	return readOptional[V](r.client, &rep)
}

// PopItem removes the entry whose key came last and returns it; ok is false if the dict is empty. A key that somebody is updating is passed over, unless
// there is no other. From within Update it is ErrDeadlock.
func (d *Dict[K, V]) PopItem(ctx context.Context) (k K, v V, ok bool, err error) {
	r, cl, err := d.begin(opDictPopNewest)
	if err != nil {
		return k, v, false, err
	}
	defer runtime.KeepAlive(d)
	if err := r.mayChangeAny(); err != nil {
		cl.free()
		return k, v, false, err
	}
	rep, err := r.do(ctx, cl)
	if err != nil {
		return k, v, false, err
	}
	defer cl.free()
	if rep.items == 0 {
		return k, v, false, rep.close()
	}
	if k, err = readKey[K](&rep); err != nil {
		return k, v, false, discardRest(r.client, &rep, err)
	}
	if v, err = readValue[V](r.client, &rep); err == nil {
		err = rep.close()
	}
	return k, v, err == nil, err
}

// Clear removes everything, at one moment at which nobody is in Update. From within Update it is ErrDeadlock.
func (d *Dict[K, V]) Clear(ctx context.Context) error {
	r, cl, err := d.begin(opDictClear)
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(d)
	if err := r.mayChangeAny(); err != nil {
		cl.free()
		return err
	}
	return r.doNothingElse(ctx, cl)
}

// UpdateFrom gives all keys of another dict of the same manager the values that they have there, at one moment, and on the server: nothing travels. From a map, use
// BatchSet. It waits as that does, and is ErrDeadlock from within Update.
func (d *Dict[K, V]) UpdateFrom(ctx context.Context, other *Dict[K, V]) error {
	r, cl, err := d.begin(opDictMerge)
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(d)
	defer runtime.KeepAlive(other)
	if err := r.mayChangeAny(); err != nil {
		cl.free()
		return err
	}
	if err := addObject(cl, r, &other.h, "Dict"); err != nil {
		cl.free()
		return err
	}
	return r.doNothingElse(ctx, cl)
}

// Copy returns a new dict with the same entries and times to live, as they are at one moment. It is made on the server: nothing travels. It has no name.
func (d *Dict[K, V]) Copy(ctx context.Context) (*Dict[K, V], error) {
	to := new(Dict[K, V])
	if err := copyObject(ctx, &d.h, "Dict", to, &to.h); err != nil {
		return nil, err
	}
	runtime.KeepAlive(d)
	return to, nil
}

// SetTTL gives k the value v for a time: when that has passed, k is removed. While somebody is in Update with k it stays, until Update returns. ttl must be more than 0; it is not
// exceeded for readers by anything but the time that their call takes.
//
// Set, BatchSet, Swap and UpdateFrom give a value that stays; changes in place (Update, Add, CompareAndSwap, what is done at a Place) leave the time to live as it is.
func (d *Dict[K, V]) SetTTL(ctx context.Context, k K, v V, ttl time.Duration) error {
	if ttl <= 0 {
		return fmt.Errorf("manager: a time to live of %v: it must be more than 0", ttl)
	}
	r, cl, key, err := d.beginKey(opDictSetFor, k)
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(d)
	if err := r.mayChange(key); err != nil {
		cl.free()
		return err
	}
	holds, err := addValue(r.client, cl, v, "value", -1)
	if err != nil {
		cl.free()
		return err
	}
	defer releaseAll(holds)
	return r.doNothingElse(ctx, cl.uint(uint64(ttl)))
}

// Expire lets k live for that time from now on, and reports whether it is there. ttl must be more than 0.
func (d *Dict[K, V]) Expire(ctx context.Context, k K, ttl time.Duration) (ok bool, err error) {
	if ttl <= 0 {
		return false, fmt.Errorf("manager: a time to live of %v: it must be more than 0; Persist ends one", ttl)
	}
	return d.expire(ctx, k, ttl)
}

// Persist lets k live until it is removed, and reports whether it is there.
func (d *Dict[K, V]) Persist(ctx context.Context, k K) (ok bool, err error) {
	return d.expire(ctx, k, 0)
}

func (d *Dict[K, V]) expire(ctx context.Context, k K, ttl time.Duration) (ok bool, err error) {
	r, cl, key, err := d.beginKey(opDictExpire, k)
	if err != nil {
		return false, err
	}
	defer runtime.KeepAlive(d)
	if err := r.mayChange(key); err != nil {
		cl.free()
		return false, err
	}
	return r.doBool(ctx, cl.uint(uint64(ttl)))
}

// TTL returns how long k has to live, 0 if until it is removed; ok is false if it is not there.
func (d *Dict[K, V]) TTL(ctx context.Context, k K) (left time.Duration, ok bool, err error) {
	r, cl, _, err := d.beginKey(opDictTTL, k)
	if err != nil {
		return 0, false, err
	}
	defer runtime.KeepAlive(d)
	rep, err := r.do(ctx, cl)
	if err != nil {
		return 0, false, err
	}
	defer cl.free()
	if rep.null() {
		return 0, false, rep.close()
	}
	left = time.Duration(rep.uint())
	err = rep.close()
	return left, err == nil, err
}

// Delete removes k, and reports whether it was there.
func (d *Dict[K, V]) Delete(ctx context.Context, k K) (existed bool, err error) {
	r, cl, key, err := d.beginKey(opDictDelete, k)
	if err != nil {
		return false, err
	}
	defer runtime.KeepAlive(d)
	if err := r.mayChange(key); err != nil {
		cl.free()
		return false, err
	}
	rep, err := r.do(ctx, cl)
	if err != nil {
		return false, err
	}
	defer cl.free()
	existed = rep.bool()
	return existed, rep.close()
}

// Len returns the number of keys.
func (d *Dict[K, V]) Len(ctx context.Context) (int, error) {
	r, cl, err := d.begin(opDictLen)
	if err != nil {
		return 0, err
	}
	defer runtime.KeepAlive(d)
	return r.doInt(ctx, cl)
}

// Update gives k the value that f makes of the present one (ok is false if there is none) and returns it. It is atomic: from
// the moment at which the value was read for f until Update returns nobody else can change k, and others who want to, in this process or another,
// wait. Reading is possible all the time, and yields the old value.
//
// If f returns an error, Update returns that error and nothing changes. The same holds if f panics, if ctx ends before f returns, and if the process dies: whoever
// waits goes on with the old value.
//
// f runs in this process, once. It may use the manager and even change other keys; two processes that each update a key and in f change
// the other's wait for each other, until a ctx ends. Changing k itself from within f is ErrDeadlock.
func (d *Dict[K, V]) Update(ctx context.Context, k K, f func(v V, ok bool) (V, error)) (V, error) {
	var zero V
	r, cl, key, err := d.beginKey(opDictLease, k)
	if err != nil {
		return zero, err
	}
	defer runtime.KeepAlive(d)
	return update(ctx, r, cl, key, f)
}

// update does the call, which leases a key, and then the rest of an Update.
func update[V any](ctx context.Context, r *remote, cl *call, key []byte, f func(v V, ok bool) (V, error)) (V, error) {
	var zero V
	c := r.client
	if err := r.mayChange(key); err != nil {
		cl.free()
		return zero, err
	}
	note := leased{r.id, string(key)}
	rep, err := r.do(ctx, cl)
	if err != nil {
		return zero, err
	}
	defer c.noteUpdate(note)()
	lease := cl.id
	committed := false
	defer func() {
		if !committed { // also when f panics
			c.notify(newCall(opCancel).uint(lease))
		}
	}()
	v, ok, err := readOptional[V](c, &rep)
	cl.free()
	if err != nil {
		return zero, err
	}
	if v, err = f(v, ok); err != nil {
		return zero, err
	}
	if err := ctx.Err(); err != nil {
		return zero, err
	}
	cl = newCall(opDictCommit).uint(lease)
	holds, err := addValue(c, cl, v, "value", -1)
	if err != nil {
		cl.free()
		return zero, err
	}
	defer releaseAll(holds)
	if err := r.doNothingElse(ctx, cl); err != nil {
		return zero, err
	}
	committed = true
	return v, nil
}

// BatchGet returns the values of those keys that are there, in one round trip and at one moment.
func (d *Dict[K, V]) BatchGet(ctx context.Context, keys []K) (map[K]V, error) {
	r, cl, err := d.begin(opDictGetMany)
	if err != nil {
		return nil, err
	}
	defer runtime.KeepAlive(d)
	if err := addKeys(cl, keys); err != nil {
		cl.free()
		return nil, err
	}
	rep, err := r.do(ctx, cl)
	if err != nil {
		return nil, err
	}
	defer cl.free()
	found := make(map[K]V)
	for _, k := range keys {
		v, ok, err := readOne[V](r.client, &rep)
		if err != nil {
			return nil, discardRest(r.client, &rep, err)
		}
		if ok {
			found[k] = v
		}
	}
	return found, rep.close()
}

func readOne[V any](c *client, rep *reply) (v V, ok bool, err error) {
	if rep.null() {
		return v, false, nil
	}
	v, err = readValue[V](c, rep)
	return v, err == nil, err
}

func addKeys[K comparable](cl *call, keys []K) error {
	for _, k := range keys {
		if _, err := addKey(cl, k); err != nil {
			return err
		}
	}
	return nil
}

// BatchSet sets all the entries, in one round trip and at one moment: nobody sees some of them set and others not. It waits
// until nobody is in Update with any of the keys.
func (d *Dict[K, V]) BatchSet(ctx context.Context, entries map[K]V) error {
	r, cl, err := d.begin(opDictSetMany)
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(d)
	var holds []*remote
	defer func() { releaseAll(holds) }()
	for k, v := range entries {
		key, err := addKey(cl, k)
		if err == nil {
			err = r.mayChange(key)
		}
		if err == nil {
			var more []*remote
			more, err = addValue(r.client, cl, v, "value", -1)
			holds = append(holds, more...)
		}
		if err != nil {
			cl.free()
			return fmt.Errorf("%w (of key %v)", err, k)
		}
	}
	return r.doNothingElse(ctx, cl)
}

// BatchDelete removes all the keys, in one round trip and at one moment, and returns how many were there. It waits as BatchSet does.
func (d *Dict[K, V]) BatchDelete(ctx context.Context, keys []K) (int, error) {
	r, cl, err := d.begin(opDictDeleteMany)
	if err != nil {
		return 0, err
	}
	defer runtime.KeepAlive(d)
	for _, k := range keys {
		key, err := addKey(cl, k)
		if err == nil {
			err = r.mayChange(key)
		}
		if err != nil {
			cl.free()
			return 0, err
		}
	}
	return r.doInt(ctx, cl)
}

// Each calls f for every entry, in order, and returns the error that f or the reading ended with. It reads page by page and holds
// nothing meanwhile: an entry that is there all the time is seen exactly once; one that comes or goes meanwhile, once or not at all.
// f may use d.
func (d *Dict[K, V]) Each(ctx context.Context, f func(k K, v V) error) error {
	defer runtime.KeepAlive(d)
	var from uint64
	for {
		r, cl, err := d.begin(opDictPage)
		if err != nil {
			return err
		}
		rep, err := r.do(ctx, cl.uint(from))
		if err != nil {
			return err
		}
		from, err = eachEntry(r.client, &rep, f)
		cl.free()
		if err != nil || from == 0 {
			return err
		}
	}
}

// eachEntry calls f for each entry of a page, and returns the number that the page begins with.
func eachEntry[K comparable, V any](c *client, rep *reply, f func(k K, v V) error) (next uint64, err error) {
	next = rep.uint()
	for range (rep.items - 1) / 2 {
		k, err := readKey[K](rep)
		if err != nil {
			return 0, discardRest(c, rep, err)
		}
		v, err := readValue[V](c, rep)
		if err == nil {
			err = f(k, v)
		}
		if err != nil {
			return next, discardRest(c, rep, err)
		}
	}
	return next, rep.close()
}

func readKey[K comparable](rep *reply) (k K, err error) {
	key := rep.bytes()
	if rep.err != nil {
		return k, replyError(rep.err)
	}
	return decodeKey[K](key)
}

// discardRest gives back the references in the part of a reply that nobody wants, and returns err.
func discardRest(c *client, rep *reply, err error) error {
	for rep.err == nil && len(rep.b) > 0 {
		skipOrRelease(c, &rep.itemReader)
	}
	return err
}

// Snapshot returns all the entries as they are at one moment.
func (d *Dict[K, V]) Snapshot(ctx context.Context) (map[K]V, error) {
	m := make(map[K]V)
	defer runtime.KeepAlive(d)
	err := snapshot(ctx, &d.h, "Dict", opDictSnapshot, 2, func(c *client, rep *reply) error {
		k, err := readKey[K](rep)
		if err != nil {
			return err
		}
		v, err := readValue[V](c, rep)
		m[k] = v
		return err
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// All iterates over the entries as Each does. If ctx ends or the server is down the iteration ends early, and silently:
// an iterator has no place for an error. Where that matters, use Each or Snapshot, or look at ctx and make another call afterwards.
func (d *Dict[K, V]) All(ctx context.Context) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		d.Each(ctx, func(k K, v V) error {
			if !yield(k, v) {
				return errStop
			}
			return nil
		})
	}
}

// Keys iterates over the keys, as All does over the entries. The values do not travel.
func (d *Dict[K, V]) Keys(ctx context.Context) iter.Seq[K] {
	return func(yield func(K) bool) {
		defer runtime.KeepAlive(d)
		eachKey(ctx, &d.h, "Dict", opDictKeys, func(k K) error {
			if !yield(k) {
				return errStop
			}
			return nil
		})
	}
}

// eachKey calls f for every key of an object, page by page.
func eachKey[K comparable](ctx context.Context, h *handle, what string, op uint64, f func(k K) error) error {
	var from uint64
	for {
		r, cl, err := h.begin(what, op)
		if err != nil {
			return err
		}
		rep, err := r.do(ctx, cl.uint(from))
		if err != nil {
			return err
		}
		from, err = keyPage(&rep, f)
		cl.free()
		if err != nil || from == 0 {
			return err
		}
	}
}

// keyPage calls f for each key of a page, and returns the number that the page begins with.
func keyPage[K comparable](rep *reply, f func(k K) error) (next uint64, err error) {
	next = rep.uint()
	for range rep.items - 1 {
		k, err := readKey[K](rep)
		if err == nil {
			err = f(k)
		}
		if err != nil {
			return 0, err
		}
	}
	return next, rep.close()
}

// Values iterates over the values, as All does over the entries.
func (d *Dict[K, V]) Values(ctx context.Context) iter.Seq[V] {
	return func(yield func(V) bool) {
		for _, v := range d.All(ctx) {
			if !yield(v) {
				return
			}
		}
	}
}

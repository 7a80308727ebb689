package manager

import (
	"context"
	"fmt"

	"github.com/go-multiproc/multiproc/internal/codec"
	"github.com/go-multiproc/multiproc/internal/document"
	"github.com/go-multiproc/multiproc/internal/store"
)

// What one can do to any object: copy it, watch it, and get at one value in it, or at a part of one.

func (r *request) copy(ctx context.Context) error {
	id := store.ID(r.uint())
	if !r.ok() {
		return nil
	}
	n, bytes, err := r.store.SizeOf(id)
	if err != nil {
		return err
	}
	var made store.ID
	err = long(ctx, n, bytes, func() (err error) { made, err = r.store.Copy(id); return err })
	if err != nil {
		return err
	}
	return r.number(uint64(made))
}

func (r *request) watch(context.Context) error {
	id, keys := store.ID(r.uint()), r.keys()
	if !r.ok() {
		return nil
	}
	if len(keys) == 0 {
		keys = nil
	}
	if err := r.store.Watch(id, r.id, keys); err != nil {
		return err
	}
	return r.done()
}

func (r *request) watchNext(ctx context.Context) error {
	id, arrived := r.uint(), r.uint()
	if !r.ok() {
		return nil
	}
	w, err := r.store.Watching(id)
	if err != nil {
		return err
	}
	type change struct {
		pageEntry
		ok bool
	}
	var changes []change
	size := 0
	report, err := w.Next(ctx, r.store, arrived, func(key string, v store.Value, ok bool) bool {
		changes = append(changes, change{pageEntry{key, v}, ok})
		size += len(key) + valueSize(v)
		return size < pageSize
	})
	if err != nil {
		return err
	}
	p := r.newLongReply(r.id, size)
	p.uint(report.Seq)
	p.bool(report.All)
	if report.Keyed {
		for _, c := range changes {
			p.key(c.key)
			if c.ok {
				p.value(c.value)
			} else {
				p.null()
			}
		}
	} else {
		p.uint(uint64(report.From))
		p.uint(uint64(report.To))
		p.uint(uint64(report.Len))
	}
	p.send()
	return nil
}

// A place is one value in an object, or a part of it.
type place struct {
	object store.ID
	kind   store.Kind
	key    []byte // of a dict, a namespace
	index  int64  // of a list, an array
	said   rune   // what was said: 'k' a key, 'i' an index, or 0 neither
	path   document.Path
}

// where reads the object and the entry in it.
func (r *request) where() (p place) {
	p.object = store.ID(r.uint())
	switch {
	case r.null():
	case len(r.b) > 0 && codec.Major(r.b[0]>>5) == codec.Bytes:
		p.said, p.key = 'k', r.bytes()
	default:
		p.said, p.index = 'i', r.int()
	}
	return p
}

// steps reads the path, to the end of the request, behind a number of other arguments.
func (r *request) steps(behind int) document.Path {
	n := min(max(r.items-behind, 0), len(r.b))
	if n == 0 {
		return nil
	}
	path := make(document.Path, 0, n)
	for range n {
		path = append(path, r.bytes())
	}
	return path
}

// find makes sure that the object has such places.
func (r *request) find(p *place) (err error) {
	if p.kind, err = r.store.KindOf(p.object); err != nil {
		return err
	}
	want := rune(0)
	switch p.kind {
	case store.KindDict, store.KindNamespace:
		want = 'k'
	case store.KindList, store.KindArray:
		want = 'i'
	case store.KindValue:
		p.key = store.CellKey
	default:
		return fmt.Errorf("%w: a %v has no values to be got at", store.ErrKind, p.kind)
	}
	if p.said != want {
		return fmt.Errorf("%w: a value in a %v is named by %s", store.ErrInvalid, p.kind,
			map[rune]string{'k': "its key", 'i': "its index", 0: "nothing"}[want])
	}
	return nil
}

// dictOf returns the dict in which a place is that has a key.
func (r *request) dictOf(p place) (*store.Dict, error) {
	switch p.kind {
	case store.KindNamespace:
		return r.store.Namespace(p.object)
	case store.KindValue:
		return r.store.Cell(p.object)
	}
	return r.store.Dict(p.object)
}

func (r *request) listOf(p place) (*store.List, error) {
	if p.kind == store.KindArray {
		return r.store.Array(p.object)
	}
	return r.store.List(p.object)
}

// edit edits the value at a place.
func (r *request) editPlace(ctx context.Context, p place, f store.Editor) error {
	if err := r.find(&p); err != nil {
		return err
	}
	g := func(old store.Value, ok bool) (store.Verdict, error) {
		if len(p.path) > 0 && len(old.Refs) > 0 {
			return store.Verdict{}, errThroughHandles
		}
		v, err := f(old, ok)
		if n := valueSize(v.Value); err == nil && v.Do == store.Put && n > r.server.options.maxMessage()+envelope-pageSize {
			err = tooLarge("what would stand there then", n, r.server.options)
		}
		return v, err
	}
	if p.said == 'i' {
		l, err := r.listOf(p)
		if err == nil {
			_, _, err = l.Edit(r.store, p.index, g)
		}
		return err
	}
	d, err := r.dictOf(p)
	if err == nil {
		_, _, err = d.Edit(ctx, r.store, p.key, g)
	}
	return err
}

var errThroughHandles = fmt.Errorf("%w: the value contains handles, into which no path leads; get the value, and use the handle", document.ErrType)

func (r *request) placeGet(context.Context) error {
	p := r.where()
	p.path = r.steps(2)
	if !r.ok() {
		return nil
	}
	if err := r.find(&p); err != nil {
		return err
	}
	whole := r.store
	if len(p.path) > 0 {
		whole = nil // which takes no references
	}
	var v store.Value
	ok := true
	if p.said == 'i' {
		l, err := r.listOf(p)
		if err != nil {
			return err
		}
		if v, err = l.Get(whole, p.index); err != nil {
			return err
		}
	} else {
		d, err := r.dictOf(p)
		if err != nil {
			return err
		}
		if v, ok, err = d.Get(whole, p.key); err != nil {
			return err
		}
	}
	if len(p.path) > 0 && ok {
		if len(v.Refs) > 0 {
			return errThroughHandles
		}
		item, found, err := document.Get([]byte(v.Data), p.path)
		if err != nil {
			return err
		}
		v, ok = store.Value{Data: string(item)}, found
	}
	return r.optional(v, ok)
}

func (r *request) placeSet(ctx context.Context) error {
	p := r.where()
	v := r.storedValue()
	p.path = r.steps(3)
	if !r.ok() {
		return nil
	}
	if len(p.path) > 0 && len(v.Refs) > 0 {
		return fmt.Errorf("%w: a value with handles cannot be part of another; set the whole", document.ErrType)
	}
	err := r.editPlace(ctx, p, func(old store.Value, _ bool) (store.Verdict, error) {
		if len(p.path) == 0 {
			return store.Verdict{Do: store.Put, Value: v}, nil
		}
		doc, err := document.Set([]byte(old.Data), p.path, []byte(v.Data))
		return putDocument(doc), err
	})
	if err != nil {
		return err
	}
	return r.done()
}

func putDocument(doc []byte) store.Verdict {
	return store.Verdict{Do: store.Put, Value: store.Value{Data: string(doc)}}
}

func (r *request) placeDelete(ctx context.Context) error {
	p := r.where()
	p.path = r.steps(2)
	if !r.ok() {
		return nil
	}
	existed := false
	err := r.editPlace(ctx, p, func(old store.Value, ok bool) (store.Verdict, error) {
		if len(p.path) == 0 || !ok {
			existed = ok
			return store.Verdict{Do: store.Remove}, nil
		}
		doc, found, err := document.Delete([]byte(old.Data), p.path)
		if existed = found; !found {
			return store.Verdict{}, err
		}
		return putDocument(doc), err
	})
	if err != nil {
		return err
	}
	return r.whether(existed)
}

func (r *request) placeAdd(ctx context.Context) error {
	p := r.where()
	t, delta := document.NumberType(r.uint()), r.bytes()
	p.path = r.steps(4)
	if !r.ok() {
		return nil
	}
	var sum []byte
	err := r.editPlace(ctx, p, func(old store.Value, _ bool) (store.Verdict, error) {
		var doc []byte
		var err error
		doc, sum, err = document.Add([]byte(old.Data), p.path, t, delta)
		return putDocument(doc), err
	})
	if err != nil {
		return err
	}
	return r.optional(store.Value{Data: string(sum)}, true)
}

func (r *request) placeAppend(ctx context.Context) error {
	p := r.where()
	elements := r.bytes()
	p.path = r.steps(3)
	if !r.ok() {
		return nil
	}
	var n int64
	err := r.editPlace(ctx, p, func(old store.Value, _ bool) (store.Verdict, error) {
		if len(old.Refs) > 0 {
			return store.Verdict{}, errThroughHandles
		}
		var doc []byte
		var err error
		doc, n, err = document.Append([]byte(old.Data), p.path, elements)
		return putDocument(doc), err
	})
	if err != nil {
		return err
	}
	return r.number(uint64(n))
}

// compareAndSwap replies whether there was what was expected, and is now what was wanted instead; null stands for nothing.
func (r *request) compareAndSwap(ctx context.Context) error {
	p := r.where()
	expected, expects := r.valueOrNull()
	wanted, wants := r.valueOrNull()
	p.path = r.steps(4)
	if !r.ok() {
		return nil
	}
	if len(p.path) > 0 && len(wanted.Refs) > 0 {
		return fmt.Errorf("%w: a value with handles cannot be part of another; set the whole", document.ErrType)
	}
	swapped := false
	err := r.editPlace(ctx, p, func(old store.Value, ok bool) (store.Verdict, error) {
		there := []byte(old.Data)
		if len(p.path) > 0 && ok {
			var err error
			if there, ok, err = document.Get(there, p.path); err != nil {
				return store.Verdict{}, err
			}
		}
		swapped = ok == expects && (!ok || document.Equal(there, []byte(expected.Data)))
		switch {
		case !swapped || !ok && !wants:
			return store.Verdict{}, nil
		case len(p.path) == 0 && wants:
			return store.Verdict{Do: store.Put, Value: wanted}, nil
		case len(p.path) == 0:
			return store.Verdict{Do: store.Remove}, nil
		case wants:
			doc, err := document.Set([]byte(old.Data), p.path, []byte(wanted.Data))
			return putDocument(doc), err
		}
		doc, _, err := document.Delete([]byte(old.Data), p.path)
		return putDocument(doc), err
	})
	if err != nil {
		return err
	}
	return r.whether(swapped)
}

// valueOrNull reads a value, or a null that stands for none.
func (r *request) valueOrNull() (v store.Value, ok bool) {
	if r.null() {
		return store.Value{}, false
	}
	return r.storedValue(), true
}

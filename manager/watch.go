package manager

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"runtime"
	"sync"
)

// A Watch tells what changes in an object, from the moment at which it was made. So one who makes it first, and then reads the object, misses nothing.
//
// It is no log. Where something changes more often than the reader asks, it is told once, with what is there now; a reader who stays away costs the server some thousand keys,
// and is told then that everything may have changed. What a call returned and what was lost with a reply that never arrived are told apart: the latter are told again.
//
// A Watch is safe for concurrent use: each change goes to one caller. It ends with Close, with the handles' connection, and when nobody can reach it. It does not cross to other
// processes.
type Watch[E any] struct {
	state   *watchState
	read    func(c *client, rep *reply, all bool) ([]E, error)
	cleanup runtime.Cleanup

	next chan struct{} // holds one element while nobody waits
	news []E           // by the holder of that
}

// A watchState is what is to be given back.
type watchState struct {
	r    *remote // a hold on the object
	id   uint64
	once sync.Once
	gone chan struct{} // closed by Close

	arrived uint64 // by the holder of Watch.next
}

func (s *watchState) close() {
	s.once.Do(func() {
		close(s.gone)
		s.r.client.notify(newCall(opCancel).uint(s.id))
		s.r.release()
	})
}

// newWatch begins to watch an object.
func newWatch[E any](ctx context.Context, h *handle, what string, keys func(cl *call) error, read func(c *client, rep *reply, all bool) ([]E, error)) (*Watch[E], error) {
	r, cl, err := h.begin(what, opWatch)
	if err != nil {
		return nil, err
	}
	defer runtime.KeepAlive(h)
	if keys != nil {
		if err := keys(cl); err != nil {
			cl.free()
			return nil, err
		}
	}
	rep, err := r.do(ctx, cl)
	if err != nil {
		return nil, err
	}
	id := cl.id
	err = rep.close()
	cl.free()
	if err != nil {
		return nil, err
	}
	r.hold()
	w := &Watch[E]{state: &watchState{r: r, id: id, gone: make(chan struct{})}, read: read, next: make(chan struct{}, 1)}
	w.next <- struct{}{}
	w.cleanup = runtime.AddCleanup(w, func(s *watchState) { s.close() }, w.state)
	return w, nil
}

// errWatchClosed is the error of Next after Close.
var errWatchClosed = fmt.Errorf("manager: use of a closed Watch: %w", fs.ErrClosed)

// Next waits for the next change and returns it. If ctx ends the change stays to be told. After Close the error is fs.ErrClosed.
func (w *Watch[E]) Next(ctx context.Context) (e E, err error) {
	if w.state == nil {
		return e, errors.New("manager: use of a zero Watch: make one with the method Watch of an object")
	}
	select {
	case <-w.next:
	case <-w.state.gone:
		return e, errWatchClosed
	case <-ctx.Done():
		return e, ctx.Err()
	}
	defer func() { w.next <- struct{}{} }()
	for {
		select {
		case <-w.state.gone:
			return e, errWatchClosed
		default:
		}
		if len(w.news) > 0 {
			e = w.news[0]
			w.news = w.news[1:]
			return e, nil
		}
		if err := w.ask(ctx); err != nil {
			select {
			case <-w.state.gone:
				return e, errWatchClosed
			default:
			}
			return e, err
		}
	}
}

// ask waits for the server's next report.
func (w *Watch[E]) ask(ctx context.Context) error {
	s := w.state
	rep, cl, err := s.report(ctx)
	if err != nil {
		return err
	}
	defer cl.free()
	seq, all := rep.uint(), rep.bool()
	news, err := w.read(s.r.client, &rep, all)
	if err != nil {
		return discardRest(s.r.client, &rep, err)
	}
	if err := rep.close(); err != nil {
		return err
	}
	s.arrived, w.news = seq, news
	return nil
}

func (s *watchState) report(ctx context.Context) (reply, *call, error) {
	cl := newCall(opWatchNext).uint(s.id).uint(s.arrived)
	rep, err := s.r.do(ctx, cl)
	return rep, cl, err
}

// All iterates over the changes until ctx ends, the server is down, or the Watch is closed: the last element is that error, unless it is that of Close.
func (w *Watch[E]) All(ctx context.Context) iter.Seq2[E, error] {
	return func(yield func(E, error) bool) {
		for {
			e, err := w.Next(ctx)
			if err == errWatchClosed || !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// Close ends the watch, and Next wherever it waits. It is safe to call twice.
func (w *Watch[E]) Close() error {
	if w.state != nil {
		w.cleanup.Stop()
		w.state.close()
	}
	return nil
}

// A DictChange says that a key's value has changed.
type DictChange[K comparable, V any] struct {
	Key     K
	Value   V    // what it is now; zero if it is not Present
	Present bool // whether there is one; if not, the key was removed, or its time has passed

	// All says, instead of the above, that any key may have changed: Clear was called, or more keys have changed than the server keeps for a reader who is slow.
	// What was read of the dict is to be read again.
	All bool
}

// Watch begins to watch the dict: these keys, there or not, or all if none are given. See Watch.
func (d *Dict[K, V]) Watch(ctx context.Context, keys ...K) (*Watch[DictChange[K, V]], error) {
	return newWatch(ctx, &d.h, "Dict", func(cl *call) error { return addKeys(cl, keys) }, func(c *client, rep *reply, all bool) (news []DictChange[K, V], err error) {
		if all {
			return []DictChange[K, V]{{All: true}}, nil
		}
		for range (rep.items - 2) / 2 {
			var e DictChange[K, V]
			if e.Key, err = readKey[K](rep); err != nil {
				return nil, err
			}
			if e.Value, e.Present, err = readOne[V](c, rep); err != nil {
				return nil, err
			}
			news = append(news, e)
		}
		return news, nil
	})
}

// A SetChange says that an element came or went.
type SetChange[T comparable] struct {
	Element T
	Present bool // whether it is in the set now

	// All says, instead, that any element may have come or gone, as in DictChange.
	All bool
}

// Watch begins to watch the set: these elements, in it or not, or all if none are given. See Watch.
func (s *Set[T]) Watch(ctx context.Context, elements ...T) (*Watch[SetChange[T]], error) {
	return newWatch(ctx, &s.h, "Set", func(cl *call) error { return addKeys(cl, elements) }, func(_ *client, rep *reply, all bool) (news []SetChange[T], err error) {
		if all {
			return []SetChange[T]{{All: true}}, nil
		}
		for range (rep.items - 2) / 2 {
			var e SetChange[T]
			if e.Element, err = readKey[T](rep); err != nil {
				return nil, err
			}
			if e.Present = !rep.null(); e.Present {
				rep.bytes() // empty
			}
			news = append(news, e)
		}
		return news, nil
	})
}

// A NamespaceChange says that an attribute has changed.
type NamespaceChange struct {
	Name    string
	Present bool // whether there is one of that name now

	// All says, instead, that any attribute may have changed, as in DictChange.
	All bool
}

// Watch begins to watch the namespace: attributes of these names, there or not, or all if none are given. See Watch.
func (n *Namespace) Watch(ctx context.Context, names ...string) (*Watch[NamespaceChange], error) {
	return newWatch(ctx, &n.h, "Namespace", func(cl *call) error { return addKeys(cl, names) }, func(c *client, rep *reply, all bool) (news []NamespaceChange, err error) {
		if all {
			return []NamespaceChange{{All: true}}, nil
		}
		for range (rep.items - 2) / 2 {
			var e NamespaceChange
			if e.Name, err = readKey[string](rep); err != nil {
				return nil, err
			}
			if e.Present = !rep.null(); e.Present {
				skipOrRelease(c, &rep.itemReader)
			}
			news = append(news, e)
		}
		return news, nil
	})
}

// Watch begins to watch the value: each change yields what it is then; see Watch.
func (v *Value[T]) Watch(ctx context.Context) (*Watch[T], error) {
	return newWatch(ctx, &v.h, "Value", nil, func(c *client, rep *reply, all bool) (news []T, err error) {
		for range (rep.items - 2) / 2 {
			rep.bytes() // the key, which is empty
			now, _, err := readOne[T](c, rep)
			if err != nil {
				return nil, err
			}
			news = append(news, now)
		}
		return news, nil
	})
}

// A ListChange says in which part of a List or an Array values may be others.
type ListChange struct {
	From, To int // the range of indexes, the second one past its end, cut to what there is now
	Len      int // how many values there are now
}

func watchSequence(ctx context.Context, h *handle, what string) (*Watch[ListChange], error) {
	return newWatch(ctx, h, what, nil, func(_ *client, rep *reply, _ bool) ([]ListChange, error) {
		e := ListChange{From: int(rep.uint()), To: int(rep.uint())}
		e.Len = int(rep.uint())
		return []ListChange{e}, nil
	})
}

package manager

import (
	"context"
	"math"
	"runtime"
	"slices"

	"github.com/go-multiproc/multiproc/internal/document"
	"github.com/go-multiproc/multiproc/internal/store"
)

// list reads which list is meant; an array, if the operation is one of those.
func (r *request) list() func() (*store.List, error) {
	id := store.ID(r.uint())
	if r.op/32*32 == opArrayLen {
		return func() (*store.List, error) { return r.store.Array(id) }
	}
	return func() (*store.List, error) { return r.store.List(id) }
}

// longWork and longBytes are how many values, and of how many bytes, an operation may go through while other requests wait.
const (
	longWork  = 4096
	longBytes = 1 << 20
)

// longWorkers has an element for each operation that goes through more than that. Each may take as much memory as what it goes through, and a CPU, so
// there are no more of them than CPUs, however many are asked for.
var longWorkers = make(chan struct{}, runtime.NumCPU())

// long does what goes through n values that have so many bytes. If that is much it is to wait: it is done beside the other requests then. do must not wait for
// anybody, a client that does not read its replies included.
func long(ctx context.Context, n, bytes int64, do func() error) error {
	switch {
	case n <= longWork && bytes <= longBytes:
		return do()
	case ctx == store.NoWait:
		return store.ErrBusy
	}
	select {
	case longWorkers <- struct{}{}:
		defer func() { <-longWorkers }()
		return do()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// longOnList is long for all of a list.
func longOnList(ctx context.Context, l *store.List, do func() error) error {
	n, bytes := l.Size()
	return long(ctx, n, bytes, do)
}

// A search goes through values that may be very many, as 2^28 in an array.
type search struct {
	*document.Matcher
	ctx    context.Context
	seen   int
	last   string
	equals bool
	err    error
}

// is reports whether a value is one of those searched for. Many that stand side by side are often the same.
func (s *search) is(data string) bool {
	if s.seen == 0 || data != s.last {
		s.last, s.equals = data, s.Equal(data)
	}
	s.seen++
	return s.equals
}

// over reports whether the caller has given up: nobody else's long work is to wait for a search that is for nobody.
func (s *search) over() bool {
	if s.seen > longWork && s.seen%1024 == 0 {
		s.err = context.Cause(s.ctx)
	}
	return s.err != nil
}

func (r *request) listLen(context.Context) error {
	list := r.list()
	l, err := found(r, list)
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
	l, err := found(r, list)
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
	l, err := found(r, list)
	if err != nil {
		return err
	}
	if err := do(l, r.store, i, v); err != nil {
		return err
	}
	return r.done()
}

func (r *request) listAppend(context.Context) error {
	list, values := r.list(), r.storedValues(1)
	l, err := found(r, list)
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
	l, err := found(r, list)
	if err != nil {
		return err
	}
	return r.firstPage(l.Snapshot())
}

// storedValues reads values to the end of the request, behind a number of other arguments.
func (r *request) storedValues(behind int) []store.Value {
	values := make([]store.Value, 0, min(max(r.items-behind, 0), len(r.b)))
	for range cap(values) {
		values = append(values, r.storedValue())
	}
	return values
}

func (r *request) listSlice(context.Context) error {
	list, i, j := r.list(), r.int(), r.int()
	l, err := found(r, list)
	if err != nil {
		return err
	}
	return r.firstPage(l.Slice(i, j))
}

func (r *request) listSplice(context.Context) error {
	list, i, j, values := r.list(), r.int(), r.int(), r.storedValues(3)
	l, err := found(r, list)
	if err != nil {
		return err
	}
	n, err := l.Splice(r.store, i, j, values)
	if err != nil {
		return err
	}
	return r.number(uint64(n))
}

func (r *request) listFind(ctx context.Context) error {
	list, i, j := r.list(), r.int(), r.int()
	match := r.match()
	l, err := found(r, list)
	if err != nil {
		return err
	}
	at := -1
	err = longOnList(ctx, l, func() error {
		s := search{Matcher: match(), ctx: ctx}
		at = l.Find(i, j, func(data string) bool { return s.is(data) || s.over() })
		return s.err
	})
	if err != nil {
		return err
	}
	p := r.newReply(r.id)
	if at >= 0 {
		p.uint(uint64(at))
	} else {
		p.null()
	}
	p.send()
	return nil
}

// match reads a value that others are to be compared with.
func (r *request) match() func() *document.Matcher {
	data, _ := r.value()
	return func() *document.Matcher { return document.Match(data) }
}

func (r *request) listCount(ctx context.Context) error {
	list, match := r.list(), r.match()
	l, err := found(r, list)
	if err != nil {
		return err
	}
	n := 0
	err = longOnList(ctx, l, func() error {
		s := search{Matcher: match(), ctx: ctx}
		l.Find(0, math.MaxInt64, func(data string) bool {
			if s.is(data) {
				n++
			}
			return s.over()
		})
		return s.err
	})
	if err != nil {
		return err
	}
	return r.number(uint64(n))
}

func (r *request) listRemove(ctx context.Context) error {
	list, match := r.list(), r.match()
	l, err := found(r, list)
	if err != nil {
		return err
	}
	existed := false
	err = longOnList(ctx, l, func() (err error) { existed, err = l.RemoveFirst(match().Equal); return err })
	if err != nil {
		return err
	}
	return r.whether(existed)
}

func (r *request) listClear(context.Context) error {
	list := r.list()
	l, err := found(r, list)
	if err != nil {
		return err
	}
	if err := l.Clear(); err != nil {
		return err
	}
	return r.done()
}

func (r *request) listReverse(ctx context.Context) error {
	list := r.list()
	l, err := found(r, list)
	if err != nil {
		return err
	}
	err = longOnList(ctx, l, func() error { l.Reverse(); return nil })
	if err != nil {
		return err
	}
	return r.done()
}

func (r *request) listSort(ctx context.Context) error {
	list, descending := r.list(), r.bool()
	l, err := found(r, list)
	if err != nil {
		return err
	}
	order := func(n int, data func(int) string) []int {
		ranks := make([]document.Rank, n)
		order := make([]int, n)
		for i := range n {
			ranks[i], order[i] = document.RankOf(data(i)), i
		}
		slices.SortStableFunc(order, func(a, b int) int {
			if descending {
				a, b = b, a
			}
			return ranks[a].Compare(ranks[b])
		})
		return order
	}
	err = longOnList(ctx, l, func() error { l.Arrange(order); return nil })
	if err != nil {
		return err
	}
	return r.done()
}

func (r *request) listExtend(ctx context.Context) error {
	list, other := r.list(), r.list()
	l, err := found(r, list)
	if err != nil {
		return err
	}
	from, err := other()
	if err != nil {
		return err
	}
	if err := longOnList(ctx, from, func() error { return l.Extend(from) }); err != nil {
		return err
	}
	return r.done()
}

func (r *request) listVersion(context.Context) error {
	list := r.list()
	l, err := found(r, list)
	if err != nil {
		return err
	}
	return r.number(l.Version())
}

func (r *request) listReplace(context.Context) error {
	list, version, values := r.list(), r.uint(), r.storedValues(2)
	l, err := found(r, list)
	if err != nil {
		return err
	}
	replaced, err := l.Replace(r.store, version, values)
	if err != nil {
		return err
	}
	return r.whether(replaced)
}

func (r *request) arrayFill(context.Context) error {
	list, v := r.list(), r.storedValue()
	l, err := found(r, list)
	if err != nil {
		return err
	}
	if err := l.Fill(r.store, v); err != nil {
		return err
	}
	return r.done()
}

package manager_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/manager"
	"github.com/go-multiproc/multiproc/process"
)

// next returns the next change, which must come.
func next[E any](t *testing.T, w *manager.Watch[E]) E {
	t.Helper()
	return need[E](t)(w.Next(testContext(t)))
}

// quiet checks that nothing more is told.
func quiet[E any](t *testing.T, w *manager.Watch[E]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	if e, err := w.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a change that nobody made: %v, %v", e, err)
	}
}

func TestWatchDict(t *testing.T) {
	ctx := testContext(t)
	m := connect(t, serve(t, manager.Options{}), manager.Options{})
	d := need[*manager.Dict[string, int]](t)(manager.NewDict[string, int](m))
	type change = manager.DictChange[string, int]
	all := need[*manager.Watch[change]](t)(d.Watch(ctx))
	some := need[*manager.Watch[change]](t)(d.Watch(ctx, "b", "c"))
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(d.Set(ctx, "a", 1))
	if e := next(t, all); e != (change{Key: "a", Value: 1, Present: true}) {
		t.Errorf("all: %+v", e)
	}
	quiet(t, some)
	check(d.Set(ctx, "b", 1))
	check(d.Set(ctx, "b", 2))
	if e := next(t, some); e != (change{Key: "b", Value: 2, Present: true}) {
		t.Errorf("two changes are told as %+v", e)
	}
	quiet(t, some)
	_, err := d.Delete(ctx, "b")
	check(err)
	if e := next(t, some); e != (change{Key: "b"}) {
		t.Errorf("a deletion is told as %+v", e)
	}
	_, err = d.Update(ctx, "c", func(int, bool) (int, error) { return 3, nil })
	check(err)
	_, err = d.Update(ctx, "c", func(int, bool) (int, error) { return 4, errors.New("not") })
	if err == nil {
		t.Fatal("Update without its error")
	}
	if e := next(t, some); e != (change{Key: "c", Value: 3, Present: true}) {
		t.Errorf("an update is told as %+v", e)
	}
	// A change that was told to nobody is kept.
	quiet(t, some)
	check(d.Set(ctx, "c", 5))
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := some.Next(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("Next with an ended context: %v", err)
	}
	if e := next(t, some); e.Value != 5 {
		t.Errorf("afterwards: %+v", e)
	}
	check(d.Clear(ctx))
	if e := next(t, some); e != (change{All: true}) {
		t.Errorf("Clear is told as %+v", e)
	}
	// A reader who stays away is told to read again, and costs no more.
	many := map[string]int{}
	for i := range 10_000 {
		many[fmt.Sprint(i)] = i
	}
	check(d.BatchSet(ctx, many))
	for e := next(t, all); !e.All; e = next(t, all) {
	}
	quiet(t, all)
	quiet(t, some)

	// Close ends the wait of others.
	waits := make(chan error, 1)
	go func() {
		_, err := all.Next(ctx)
		waits <- err
	}()
	check(all.Close())
	check(all.Close())
	if err := <-waits; !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Next while Close: %v", err)
	}
	for range all.All(ctx) {
		t.Error("a closed watch yields something")
	}
	check(some.Close())
}

func TestWatchOthers(t *testing.T) {
	ctx := testContext(t)
	m := connect(t, serve(t, manager.Options{}), manager.Options{})
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	l := need[*manager.List[int]](t)(manager.NewList[int](m))
	lw := need[*manager.Watch[manager.ListChange]](t)(l.Watch(ctx))
	defer lw.Close()
	for _, c := range []struct {
		name string
		do   func() error
		want manager.ListChange
	}{
		{"Append", func() error { return l.Append(ctx, 1, 2, 3, 4) }, manager.ListChange{From: 0, To: 4, Len: 4}},
		{"Append more", func() error { return l.Append(ctx, 5, 6) }, manager.ListChange{From: 4, To: 6, Len: 6}},
		{"Set", func() error { return l.Set(ctx, -2, 1) }, manager.ListChange{From: 4, To: 5, Len: 6}},
		{"two Sets", func() error { return errors.Join(l.Set(ctx, 1, 1), l.Set(ctx, 3, 1)) }, manager.ListChange{From: 1, To: 4, Len: 6}},
		{"Delete", func() error { return l.Delete(ctx, 2) }, manager.ListChange{From: 2, To: 5, Len: 5}},
		{"Insert", func() error { return l.Insert(ctx, 3, 9) }, manager.ListChange{From: 3, To: 6, Len: 6}},
		{"SetSlice of as many", func() error { return l.SetSlice(ctx, 1, 3, 7, 8) }, manager.ListChange{From: 1, To: 3, Len: 6}},
		{"Sort", func() error { return l.Sort(ctx) }, manager.ListChange{From: 0, To: 6, Len: 6}},
		{"Clear", func() error { return l.Clear(ctx) }, manager.ListChange{From: 0, To: 0, Len: 0}},
	} {
		check(c.do())
		if e := next(t, lw); e != c.want {
			t.Errorf("%s is told as %+v, want %+v", c.name, e, c.want)
		}
	}
	quiet(t, lw)

	a := need[*manager.Array[int]](t)(manager.NewArray[int](m, 5))
	aw := need[*manager.Watch[manager.ListChange]](t)(a.Watch(ctx))
	defer aw.Close()
	check(a.Set(ctx, 2, 1))
	if e := next(t, aw); e != (manager.ListChange{From: 2, To: 3, Len: 5}) {
		t.Errorf("array: %+v", e)
	}

	s := need[*manager.Set[int]](t)(manager.NewSet[int](m))
	sw := need[*manager.Watch[manager.SetChange[int]]](t)(s.Watch(ctx, 1, 2))
	defer sw.Close()
	_, err := s.Add(ctx, 1, 7)
	check(err)
	if e := next(t, sw); e != (manager.SetChange[int]{Element: 1, Present: true}) {
		t.Errorf("set: %+v", e)
	}
	_, err = s.Discard(ctx, 1, 2)
	check(err)
	if e := next(t, sw); e != (manager.SetChange[int]{Element: 1}) {
		t.Errorf("set: %+v", e)
	}
	quiet(t, sw)

	n := need[*manager.Namespace](t)(manager.NewNamespace(m))
	nw := need[*manager.Watch[manager.NamespaceChange]](t)(n.Watch(ctx))
	defer nw.Close()
	check(manager.NamespaceSet(ctx, n, "list", l)) // a handle, which the change does not keep
	if e := next(t, nw); e != (manager.NamespaceChange{Name: "list", Present: true}) {
		t.Errorf("namespace: %+v", e)
	}
	check(n.Clear(ctx))
	if e := next(t, nw); !e.All {
		t.Errorf("namespace: %+v", e)
	}

	v := need[*manager.Value[string]](t)(manager.NewValue(m, "first"))
	vw := need[*manager.Watch[string]](t)(v.Watch(ctx))
	defer vw.Close()
	check(v.Set(ctx, "second"))
	if e := next(t, vw); e != "second" {
		t.Errorf("value: %+v", e)
	}
}

type watching struct {
	D     *manager.Dict[string, int]
	Ready *manager.Set[int]
}

var watchForEver = process.Register(func(ctx context.Context, x watching) error {
	w, err := x.D.Watch(ctx)
	if err != nil {
		return err
	}
	if _, err := x.Ready.Add(ctx, os.Getpid()); err != nil {
		return err
	}
	_, err = w.Next(ctx)
	return fmt.Errorf("told: %w", err)
})

var followKey = process.Register(func(ctx context.Context, x watching) error {
	w, err := x.D.Watch(ctx, "k")
	if err != nil {
		return err
	}
	defer w.Close()
	if _, err := x.Ready.Add(ctx, os.Getpid()); err != nil {
		return err
	}
	last := 0
	for e, err := range w.All(ctx) {
		if err != nil {
			return err
		}
		if e.Value <= last {
			return fmt.Errorf("%d after %d", e.Value, last)
		}
		if last = e.Value; last == 1000 {
			return nil
		}
	}
	return errors.New("the watch ended")
})

// waitReady waits until n processes have said that they are ready.
func waitReady(t *testing.T, ready *manager.Set[int], n int) {
	t.Helper()
	ctx := testContext(t)
	w := need[*manager.Watch[manager.SetChange[int]]](t)(ready.Watch(ctx))
	defer w.Close()
	for {
		if got := need[int](t)(ready.Len(ctx)); got == n {
			return
		}
		next(t, w)
	}
}

// Who watches is told what other processes do, in order and up to the last; and one that is killed leaves nothing behind.
func TestWatchAcrossProcesses(t *testing.T) {
	ctx := testContext(t)
	m := start(t, manager.Options{})
	x := watching{
		D:     need[*manager.Dict[string, int]](t)(manager.NewDict[string, int](m)),
		Ready: need[*manager.Set[int]](t)(manager.NewSet[int](m)),
	}
	dies := run(t, watchForEver, x)
	follow := []*process.Process{run(t, followKey, x), run(t, followKey, x)}
	waitReady(t, x.Ready, 3)
	if err := dies.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		if err := x.D.Set(ctx, "k", i+1); err != nil {
			t.Fatal(err)
		}
	}
	join(t, follow...)
	<-dies.Done()
	x.D.Close()
	x.Ready.Close()
	objects(t, m, 0)
}

// The server keeps the object while it is watching, and no longer.
func TestWatchKeepsObject(t *testing.T) {
	ctx := testContext(t)
	m := connect(t, serve(t, manager.Options{}), manager.Options{})
	l := need[*manager.List[int]](t)(manager.OpenList[int](m, "l"))
	w := need[*manager.Watch[manager.ListChange]](t)(l.Watch(ctx))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := m.Remove(ctx, "l"); err != nil {
		t.Fatal(err)
	}
	objects(t, m, 1)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	objects(t, m, 0)
	if got := manager.Connections(); got < 1 {
		t.Errorf("%d connections", got)
	}
}

func TestWatchRefuses(t *testing.T) {
	ctx := testContext(t)
	m := connect(t, serve(t, manager.Options{}), manager.Options{})
	d := need[*manager.Dict[string, int]](t)(manager.NewDict[string, int](m))
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Watch(ctx); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Watch of a closed Dict: %v", err)
	}
	if got := slices.Collect(d.Keys(ctx)); got != nil {
		t.Errorf("keys of a closed Dict: %v", got)
	}
}

func TestZeroWatch(t *testing.T) {
	var w manager.Watch[int]
	if _, err := w.Next(context.Background()); err == nil {
		t.Error("a zero Watch tells something")
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

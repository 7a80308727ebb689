package manager_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/manager"
	"github.com/go-multiproc/multiproc/process"
)

// What is large, deep, round, or dies.

func TestMillionKeys(t *testing.T) {
	if testing.Short() {
		t.Skip("a million keys")
	}
	ctx := t.Context()
	m := start(t, manager.Options{})
	d := need[*manager.Dict[int, int]](t)(manager.NewDict[int, int](m))
	const n, batch = 1_000_000, 50_000
	for from := 0; from < n; from += batch {
		entries := make(map[int]int, batch)
		for i := range batch {
			entries[from+i] = from + i
		}
		if err := d.BatchSet(ctx, entries); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := d.Len(ctx); got != n || err != nil {
		t.Fatalf("Len = %v, %v", got, err)
	}
	seen, sum := 0, 0
	for k := range d.Keys(ctx) {
		seen++
		sum += k
	}
	if seen != n || sum != n*(n-1)/2 {
		t.Errorf("Keys yields %d keys, of sum %d", seen, sum)
	}
	c := need[*manager.Dict[int, int]](t)(d.Copy(ctx))
	if err := d.Clear(ctx); err != nil {
		t.Error(err)
	}
	if v, ok, err := c.Pop(ctx, n/2); v != n/2 || !ok || err != nil {
		t.Errorf("Pop = %v, %v, %v", v, ok, err)
	}
	if got, err := c.Len(ctx); got != n-1 || err != nil {
		t.Errorf("the copy's Len = %v, %v", got, err)
	}
}

func TestDeepNesting(t *testing.T) {
	ctx := testContext(t)
	m := connect(t, serve(t, manager.Options{}), manager.Options{})
	const depth = 5000
	deep := func(end any) any {
		v := end
		for range depth {
			v = []any{v}
		}
		return v
	}
	l := need[*manager.List[any]](t)(manager.NewList[any](m))
	if err := l.Append(ctx, deep(int64(1)), deep(int64(2))); err != nil {
		t.Fatal(err)
	}
	if i, err := l.Index(ctx, deep(int64(2))); i != 1 || err != nil {
		t.Errorf("Index = %v, %v", i, err)
	}
	steps := make([]any, depth)
	for i := range steps {
		steps[i] = 0
	}
	if n, err := manager.Add(ctx, manager.Within[int](l.At(1), steps...), 40); n != 42 || err != nil {
		t.Errorf("Add = %v, %v", n, err)
	}
	if err := l.Sort(ctx); err != nil {
		t.Error(err)
	}
	// Containers in containers, just as deep.
	type box = manager.List[any]
	outer := need[*manager.List[*box]](t)(manager.NewList[*box](m))
	if err := outer.Append(ctx, l); err != nil {
		t.Error(err)
	}
}

// A node refers to its children, and they to it.
type node struct {
	Name string
	Kids *manager.List[*manager.Value[node]]
}

func TestCycles(t *testing.T) {
	ctx := testContext(t)
	m := start(t, manager.Options{})
	kids := need[*manager.List[*manager.Value[node]]](t)(manager.NewList[*manager.Value[node]](m))
	v := need[*manager.Value[node]](t)(manager.NewValue(m, node{"root", kids}))
	if err := kids.Append(ctx, v, v); err != nil {
		t.Fatal(err)
	}
	kid := need[*manager.Value[node]](t)(kids.Get(ctx, 1))
	got := need[node](t)(kid.Get(ctx))
	if n, err := got.Kids.Len(ctx); got.Name != "root" || n != 2 || err != nil {
		t.Errorf("around the cycle: %v, %v, %v", got.Name, n, err)
	}
	copied := need[*manager.Value[node]](t)(v.Copy(ctx))
	objects(t, m, 3)
	for _, h := range []interface{ Close() error }{kids, v, kid, got.Kids, copied} {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}
	objects(t, m, 0)

	// One that contains itself, in each of the ways.
	n := need[*manager.Namespace](t)(manager.NewNamespace(m))
	if err := manager.NamespaceSet(ctx, n, "me", n); err != nil {
		t.Fatal(err)
	}
	a := need[*manager.Array[*manager.Namespace]](t)(manager.NewArray[*manager.Namespace](m, 3))
	if err := errors.Join(a.Set(ctx, 1, n), a.Fill(ctx, n), manager.NamespaceSet(ctx, n, "array", a)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(n.Close(), a.Close()); err != nil {
		t.Fatal(err)
	}
	objects(t, m, 0)
	var inside any
	inside = []any{&inside}
	l := need[*manager.List[any]](t)(manager.NewList[any](m))
	if err := l.Append(ctx, inside); err == nil {
		t.Error("a value that contains itself was stored")
	}
}

// Types of which equal values can have other bytes, or none, cannot be keys, and that is said before anything is made.
func TestRefusedKeys(t *testing.T) {
	m := connect(t, serve(t, manager.Options{}), manager.Options{})
	type hidden struct {
		A int
		b int //lint:ignore U1000 that there is one is what matters
	}
	refuse := func(name string, err error, why string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, which does not say %q", name, err, why)
		}
	}
	_, err := manager.NewSet[any](m)
	refuse("any", err, "can hold any type")
	_, err = manager.NewSet[error](m)
	refuse("error", err, "can hold any type")
	_, err = manager.NewSet[*int](m)
	refuse("*int", err, "address")
	_, err = manager.NewSet[chan int](m)
	refuse("chan int", err, "address")
	_, err = manager.NewSet[hidden](m)
	refuse("a hidden field", err, "field b")
	_, err = manager.NewSet[[2]any](m)
	refuse("[2]any", err, "can hold any type")
	_, err = manager.OpenSet[complex128](m, "x")
	refuse("complex128", err, "no encoding")
	_, err = manager.OpenDict[struct{ P *int }, int](m, "x")
	refuse("a struct with a pointer", err, "address")
	_, err = manager.NewSet[struct {
		A int
		B int `json:"-"`
	}](m)
	refuse("a field that JSON leaves out", err, "some of its fields")
	_, err = manager.NewSet[struct {
		Width
		Height
	}](m)
	refuse("two fields of one name", err, "some of its fields")
	_, err = manager.NewSet[struct {
		Width
		N string
	}](m)
	refuse("a field hidden by another", err, "some of its fields")
	_, err = manager.NewSet[struct {
		time.Time
		N int
	}](m)
	refuse("a field beside an embedded time", err, "some of its fields")
	_, err = manager.NewSet[[1]struct {
		Width
		Height
	}](m)
	refuse("such a struct in an array", err, "some of its fields")
	objects(t, m, 0)
}

// Keys of all these types are found again.
func TestKeyTypes(t *testing.T) {
	m := connect(t, serve(t, manager.Options{}), manager.Options{})
	type named string
	acceptKey(t, m, named("a"))
	acceptKey(t, m, [16]byte{1})
	acceptKey(t, m, netip.MustParseAddr("::1"))
	acceptKey(t, m, time.Unix(1, 2).UTC())
	acceptKey(t, m, struct {
		Width
		At   time.Time
		Note named `json:"note,omitempty"`
		From [2]netip.Addr
	}{Width{1}, time.Unix(1, 2).UTC(), "", [2]netip.Addr{netip.MustParseAddr("::1")}})
}

func acceptKey[K comparable](t *testing.T, m *manager.Manager, k K) {
	t.Helper()
	ctx := testContext(t)
	d, err := manager.NewDict[K, int](m)
	if err != nil {
		t.Error(err)
		return
	}
	check(t, d.Set(ctx, k, 7))
	if v, ok, err := d.Get(ctx, k); v != 7 || !ok || err != nil {
		t.Errorf("%v: %d, %v, %v", k, v, ok, err)
	}
	for got := range d.Keys(ctx) {
		if got != k {
			t.Errorf("%v came back as %v", k, got)
		}
	}
}

type heldUp struct {
	D *manager.Dict[string, int]
	N *manager.Namespace
	V *manager.Value[int]
}

var updateForEver = process.Register(func(ctx context.Context, x heldUp) error {
	_, err := x.D.Update(ctx, "k", func(int, bool) (int, error) {
		_, err := manager.NamespaceUpdate(ctx, x.N, "k", func(int, bool) (int, error) {
			_, err := x.V.Update(ctx, func(int) (int, error) {
				if err := x.D.Set(ctx, "ready", 1); err != nil {
					return 0, err
				}
				<-ctx.Done()
				return 0, ctx.Err()
			})
			return 0, err
		})
		return 0, err
	})
	return fmt.Errorf("the update ended: %w", err)
})

// Who waits for a process that is updating goes on when that one is killed, with the old value.
func TestKilledInUpdate(t *testing.T) {
	ctx := testContext(t)
	m := start(t, manager.Options{})
	x := heldUp{
		D: need[*manager.Dict[string, int]](t)(manager.NewDict[string, int](m)),
		N: need[*manager.Namespace](t)(manager.NewNamespace(m)),
		V: need[*manager.Value[int]](t)(manager.NewValue(m, 7)),
	}
	w := need[*manager.Watch[manager.DictChange[string, int]]](t)(x.D.Watch(ctx, "ready"))
	defer w.Close()
	p := run(t, updateForEver, x)
	next(t, w)
	ends := make(chan error, 6)
	for _, f := range []func() error{
		func() error { _, err := manager.Add(ctx, x.D.At("k"), 1); return err },
		func() error { return x.D.Clear(ctx) },
		func() error { _, _, err := x.D.GetOrSet(ctx, "k", 5); return err },
		func() error { _, err := manager.Add(ctx, manager.NamespaceAt[int](x.N, "k"), 1); return err },
		func() error { _, err := x.V.CompareAndSwap(ctx, 7, 8); return err },
		func() error { _, err := x.V.Swap(ctx, 9); return err },
	} {
		go func() { ends <- f() }()
	}
	if v, err := x.V.Get(ctx); v != 7 || err != nil { // which does not wait
		t.Errorf("Get = %v, %v", v, err)
	}
	select {
	case err := <-ends:
		t.Errorf("a change did not wait: %v", err)
	default:
	}
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for range cap(ends) {
		if err := <-ends; err != nil {
			t.Error(err)
		}
	}
	if v, _, err := manager.NamespaceGet[int](ctx, x.N, "k"); v != 1 || err != nil {
		t.Errorf("the namespace has %v, %v", v, err)
	}
}

// What grows on the server, without anything that travels, is bounded like everything else.
func TestCopiesAreLimited(t *testing.T) {
	ctx := testContext(t)
	m := connect(t, serve(t, manager.Options{MaxEntries: 100}), manager.Options{})
	d := need[*manager.Dict[int, int]](t)(manager.NewDict[int, int](m))
	entries := map[int]int{}
	for i := range 60 {
		entries[i] = i
	}
	if err := d.BatchSet(ctx, entries); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Copy(ctx); !errors.Is(err, manager.ErrLimit) {
		t.Errorf("Copy: %v", err)
	}
	other := need[*manager.Dict[int, int]](t)(manager.NewDict[int, int](m))
	if err := other.UpdateFrom(ctx, d); !errors.Is(err, manager.ErrLimit) {
		t.Errorf("UpdateFrom: %v", err)
	}
	if n, err := other.Len(ctx); n != 0 || err != nil {
		t.Errorf("after that it has %v, %v", n, err)
	}
	if _, err := manager.NewArray[int](m, 50); !errors.Is(err, manager.ErrLimit) {
		t.Errorf("NewArray: %v", err)
	}
	if err := d.Clear(ctx); err != nil {
		t.Fatal(err)
	}
	l := need[*manager.List[int]](t)(manager.NewList[int](m))
	s := need[*manager.Set[int]](t)(manager.NewSet[int](m))
	for i := range 30 {
		if _, err := s.Add(ctx, i); err != nil {
			t.Fatal(err)
		}
		if err := l.Append(ctx, i); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.AppendFrom(ctx, l); err != nil { // 90 entries now
		t.Errorf("AppendFrom: %v", err)
	}
	if err := l.AppendFrom(ctx, l); !errors.Is(err, manager.ErrLimit) {
		t.Errorf("AppendFrom: %v", err)
	}
	if _, err := s.Union(ctx, s); !errors.Is(err, manager.ErrLimit) {
		t.Errorf("Union: %v", err)
	}
	if err := s.DifferenceUpdate(ctx, s); err != nil { // which only takes away
		t.Errorf("DifferenceUpdate: %v", err)
	}
}

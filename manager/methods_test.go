package manager_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/manager"
	"github.com/go-multiproc/multiproc/process"
)

// need returns a value, or ends the test.
func need[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestDictMethods(t *testing.T) {
	ctx := testContext(t)
	m := connect(t, serve(t, manager.Options{}), manager.Options{})
	d := need[*manager.Dict[string, int]](t)(manager.NewDict[string, int](m))

	if v, err := d.GetOr(ctx, "a", 7); v != 7 || err != nil {
		t.Errorf("GetOr = %v, %v", v, err)
	}
	if v, loaded, err := d.GetOrSet(ctx, "a", 1); v != 1 || loaded || err != nil {
		t.Errorf("GetOrSet = %v, %v, %v", v, loaded, err)
	}
	if v, loaded, err := d.GetOrSet(ctx, "a", 2); v != 1 || !loaded || err != nil {
		t.Errorf("second GetOrSet = %v, %v, %v", v, loaded, err)
	}
	if v, err := d.GetOr(ctx, "a", 7); v != 1 || err != nil {
		t.Errorf("GetOr = %v, %v", v, err)
	}
	if old, loaded, err := d.Swap(ctx, "a", 3); old != 1 || !loaded || err != nil {
		t.Errorf("Swap = %v, %v, %v", old, loaded, err)
	}
	if _, loaded, err := d.Swap(ctx, "b", 4); loaded || err != nil {
		t.Errorf("Swap of a new key: %v, %v", loaded, err)
	}
	if in, err := d.Contains(ctx, "b"); !in || err != nil {
		t.Errorf("Contains = %v, %v", in, err)
	}
	if ok, err := d.CompareAndSwap(ctx, "a", 4, 5); ok || err != nil {
		t.Errorf("CompareAndSwap = %v, %v", ok, err)
	}
	if ok, err := d.CompareAndSwap(ctx, "a", 3, 5); !ok || err != nil {
		t.Errorf("CompareAndSwap = %v, %v", ok, err)
	}
	if ok, err := d.CompareAndSwap(ctx, "zz", 3, 5); ok || err != nil {
		t.Errorf("CompareAndSwap of a missing key = %v, %v", ok, err)
	}
	if ok, err := d.At("c").SetIfAbsent(ctx, 6); !ok || err != nil {
		t.Errorf("SetIfAbsent = %v, %v", ok, err)
	}
	if ok, err := d.At("c").SetIfAbsent(ctx, 7); ok || err != nil {
		t.Errorf("second SetIfAbsent = %v, %v", ok, err)
	}
	other := need[*manager.Dict[string, int]](t)(d.Copy(ctx))
	if ok, err := d.CompareAndDelete(ctx, "a", 4); ok || err != nil {
		t.Errorf("CompareAndDelete = %v, %v", ok, err)
	}
	if ok, err := d.CompareAndDelete(ctx, "a", 5); !ok || err != nil {
		t.Errorf("CompareAndDelete = %v, %v", ok, err)
	}
	if v, ok, err := d.Pop(ctx, "b"); v != 4 || !ok || err != nil {
		t.Errorf("Pop = %v, %v, %v", v, ok, err)
	}
	if v, ok, err := d.Pop(ctx, "b"); ok || err != nil {
		t.Errorf("second Pop = %v, %v, %v", v, ok, err)
	}
	if k, v, ok, err := d.PopItem(ctx); k != "c" || v != 6 || !ok || err != nil {
		t.Errorf("PopItem = %v, %v, %v, %v", k, v, ok, err)
	}
	if _, _, ok, err := d.PopItem(ctx); ok || err != nil {
		t.Errorf("PopItem of nothing: %v, %v", ok, err)
	}
	if err := d.Set(ctx, "a", 100); err != nil {
		t.Error(err)
	}
	if err := d.UpdateFrom(ctx, other); err != nil {
		t.Error(err)
	}
	want := map[string]int{"a": 5, "b": 4, "c": 6}
	if got := need[map[string]int](t)(d.Snapshot(ctx)); !maps.Equal(got, want) {
		t.Errorf("after UpdateFrom: %v", got)
	}
	if got := slices.Collect(d.Keys(ctx)); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("Keys: %v", got)
	}
	if got := slices.Collect(d.Values(ctx)); !slices.Equal(got, []int{5, 4, 6}) {
		t.Errorf("Values: %v", got)
	}
	if err := d.Clear(ctx); err != nil {
		t.Error(err)
	}
	if n, err := d.Len(ctx); n != 0 || err != nil {
		t.Errorf("after Clear: %v, %v", n, err)
	}
	if got := need[map[string]int](t)(other.Snapshot(ctx)); !maps.Equal(got, want) {
		t.Errorf("the copy changed: %v", got)
	}

	// What would wait for the caller itself is refused.
	for name, f := range map[string]func() error{
		"Clear":      func() error { return d.Clear(ctx) },
		"PopItem":    func() error { _, _, _, err := d.PopItem(ctx); return err },
		"UpdateFrom": func() error { return d.UpdateFrom(ctx, other) },
		"Pop":        func() error { _, _, err := d.Pop(ctx, "k"); return err },
		"Swap":       func() error { _, _, err := d.Swap(ctx, "k", 1); return err },
		"Place":      func() error { return d.At("k").Set(ctx, 1) },
		"Add":        func() error { _, err := manager.Add(ctx, d.At("k"), 1); return err },
		"SetTTL":     func() error { return d.SetTTL(ctx, "k", 1, time.Hour) },
		"Expire":     func() error { _, err := d.Expire(ctx, "k", time.Hour); return err },
	} {
		_, err := d.Update(ctx, "k", func(v int, _ bool) (int, error) { return v, f() })
		if !errors.Is(err, manager.ErrDeadlock) {
			t.Errorf("%s inside Update: %v", name, err)
		}
	}
}

func TestTimeToLive(t *testing.T) {
	ctx := testContext(t)
	m := connect(t, serve(t, manager.Options{}), manager.Options{})
	d := need[*manager.Dict[string, int]](t)(manager.NewDict[string, int](m))
	w := need[*manager.Watch[manager.DictChange[string, int]]](t)(d.Watch(ctx))
	defer w.Close()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(d.SetTTL(ctx, "long", 1, time.Hour))
	check(d.SetTTL(ctx, "stays", 1, time.Hour))
	check(d.Set(ctx, "stays", 2))
	check(d.SetTTL(ctx, "kept", 1, time.Hour))
	if _, err := d.Update(ctx, "kept", func(v int, _ bool) (int, error) { return v + 1, nil }); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		key  string
		ok   bool
		left bool
	}{{"long", true, true}, {"stays", true, false}, {"kept", true, true}, {"none", false, false}} {
		left, ok, err := d.TTL(ctx, c.key)
		if ok != c.ok || left > 0 != c.left || left > time.Hour || err != nil {
			t.Errorf("TTL of %s = %v, %v, %v", c.key, left, ok, err)
		}
	}
	if ok, err := d.Persist(ctx, "long"); !ok || err != nil {
		t.Errorf("Persist = %v, %v", ok, err)
	}
	if left, ok, err := d.TTL(ctx, "long"); left != 0 || !ok || err != nil {
		t.Errorf("TTL after Persist = %v, %v, %v", left, ok, err)
	}
	if ok, err := d.Expire(ctx, "none", time.Hour); ok || err != nil {
		t.Errorf("Expire of nothing = %v, %v", ok, err)
	}
	for _, ttl := range []time.Duration{0, -1} {
		if err := d.SetTTL(ctx, "x", 1, ttl); err == nil {
			t.Errorf("a time to live of %v", ttl)
		}
	}
	// Nobody sees an entry after its time, and nobody before it as gone.
	begun := time.Now()
	const ttl = 30 * time.Millisecond
	check(d.SetTTL(ctx, "short", 1, ttl))
	for {
		_, ok, err := d.Get(ctx, "short")
		check(err)
		if !ok {
			break
		}
	}
	if took := time.Since(begun); took < ttl {
		t.Errorf("gone after %v", took)
	}
	if n, err := d.Len(ctx); n != 3 || err != nil {
		t.Errorf("Len = %v, %v", n, err)
	}
	// It goes also when nobody asks, and the watch says so.
	check(d.SetTTL(ctx, "unasked", 1, ttl))
	for e, err := range w.All(ctx) {
		check(err)
		if e.Key == "unasked" && !e.Present {
			break
		}
	}
	// What is being updated stays until then.
	check(d.SetTTL(ctx, "leased", 1, ttl))
	if _, err := d.Update(ctx, "leased", func(v int, _ bool) (int, error) {
		time.Sleep(2 * ttl) // longer than it would live
		_, there, err := d.Get(ctx, "leased")
		if !there {
			t.Errorf("a key that is being updated went: %v", err)
		}
		return v + 1, err
	}); err != nil {
		t.Error(err)
	}
	if _, ok, err := d.Get(ctx, "leased"); ok || err != nil {
		t.Errorf("after the update it is there: %v, %v", ok, err)
	}
}

func TestListMethods(t *testing.T) {
	ctx := testContext(t)
	m := connect(t, serve(t, manager.Options{}), manager.Options{})
	l := need[*manager.List[int]](t)(manager.NewList[int](m))
	now := func() []int {
		t.Helper()
		return need[[]int](t)(l.Snapshot(ctx))
	}
	for _, c := range []struct {
		name string
		do   func() (any, error)
		says any
		now  []int
	}{
		{"Append", func() (any, error) { return nil, l.Append(ctx, 5, 3, 4, 3, 1) }, nil, []int{5, 3, 4, 3, 1}},
		{"Slice", func() (any, error) { return l.Slice(ctx, 1, 3) }, []int{3, 4}, nil},
		{"Slice to the end", func() (any, error) { return l.Slice(ctx, -2, manager.End) }, []int{3, 1}, nil},
		{"Slice outside", func() (any, error) { return l.Slice(ctx, 7, 3) }, []int{}, nil},
		{"Slice of all", func() (any, error) { return l.Slice(ctx, -100, 100) }, []int{5, 3, 4, 3, 1}, nil},
		{"Index", func() (any, error) { return l.Index(ctx, 3) }, 1, nil},
		{"IndexIn", func() (any, error) { return l.IndexIn(ctx, 3, 2, manager.End) }, 3, nil},
		{"IndexIn of none", func() (any, error) { return l.IndexIn(ctx, 3, 2, 3) }, -1, nil},
		{"Count", func() (any, error) { return l.Count(ctx, 3) }, 2, nil},
		{"Contains", func() (any, error) { return l.Contains(ctx, 6) }, false, nil},
		{"Remove", func() (any, error) { return l.Remove(ctx, 3) }, true, []int{5, 4, 3, 1}},
		{"Remove of none", func() (any, error) { return l.Remove(ctx, 30) }, false, []int{5, 4, 3, 1}},
		{"Insert", func() (any, error) { return nil, l.Insert(ctx, 1, -7) }, nil, []int{5, -7, 4, 3, 1}},
		{"Sort", func() (any, error) { return nil, l.Sort(ctx) }, nil, []int{-7, 1, 3, 4, 5}},
		{"SortDescending", func() (any, error) { return nil, l.SortDescending(ctx) }, nil, []int{5, 4, 3, 1, -7}},
		{"Reverse", func() (any, error) { return nil, l.Reverse(ctx) }, nil, []int{-7, 1, 3, 4, 5}},
		{"SortFunc", func() (any, error) {
			return nil, l.SortFunc(ctx, func(a, b int) int { return cmp.Compare(a&1, b&1) })
		}, nil, []int{4, -7, 1, 3, 5}},
		{"SetSlice", func() (any, error) { return nil, l.SetSlice(ctx, 1, 3, 10, 11, 12) }, nil, []int{4, 10, 11, 12, 3, 5}},
		{"SetSlice at the end", func() (any, error) { return nil, l.SetSlice(ctx, manager.End, manager.End, 6) }, nil, []int{4, 10, 11, 12, 3, 5, 6}},
		{"DeleteSlice", func() (any, error) { return l.DeleteSlice(ctx, 1, -3) }, 3, []int{4, 3, 5, 6}},
		{"Delete", func() (any, error) { return nil, l.Delete(ctx, -2) }, nil, []int{4, 3, 6}},
		{"Set", func() (any, error) { return nil, l.Set(ctx, -1, 9) }, nil, []int{4, 3, 9}},
		{"Pop", func() (any, error) { return l.Pop(ctx, 0) }, 4, []int{3, 9}},
		{"AppendFrom", func() (any, error) { return nil, l.AppendFrom(ctx, l) }, nil, []int{3, 9, 3, 9}},
		{"CompareAndSwap", func() (any, error) { return l.CompareAndSwap(ctx, 2, 3, 8) }, true, []int{3, 9, 8, 9}},
		{"CompareAndSwap of another", func() (any, error) { return l.CompareAndSwap(ctx, 2, 3, 8) }, false, []int{3, 9, 8, 9}},
		{"Update", func() (any, error) { return l.Update(ctx, 0, func(v int) (int, error) { return v * 2, nil }) }, 6, []int{6, 9, 8, 9}},
		{"UpdateAll", func() (any, error) { return nil, l.UpdateAll(ctx, func(v []int) ([]int, error) { return v[1:], nil }) }, nil, []int{9, 8, 9}},
		{"Clear", func() (any, error) { return nil, l.Clear(ctx) }, nil, []int{}},
		{"Sort of nothing", func() (any, error) { return nil, l.Sort(ctx) }, nil, []int{}},
	} {
		before := now()
		says, err := c.do()
		if err != nil || fmt.Sprint(says) != fmt.Sprint(c.says) {
			t.Errorf("%s of %v = %v, %v, want %v", c.name, before, says, err, c.says)
		}
		if c.now == nil {
			c.now = before
		}
		if got := now(); !slices.Equal(got, c.now) {
			t.Errorf("%s made %v of %v, want %v", c.name, got, before, c.now)
		}
	}
	for name, err := range map[string]error{
		"Delete": l.Delete(ctx, 0),
		"Set":    l.Set(ctx, 5, 1),
		"At":     l.At(-1).Set(ctx, 1),
	} {
		if !errors.Is(err, manager.ErrRange) {
			t.Errorf("%s outside the list: %v", name, err)
		}
	}
	if _, err := l.Update(ctx, 0, func(int) (int, error) { return 0, io.EOF }); !errors.Is(err, manager.ErrRange) {
		t.Errorf("Update outside the list: %v", err)
	}
	if err := l.UpdateAll(ctx, func([]int) ([]int, error) { return nil, io.EOF }); err != io.EOF {
		t.Errorf("UpdateAll with an error: %v", err)
	}
}

func TestSortOrders(t *testing.T) {
	ctx := testContext(t)
	m := connect(t, serve(t, manager.Options{}), manager.Options{})
	checkSort(t, ctx, m, []float64{1, math.NaN(), math.Inf(-1), -0.5, math.MaxFloat64, 1e-300}, cmp.Compare)
	checkSort(t, ctx, m, []uint64{math.MaxUint64, 0, 1 << 63, 5}, cmp.Compare)
	checkSort(t, ctx, m, []int64{math.MinInt64, math.MaxInt64, 0, -1}, cmp.Compare)
	checkSort(t, ctx, m, []string{"b", "", "ü", "aa", "a", "\xff"}, strings.Compare)
	now := time.Now()
	checkSort(t, ctx, m, []time.Time{now, now.Add(-time.Hour).In(time.FixedZone("", 7*3600)), now.Add(time.Nanosecond)}, time.Time.Compare)
	long := make([]int, 20_000)
	for i := range long {
		long[i] = i * 7919 % len(long)
	}
	checkSort(t, ctx, m, long, cmp.Compare)
}

func checkSort[T any](t *testing.T, ctx context.Context, m *manager.Manager, v []T, compare func(a, b T) int) {
	t.Helper()
	l := need[*manager.List[T]](t)(manager.NewList[T](m))
	if err := l.Append(ctx, v...); err != nil {
		t.Fatal(err)
	}
	if err := l.Sort(ctx); err != nil {
		t.Fatal(err)
	}
	got := need[[]T](t)(l.Snapshot(ctx))
	slices.SortFunc(v, compare)
	if !slices.EqualFunc(got, v, func(a, b T) bool { return compare(a, b) == 0 }) {
		t.Errorf("sorted as %v, want %v", got, v)
	}
}

func TestSetMethods(t *testing.T) {
	ctx := testContext(t)
	m := connect(t, serve(t, manager.Options{}), manager.Options{})
	newSet := func(v ...int) *manager.Set[int] {
		t.Helper()
		s := need[*manager.Set[int]](t)(manager.NewSet[int](m))
		if n, err := s.Add(ctx, v...); n != len(v) || err != nil {
			t.Fatalf("Add = %v, %v", n, err)
		}
		return s
	}
	elements := func(s *manager.Set[int], err error) []int {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		v := need[[]int](t)(s.Snapshot(ctx))
		if all := slices.Collect(s.All(ctx)); !slices.Equal(all, v) {
			t.Errorf("All yields %v, Snapshot %v", all, v)
		}
		slices.Sort(v)
		return v
	}
	a, b, c, empty := newSet(1, 2, 3), newSet(3, 4), newSet(3, 1, 5), newSet()
	for _, x := range []struct {
		name string
		is   func() (*manager.Set[int], error)
		in   func(s *manager.Set[int]) error
		want []int
	}{
		{"union", func() (*manager.Set[int], error) { return a.Union(ctx, b, c) }, func(s *manager.Set[int]) error { return s.UnionUpdate(ctx, b, c) }, []int{1, 2, 3, 4, 5}},
		{"union of nothing", func() (*manager.Set[int], error) { return a.Union(ctx) }, func(s *manager.Set[int]) error { return s.UnionUpdate(ctx) }, []int{1, 2, 3}},
		{"intersection", func() (*manager.Set[int], error) { return a.Intersection(ctx, c) }, func(s *manager.Set[int]) error { return s.IntersectionUpdate(ctx, c) }, []int{1, 3}},
		{"intersection of three", func() (*manager.Set[int], error) { return a.Intersection(ctx, c, b) }, func(s *manager.Set[int]) error { return s.IntersectionUpdate(ctx, b, c) }, []int{3}},
		{"difference", func() (*manager.Set[int], error) { return a.Difference(ctx, b, empty) }, func(s *manager.Set[int]) error { return s.DifferenceUpdate(ctx, empty, b) }, []int{1, 2}},
		{"difference with itself", func() (*manager.Set[int], error) { return a.Difference(ctx, a) }, func(s *manager.Set[int]) error { return s.DifferenceUpdate(ctx, b, s) }, []int{}},
		{"symmetric difference", func() (*manager.Set[int], error) { return a.SymmetricDifference(ctx, b) }, func(s *manager.Set[int]) error { return s.SymmetricDifferenceUpdate(ctx, b) }, []int{1, 2, 4}},
		{"symmetric difference with itself", func() (*manager.Set[int], error) { return a.SymmetricDifference(ctx, a) }, func(s *manager.Set[int]) error { return s.SymmetricDifferenceUpdate(ctx, s) }, []int{}},
	} {
		if got := elements(x.is()); !slices.Equal(got, x.want) {
			t.Errorf("%s = %v, want %v", x.name, got, x.want)
		}
		s := need[*manager.Set[int]](t)(a.Copy(ctx))
		if got := elements(s, x.in(s)); !slices.Equal(got, x.want) {
			t.Errorf("%s in place = %v, want %v", x.name, got, x.want)
		}
	}
	if got := elements(a, nil); !slices.Equal(got, []int{1, 2, 3}) {
		t.Errorf("a is %v now", got)
	}
	for _, x := range []struct {
		name string
		is   func() (bool, error)
		want bool
	}{
		{"empty is a subset", func() (bool, error) { return empty.IsSubset(ctx, a) }, true},
		{"a is a subset of b", func() (bool, error) { return a.IsSubset(ctx, b) }, false},
		{"a is a subset of itself", func() (bool, error) { return a.IsSubset(ctx, a) }, true},
		{"a is a superset of empty", func() (bool, error) { return a.IsSuperset(ctx, empty) }, true},
		{"empty is a superset of a", func() (bool, error) { return empty.IsSuperset(ctx, a) }, false},
		{"a and b are disjoint", func() (bool, error) { return a.IsDisjoint(ctx, b) }, false},
		{"a and empty are disjoint", func() (bool, error) { return a.IsDisjoint(ctx, empty) }, true},
		{"a equals c", func() (bool, error) { return a.Equal(ctx, c) }, false},
		{"a equals a", func() (bool, error) { return a.Equal(ctx, a) }, true},
		{"a contains 1 and 3", func() (bool, error) { return a.Contains(ctx, 1, 3) }, true},
		{"a contains 1 and 4", func() (bool, error) { return a.Contains(ctx, 1, 4) }, false},
	} {
		if got, err := x.is(); got != x.want || err != nil {
			t.Errorf("%s: %v, %v", x.name, got, err)
		}
	}
	if n, err := a.Add(ctx, 3, 9, 9); n != 1 || err != nil {
		t.Errorf("Add = %v, %v", n, err)
	}
	if n, err := a.Discard(ctx, 3, 3, 77); n != 1 || err != nil {
		t.Errorf("Discard = %v, %v", n, err)
	}
	if err := a.Remove(ctx, 3); !errors.Is(err, manager.ErrNotFound) {
		t.Errorf("Remove of nothing: %v", err)
	}
	if err := a.Remove(ctx, 1); err != nil {
		t.Error(err)
	}
	if v, ok, err := a.Pop(ctx); v != 9 || !ok || err != nil {
		t.Errorf("Pop = %v, %v, %v", v, ok, err)
	}
	if err := a.Clear(ctx); err != nil {
		t.Error(err)
	}
	if _, ok, err := a.Pop(ctx); ok || err != nil {
		t.Errorf("Pop of nothing: %v, %v", ok, err)
	}
	if n, err := a.Len(ctx); n != 0 || err != nil {
		t.Errorf("Len = %v, %v", n, err)
	}
	elsewhere := need[*manager.Set[int]](t)(manager.NewSet[int](connect(t, serve(t, manager.Options{}), manager.Options{})))
	if _, err := a.Union(ctx, elsewhere); err == nil || !strings.Contains(err.Error(), "two managers") {
		t.Errorf("union with a set of another manager: %v", err)
	}
	if _, err := manager.NewSet[any](m); err == nil {
		t.Error("a set of any")
	}
}

func TestArrayMethods(t *testing.T) {
	ctx := testContext(t)
	m := connect(t, serve(t, manager.Options{}), manager.Options{})
	const n = 2000 // some chunks
	a := need[*manager.Array[int]](t)(manager.NewArray[int](m, n))
	if got, err := a.Len(ctx); got != n || err != nil {
		t.Errorf("Len = %v, %v", got, err)
	}
	want := make([]int, n)
	check := func(what string) {
		t.Helper()
		if got := need[[]int](t)(a.Snapshot(ctx)); !slices.Equal(got, want) {
			t.Errorf("%s: %v", what, got)
		}
	}
	do := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		check(what)
	}
	check("new")
	want[7], want[n-1] = 70, 5
	do("Set", errors.Join(a.Set(ctx, 7, 70), a.Set(ctx, -1, 5)))
	copy(want[510:], []int{1, 2, 3, 4})
	do("SetSlice", a.SetSlice(ctx, 510, 514, 1, 2, 3, 4))
	if err := a.SetSlice(ctx, 0, 2, 1, 2, 3); err == nil {
		t.Error("an array grew")
	}
	if err := a.SetSlice(ctx, n-1, n+1, 1, 2); err == nil {
		t.Error("an array grew at its end")
	}
	check("failed SetSlice")
	if i, err := a.Index(ctx, 4); i != 513 || err != nil {
		t.Errorf("Index = %v, %v", i, err)
	}
	want[0] = 3
	_, err := manager.Add(ctx, a.At(0), 3)
	do("Add to what was never set", err)
	want[0] = 4
	_, err = a.Update(ctx, 0, func(v int) (int, error) { return v + 1, nil })
	do("Update", err)
	c := need[*manager.Array[int]](t)(a.Copy(ctx))
	slices.Reverse(want)
	do("Reverse", a.Reverse(ctx))
	for i := range want {
		want[i] = 9
	}
	do("Fill", a.Fill(ctx, 9))
	if got, err := a.Count(ctx, 9); got != n || err != nil {
		t.Errorf("Count = %v, %v", got, err)
	}
	if got, err := c.Get(ctx, 7); got != 70 || err != nil {
		t.Errorf("the copy has %v, %v", got, err)
	}
	if err := c.SortFunc(ctx, func(a, b int) int { return cmp.Compare(b, a) }); err != nil {
		t.Error(err)
	}
	if got := need[[]int](t)(c.Slice(ctx, 0, 3)); !slices.Equal(got, []int{70, 5, 4}) {
		t.Errorf("sorted, the copy begins with %v", got)
	}
	if _, err := a.At(3).Delete(ctx); err == nil {
		t.Error("an array shrank")
	}
	if err := a.Set(ctx, n, 1); !errors.Is(err, manager.ErrRange) {
		t.Errorf("Set behind the end: %v", err)
	}
	for _, n := range []int{-1, 1 << 40} {
		if _, err := manager.NewArray[int](m, n); err == nil {
			t.Errorf("an array of %d", n)
		}
	}
	named := need[*manager.Array[int]](t)(manager.OpenArray[int](m, "array", 3))
	if again, err := manager.OpenArray[int](m, "array", 0); err != nil {
		t.Error(err)
	} else if got, err := again.Len(ctx); got != 3 || err != nil {
		t.Errorf("opened, it has %v, %v", got, err)
	}
	if _, err := manager.OpenArray[int](m, "array", 4); !errors.Is(err, manager.ErrType) {
		t.Errorf("opened with another length: %v", err)
	}
	if _, err := manager.OpenArray[string](m, "array", 3); !errors.Is(err, manager.ErrType) {
		t.Errorf("opened with another type: %v", err)
	}
	named.Close()
	// The largest array takes no time and hardly any memory.
	huge := need[*manager.Array[string]](t)(manager.NewArray[string](m, 1<<28))
	defer huge.Close()
	if err := huge.Set(ctx, 1<<27, "x"); err != nil {
		t.Error(err)
	}
	if v, err := huge.Get(ctx, 1<<27); v != "x" || err != nil {
		t.Errorf("Get = %q, %v", v, err)
	}
	if v, err := huge.Get(ctx, -1); v != "" || err != nil {
		t.Errorf("Get = %q, %v", v, err)
	}
}

func TestNamespaceMethods(t *testing.T) {
	ctx := testContext(t)
	m := connect(t, serve(t, manager.Options{}), manager.Options{})
	n := need[*manager.Namespace](t)(manager.OpenNamespace(m, "ns"))
	if err := manager.NamespaceSet(ctx, n, "n", 1); err != nil {
		t.Error(err)
	}
	if err := manager.NamespaceSet(ctx, n, "user", user{Name: "Ada"}); err != nil {
		t.Error(err)
	}
	l := need[*manager.List[int]](t)(manager.NewList[int](m))
	if err := manager.NamespaceSet(ctx, n, "list", l); err != nil {
		t.Error(err)
	}
	again := need[*manager.Namespace](t)(manager.OpenNamespace(m, "ns"))
	if v, ok, err := manager.NamespaceGet[int](ctx, again, "n"); v != 1 || !ok || err != nil {
		t.Errorf("n = %v, %v, %v", v, ok, err)
	}
	if v, ok, err := manager.NamespaceGet[user](ctx, again, "user"); v.Name != "Ada" || !ok || err != nil {
		t.Errorf("user = %v, %v, %v", v, ok, err)
	}
	if v, ok, err := manager.NamespaceGet[*manager.List[int]](ctx, again, "list"); !ok || err != nil {
		t.Errorf("list = %v, %v", ok, err)
	} else if err := v.Append(ctx, 1); err != nil {
		t.Error(err)
	}
	if got, err := l.Len(ctx); got != 1 || err != nil {
		t.Errorf("the list has %v, %v", got, err)
	}
	if _, ok, err := manager.NamespaceGet[int](ctx, again, "none"); ok || err != nil {
		t.Errorf("none = %v, %v", ok, err)
	}
	if _, _, err := manager.NamespaceGet[int](ctx, again, "user"); err == nil {
		t.Error("a struct is an int")
	}
	if v, err := manager.NamespaceUpdate(ctx, n, "n", func(v int, ok bool) (int, error) { return v + 1, nil }); v != 2 || err != nil {
		t.Errorf("Update = %v, %v", v, err)
	}
	if v, err := manager.Add(ctx, manager.NamespaceAt[int](n, "n"), 40); v != 42 || err != nil {
		t.Errorf("Add = %v, %v", v, err)
	}
	if v, ok, err := manager.Within[string](manager.NamespaceAt[user](n, "user"), "Name").Get(ctx); v != "Ada" || !ok || err != nil {
		t.Errorf("user.Name = %v, %v, %v", v, ok, err)
	}
	if got := slices.Collect(n.Names(ctx)); !slices.Equal(got, []string{"n", "user", "list"}) {
		t.Errorf("Names: %v", got)
	}
	c := need[*manager.Namespace](t)(n.Copy(ctx))
	if existed, err := n.Delete(ctx, "n"); !existed || err != nil {
		t.Errorf("Delete = %v, %v", existed, err)
	}
	if has, err := n.Has(ctx, "n"); has || err != nil {
		t.Errorf("Has = %v, %v", has, err)
	}
	if err := n.Clear(ctx); err != nil {
		t.Error(err)
	}
	if got, err := n.Len(ctx); got != 0 || err != nil {
		t.Errorf("Len = %v, %v", got, err)
	}
	if has, err := c.Has(ctx, "n"); !has || err != nil {
		t.Errorf("the copy: Has = %v, %v", has, err)
	}
	if _, err := manager.OpenDict[string, int](m, "ns"); !errors.Is(err, manager.ErrType) {
		t.Errorf("opened as a dict: %v", err)
	}
}

func TestValueMethods(t *testing.T) {
	ctx := testContext(t)
	m := connect(t, serve(t, manager.Options{}), manager.Options{})
	v := need[*manager.Value[string]](t)(manager.OpenValue(m, "v", "first"))
	again := need[*manager.Value[string]](t)(manager.OpenValue(m, "v", "second"))
	if got, err := again.Get(ctx); got != "first" || err != nil {
		t.Errorf("Get = %v, %v", got, err)
	}
	if old, err := v.Swap(ctx, "x"); old != "first" || err != nil {
		t.Errorf("Swap = %v, %v", old, err)
	}
	if ok, err := again.CompareAndSwap(ctx, "x", "y"); !ok || err != nil {
		t.Errorf("CompareAndSwap = %v, %v", ok, err)
	}
	if got, err := v.Update(ctx, func(s string) (string, error) {
		if err := v.Set(ctx, "no"); !errors.Is(err, manager.ErrDeadlock) {
			t.Errorf("Set inside Update: %v", err)
		}
		if _, err := v.CompareAndSwap(ctx, "a", "b"); !errors.Is(err, manager.ErrDeadlock) {
			t.Errorf("CompareAndSwap inside Update: %v", err)
		}
		return s + "z", nil
	}); got != "yz" || err != nil {
		t.Errorf("Update = %v, %v", got, err)
	}
	if err := v.Set(ctx, "done"); err != nil {
		t.Error(err)
	}
	if got, err := again.Get(ctx); got != "done" || err != nil {
		t.Errorf("Get = %v, %v", got, err)
	}
	if err := v.Close(); err != nil {
		t.Error(err)
	}
	if _, err := v.Get(ctx); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Get of a closed Value: %v", err)
	}
	if _, err := new(manager.Value[int]).Get(ctx); err == nil {
		t.Error("Get of a zero Value")
	}
}

// everything is one handle of each type, inside each other where they can be.
type everything struct {
	Dict   *manager.Dict[string, *manager.Set[string]]
	List   *manager.List[*manager.Array[int]]
	Space  *manager.Namespace
	Value  *manager.Value[*manager.List[string]]
	Number *manager.Value[int]
}

var useEverything = process.Register(func(ctx context.Context, e everything) error {
	me := fmt.Sprint(os.Getpid())
	set, _, err := e.Dict.Get(ctx, "set")
	if err != nil {
		return err
	}
	if _, err := set.Add(ctx, me); err != nil {
		return err
	}
	array, err := e.List.Get(ctx, 0)
	if err != nil {
		return err
	}
	lines, err := e.Value.Get(ctx)
	if err != nil {
		return err
	}
	if err := lines.Append(ctx, me); err != nil {
		return err
	}
	for range 100 {
		_, err1 := manager.Add(ctx, array.At(1), 1)
		_, err2 := manager.Add(ctx, manager.NamespaceAt[int](e.Space, "n"), 1)
		_, err3 := manager.Add(ctx, e.Number.At(), 1)
		if err := errors.Join(err1, err2, err3); err != nil {
			return err
		}
	}
	return nil
})

func TestEveryTypeCrosses(t *testing.T) {
	ctx := testContext(t)
	m := start(t, manager.Options{})
	e := everything{
		Dict:   need[*manager.Dict[string, *manager.Set[string]]](t)(manager.NewDict[string, *manager.Set[string]](m)),
		List:   need[*manager.List[*manager.Array[int]]](t)(manager.NewList[*manager.Array[int]](m)),
		Space:  need[*manager.Namespace](t)(manager.NewNamespace(m)),
		Number: need[*manager.Value[int]](t)(manager.NewValue(m, 0)),
	}
	lines := need[*manager.List[string]](t)(manager.NewList[string](m))
	e.Value = need[*manager.Value[*manager.List[string]]](t)(manager.NewValue(m, lines))
	set := need[*manager.Set[string]](t)(manager.NewSet[string](m))
	array := need[*manager.Array[int]](t)(manager.NewArray[int](m, 3))
	if err := errors.Join(e.Dict.Set(ctx, "set", set), e.List.Append(ctx, array)); err != nil {
		t.Fatal(err)
	}
	const children = 3
	var ps []*process.Process
	for range children {
		ps = append(ps, run(t, useEverything, e))
	}
	join(t, ps...)
	if n, err := set.Len(ctx); n != children || err != nil {
		t.Errorf("the set has %v, %v", n, err)
	}
	if n, err := lines.Len(ctx); n != children || err != nil {
		t.Errorf("the list has %v, %v", n, err)
	}
	if n, err := array.Get(ctx, 1); n != 100*children || err != nil {
		t.Errorf("the array has %v, %v", n, err)
	}
	if n, _, err := manager.NamespaceGet[int](ctx, e.Space, "n"); n != 100*children || err != nil {
		t.Errorf("the namespace has %v, %v", n, err)
	}
	if n, err := e.Number.Get(ctx); n != 100*children || err != nil {
		t.Errorf("the value is %v, %v", n, err)
	}
	for _, c := range []io.Closer{set, array, lines, e.Dict, e.List, e.Space, e.Value, e.Number} {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	objects(t, m, 0)
}

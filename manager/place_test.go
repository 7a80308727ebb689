package manager_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"

	"github.com/go-multiproc/multiproc/manager"
)

type user struct {
	Name   string
	Visits map[string][]int
	Tags   []string
	Score  float64
	Age    uint8 `cbor:"age"`
}

func TestWithin(t *testing.T) {
	ctx := testContext(t)
	m := connect(t, serve(t, manager.Options{}), manager.Options{})
	users, err := manager.NewDict[string, user](m)
	if err != nil {
		t.Fatal(err)
	}
	ada := user{Name: "Ada", Visits: map[string][]int{"/": {1, 2, 3}}, Tags: []string{"x"}, Score: 1.5, Age: 36}
	if err := users.Set(ctx, "ada", ada); err != nil {
		t.Fatal(err)
	}
	at := users.At("ada")
	if v, ok, err := manager.Within[int](at, "Visits", "/", -1).Get(ctx); v != 3 || !ok || err != nil {
		t.Errorf("Visits[/][-1] = %v, %v, %v", v, ok, err)
	}
	if v, ok, err := manager.Within[[]int](at, "Visits", "/none").Get(ctx); ok || err != nil {
		t.Errorf("Visits[/none] = %v, %v, %v", v, ok, err)
	}
	if n, err := manager.Add(ctx, manager.Within[int](at, "Visits", "/", 0), 41); n != 42 || err != nil {
		t.Errorf("Add = %v, %v", n, err)
	}
	if n, err := manager.Append(ctx, manager.Within[[]int](at, "Visits", "/new"), 7, 8); n != 2 || err != nil {
		t.Errorf("Append = %v, %v", n, err)
	}
	if n, err := manager.Append(ctx, manager.Within[[]string](at, "Tags"), "y"); n != 2 || err != nil {
		t.Errorf("Append = %v, %v", n, err)
	}
	if v, err := manager.Sub(ctx, manager.Within[uint8](at, "age"), 6); v != 30 || err != nil {
		t.Errorf("Sub = %v, %v", v, err)
	}
	if v, err := manager.Add(ctx, manager.Within[float64](at, "Score"), 0.25); v != 1.75 || err != nil {
		t.Errorf("Add = %v, %v", v, err)
	}
	if err := manager.Within[string](at, "Name").Set(ctx, "Ada L."); err != nil {
		t.Error(err)
	}
	if existed, err := manager.Within[int](at, "Visits", "/", 1).Delete(ctx); !existed || err != nil {
		t.Errorf("Delete = %v, %v", existed, err)
	}
	if ok, err := manager.Within[string](at, "Tags", 0).CompareAndSwap(ctx, "x", "z"); !ok || err != nil {
		t.Errorf("CompareAndSwap = %v, %v", ok, err)
	}
	if ok, err := manager.Within[string](at, "Tags", 0).CompareAndSwap(ctx, "x", "zz"); ok || err != nil {
		t.Errorf("second CompareAndSwap = %v, %v", ok, err)
	}
	want := user{Name: "Ada L.", Visits: map[string][]int{"/": {42, 3}, "/new": {7, 8}}, Tags: []string{"z", "y"}, Score: 1.75, Age: 30}
	if v, _, err := users.Get(ctx, "ada"); fmt.Sprint(v) != fmt.Sprint(want) || err != nil {
		t.Errorf("now %v, %v; want %v", v, err, want)
	}
	// Long slices of numbers are encoded in another way.
	long := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	if err := users.Set(ctx, "long", user{Visits: map[string][]int{"/": long}}); err != nil {
		t.Error(err)
	}
	visits := manager.Within[[]int](users.At("long"), "Visits", "/")
	if n, err := manager.Append(ctx, visits, long...); n != 20 || err != nil {
		t.Errorf("Append = %v, %v", n, err)
	}
	if n, err := manager.Add(ctx, manager.Within[int](visits, 9), 1); n != 10 || err != nil {
		t.Errorf("Add = %v, %v", n, err)
	}
	long[9] = 10
	if v, _, err := visits.Get(ctx); !slices.Equal(v[:10], long) || err != nil {
		t.Errorf("Visits = %v, %v", v, err)
	}
	if ok, err := visits.CompareAndSwap(ctx, append(slices.Clone(long), 0, 1, 2, 3, 4, 5, 6, 7, 8, 9), nil); !ok || err != nil {
		t.Errorf("CompareAndSwap = %v, %v", ok, err)
	}
	// What is missing is made.
	if n, err := manager.Add(ctx, manager.Within[int](manager.Within[[]int](users.At("bob"), "Visits"), "/"), 1); n != 1 || err != nil {
		t.Errorf("Add below nothing = %v, %v", n, err)
	}

	lists, err := manager.NewDict[string, *manager.List[int]](m)
	if err != nil {
		t.Fatal(err)
	}
	l, err := manager.NewList[int](m)
	if err != nil {
		t.Fatal(err)
	}
	if err := lists.Set(ctx, "l", l); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		do   func() error
		want error
	}{
		{"into a number", func() error { _, _, err := manager.Within[int](at, "Score", "x").Get(ctx); return err }, manager.ErrType},
		{"beyond an array", func() error { return manager.Within[string](at, "Tags", 9).Set(ctx, "x") }, manager.ErrRange},
		{"a key of an array", func() error { return manager.Within[string](at, "Tags", "x").Set(ctx, "x") }, manager.ErrType},
		{"Add to a string", func() error { _, err := manager.Add(ctx, manager.Within[int](at, "Name"), 1); return err }, manager.ErrType},
		{"Append to a string", func() error { _, err := manager.Append(ctx, manager.Within[[]int](at, "Name"), 1); return err }, manager.ErrType},
		{"into handles", func() error { _, _, err := manager.Within[int](lists.At("l"), 0).Get(ctx); return err }, manager.ErrType},
		{"below 0", func() error { _, err := manager.Sub(ctx, manager.Within[uint8](at, "age"), 31); return err }, manager.ErrOverflow},
		{"Append of bytes", func() error { _, err := manager.Append(ctx, manager.Within[[]byte](at, "b"), 1); return err }, manager.ErrType},
		{"Append of handles", func() error {
			_, err := manager.Append(ctx, manager.Within[[]*manager.List[int]](at, "b"), l)
			return err
		}, manager.ErrType},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.do(); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
	if v, _, err := users.Get(ctx, "ada"); fmt.Sprint(v) != fmt.Sprint(want) || err != nil {
		t.Errorf("what failed changed it to %v, %v", v, err)
	}
	if err := manager.Within[int](at, make(chan int)).Set(ctx, 1); err == nil {
		t.Error("a step that is a channel")
	}
	if err := (manager.Place[int]{}).Set(ctx, 1); err == nil {
		t.Error("a zero Place")
	}
}

// A number is added to in every type and every kind of object, up to its bounds.
func TestAdd(t *testing.T) {
	ctx := testContext(t)
	m := connect(t, serve(t, manager.Options{}), manager.Options{})
	checkAdd[int](t, ctx, m, math.MaxInt, 1)
	checkAdd[int8](t, ctx, m, math.MaxInt8, 1)
	checkAdd[int16](t, ctx, m, math.MinInt16, -1)
	checkAdd[int32](t, ctx, m, math.MaxInt32, 5)
	checkAdd[int64](t, ctx, m, math.MinInt64, math.MinInt64)
	checkAdd[uint](t, ctx, m, math.MaxUint, math.MaxUint)
	checkAdd[uint8](t, ctx, m, 250, 6)
	checkAdd[uint16](t, ctx, m, math.MaxUint16, 1)
	checkAdd[uint32](t, ctx, m, math.MaxUint32, 1)
	checkAdd[uint64](t, ctx, m, math.MaxUint64, 1)
	checkAdd[float32](t, ctx, m, math.MaxFloat32, math.MaxFloat32)
	checkAdd[float64](t, ctx, m, -math.MaxFloat64, -math.MaxFloat64)
	type meters float64
	checkAdd[meters](t, ctx, m, math.MaxFloat64, math.MaxFloat64)
}

func checkAdd[T interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~float32 | ~float64
}](t *testing.T, ctx context.Context, m *manager.Manager, bound, over T) {
	t.Helper()
	v, err := manager.NewValue(m, bound)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if sum, err := manager.Add(ctx, v.At(), over); !errors.Is(err, manager.ErrOverflow) {
		t.Errorf("%v + %v = %v, %v", bound, over, sum, err)
	}
	if now, err := v.Get(ctx); now != bound || err != nil {
		t.Errorf("after an overflow it is %v, %v", now, err)
	}
	if sum, err := manager.Sub(ctx, v.At(), bound); sum != 0 || err != nil {
		t.Errorf("%v - %[1]v = %v, %v", bound, sum, err)
	}
	if sum, err := manager.Add(ctx, v.At(), 3); sum != 3 || err != nil {
		t.Errorf("0 + 3 = %v, %v", sum, err)
	}
	if now, err := v.Get(ctx); now != 3 || err != nil {
		t.Errorf("now %v, %v", now, err)
	}
}

// Nobody's change is lost, whichever way it is made.
func TestConcurrentChanges(t *testing.T) {
	ctx := testContext(t)
	path := serve(t, manager.Options{})
	m := connect(t, path, manager.Options{})
	d, err := manager.NewDict[string, map[string]int](m)
	if err != nil {
		t.Fatal(err)
	}
	l, err := manager.NewList[int](m)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Append(ctx, 0, 0); err != nil {
		t.Fatal(err)
	}
	v, err := manager.NewValue(m, 0)
	if err != nil {
		t.Fatal(err)
	}
	const workers, each = 4, 50
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				_, err1 := manager.Add(ctx, manager.Within[int](d.At("k"), "n"), 1)
				_, err2 := l.Update(ctx, 0, func(n int) (int, error) { return n + 1, nil })
				_, err3 := manager.Add(ctx, l.At(1), 1)
				_, err4 := v.Update(ctx, func(n int) (int, error) { return n + 1, nil })
				_, err5 := v.At().Update(ctx, func(n int, _ bool) (int, error) { return n + 1, nil })
				err6 := l.UpdateAll(ctx, func(all []int) ([]int, error) { return append(all, len(all)), nil })
				if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if got, _, err := d.Get(ctx, "k"); got["n"] != workers*each || err != nil {
		t.Errorf("dict %v, %v", got, err)
	}
	if got, err := v.Get(ctx); got != 2*workers*each || err != nil {
		t.Errorf("value %v, %v", got, err)
	}
	all, err := l.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	want := make([]int, 2+workers*each)
	for i := range want {
		want[i] = i
	}
	want[0], want[1] = workers*each, workers*each
	if !slices.Equal(all, want) {
		t.Errorf("list %v", all)
	}
}

// Two values are the same if their maps are, in whatever order those were encoded.
func TestCompareMaps(t *testing.T) {
	ctx := testContext(t)
	m := connect(t, serve(t, manager.Options{}), manager.Options{})
	v := map[string]int{}
	for i := range 20 {
		v[fmt.Sprint(i)] = i
	}
	l, err := manager.NewList[map[string]int](m)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Append(ctx, map[string]int{}, v); err != nil {
		t.Fatal(err)
	}
	if i, err := l.Index(ctx, v); i != 1 || err != nil {
		t.Errorf("Index = %v, %v", i, err)
	}
	if ok, err := l.CompareAndSwap(ctx, 1, v, nil); !ok || err != nil {
		t.Errorf("CompareAndSwap = %v, %v", ok, err)
	}
	if i, err := l.Index(ctx, v); i != -1 || err != nil {
		t.Errorf("Index = %v, %v", i, err)
	}
}

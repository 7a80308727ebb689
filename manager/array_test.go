package manager_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/detector"
	"github.com/go-multiproc/multiproc/manager"
)

// checkFirst checks that all of an array of three is T's zero value, for calls that compare on the server as much as for Get, and then sets its first element to v, which is
// smaller.
func checkFirst[T comparable](t *testing.T, ctx context.Context, a *manager.Array[T], v T) {
	t.Helper()
	var zero T
	if got, err := a.Snapshot(ctx); err != nil || !slices.Equal(got, []T{zero, zero, zero}) {
		t.Errorf("%T begins as %v, %v", a, got, err)
	}
	if n, err := a.Count(ctx, zero); n != 3 || err != nil {
		t.Errorf("%T: Count of the zero value is %d, %v", a, n, err)
	}
	if i, err := a.Index(ctx, zero); i != 0 || err != nil {
		t.Errorf("%T: Index of the zero value is %d, %v", a, i, err)
	}
	if ok, err := a.CompareAndSwap(ctx, 0, zero, v); !ok || err != nil {
		t.Errorf("%T: CompareAndSwap of the zero value is %v, %v", a, ok, err)
	}
}

// An array's values are T's zero value before they are set, and not something else that reads the same.
func TestArrayBeginsWithZero(t *testing.T) {
	ctx := testContext(t)
	o := manager.Options{Path: t.TempDir()}
	m := start(t, o)
	numbers := need[*manager.Array[int]](t)(manager.OpenArray[int](m, "numbers", 3))
	checkFirst(t, ctx, numbers, -1)
	checkFirst(t, ctx, need[*manager.Array[float64]](t)(manager.NewArray[float64](m, 3)), -0.5)
	checkFirst(t, ctx, need[*manager.Array[string]](t)(manager.NewArray[string](m, 3)), "a")
	checkFirst(t, ctx, need[*manager.Array[bool]](t)(manager.NewArray[bool](m, 3)), true)
	type point struct{ X, Y int }
	points := need[*manager.Array[point]](t)(manager.OpenArray[point](m, "points", 3))
	checkFirst(t, ctx, points, point{-1, 0})
	pointers := need[*manager.Array[*point]](t)(manager.NewArray[*point](m, 3)) // null is what they are
	checkFirst(t, ctx, pointers, &point{1, 2})
	lists := need[*manager.Array[*manager.List[int]]](t)(manager.NewArray[*manager.List[int]](m, 3))
	if l, err := lists.Get(ctx, 0); l != nil || err != nil {
		t.Errorf("an array of lists begins as %v, %v", l, err)
	}

	// What was not set is sorted among what was.
	if err := numbers.SetSlice(ctx, 0, 2, 4, -7); err != nil {
		t.Fatal(err)
	}
	if err := numbers.Sort(ctx); err != nil {
		t.Fatal(err)
	}
	if got, err := numbers.Snapshot(ctx); err != nil || fmt.Sprint(got) != "[-7 0 4]" {
		t.Errorf("sorted: %v, %v", got, err)
	}
	twin := need[*manager.Array[point]](t)(points.Copy(ctx))
	kill(t, m)
	if _, err := twin.Len(ctx); !errors.Is(err, manager.ErrDown) {
		t.Error(err)
	}

	// It is known again after a restart, and to whoever opens it without saying.
	m = start(t, o)
	points = need[*manager.Array[point]](t)(manager.OpenArray[point](m, "points", 0))
	if n, err := points.Count(ctx, point{}); n != 2 || err != nil {
		t.Errorf("after a restart %d are what all were at first, %v", n, err)
	}
	twin = need[*manager.Array[point]](t)(points.Copy(ctx))
	if n, err := twin.Count(ctx, point{}); n != 2 || err != nil {
		t.Errorf("in a copy %d are what all were at first, %v", n, err)
	}
}

// 0 is for what exists: nothing is made.
func TestOpenOfZeroMakesNothing(t *testing.T) {
	ctx := testContext(t)
	m := start(t, manager.Options{})
	for name, open := range map[string]func(n int) error{
		"array":     func(n int) error { _, err := manager.OpenArray[int](m, "array", n); return err },
		"barrier":   func(n int) error { _, err := manager.OpenBarrier(m, "barrier", n); return err },
		"semaphore": func(n int) error { _, err := manager.OpenSemaphore(m, "semaphore", n); return err },
	} {
		if err := open(0); !errors.Is(err, manager.ErrNotFound) {
			t.Errorf("%s: an open with 0, of none: %v", name, err)
		}
		if err := errors.Join(open(2), open(0)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := open(3); !errors.Is(err, manager.ErrType) {
			t.Errorf("%s: an open with another number: %v", name, err)
		}
	}
	if _, err := manager.OpenSemaphore(m, "signals", 0, manager.SemaphoreOptions{Counting: true}); err != nil {
		t.Errorf("a counting semaphore begins at 0: %v", err)
	}
	if s, err := m.Stats(ctx); err != nil || s.Named != 4 {
		t.Errorf("%+v, %v", s, err)
	}
}

// Who gives up on looking through very many values does not keep the server at it.
func TestGivenUpOnMany(t *testing.T) {
	if testing.Short() {
		t.Skip("2^26 values")
	}
	m, ctx := start(t, manager.Options{}), testContext(t)
	n := 1 << 26
	if detector.Enabled {
		n = 1 << 21
	}
	a := need[*manager.Array[int]](t)(manager.NewArray[int](m, n))
	for name, call := range map[string]func(context.Context) error{
		"Index": func(ctx context.Context) error { _, err := a.Index(ctx, 1); return err },
		"Count": func(ctx context.Context) error { _, err := a.Count(ctx, 1); return err },
	} {
		begun := time.Now()
		check(t, call(ctx))
		whole := time.Since(begun)

		giveUp, cancel := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- call(giveUp) }()
		waits := func() bool {
			st, err := m.Stats(ctx)
			check(t, err)
			return st.Waiting > 0
		}
		for !waits() {
		}
		begun = time.Now()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
		for waits() {
		}
		if d := time.Since(begun); d > whole/2 {
			t.Errorf("%s: the server went on for %v, and needs %v for all", name, d, whole)
		}
	}
}

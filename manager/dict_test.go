package manager_test

import (
	"maps"
	"testing"

	"github.com/go-multiproc/multiproc/manager"
)

func TestDict(t *testing.T) {
	ctx := testContext(t)
	m := start(t, manager.Options{})
	d, err := manager.NewDict[string, int](m)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := d.Get(ctx, "a"); ok || err != nil {
		t.Fatalf("Get of a missing key = %v, %v", ok, err)
	}
	if err := d.Set(ctx, "a", 1); err != nil {
		t.Fatal(err)
	}
	if v, ok, err := d.Get(ctx, "a"); v != 1 || !ok || err != nil {
		t.Fatalf("Get = %v, %v, %v", v, ok, err)
	}
	n, err := d.Update(ctx, "a", func(v int, ok bool) (int, error) { return v + 41, nil })
	if n != 42 || err != nil {
		t.Fatalf("Update = %v, %v", n, err)
	}
	if err := d.BatchSet(ctx, map[string]int{"b": 2, "c": 3}); err != nil {
		t.Fatal(err)
	}
	snap, err := d.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]int{"a": 42, "b": 2, "c": 3}; !maps.Equal(snap, want) {
		t.Errorf("Snapshot = %v, want %v", snap, want)
	}
	if got := maps.Collect(d.All(ctx)); !maps.Equal(got, snap) {
		t.Errorf("All = %v", got)
	}
	if got, err := d.BatchGet(ctx, []string{"a", "zz", "c"}); err != nil || !maps.Equal(got, map[string]int{"a": 42, "c": 3}) {
		t.Errorf("BatchGet = %v, %v", got, err)
	}
	if n, err := d.BatchDelete(ctx, []string{"a", "zz", "c"}); n != 2 || err != nil {
		t.Errorf("BatchDelete = %v, %v", n, err)
	}
	if existed, err := d.Delete(ctx, "b"); !existed || err != nil {
		t.Errorf("Delete = %v, %v", existed, err)
	}
	if n, err := d.Len(ctx); n != 0 || err != nil {
		t.Errorf("Len = %v, %v", n, err)
	}
}

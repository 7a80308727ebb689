package manager_test

import (
	"context"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/manager"
)

// What gives a key another value ends its time to live; what changes the one that it has does not.
func TestWhatEndsATimeToLive(t *testing.T) {
	ctx := testContext(t)
	m := connect(t, serve(t, manager.Options{}), manager.Options{})
	d := need[*manager.Dict[string, int]](t)(manager.NewDict[string, int](m))
	other := need[*manager.Dict[string, int]](t)(manager.NewDict[string, int](m))
	if err := other.Set(ctx, "k", 7); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func() error
		ends   bool
	}{
		"Set":            {func() error { return d.Set(ctx, "k", 2) }, true},
		"BatchSet":       {func() error { return d.BatchSet(ctx, map[string]int{"k": 2}) }, true},
		"Swap":           {func() error { _, _, err := d.Swap(ctx, "k", 2); return err }, true},
		"UpdateFrom":     {func() error { return d.UpdateFrom(ctx, other) }, true},
		"GetOrSet":       {func() error { _, _, err := d.GetOrSet(ctx, "k", 2); return err }, false},
		"Update":         {func() error { _, err := d.Update(ctx, "k", func(int, bool) (int, error) { return 2, nil }); return err }, false},
		"Add":            {func() error { _, err := manager.Add(ctx, d.At("k"), 1); return err }, false},
		"Place.Set":      {func() error { return d.At("k").Set(ctx, 2) }, false},
		"CompareAndSwap": {func() error { _, err := d.CompareAndSwap(ctx, "k", 1, 2); return err }, false},
	} {
		if err := d.SetTTL(ctx, "k", 1, time.Hour); err != nil {
			t.Fatal(err)
		}
		if err := c.change(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if left, ok, err := d.TTL(ctx, "k"); !ok || err != nil || (left == 0) != c.ends {
			t.Errorf("%s: it has %v to live, %v, %v", name, left, ok, err)
		}
	}
	if err := d.SetTTL(ctx, "k", 1, time.Hour); err != nil {
		t.Fatal(err)
	}
	again := need[*manager.Dict[string, int]](t)(d.Copy(ctx))
	if left, ok, err := again.TTL(ctx, "k"); left < time.Minute || left > time.Hour || !ok || err != nil {
		t.Errorf("in a copy it has %v to live, %v, %v", left, ok, err)
	}
}

// While a key is being updated, those wait who must, and no others.
func TestWhoWaitsForAnUpdate(t *testing.T) {
	ctx := testContext(t)
	path := serve(t, manager.Options{})
	m := connect(t, path, manager.Options{})
	d := need[*manager.Dict[string, int]](t)(manager.NewDict[string, int](m))
	for i, k := range []string{"a", "b", "new"} {
		if err := d.Set(ctx, k, i+1); err != nil {
			t.Fatal(err)
		}
	}
	in, out, ended := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		_, err := d.Update(ctx, "new", func(v int, _ bool) (int, error) {
			close(in)
			<-out
			return v + 10, nil
		})
		ended <- err
	}()
	<-in
	// It is the newest, and passed over.
	if k, v, ok, err := d.PopItem(ctx); k != "b" || v != 2 || !ok || err != nil {
		t.Errorf("PopItem = %q, %d, %v, %v", k, v, ok, err)
	}
	// There is a value, so nothing is changed.
	if v, loaded, err := d.GetOrSet(ctx, "new", 5); v != 3 || !loaded || err != nil {
		t.Errorf("GetOrSet = %d, %v, %v", v, loaded, err)
	}
	if there, err := d.Contains(ctx, "new"); !there || err != nil {
		t.Errorf("Contains = %v, %v", there, err)
	}
	if k, _, ok, err := d.PopItem(ctx); k != "a" || !ok || err != nil {
		t.Errorf("PopItem = %q, %v, %v", k, ok, err)
	}
	// Now there is no other.
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if k, _, _, err := d.PopItem(short); err != context.DeadlineExceeded {
		t.Errorf("PopItem of what is being updated = %q, %v", k, err)
	}
	popped := make(chan int)
	go func() {
		_, v, _, _ := d.PopItem(ctx)
		popped <- v
	}()
	for st, err := m.Stats(ctx); st.Waiting == 0; st, err = m.Stats(ctx) {
		if err != nil {
			t.Fatal(err)
		}
	}
	close(out)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if v := <-popped; v != 13 {
		t.Errorf("PopItem after the update = %d", v)
	}
}

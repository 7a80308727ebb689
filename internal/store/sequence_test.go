package store_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-multiproc/multiproc/internal/store"
)

func texts(t testing.TB, n *store.Snapshot) []string {
	t.Helper()
	defer n.Free()
	all := []string{}
	if _, err := n.Page(nil, func(_ string, v store.Value) bool { all = append(all, v.Data); return true }); err != nil {
		t.Fatal(err)
	}
	if n.Len() != len(all) {
		t.Errorf("a snapshot of %d has %d", n.Len(), len(all))
	}
	return all
}

func values(texts []string) []store.Value {
	all := make([]store.Value, len(texts))
	for i, s := range texts {
		all[i] = plain(s)
	}
	return all
}

// Ranges of a list do what those of a slice do, and snapshots stay what they were.
func TestRangesAgainstSlice(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 2))
	_, s := newSession(t)
	l, _ := newList(t, s)
	var model []string
	type kept struct {
		n    *store.Snapshot
		want []string
	}
	var snaps []kept
	fresh := func(n int) []string {
		all := make([]string, n)
		for i := range all {
			all[i] = fmt.Sprint(r.Uint32())
		}
		return all
	}
	for step := range 3000 {
		i := r.IntN(len(model) + 1)
		j := i + min(r.IntN(len(model)-i+1), r.IntN(2000))
		switch r.IntN(8) {
		case 0, 1:
			with := fresh(r.IntN(1200) * r.IntN(2))
			if n, err := l.Splice(s, int64(i), int64(j), values(with)); n != j-i || err != nil {
				t.Fatalf("seed %d: Splice = %d, %v", seed, n, err)
			}
			model = slices.Replace(model, i, j, with...)
		case 2:
			with := fresh(j - i)
			from, to := int64(i), int64(j)
			if i < len(model) {
				from -= int64(len(model)) // -0 would be the first
			}
			if j < len(model) {
				to -= int64(len(model))
			}
			if n, err := l.Splice(s, from, to, values(with)); n != len(with) || err != nil {
				t.Fatalf("seed %d: Splice = %d, %v", seed, n, err)
			}
			copy(model[i:], with)
		case 3:
			if got := texts(t, l.Slice(int64(i), int64(j))); !slices.Equal(got, model[i:j]) {
				t.Fatalf("seed %d: Slice(%d, %d) of %d: %d values", seed, i, j, len(model), len(got))
			}
		case 4:
			if len(model) > 0 {
				want := model[r.IntN(len(model))]
				if got := l.Find(int64(i), int64(j), func(data string) bool { return data == want }); got != index(model, want, i, j) {
					t.Fatalf("seed %d: Find = %d", seed, got)
				}
				if l.Find(0, math.MaxInt64, func(data string) bool { return data == want }) < 0 {
					t.Fatalf("seed %d: Count = 0", seed)
				}
			}
		case 5:
			if len(model) > 0 && i < len(model) {
				v, err := l.Pop(s, int64(i))
				if v.Data != model[i] || err != nil {
					t.Fatalf("seed %d: Pop = %v, %v", seed, v, err)
				}
				model = slices.Delete(slices.Clone(model), i, i+1)
			}
		case 6:
			if step%10 == 0 {
				l.Reverse()
				model = slices.Clone(model)
				slices.Reverse(model)
			}
		case 7:
			snaps = append(snaps, kept{l.Slice(int64(i), int64(j)), slices.Clone(model[i:j])})
		}
		if len(model) > 20_000 {
			if err := l.Clear(); err != nil {
				t.Fatal(err)
			}
			model = nil
		}
		if l.Len() != len(model) {
			t.Fatalf("seed %d, step %d: %d values, want %d", seed, step, l.Len(), len(model))
		}
	}
	if got := texts(t, l.Snapshot()); !slices.Equal(got, model) {
		t.Errorf("seed %d: not what the slice is", seed)
	}
	for i, k := range snaps {
		if got := texts(t, k.n); !slices.Equal(got, k.want) {
			t.Fatalf("seed %d: snapshot %d was changed", seed, i)
		}
	}
}

func index(model []string, want string, i, j int) int {
	if at := slices.Index(model[i:j], want); at >= 0 {
		return at + i
	}
	return -1
}

// An array's chunks are one until they are changed, and a change is seen in no other place.
func TestArrayChunks(t *testing.T) {
	_, s := newSession(t)
	id, err := s.Create(store.KindArray, "", 5000)
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.Array(id)
	if err != nil {
		t.Fatal(err)
	}
	want := slices.Repeat([]string{"\xf6"}, 5000)
	before := a.Snapshot()
	set := func(i int, data string) {
		t.Helper()
		if err := a.Set(s, int64(i), plain(data)); err != nil {
			t.Fatal(err)
		}
		want[i] = data
	}
	for _, i := range []int{0, 511, 512, 513, 4999} {
		set(i, fmt.Sprint(i))
	}
	if got := texts(t, a.Snapshot()); !slices.Equal(got, want) {
		t.Error("a change is seen elsewhere")
	}
	if got := texts(t, before); !slices.Equal(got, slices.Repeat([]string{"\xf6"}, 5000)) {
		t.Error("a snapshot was changed")
	}
	if err := a.Fill(s, plain("x")); err != nil {
		t.Fatal(err)
	}
	want = slices.Repeat([]string{"x"}, 5000)
	set(700, "y")
	if got := texts(t, a.Snapshot()); !slices.Equal(got, want) {
		t.Error("after Fill a change is seen elsewhere")
	}
	for name, f := range map[string]func() error{
		"Append": func() error { return a.Append(s, values([]string{"z"})) },
		"Insert": func() error { return a.Insert(s, 0, plain("z")) },
		"Pop":    func() error { _, err := a.Pop(s, 0); return err },
		"Clear":  func() error { return a.Clear() },
		"Splice": func() error { _, err := a.Splice(s, 0, 1, nil); return err },
	} {
		if err := f(); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSetAgainstMap(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 3))
	_, s := newSession(t)
	const n = 4
	var sets [n]*store.Set
	var ids [n]store.ID
	var models [n]map[string]bool
	for i := range n {
		var err error
		if ids[i], err = s.Create(store.KindSet, ""); err != nil {
			t.Fatal(err)
		}
		if sets[i], err = s.Set(ids[i]); err != nil {
			t.Fatal(err)
		}
		models[i] = map[string]bool{}
	}
	keys := func() (all [][]byte) {
		for range r.IntN(20) {
			all = append(all, []byte(fmt.Sprint(r.IntN(300))))
		}
		return all
	}
	combine := func(a store.Algebra, of map[string]bool, others []map[string]bool) map[string]bool {
		result := map[string]bool{}
		for k := range 300 {
			key := fmt.Sprint(k)
			in := 0
			for _, o := range others {
				if o[key] {
					in++
				}
			}
			var is bool
			switch a {
			case store.Union:
				is = of[key] || in > 0
			case store.Intersection:
				is = of[key] && in == len(others)
			case store.Difference:
				is = of[key] && in == 0
			case store.SymmetricDifference:
				is = of[key] != (in%2 == 1)
			}
			if is {
				result[key] = true
			}
		}
		return result
	}
	content := func(x *store.Set) map[string]bool {
		all := map[string]bool{}
		next := store.Cursor(0)
		for end := false; !end; {
			next, end = x.Page(next, func(key string, _ store.Value) bool { all[key] = true; return len(all)%50 != 0 })
		}
		return all
	}
	for range 2000 {
		i, j, k := r.IntN(n), r.IntN(n), r.IntN(n)
		a := store.Algebra(1 + r.IntN(4))
		switch r.IntN(6) {
		case 0:
			for _, key := range keys() {
				if sets[i].Add([][]byte{key}) == 1 == models[i][string(key)] {
					t.Fatalf("seed %d: Add of %s", seed, key)
				}
				models[i][string(key)] = true
			}
		case 1:
			for _, key := range keys() {
				if sets[i].Remove([][]byte{key}) == 1 != models[i][string(key)] {
					t.Fatalf("seed %d: Remove of %s", seed, key)
				}
				delete(models[i], string(key))
			}
		case 2:
			if key, ok := sets[i].PopNewest(); ok != (len(models[i]) > 0) || ok && !models[i][key] {
				t.Fatalf("seed %d: PopNewest = %s, %v", seed, key, ok)
			} else {
				delete(models[i], key)
			}
		case 3:
			if err := sets[i].Combine(a, []*store.Set{sets[j], sets[k]}); err != nil {
				t.Fatal(err)
			}
			models[i] = combine(a, models[i], []map[string]bool{models[j], models[k]})
		case 4:
			id, err := s.Combined(ids[i], a, []*store.Set{sets[j], sets[k]})
			if err != nil {
				t.Fatal(err)
			}
			made, err := s.Set(id)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := content(made), combine(a, models[i], []map[string]bool{models[j], models[k]}); !sameKeys(got, want) {
				t.Fatalf("seed %d: operation %d makes %v, want %v", seed, a, got, want)
			}
			if err := s.Release(id, 1); err != nil {
				t.Fatal(err)
			}
		case 5:
			for relation, want := range map[store.Relation]bool{
				store.Subset:   len(combine(store.Difference, models[i], []map[string]bool{models[j]})) == 0,
				store.Disjoint: len(combine(store.Intersection, models[i], []map[string]bool{models[j]})) == 0,
				store.Same:     sameKeys(models[i], models[j]),
			} {
				if got, err := sets[i].Relates(relation, sets[j]); got != want || err != nil {
					t.Fatalf("seed %d: relation %d: %v, %v", seed, relation, got, err)
				}
			}
		}
		if got := content(sets[i]); !sameKeys(got, models[i]) || sets[i].Len() != len(models[i]) {
			t.Fatalf("seed %d: the set is %v, want %v", seed, got, models[i])
		}
	}
	if err := sets[0].Combine(9, nil); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("operation 9: %v", err)
	}
	if _, err := sets[0].Relates(9, sets[1]); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("relation 9: %v", err)
	}
}

func sameKeys(a, b map[string]bool) bool {
	if len(a) != len(b) {
		return false
	}
	for k := range a {
		if !b[k] {
			return false
		}
	}
	return true
}

// Each key goes when its time has come, neither sooner nor later, whoever looks.
func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, s := newSession(t)
		d, _ := newDict(t, s)
		ctx := context.Background()
		const n = 1000
		for i := range n {
			if err := d.SetFor(ctx, s, fmt.Append(nil, i), plain("v"), time.Duration(1+i*7919%n)*time.Second); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.SetFor(ctx, s, []byte("x"), plain("v"), 0); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("a time of 0: %v", err)
		}
		time.Sleep(500 * time.Millisecond)
		for gone := range n {
			if d.Len() != n-gone {
				t.Fatalf("after %d s there are %d", gone, d.Len())
			}
			time.Sleep(time.Second)
		}
		// Changes of the time: later, sooner, never; and removal takes it along.
		for _, key := range []string{"later", "sooner", "never", "removed", "set"} {
			if err := d.SetFor(ctx, s, []byte(key), plain("v"), time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		for key, ttl := range map[string]time.Duration{"later": time.Hour, "sooner": time.Second, "never": 0} {
			if ok, err := d.Expire(ctx, []byte(key), ttl); !ok || err != nil {
				t.Fatal(ok, err)
			}
		}
		if _, err := d.Delete(ctx, []byte("removed")); err != nil {
			t.Fatal(err)
		}
		if err := d.Set(ctx, s, []byte("set"), plain("w")); err != nil {
			t.Fatal(err)
		}
		if err := d.Set(ctx, s, []byte("removed"), plain("w")); err != nil {
			t.Fatal(err)
		}
		has := func(want ...string) {
			t.Helper()
			for _, key := range []string{"later", "sooner", "never", "removed", "set"} {
				if d.Has([]byte(key)) != slices.Contains(want, key) {
					t.Errorf("%s is there: %v", key, d.Has([]byte(key)))
				}
			}
		}
		has("later", "sooner", "never", "removed", "set")
		time.Sleep(2 * time.Second)
		has("later", "never", "removed", "set")
		time.Sleep(2 * time.Minute)
		has("later", "never", "removed", "set")
		if left, ok := d.TTL([]byte("later")); left <= 57*time.Minute || left > 58*time.Minute || !ok {
			t.Errorf("TTL = %v, %v", left, ok)
		}
		// A lease is not taken away.
		if err := d.SetFor(ctx, s, []byte("sooner"), plain("v"), time.Second); err != nil {
			t.Fatal(err)
		}
		if _, ok, err := d.Lease(ctx, s, []byte("sooner"), 1); !ok || err != nil {
			t.Fatal(ok, err)
		}
		time.Sleep(2 * time.Second)
		has("later", "sooner", "never", "removed", "set")
		if err := s.Commit(1, plain("w")); err != nil {
			t.Fatal(err)
		}
		has("later", "never", "removed", "set")
		// Clear and End leave no timer behind that would find something to do.
		if err := d.Clear(ctx); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		if d.Len() != 0 {
			t.Errorf("%d keys", d.Len())
		}
		st.Close()
	})
}

package store_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/store"
)

const patience = 30 * time.Second

func bg(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func newSession(t testing.TB) (*store.Store, *store.Session) {
	st := store.New(store.Options{})
	t.Cleanup(func() { st.Close() })
	return st, st.NewSession()
}

func newDict(t testing.TB, s *store.Session) (*store.Dict, store.ID) {
	t.Helper()
	id, err := s.Create(store.KindDict, "")
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.Dict(id)
	if err != nil {
		t.Fatal(err)
	}
	return d, id
}

func newList(t testing.TB, s *store.Session) (*store.List, store.ID) {
	t.Helper()
	id, err := s.Create(store.KindList, "")
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.List(id)
	if err != nil {
		t.Fatal(err)
	}
	return l, id
}

func plain(s string) store.Value { return store.Value{Data: s} }

// mustBe compares the number of objects.
func mustBe(t *testing.T, st *store.Store, objects int) {
	t.Helper()
	n := 0
	for _, k := range st.Stats().Objects {
		n += k
	}
	if n != objects {
		t.Errorf("the store has %d objects, want %d", n, objects)
	}
}

// snapshotOf reads a snapshot in pages of a few entries.
func snapshotOf(t *testing.T, n *store.Snapshot) (keys, values []string) {
	t.Helper()
	for {
		i := 0
		end, err := n.Page(nil, func(k string, v store.Value) bool {
			keys, values = append(keys, k), append(values, v.Data)
			i++
			return i < 7
		})
		if err != nil {
			t.Fatal(err)
		}
		if end {
			return keys, values
		}
	}
}

// A dict does what a map and a slice of keys do, through any sequence of changes, and its snapshots stay as they were.
func TestDictAgainstMap(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	_, s := newSession(t)
	d, _ := newDict(t, s)
	ctx := bg(t)
	model := map[string]string{}
	var order []string
	type snap struct {
		n      *store.Snapshot
		keys   []string
		values []string
	}
	var snaps []snap
	for step := range 60_000 {
		// The number of keys swings, so that holes, compaction and growth all happen.
		space := 50 + 2000*(step/10_000%3)
		k := strconv.Itoa(r.IntN(space))
		switch op := r.IntN(100); {
		case op < 45:
			v := strconv.Itoa(step)
			if err := d.Set(ctx, s, []byte(k), plain(v)); err != nil {
				t.Fatal(err)
			}
			if _, ok := model[k]; !ok {
				order = append(order, k)
			}
			model[k] = v
		case op < 85:
			existed, err := d.Delete(ctx, []byte(k))
			_, want := model[k]
			if existed != want || err != nil {
				t.Fatalf("step %d: Delete = %v, %v, want %v", step, existed, err, want)
			}
			if want {
				delete(model, k)
				order = slices.DeleteFunc(order, func(o string) bool { return o == k })
			}
		case op < 99:
			v, ok, err := d.Get(s, []byte(k))
			if want, there := model[k]; v.Data != want || ok != there || err != nil {
				t.Fatalf("step %d: Get = %q, %v, %v, want %q, %v", step, v.Data, ok, err, want, there)
			}
		case step%50 == 0:
			sn := snap{n: d.Snapshot(), keys: slices.Clone(order)}
			for _, k := range order {
				sn.values = append(sn.values, model[k])
			}
			snaps = append(snaps, sn)
		}
		if d.Len() != len(model) {
			t.Fatalf("step %d: Len = %d, want %d", step, d.Len(), len(model))
		}
	}
	if len(snaps) == 0 {
		t.Fatal("no snapshot was taken")
	}
	for i, sn := range snaps {
		keys, values := snapshotOf(t, sn.n)
		if !slices.Equal(keys, sn.keys) || !slices.Equal(values, sn.values) {
			t.Fatalf("snapshot %d of %d has changed", i, len(snaps))
		}
		sn.n.Free()
	}
}

// A list does what a slice does, and its snapshots stay as they were.
func TestListAgainstSlice(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	_, s := newSession(t)
	l, _ := newList(t, s)
	var model []string
	type snap struct {
		n      *store.Snapshot
		values []string
	}
	var snaps []snap
	for step := range 30_000 {
		v := strconv.Itoa(step)
		grow := step/5000%2 == 0
		i := 0
		if len(model) > 0 {
			i = r.IntN(len(model))
		}
		switch op := r.IntN(100); {
		case op < 15 && grow:
			vs := []store.Value{plain(v), plain(v + "b"), plain(v + "c")}
			if err := l.Append(s, vs); err != nil {
				t.Fatal(err)
			}
			model = append(model, v, v+"b", v+"c")
		case op < 40:
			at := i
			if r.IntN(3) == 0 {
				at = r.IntN(2) * len(model)
			}
			if err := l.Insert(s, int64(at), plain(v)); err != nil {
				t.Fatal(err)
			}
			model = slices.Insert(model, at, v)
		case op < 75 && (!grow || op < 55) && len(model) > 0:
			at := i
			if r.IntN(2) == 0 {
				at = -r.IntN(2) * len(model) // the first, either way
			} else if r.IntN(2) == 0 {
				at = -1
			}
			got, err := l.Pop(s, int64(at))
			if at < 0 {
				at += len(model)
			}
			if got.Data != model[at] || err != nil {
				t.Fatalf("step %d: Pop(%d) = %q, %v, want %q", step, at, got.Data, err, model[at])
			}
			model = slices.Delete(model, at, at+1)
		case op < 85 && len(model) > 0:
			if err := l.Set(s, int64(i-len(model)), plain(v)); err != nil {
				t.Fatal(err)
			}
			model[i] = v
		case op < 99 && len(model) > 0:
			if got, err := l.Get(s, int64(i)); got.Data != model[i] || err != nil {
				t.Fatalf("step %d: Get(%d) = %q, %v, want %q", step, i, got.Data, err, model[i])
			}
		case step%20 == 0:
			snaps = append(snaps, snap{l.Snapshot(), slices.Clone(model)})
		}
		if l.Len() != len(model) {
			t.Fatalf("step %d: Len = %d, want %d", step, l.Len(), len(model))
		}
	}
	if len(snaps) == 0 {
		t.Fatal("no snapshot was taken")
	}
	for i, sn := range snaps {
		if _, values := snapshotOf(t, sn.n); !slices.Equal(values, sn.values) {
			t.Fatalf("snapshot %d of %d has changed", i, len(snaps))
		}
	}
}

func TestListIndexes(t *testing.T) {
	_, s := newSession(t)
	l, _ := newList(t, s)
	for _, test := range []struct {
		name string
		do   func() error
	}{
		{"Pop of an empty list", func() error { _, err := l.Pop(s, -1); return err }},
		{"Get of an empty list", func() error { _, err := l.Get(s, 0); return err }},
		{"Insert behind the end", func() error { return l.Insert(s, 1, plain("x")) }},
		{"Insert before the beginning", func() error { return l.Insert(s, -1, plain("x")) }},
	} {
		if err := test.do(); !errors.Is(err, store.ErrRange) {
			t.Errorf("%s: %v, want ErrRange", test.name, err)
		}
	}
	if l.Len() != 0 {
		t.Errorf("failed operations changed the list: %d values", l.Len())
	}
}

// A reader that goes from page to page sees what is there all the time exactly once, whatever else comes and goes.
func TestPagesDuringChanges(t *testing.T) {
	_, s := newSession(t)
	d, _ := newDict(t, s)
	ctx := bg(t)
	const stay = 3000
	for i := range stay {
		d.Set(ctx, s, fmt.Appendf(nil, "stay%d", i), plain(""))
		for j := range 3 {
			d.Set(ctx, s, fmt.Appendf(nil, "go%d.%d", i, j), plain(""))
		}
	}
	seen := map[string]int{}
	var from store.Cursor
	for pages := 0; ; pages++ {
		n := 0
		next, end, err := d.Page(s, from, func(k string, v store.Value) bool {
			seen[k]++
			n++
			return n < 100
		})
		if err != nil {
			t.Fatal(err)
		}
		if end {
			break
		}
		from = next
		// Enough goes for the table to be compacted under the reader, more than once.
		for i := pages * 120; i < (pages+1)*120 && i < stay; i++ {
			for j := range 3 {
				d.Delete(ctx, fmt.Appendf(nil, "go%d.%d", stay-1-i, j))
				d.Delete(ctx, fmt.Appendf(nil, "go%d.%d", i, j))
			}
			d.Set(ctx, s, fmt.Appendf(nil, "new%d", i), plain(""))
		}
	}
	for i := range stay {
		if n := seen[fmt.Sprintf("stay%d", i)]; n != 1 {
			t.Fatalf("stay%d was seen %d times", i, n)
		}
	}
	for k, n := range seen {
		if n > 1 {
			t.Errorf("%s was seen %d times", k, n)
		}
	}
}

func TestReferences(t *testing.T) {
	ctx := context.Background()
	for _, test := range []struct {
		name string
		run  func(t *testing.T, st *store.Store, s *store.Session)
		left int // objects
	}{
		{"the last reference frees", func(t *testing.T, st *store.Store, s *store.Session) {
			_, id := newDict(t, s)
			s.Release(id, 1)
		}, 0},
		{"a container keeps what it mentions", func(t *testing.T, st *store.Store, s *store.Session) {
			d, _ := newDict(t, s)
			_, inner := newList(t, s)
			d.Set(ctx, s, []byte("k"), store.Value{Refs: []store.ID{inner}})
			s.Release(inner, 1)
		}, 2},
		{"an overwritten value lets go", func(t *testing.T, st *store.Store, s *store.Session) {
			d, _ := newDict(t, s)
			_, inner := newList(t, s)
			d.Set(ctx, s, []byte("k"), store.Value{Refs: []store.ID{inner}})
			s.Release(inner, 1)
			d.Set(ctx, s, []byte("k"), plain("x"))
		}, 1},
		{"a deleted value lets go", func(t *testing.T, st *store.Store, s *store.Session) {
			d, _ := newDict(t, s)
			_, inner := newList(t, s)
			d.Set(ctx, s, []byte("k"), store.Value{Refs: []store.ID{inner, inner}})
			s.Release(inner, 1)
			d.Delete(ctx, []byte("k"))
		}, 1},
		{"a value that is set again keeps", func(t *testing.T, st *store.Store, s *store.Session) {
			d, _ := newDict(t, s)
			_, inner := newList(t, s)
			v := store.Value{Refs: []store.ID{inner}}
			d.Set(ctx, s, []byte("k"), v)
			d.Set(ctx, s, []byte("k"), v)
			s.Release(inner, 1)
		}, 2},
		{"a long chain falls with its head", func(t *testing.T, st *store.Store, s *store.Session) {
			_, head := newList(t, s)
			last := head
			for range 10_000 {
				l, err := s.List(last)
				if err != nil {
					t.Fatal(err)
				}
				_, next := newList(t, s)
				l.Append(s, []store.Value{{Refs: []store.ID{next}}})
				if last != head {
					s.Release(last, 1)
				}
				last = next
			}
			s.Release(last, 1)
			mustBe(t, st, 10_001)
			s.Release(head, 1)
		}, 0},
		{"a list in itself", func(t *testing.T, st *store.Store, s *store.Session) {
			l, id := newList(t, s)
			l.Append(s, []store.Value{{Refs: []store.ID{id}}})
			s.Release(id, 1)
		}, 0},
		{"a circle falls as a whole, with what hangs on it", func(t *testing.T, st *store.Store, s *store.Session) {
			a, ida := newList(t, s)
			b, idb := newList(t, s)
			_, idc := newList(t, s)
			a.Append(s, []store.Value{{Refs: []store.ID{idb}}})
			b.Append(s, []store.Value{{Refs: []store.ID{ida, idc}}})
			s.Release(ida, 1)
			s.Release(idc, 1)
			mustBe(t, st, 3)
			s.Release(idb, 1)
		}, 0},
		{"a circle of a thousand", func(t *testing.T, st *store.Store, s *store.Session) {
			_, first := newList(t, s)
			last := first
			for range 999 {
				l, _ := s.List(last)
				_, next := newList(t, s)
				l.Append(s, []store.Value{{Refs: []store.ID{next}}})
				last = next
			}
			l, _ := s.List(last)
			l.Append(s, []store.Value{{Refs: []store.ID{first}}})
			for id := first; id <= last; id++ {
				mustBe(t, st, 1000)
				s.Release(id, 1)
			}
		}, 0},
		{"a circle that a name reaches stays", func(t *testing.T, st *store.Store, s *store.Session) {
			id, err := s.Open("n", store.KindDict, "", true)
			if err != nil {
				t.Fatal(err)
			}
			d, _ := s.Dict(id)
			b, idb := newList(t, s)
			d.Set(ctx, s, []byte("b"), store.Value{Refs: []store.ID{idb}})
			b.Append(s, []store.Value{{Refs: []store.ID{id}}})
			s.End()
		}, 2},
		{"a removed name frees", func(t *testing.T, st *store.Store, s *store.Session) {
			id, _ := s.Open("n", store.KindDict, "", true)
			s.Release(id, 1)
			mustBe(t, st, 1)
			if err := st.Remove("n"); err != nil {
				t.Error(err)
			}
		}, 0},
		{"an unclaimed offer keeps after the sender's end", func(t *testing.T, st *store.Store, s *store.Session) {
			_, id := newDict(t, s)
			s.Offer(id)
			s.End()
		}, 1},
		{"a withdrawn offer does not", func(t *testing.T, st *store.Store, s *store.Session) {
			_, id := newDict(t, s)
			token, _ := s.Offer(id)
			s.Withdraw(token)
			s.End()
		}, 0},
		{"a claimed offer belongs to the receiver", func(t *testing.T, st *store.Store, s *store.Session) {
			_, id := newDict(t, s)
			token, _ := s.Offer(id)
			s.Release(id, 1)
			s2 := st.NewSession()
			got, err := s2.Claim(token)
			if got != id || err != nil {
				t.Errorf("Claim = %d, %v", got, err)
			}
			if _, err := s2.Claim(token); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("second Claim: %v", err)
			}
			s.End()
			mustBe(t, st, 1)
			s2.End()
		}, 0},
		{"a snapshot keeps what it shows", func(t *testing.T, st *store.Store, s *store.Session) {
			d, _ := newDict(t, s)
			_, inner := newList(t, s)
			d.Set(ctx, s, []byte("k"), store.Value{Refs: []store.ID{inner}})
			s.Release(inner, 1)
			n := d.Snapshot()
			d.Delete(ctx, []byte("k"))
			mustBe(t, st, 2)
			if _, err := n.Page(s, func(k string, v store.Value) bool { return true }); err != nil {
				t.Error(err)
			}
			n.Free()
			mustBe(t, st, 2) // the page's reference is the session's now
			s.Release(inner, 1)
		}, 1},
		{"references that come while others are released stay", func(t *testing.T, st *store.Store, s *store.Session) {
			d, _ := newDict(t, s)
			_, inner := newList(t, s)
			d.Set(ctx, s, []byte("k"), store.Value{Refs: []store.ID{inner}})
			d.Get(s, []byte("k")) // a reply is on its way
			d.Delete(ctx, []byte("k"))
			s.Release(inner, 1) // by a client that has not seen it yet
			if _, err := s.List(inner); err != nil {
				t.Error(err)
			}
		}, 2},
		{"the end of the session frees all", func(t *testing.T, st *store.Store, s *store.Session) {
			d, _ := newDict(t, s)
			_, inner := newList(t, s)
			d.Set(ctx, s, []byte("k"), store.Value{Refs: []store.ID{inner}})
			s.Keep(1, d.Snapshot())
			s.End()
		}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			st, s := newSession(t)
			test.run(t, st, s)
			mustBe(t, st, test.left)
		})
	}
}

func TestRefusals(t *testing.T) {
	st, s := newSession(t)
	ctx := context.Background()
	d, id := newDict(t, s)
	other := st.NewSession()
	s.Open("dict", store.KindDict, "dict[string]int", true)
	for _, test := range []struct {
		name string
		want error
		do   func() error
	}{
		{"an object of another session", store.ErrNotFound, func() error { _, err := other.Dict(id); return err }},
		{"a value that mentions one", store.ErrNotFound, func() error {
			return d.Set(ctx, other, []byte("k"), store.Value{Refs: []store.ID{id}})
		}},
		{"a dict as a list", store.ErrKind, func() error { _, err := s.List(id); return err }},
		{"a named dict as a list", store.ErrKind, func() error { _, err := s.Open("dict", store.KindList, "", true); return err }},
		{"a dict of other elements", store.ErrType, func() error {
			_, err := s.Open("dict", store.KindDict, "dict[string]string", true)
			return err
		}},
		{"no such name", store.ErrNotFound, func() error { _, err := s.Open("none", store.KindDict, "", false); return err }},
		{"an empty name", store.ErrInvalid, func() error { _, err := s.Open("", store.KindDict, "", true); return err }},
		{"a long name", store.ErrInvalid, func() error {
			_, err := s.Open(string(make([]byte, 256)), store.KindDict, "", true)
			return err
		}},
		{"an unknown kind", store.ErrInvalid, func() error { _, err := s.Create(77, ""); return err }},
		{"removing no such name", store.ErrNotFound, func() error { return st.Remove("none") }},
		{"releasing more than is held", store.ErrInvalid, func() error { return s.Release(id, 2) }},
		{"committing no lease", store.ErrLease, func() error { return s.Commit(9, plain("")) }},
		{"creating after the end", store.ErrEnded, func() error {
			ended := st.NewSession()
			ended.End()
			_, err := ended.Create(store.KindDict, "")
			return err
		}},
	} {
		if err := test.do(); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
	if d.Len() != 0 {
		t.Error("a refused value was stored")
	}
	// No type said is any type.
	if _, err := s.Open("dict", store.KindDict, "", false); err != nil {
		t.Error(err)
	}
}

func TestLease(t *testing.T) {
	st, s := newSession(t)
	ctx := bg(t)
	d, id := newDict(t, s)
	k := []byte("k")
	d.Set(ctx, s, k, plain("old"))
	if v, ok, err := d.Lease(ctx, s, k, 1); v.Data != "old" || !ok || err != nil {
		t.Fatalf("Lease = %q, %v, %v", v.Data, ok, err)
	}
	// Readers see the old value, writers of other keys go on, writers of this one do not.
	if v, _, _ := d.Get(s, k); v.Data != "old" {
		t.Errorf("Get during a lease = %q", v.Data)
	}
	if err := d.Set(store.NoWait, s, []byte("other"), plain("")); err != nil {
		t.Errorf("Set of another key: %v", err)
	}
	for name, do := range map[string]func(ctx context.Context) error{
		"Set":    func(ctx context.Context) error { return d.Set(ctx, s, k, plain("x")) },
		"Delete": func(ctx context.Context) error { _, err := d.Delete(ctx, k); return err },
		"Lease":  func(ctx context.Context) error { _, _, err := d.Lease(ctx, s, k, 2); return err },
		"SetMany": func(ctx context.Context) error {
			return d.SetMany(ctx, s, []store.Pair{{Key: []byte("a")}, {Key: k}})
		},
		"DeleteMany": func(ctx context.Context) error {
			_, err := d.DeleteMany(ctx, [][]byte{[]byte("other"), k})
			return err
		},
	} {
		if err := do(store.NoWait); !errors.Is(err, store.ErrBusy) {
			t.Errorf("%s of a leased key without waiting: %v, want ErrBusy", name, err)
		}
		cctx, cancel := context.WithCancel(ctx)
		errs := make(chan error)
		go func() { errs <- do(cctx) }()
		cancel()
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Errorf("%s of a leased key, cancelled: %v", name, err)
		}
	}
	if n := d.Len(); n != 2 {
		t.Errorf("what was refused has been done: %d keys", n)
	}

	// First come, first served; and who dies is skipped.
	s2 := st.NewSession()
	token, _ := s.Offer(id)
	s2.Claim(token)
	if err := s.Commit(1, plain("0")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.Lease(ctx, s2, k, 7); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- d.Set(ctx, s, k, plain("after")) }()
	s2.End() // with the lease
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if v, _, _ := d.Get(s, k); v.Data != "after" {
		t.Errorf("value = %q", v.Data)
	}
	// Aborted: nothing has changed.
	d.Lease(ctx, s, k, 1)
	s.Abort(1)
	if v, _, _ := d.Get(s, k); v.Data != "after" {
		t.Errorf("value after Abort = %q", v.Data)
	}
	if n := st.Stats().Leases; n != 0 {
		t.Errorf("%d leases are left", n)
	}
}

// Leases exclude each other, and batches that cross each other's keys do not deadlock.
func TestLeaseStorm(t *testing.T) {
	st, s := newSession(t)
	ctx := bg(t)
	d, id := newDict(t, s)
	keys := [][]byte{[]byte("a"), []byte("b"), []byte("c")}
	const workers, rounds = 8, 300
	var wg sync.WaitGroup
	for w := range workers {
		token, err := s.Offer(id)
		if err != nil {
			t.Fatal(err)
		}
		s := st.NewSession()
		if _, err := s.Claim(token); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			defer s.End()
			r := rand.New(rand.NewPCG(uint64(w), 0))
			for i := range rounds {
				if w == 0 { // never in anybody's way for long
					pairs := []store.Pair{{Key: []byte("x"), Value: plain("1")}, {Key: []byte("y"), Value: plain("1")}}
					if err := d.SetMany(ctx, s, pairs); err != nil {
						t.Error(err)
					}
				}
				if w == 1 && i%3 == 0 {
					if _, err := d.GetMany(s, keys); err != nil {
						t.Error(err)
					}
					continue
				}
				k := keys[r.IntN(len(keys))]
				v, _, err := d.Lease(ctx, s, k, 1)
				if err != nil {
					t.Error(err)
					return
				}
				n, _ := strconv.Atoi(v.Data)
				if err := s.Commit(1, plain(strconv.Itoa(n+1))); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	sum := 0
	for _, k := range keys {
		v, _, _ := d.Get(s, k)
		n, _ := strconv.Atoi(v.Data)
		sum += n
	}
	if want := workers*rounds - rounds/3; sum != want {
		t.Errorf("the sum is %d, want %d", sum, want)
	}
}

// Batches are seen whole or not at all.
func TestBatchesAreAtomic(t *testing.T) {
	_, s := newSession(t)
	ctx := bg(t)
	d, _ := newDict(t, s)
	keys := [][]byte{[]byte("a"), []byte("b"), []byte("c")}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				var pairs []store.Pair
				for _, k := range keys {
					pairs = append(pairs, store.Pair{Key: k, Value: plain(fmt.Sprint(w, i))})
				}
				if err := d.SetMany(ctx, s, pairs); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 2000 {
		values, err := d.GetMany(s, keys)
		if err != nil {
			t.Fatal(err)
		}
		if values[0] != nil && (values[0].Data != values[1].Data || values[0].Data != values[2].Data) {
			t.Fatalf("a batch was seen in part: %v %v %v", *values[0], *values[1], *values[2])
		}
	}
	close(stop)
	wg.Wait()
}

// Everything at once, for the race detector; nothing is left in the end.
func TestStorm(t *testing.T) {
	st := store.New(store.Options{})
	defer st.Close()
	root := st.NewSession()
	top, err := root.Open("top", store.KindDict, "", true)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range 6 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 1))
			for range 40 {
				s := st.NewSession()
				id, err := s.Open("top", store.KindDict, "", false)
				if err != nil {
					t.Error(err)
					return
				}
				d, _ := s.Dict(id)
				for range 50 {
					k := []byte(strconv.Itoa(r.IntN(10)))
					switch r.IntN(5) {
					case 0:
						inner, err := s.Create(store.KindList, "")
						if err != nil {
							t.Error(err)
							return
						}
						l, _ := s.List(inner)
						l.Append(s, []store.Value{{Refs: []store.ID{id, inner}}})
						d.Set(context.Background(), s, k, store.Value{Refs: []store.ID{inner}})
						s.Release(inner, 1)
					case 1:
						d.Delete(context.Background(), k)
					case 2:
						v, _, err := d.Get(s, k)
						if err != nil {
							t.Error(err)
						}
						for _, ref := range v.Refs {
							if _, err := s.List(ref); err != nil {
								t.Errorf("a value mentions what is not there: %v", err)
							}
						}
					case 3:
						n := d.Snapshot()
						n.Page(s, func(string, store.Value) bool { return true })
						n.Free()
					case 4:
						st.Stats()
					}
				}
				s.End()
			}
		})
	}
	wg.Wait()
	d, _ := root.Dict(top)
	n := d.Snapshot()
	keys, _ := snapshotOf(t, n)
	n.Free()
	for _, k := range keys {
		d.Delete(context.Background(), []byte(k))
	}
	mustBe(t, st, 1)
	if got := st.Stats(); got.Entries != 0 || got.Bytes != 0 || got.Sessions != 1 {
		t.Errorf("left: %+v", got)
	}
	root.End()
	if err := st.Remove("top"); err != nil {
		t.Error(err)
	}
	mustBe(t, st, 0)
}

func TestOffersEndAfterTheGrace(t *testing.T) {
	st := store.New(store.Options{OfferGrace: time.Millisecond})
	defer st.Close()
	s := st.NewSession()
	_, id := newDict(t, s)
	token, err := s.Offer(id)
	if err != nil {
		t.Fatal(err)
	}
	s.End()
	other := st.NewSession()
	for deadline := time.Now().Add(patience); st.Stats().Offers > 0; {
		if time.Now().After(deadline) {
			t.Fatal("the offer is still there")
		}
		time.Sleep(time.Millisecond)
	}
	if _, err := other.Claim(token); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Claim: %v", err)
	}
	mustBe(t, st, 0)
}

func TestStats(t *testing.T) {
	st, s := newSession(t)
	ctx := bg(t)
	d, id := newDict(t, s)
	l, _ := newList(t, s)
	d.Set(ctx, s, []byte("key"), plain("value"))
	d.Set(ctx, s, []byte("key"), plain("v"))
	l.Append(s, []store.Value{plain("12"), plain("345")})
	l.Pop(s, 0)
	s.Open("n", store.KindList, "", true)
	s.Offer(id)
	d.Lease(ctx, s, []byte("x"), 1)
	got := st.Stats()
	want := store.Stats{
		Objects: map[store.Kind]int{store.KindDict: 1, store.KindList: 2},
		Entries: 2, Bytes: 3 + 1 + 3, Named: 1, Offers: 1, Sessions: 1, Leases: 1,
	}
	if !maps.Equal(got.Objects, want.Objects) {
		t.Errorf("objects %v, want %v", got.Objects, want.Objects)
	}
	if got.Memory < 3*600 || got.Memory > 3*1000 {
		t.Errorf("%d bytes of memory for three objects", got.Memory)
	}
	got.Objects, want.Objects = nil, nil
	got.Memory = 0
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	st.Close()
	st.Close()
	if _, err := s.Create(store.KindDict, ""); !errors.Is(err, store.ErrEnded) {
		t.Errorf("Create after Close: %v", err)
	}
}

func ExampleStore() {
	st := store.New(store.Options{})
	defer st.Close()
	s := st.NewSession()
	id, _ := s.Create(store.KindDict, "")
	d, _ := s.Dict(id)
	d.Set(context.Background(), s, []byte("key"), store.Value{Data: "bytes"})
	v, ok, _ := d.Get(s, []byte("key"))
	fmt.Println(v.Data, ok)
	// Output: bytes true
}

func BenchmarkDictGet(b *testing.B) {
	_, s := newSession(b)
	d, _ := newDict(b, s)
	key := []byte("key")
	d.Set(b.Context(), s, key, plain("value"))
	for b.Loop() {
		d.Get(s, key)
	}
}

func BenchmarkMapGet(b *testing.B) {
	var mu sync.RWMutex
	m := map[string]string{"key": "value"}
	key := []byte("key")
	for b.Loop() {
		mu.RLock()
		_ = m[string(key)]
		mu.RUnlock()
	}
}

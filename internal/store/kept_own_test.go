package store_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-multiproc/multiproc/internal/journal"
	"github.com/go-multiproc/multiproc/internal/store"
)

// keepState makes v the object's state. What v mentions, the session has.
func keepState(s *store.Session, o *store.Own, v store.Value) error {
	var offers []store.Token
	for _, id := range o.Unknown(v.Refs) {
		t, err := s.Offer(id)
		if err != nil {
			return err
		}
		offers = append(offers, t)
	}
	return o.Keep(v, offers)
}

func openOwn(t testing.TB, s *store.Session, name string) (store.ID, *store.Own) {
	t.Helper()
	id, err := s.Open(name, store.KindOwn, "type", true)
	if err != nil {
		t.Fatal(err)
	}
	o, err := s.Own(id)
	if err != nil {
		t.Fatal(err)
	}
	return id, o
}

// An own type's state is there after a kill that follows any of its changes, from the journal, from snapshots and from both, with what it mentions.
func TestOwnStateKilledAfterEachStep(t *testing.T) {
	for _, mode := range []string{"journal", "snapshots"} {
		t.Run(mode, func(t *testing.T) {
			dir := t.TempDir()
			st := openStore(t, dir)
			s := st.NewSession()
			id, o := openOwn(t, s, "own")
			create := func() store.ID {
				id, err := s.Create(store.KindList, "")
				if err != nil {
					t.Fatal(err)
				}
				return id
			}
			a, b := create(), create()
			other, p := openOwn(t, s, "other") // never has any
			lists := map[int]int{}             // after each step, that live because of the state
			for i, v := range []store.Value{
				{},
				{Data: "one"},
				{Data: "two", Refs: []store.ID{a}},
				{Data: "two", Refs: []store.ID{a, b, a, id}}, // itself as well
				{Data: strings.Repeat("long", 100_000), Refs: []store.ID{b, other}},
				{Data: "", Refs: []store.ID{other}},
				{Data: "six"},
			} {
				lists[i] = len(slices.Compact(slices.Sorted(slices.Values(slices.DeleteFunc(slices.Clone(v.Refs), func(x store.ID) bool { return x == id || x == other })))))
				if err := keepState(s, o, v); err != nil {
					t.Fatal(err)
				}
				if mode == "snapshots" && i%2 == 1 {
					if err := st.Compact(); err != nil {
						t.Fatal(err)
					}
				}
				again := killed(t, st, dir)
				s := again.NewSession()
				_, o := openOwn(t, s, "own")
				if got, ok := o.State(); !ok || got.Data != v.Data || !slices.Equal(got.Refs, v.Refs) {
					t.Errorf("step %d: %.20q %v %t, want %.20q %v", i, got.Data, got.Refs, ok, v.Data, v.Refs)
				}
				if _, q := openOwn(t, s, "other"); q == nil {
					t.Errorf("step %d: the other is gone", i)
				} else if _, ok := q.State(); ok {
					t.Errorf("step %d: an object without a state has one", i)
				}
				stats := again.Stats()
				if stats.Objects[store.KindList] != lists[i] || stats.Bytes != int64(len(v.Data)) {
					t.Errorf("step %d: %d lists, want %d; %d bytes, want %d", i, stats.Objects[store.KindList], lists[i], stats.Bytes, len(v.Data))
				}
				again.Close()
			}
			if _, ok := p.State(); ok {
				t.Error("an object without a state has one")
			}
		})
	}
}

// Whatever of the last write is missing, the state is one that was kept, and never an older one than the log shows whole.
func TestOwnStateTornAtEveryByte(t *testing.T) {
	dir := t.TempDir()
	st := openStore(t, dir)
	s := st.NewSession()
	_, o := openOwn(t, s, "own")
	list, _ := s.Create(store.KindList, "")
	const states = 6
	for i := range states {
		v := store.Value{Data: fmt.Sprint("state ", i, strings.Repeat("x", i))}
		if i%2 == 1 {
			v.Refs = []store.ID{list}
		}
		if err := keepState(s, o, v); err != nil {
			t.Fatal(err)
		}
		if err := st.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := st.Close(); err != nil { // what is staged is in the log then
		t.Fatal(err)
	}
	var log string
	var whole []byte
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.Contains(path, "log-") {
			if b, err := os.ReadFile(path); err == nil && len(b) > len(whole) {
				log, whole = path, b
			}
		}
		return err
	})
	if err != nil || len(whole) == 0 {
		t.Fatal(err, len(whole))
	}
	rel, _ := filepath.Rel(dir, log)
	last, seen := -1, map[int]bool{}
	for cut := range len(whole) + 1 {
		to := filepath.Join(t.TempDir(), "copy")
		if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, rel), whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		torn, err := store.Open(store.Options{}, to, journal.Options{Sync: journal.SyncNever, Reserve: 1})
		if errors.Is(err, journal.ErrDamaged) {
			continue // it was synced: then it says so, and makes nothing up
		}
		if err != nil {
			t.Fatalf("cut at %d of %d: %v", cut, len(whole), err)
		}
		ts := torn.NewSession()
		n := -1
		if id, err := ts.Open("own", store.KindOwn, "type", false); err == nil {
			o, _ := ts.Own(id)
			if v, ok := o.State(); ok {
				var xs string
				fmt.Sscanf(v.Data, "state %d%s", &n, &xs)
				if len(xs) != n || (len(v.Refs) == 1) != (n%2 == 1) {
					t.Errorf("cut at %d: %q %v", cut, v.Data, v.Refs)
				}
				if len(v.Refs) == 1 && torn.Stats().Objects[store.KindList] != 1 {
					t.Errorf("cut at %d: what it mentions is not there", cut)
				}
			}
		}
		if n < last {
			t.Errorf("cut at %d: state %d, and with less it was %d", cut, n, last)
		}
		last = max(last, n)
		seen[n] = true
		torn.Close()
	}
	if last != states-1 || len(seen) < 2 {
		t.Errorf("it came to state %d, by %v", last, seen)
	}
}

// What is refused leaves the state as it is, and holds nothing.
func TestOwnStateRefused(t *testing.T) {
	st := store.New(store.Options{Limits: store.Limits{Bytes: 10_000}})
	defer st.Close()
	s := st.NewSession()
	_, o := openOwn(t, s, "own")
	list, err := s.Create(store.KindList, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := keepState(s, o, store.Value{Data: "small", Refs: []store.ID{list}}); err != nil {
		t.Fatal(err)
	}
	memory := st.Stats().Memory
	more, _ := s.Create(store.KindList, "")
	for name, c := range map[string]struct {
		v    store.Value
		want error
		do   func() []store.Token
	}{
		"too large": {store.Value{Data: strings.Repeat("x", 10_000), Refs: []store.ID{list, more}}, store.ErrLimit, func() []store.Token {
			t, _ := s.Offer(more)
			return []store.Token{t}
		}},
		"not offered":   {store.Value{Refs: []store.ID{more}}, store.ErrNotFound, func() []store.Token { return nil }},
		"another":       {store.Value{Refs: []store.ID{more + 1}}, store.ErrNotFound, func() []store.Token { t, _ := s.Offer(more); return []store.Token{t} }},
		"taken back":    {store.Value{Refs: []store.ID{more}}, store.ErrNotFound, func() []store.Token { t, _ := s.Offer(more); s.Withdraw(t); return []store.Token{t} }},
		"never a token": {store.Value{Refs: []store.ID{more}}, store.ErrNotFound, func() []store.Token { return make([]store.Token, 3) }},
	} {
		if err := o.Keep(c.v, c.do()); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if v, ok := o.State(); !ok || v.Data != "small" || !slices.Equal(v.Refs, []store.ID{list}) {
			t.Errorf("%s: the state is %q %v", name, v.Data, v.Refs)
		}
	}
	if err := s.Release(more, 1); err != nil {
		t.Fatal(err)
	}
	stats := st.Stats()
	if stats.Objects[store.KindList] != 1 || stats.Offers != 0 || stats.Memory != memory {
		t.Errorf("%+v; %d bytes before", stats, memory)
	}
	// Lending it makes offers, which somebody claims or takes back.
	_, tokens, ok := o.Lend()
	if !ok || len(tokens) != 1 || st.Stats().Offers != 1 {
		t.Errorf("%d offers, %t", len(tokens), ok)
	}
	client := st.NewSession()
	if id, err := client.Claim(tokens[0]); id != list || err != nil {
		t.Errorf("%d, %v", id, err)
	}
	_, tokens, _ = o.Lend()
	st.Withdraw(tokens)
	if n := st.Stats().Offers; n != 0 {
		t.Errorf("%d offers", n)
	}
	client.End()
	if err := s.Release(list, 1); err != nil {
		t.Fatal(err)
	}
	if err := o.Keep(store.Value{Data: "none"}, nil); err != nil {
		t.Fatal(err)
	}
	if n := st.Stats().Objects[store.KindList]; n != 0 {
		t.Errorf("%d lists", n)
	}
}

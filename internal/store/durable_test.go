package store_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-multiproc/multiproc/internal/journal"
	"github.com/go-multiproc/multiproc/internal/store"
)

func openStore(t testing.TB, dir string) *store.Store {
	t.Helper()
	st, err := store.Open(store.Options{}, dir, journal.Options{Sync: journal.SyncNever, Reserve: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}

// killed returns a store that finds what another one's directory holds at this moment, as after a kill.
func killed(t testing.TB, st *store.Store, dir string) *store.Store {
	t.Helper()
	if err := st.Flush(); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return openStore(t, to)
}

// contents describes everything that can be reached by name.
func contents(t testing.TB, st *store.Store, names map[string]store.Kind) string {
	t.Helper()
	s := st.NewSession()
	defer s.End()
	seen := map[store.ID]bool{}
	var describe func(id store.ID) string
	describe = func(id store.ID) string {
		if seen[id] {
			return fmt.Sprint("#", id)
		}
		seen[id] = true
		text := fmt.Sprint("#", id, "[")
		show := func(key string, v store.Value) bool {
			text += fmt.Sprintf("%q=%q", key, v.Data)
			for _, r := range v.Refs {
				text += describe(r)
			}
			text += " "
			return true
		}
		var snap *store.Snapshot
		if d, err := s.Dict(id); err == nil {
			snap = d.Snapshot()
		} else if l, err := s.List(id); err == nil {
			snap = l.Snapshot()
		} else {
			t.Fatal(err)
		}
		if _, err := snap.Page(s, show); err != nil {
			t.Fatal(err)
		}
		snap.Free()
		return text + "]"
	}
	all := ""
	for _, name := range []string{"dict", "list"} {
		id, err := s.Open(name, names[name], "", false)
		if err != nil {
			all += fmt.Sprintf("%s: %v\n", name, err)
			continue
		}
		all += name + ": " + describe(id) + "\n"
	}
	return all
}

var twoNames = map[string]store.Kind{"dict": store.KindDict, "list": store.KindList}

// Each step of a history is there after a kill that follows it, from the journal alone, from a snapshot, and from both.
func TestKilledAfterEachStep(t *testing.T) {
	v := func(data string, refs ...store.ID) store.Value { return store.Value{Data: data, Refs: refs} }
	for _, mode := range []string{"journal", "snapshots"} {
		t.Run(mode, func(t *testing.T) {
			dir := t.TempDir()
			st := openStore(t, dir)
			s := st.NewSession()
			open := func(name string, k store.Kind) store.ID {
				id, err := s.Open(name, k, "type of "+name, true)
				if err != nil {
					t.Fatal(err)
				}
				return id
			}
			create := func(k store.Kind) store.ID {
				id, err := s.Create(k, "")
				if err != nil {
					t.Fatal(err)
				}
				return id
			}
			did, lid, inner := open("dict", store.KindDict), open("list", store.KindList), create(store.KindList)
			d, _ := s.Dict(did)
			l, _ := s.List(lid)
			in, _ := s.List(inner)
			loose, _ := s.Dict(create(store.KindDict))
			steps := []func() error{
				func() error { return d.Set(store.NoWait, s, []byte("a"), v("1")) },
				func() error { return d.Set(store.NoWait, s, []byte("b"), v("in", inner)) },
				func() error { return d.Set(store.NoWait, s, []byte("a"), v("2")) },
				func() error { return l.Append(s, []store.Value{v("x"), v("y"), v("d", did), v("z")}) },
				func() error { return in.Append(s, []store.Value{v("deep", lid)}) },
				func() error { return loose.Set(store.NoWait, s, []byte("nobody"), v("sees it", inner)) },
				func() error { return l.Set(s, 0, v("X")) },
				func() error { return l.Insert(s, 1, v("between")) },
				func() error { _, err := l.Pop(s, -1); return err },
				func() error { _, _, err := d.Lease(store.NoWait, s, []byte("c"), 1); return err },
				func() error { return s.Commit(1, v("leased")) },
				func() error { _, err := d.Delete(store.NoWait, []byte("a")); return err },
				func() error {
					return d.SetMany(store.NoWait, s, []store.Pair{{[]byte("m"), v("1")}, {[]byte("n"), v("2")}})
				},
				func() error { _, err := d.DeleteMany(store.NoWait, [][]byte{[]byte("m"), []byte("c")}); return err },
				func() error { _, err := l.Pop(s, 2); return err },
				func() error { return st.Remove("dict") },
				func() error { open("dict", store.KindDict); return nil },
			}
			for i, step := range steps {
				if err := step(); err != nil {
					t.Fatalf("step %d: %v", i, err)
				}
				if mode == "snapshots" && i%3 == 1 {
					if err := st.Compact(); err != nil {
						t.Fatal(err)
					}
				}
				again := killed(t, st, dir)
				if found, want := contents(t, again, twoNames), contents(t, st, twoNames); found != want {
					t.Fatalf("after step %d:\n%swant\n%s", i, found, want)
				}
				// New objects do not get the ids of old ones.
				if id, err := again.NewSession().Create(store.KindDict, ""); err != nil || id <= inner {
					t.Fatalf("a new object is %d, %v", id, err)
				}
				again.Close()
			}
			// Both names and what they reach; not what only the session had.
			if stats := killed(t, st, dir).Stats(); stats.Objects[store.KindDict] != 2 || stats.Objects[store.KindList] != 2 {
				t.Errorf("%v came back; have %s", stats.Objects, contents(t, st, twoNames))
			}
		})
	}
}

package store_test

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/journal"
	"github.com/go-multiproc/multiproc/internal/store"
)

// open opens a named object and fails the test if it cannot.
func openNamed(t testing.TB, s *store.Session, name string, k store.Kind, params ...uint64) store.ID {
	t.Helper()
	id, err := s.Open(name, k, "", true, params...)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// A time to live that ends after the last moment that a journal can note is a long one still after a restart.
func TestVeryLongLife(t *testing.T) {
	dir := t.TempDir()
	st := openStore(t, dir)
	s := st.NewSession()
	d, _ := s.Dict(openNamed(t, s, "d", store.KindDict))
	if err := d.SetFor(t.Context(), s, []byte("set"), plain("v"), math.MaxInt64); err != nil {
		t.Fatal(err)
	}
	if err := d.Set(t.Context(), s, []byte("expire"), plain("v")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Expire(t.Context(), []byte("expire"), math.MaxInt64); err != nil {
		t.Fatal(err)
	}
	again := killed(t, st, dir)
	s = again.NewSession()
	d, _ = s.Dict(openNamed(t, s, "d", store.KindDict))
	for _, key := range []string{"set", "expire"} {
		if left, ok := d.TTL([]byte(key)); !ok || left < 200*365*24*time.Hour {
			t.Errorf("%s: %v, %v", key, left, ok)
		}
	}
}

// An array of which hardly any place was ever set takes no more on disk, and after a restart in memory, than what was set.
func TestSparseArray(t *testing.T) {
	const length = 1 << 26
	dir := t.TempDir()
	st := openStore(t, dir)
	s := st.NewSession()
	untouched, _ := s.Array(openNamed(t, s, "untouched", store.KindArray, length))
	filled, _ := s.Array(openNamed(t, s, "filled", store.KindArray, length))
	if err := filled.Fill(s, plain(strings.Repeat("x", 1000))); err != nil {
		t.Fatal(err)
	}
	for _, l := range []*store.List{untouched, filled} {
		for _, i := range []int64{0, 700, length / 2, -1} {
			if err := l.Set(s, i, plain("set")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := st.Compact(); err != nil {
		t.Fatal(err)
	}
	size := int64(0)
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if info, ierr := e.Info(); ierr == nil && !e.IsDir() {
			size += info.Size()
		}
		return err
	})
	if err != nil || size > 32<<20 {
		t.Fatalf("on disk: %d MB, %v", size>>20, err)
	}
	again := killed(t, st, dir)
	s = again.NewSession()
	for name, rest := range map[string]string{"untouched": "\xf6", "filled": strings.Repeat("x", 1000)} {
		l, _ := s.Array(openNamed(t, s, name, store.KindArray))
		for i, want := range map[int64]string{0: "set", 1: rest, 700: "set", 701: rest, length / 2: "set", -2: rest, -1: "set"} {
			if v, err := l.Get(s, i); err != nil || v.Data != want {
				t.Errorf("%s[%d] = %.20q, %v", name, i, v.Data, err)
			}
		}
	}
}

// Who fills an array is refused like who sets each of its places.
func TestFillIsLimited(t *testing.T) {
	st := store.New(store.Options{Limits: store.Limits{Bytes: 1 << 20}})
	defer st.Close()
	s := st.NewSession()
	l, err := s.Array(openNamed(t, s, "a", store.KindArray, 1000))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Fill(s, plain(strings.Repeat("x", 10_000))); !errors.Is(err, store.ErrLimit) {
		t.Errorf("filling 10 MB: %v", err)
	}
	if err := l.Fill(s, plain(strings.Repeat("x", 100))); err != nil {
		t.Error(err)
	}
}

// What an object says of its elements counts.
func TestTypesAreLimited(t *testing.T) {
	st := store.New(store.Options{Limits: store.Limits{Bytes: 1 << 20}})
	defer st.Close()
	s := st.NewSession()
	for i := 0; ; i++ {
		_, err := s.Create(store.KindMutex, strings.Repeat("x", 300_000))
		if errors.Is(err, store.ErrLimit) && i == 3 {
			break
		}
		if err != nil || i == 3 {
			t.Fatal(i, err)
		}
	}
}

// A change that would be a longer record than a journal can have is refused, and what was there before is there after a kill.
func TestRecordIsLimited(t *testing.T) {
	dir := t.TempDir()
	st, err := store.Open(store.Options{}, dir, journal.Options{Sync: journal.SyncNever, Reserve: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	s := st.NewSession()
	a, _ := s.Array(openNamed(t, s, "a", store.KindArray, 1<<20))
	if err := a.Fill(s, plain(strings.Repeat("x", 8<<10))); err != nil { // 8 GB, if it were written out
		t.Fatal(err)
	}
	if _, err := s.Copy(openNamed(t, s, "a", store.KindArray)); !errors.Is(err, store.ErrLimit) {
		t.Errorf("copying it: %v", err)
	}
	again := killed(t, st, dir)
	s = again.NewSession()
	if a, err = s.Array(openNamed(t, s, "a", store.KindArray)); err != nil || a.Len() != 1<<20 {
		t.Error(err)
	}
}

// A journal in which a queue's dead letters go back to where they come from is none.
func TestDeadLettersInCircles(t *testing.T) {
	record := func(id byte, dead byte) []byte {
		return []byte{id, 1, byte(store.KindQueue), 0, 3, 0, 1, dead, 2, 1, 'q'}
	}
	for name, records := range map[string][][]byte{
		"itself":   {record(1, 1)},
		"a circle": {record(1, 2), record(2, 1)},
		"a dict":   {record(1, 2), {2, 1, byte(store.KindDict), 0, 0}},
	} {
		st, err := store.Replay(records, 0)
		if err == nil {
			t.Errorf("%s: it was loaded", name)
		}
		st.Close()
	}
}

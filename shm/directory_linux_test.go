package shm_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/array"
	"github.com/go-multiproc/multiproc/internal/reexec"
	"github.com/go-multiproc/multiproc/internal/verify"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/shm"
)

// What List, Inspect and Reap say of a segment is so, field by field.
func TestInfo(t *testing.T) {
	dir := tmpfs(t)
	o := shm.Options{Dir: dir, Mode: 0o640}
	before := time.Now()
	prices, err := array.Create[float64]("prices", 1000, array.Options{Dir: dir, Mode: o.Mode})
	verify.Must(t, err)
	defer prices.Close()
	mu, err := psync.CreateMutex("mutex", o)
	verify.Must(t, err)
	defer mu.Close()
	s, err := shm.Create("bytes", 5000, o)
	verify.Must(t, err)
	defer s.Close()
	after := time.Now()

	want := []shm.Info{
		{Name: "bytes", Kind: "segment", Size: 5000},
		{Name: "mutex", Kind: "mutex"},
		{Name: "prices", Kind: "array", Type: "f64", Count: 1000, Size: 8000},
	}
	check := func(what string, got shm.Info, want shm.Info, inUse bool) {
		t.Helper()
		st, err := os.Stat(filepath.Join(dir, want.Name))
		if err == nil && (int64(got.Bytes) > st.Size() || got.Bytes < want.Size) || got.Bytes <= 0 {
			t.Errorf("%s: %s has %d bytes of memory", what, want.Name, got.Bytes)
		}
		if got.Created.Before(before) || got.Created.After(after) {
			t.Errorf("%s: %s was made at %v, not between %v and %v", what, want.Name, got.Created, before, after)
		}
		got.Bytes, got.Created = 0, time.Time{}
		want.Path, want.Mode, want.UID, want.PID, want.InUse = filepath.Join(dir, want.Name), 0o640, os.Getuid(), os.Getpid(), inUse
		if got != want {
			t.Errorf("%s:\ngot  %+v\nwant %+v", what, got, want)
		}
	}
	all, err := shm.List(o)
	verify.Must(t, err)
	if len(all) != len(want) {
		t.Fatalf("%+v", all)
	}
	for i, w := range want {
		check("List", all[i], w, true)
		st, err := shm.Inspect(w.Name, o)
		verify.Must(t, err)
		check("Inspect", st.Info, w, true)
	}
	verify.Must(t, prices.Close())
	verify.Must(t, mu.Close())
	verify.Must(t, s.Close())
	all, err = shm.List(o)
	verify.Must(t, err)
	for i, w := range want {
		check("List after Close", all[i], w, false)
	}
	all, err = shm.Reap(o)
	verify.Must(t, err)
	if len(all) != len(want) {
		t.Fatalf("%+v", all)
	}
	for i, w := range want {
		check("Reap", all[i], w, false)
	}
}

// Who looks is not among the users, unless he is one.
func TestInspectSaysWhoUsesIt(t *testing.T) {
	dir := tmpfs(t)
	o := shm.Options{Dir: dir}
	s, err := shm.Create("used", 100, o)
	verify.Must(t, err)
	defer s.Close()
	p := reexec.Start(t, "open", nil, dir, "used")
	p.Line()
	users := func() (pids []int) {
		st, err := shm.Inspect("used", o)
		verify.Must(t, err)
		for _, u := range st.Users {
			if u.Command == "" {
				t.Errorf("%+v has no name", u)
			}
			pids = append(pids, u.PID)
		}
		if st.InUse != (len(pids) > 0) {
			t.Errorf("in use: %v, by %v", st.InUse, pids)
		}
		return pids
	}
	both := users()
	if len(both) != 2 || both[0] == both[1] || both[0] > both[1] || both[0] != os.Getpid() && both[1] != os.Getpid() {
		t.Errorf("used by %v; this is %d", both, os.Getpid())
	}
	verify.Must(t, s.Close())
	if got := users(); len(got) != 1 || got[0] == os.Getpid() {
		t.Errorf("used by %v; this is %d, and does not", got, os.Getpid())
	}
	p.Kill()
	if got := users(); len(got) != 0 {
		t.Errorf("used by %v, and they are dead", got)
	}
}

// A directory that is not there is an error that names it; so is a name that is none.
func TestWhereNothingIs(t *testing.T) {
	nowhere := shm.Options{Dir: filepath.Join(t.TempDir(), "nowhere")}
	for what, f := range map[string]func() error{
		"List":    func() error { _, err := shm.List(nowhere); return err },
		"Reap":    func() error { _, err := shm.Reap(nowhere); return err },
		"Create":  func() error { _, err := shm.Create("a", 1, nowhere); return err },
		"Open":    func() error { _, err := shm.Open("a", nowhere); return err },
		"OpenRaw": func() error { _, err := shm.OpenRaw("a", nowhere); return err },
		"Remove":  func() error { return shm.Remove("a", nowhere) },
		"Inspect": func() error { _, err := shm.Inspect("a", nowhere); return err },
	} {
		isPathError(t, what, f(), fs.ErrNotExist, nowhere.Dir)
	}
	here := shm.Options{Dir: t.TempDir()}
	verify.Must(t, os.Mkdir(filepath.Join(here.Dir, "directory"), 0o700))
	isPathError(t, "Remove of a directory", shm.Remove("directory", here), shm.ErrFormat, here.Dir)
	for _, name := range []string{"", ".", "..", "a/b", "/a", "a\x00b"} {
		for what, f := range map[string]func() error{
			"Create":  func() error { _, err := shm.Create(name, 1, here); return err },
			"Open":    func() error { _, err := shm.Open(name, here); return err },
			"OpenRaw": func() error { _, err := shm.OpenRaw(name, here); return err },
			"Remove":  func() error { return shm.Remove(name, here) },
			"Inspect": func() error { _, err := shm.Inspect(name, here); return err },
		} {
			isPathError(t, what, f(), fs.ErrInvalid, name)
		}
	}
}

// isPathError checks that err is want, and says where.
func isPathError(t *testing.T, what string, err, want error, where string) {
	t.Helper()
	var at *fs.PathError
	if !errors.Is(err, want) || !errors.As(err, &at) || !strings.Contains(at.Path, where) {
		t.Errorf("%s: %v; want %v of %q", what, err, want, where)
	}
}

package queue_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/verify"
	"github.com/go-multiproc/multiproc/queue"
	"github.com/go-multiproc/multiproc/shm"
)

// tmpfs is a directory for named queues that is empty at the end.
func tmpfs(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "multiproc-test-")
	verify.Must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Options.Dir, Options.Mode and Place do what they say, whatever the umask.
func TestWhereAQueueIs(t *testing.T) {
	defer unix.Umask(unix.Umask(0o077))
	at := queue.Place{Dir: tmpfs(t)}
	for _, test := range []struct{ ask, want fs.FileMode }{{0, 0o600}, {0o640, 0o640}, {0o666, 0o666}} {
		name := fmt.Sprintf("q%o", test.ask)
		q, err := queue.Create[int](name, queue.Options{Dir: at.Dir, Mode: test.ask})
		verify.Must(t, err)
		defer q.Close()
		st, err := os.Stat(filepath.Join(at.Dir, name))
		verify.Must(t, err)
		if st.Mode().Perm() != test.want {
			t.Errorf("Mode %o: %o, want %o", test.ask, st.Mode().Perm(), test.want)
		}
		if _, err := queue.Open[int](name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("opened in another directory: %v", err)
		}
		same, err := queue.Open[int](name, at)
		verify.Must(t, err)
		verify.Must(t, same.Put(soon(t), 7))
		if v, err := q.Get(soon(t)); v != 7 || err != nil {
			t.Error(v, err)
		}
		verify.Must(t, same.Close())
		if err := queue.Remove(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("removed in another directory: %v", err)
		}
		verify.Must(t, queue.Remove(name, at))
	}
	s, err := shm.Create("segment", 10, shm.Options{Dir: at.Dir})
	verify.Must(t, err)
	defer s.Close()
	if err := queue.Remove("segment", at); !errors.Is(err, shm.ErrType) {
		t.Errorf("removing a segment as a queue: %v", err)
	}
	if _, err := queue.Open[int]("segment", at); !errors.Is(err, shm.ErrType) {
		t.Errorf("opening a segment as a queue: %v", err)
	}
	verify.Must(t, os.WriteFile(filepath.Join(at.Dir, "foreign"), make([]byte, 4096), 0o600))
	if _, err := queue.Open[int]("foreign", at); !errors.Is(err, shm.ErrFormat) {
		t.Errorf("opening a foreign file as a queue: %v", err)
	}
	for _, name := range []string{"", "..", "a/b", strings.Repeat("x", 251)} {
		if _, err := queue.Create[int](name, queue.Options{Dir: at.Dir}); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("the name %q: %v", name, err)
		}
	}
}

func TestQueueOfAnotherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give files away")
	}
	at := queue.Place{Dir: tmpfs(t)}
	q, err := queue.Create[int]("theirs", queue.Options{Dir: at.Dir})
	verify.Must(t, err)
	verify.Must(t, q.Close())
	verify.Must(t, os.Chown(filepath.Join(at.Dir, "theirs"), 65534, 65534))
	if _, err := queue.Open[int]("theirs", at); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("another user's: %v", err)
	}
	at.AnyOwner = true
	q, err = queue.Open[int]("theirs", at)
	verify.Must(t, err)
	verify.Must(t, q.Close())
}

// The type of a message is known by its shape and name; a struct may have learnt more fields.
func TestTypesThatAgree(t *testing.T) {
	at := queue.Place{Dir: tmpfs(t)}
	ctx := soon(t)
	create := func() interface{ Close() error } {
		type job struct{ Name string }
		q, err := queue.Create[job]("jobs", queue.Options{Dir: at.Dir})
		verify.Must(t, err)
		verify.Must(t, q.Put(ctx, job{"a"}))
		return q
	}
	old := create()
	defer old.Close()
	type job struct {
		Name  string
		Retry int
	}
	q, err := queue.Open[job]("jobs", at)
	verify.Must(t, err)
	defer q.Close()
	if j, err := q.Get(ctx); j != (job{Name: "a"}) || err != nil {
		t.Errorf("got %+v, %v", j, err)
	}
	type task struct{ Name string }
	if _, err := queue.Open[task]("jobs", at); !errors.Is(err, shm.ErrType) {
		t.Errorf("opened for another struct: %v", err)
	}
	if _, err := queue.Open[[]job]("jobs", at); !errors.Is(err, shm.ErrType) {
		t.Errorf("opened for slices: %v", err)
	}
	type point struct{ X, Y float64 }
	type vector struct{ East, North float64 }
	p, err := queue.Create[point]("points", queue.Options{Dir: at.Dir})
	verify.Must(t, err)
	defer p.Close()
	v, err := queue.Open[vector]("points", at)
	verify.Must(t, err)
	verify.Must(t, v.Close())
	if _, err := queue.Open[[2]int64]("points", at); !errors.Is(err, shm.ErrType) {
		t.Errorf("opened for another layout: %v", err)
	}
}

// A message that needs memory of its own, and finds none, is not put, and others are.
func TestNoSpaceForALargeMessage(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("mounting is not permitted here: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	ctx := soon(t)
	q, err := queue.Create[[]byte]("q", queue.Options{Dir: dir, Bytes: 8192})
	verify.Must(t, err)
	defer q.Close()
	if err := q.Put(ctx, make([]byte, 4<<20)); !errors.Is(err, shm.ErrNoSpace) {
		t.Errorf("larger than the file system: %v", err)
	}
	if _, err := queue.Reserve(ctx, q, 4<<20); !errors.Is(err, shm.ErrNoSpace) {
		t.Errorf("Reserve: %v", err)
	}
	if q.Len() != 0 {
		t.Errorf("%d messages were put", q.Len())
	}
	for range 3 {
		verify.Must(t, q.Put(ctx, make([]byte, 500<<10)))
		b, err := q.Get(ctx)
		verify.Must(t, err)
		if len(b) != 500<<10 {
			t.Errorf("%d bytes arrived", len(b))
		}
	}
}

func TestZeroQueue(t *testing.T) {
	var q queue.Queue[int]
	verify.Must(t, q.Close())
	const text = "queue: use of a Queue that was not made by New, Create or Open"
	verify.Panics(t, text, func() { q.Put(t.Context(), 1) })
	verify.Panics(t, text, func() { q.Get(t.Context()) })
	verify.Panics(t, text, func() { q.Len() })
	verify.Panics(t, text, func() { q.Name() })
}

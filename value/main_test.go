package value_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/reexec"
	"github.com/go-multiproc/multiproc/internal/verify"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/value"
)

func TestMain(m *testing.M) {
	reexec.Main(m, map[string]reexec.Helper{
		"count": countHelper, "typed": typedHelper, "hold": holdHelper, "storm": stormHelper, "shout": shoutHelper,
		"try": tryHelper,
	})
}

var background = context.Background()

// own closes v at the end of the test.
func own[T any](t testing.TB, v *value.Value[T], err error) *value.Value[T] {
	t.Helper()
	verify.Must(t, err)
	t.Cleanup(func() { verify.Must(t, v.Close()) })
	return v
}

// name is one that no other test uses, removed at the end.
func name(t testing.TB) string {
	t.Helper()
	n := fmt.Sprintf("value-test-%d-%d", os.Getpid(), time.Now().UnixNano())
	t.Cleanup(func() { value.Remove(n) })
	return n
}

// tmpfs is a directory for named Values that is gone at the end.
func tmpfs(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "value-test-")
	verify.Must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// A counted is what the count helper is given, all in one message.
type counted struct {
	Add    *value.Value[int64]
	Small  *value.Value[uint8]
	Float  *value.Value[float64]
	Update *value.Value[int32]
	Struct *value.Value[sample]
	Same   *value.Value[int64] // is Add
}

// countHelper adds to everything that it is given.
func countHelper(args []string) int {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		panic(err)
	}
	files, err := strconv.Atoi(args[2])
	if err != nil {
		panic(err)
	}
	var c counted
	if err := reexec.Take(args[0], files, &c); err != nil {
		fmt.Println(err)
		return 1
	}
	if c.Add != c.Same {
		fmt.Println("one handle became two")
		return 1
	}
	c.count(n)
	return 0
}

func (c counted) count(n int) {
	for range n {
		value.Add(c.Add, 1)
		value.Add(c.Small, 1)
		value.Add(c.Float, 0.5)
		if _, err := c.Update.Update(background, func(x int32) int32 { return x + 1 }); err != nil {
			panic(err)
		}
		value.Add(c.Update, 1) // takes no guard, and is not lost all the same
		if _, err := c.Struct.Update(background, func(s sample) sample { s.Total++; return s }); err != nil {
			panic(err)
		}
		for {
			s := c.Struct.Load()
			n := s
			n.Count[1]++
			if c.Struct.CompareAndSwap(s, n) {
				break
			}
		}
	}
}

// fileLock is a lock on a new file.
func fileLock(t testing.TB) *psync.FileLock {
	t.Helper()
	l, err := psync.NewFileLock(filepath.Join(t.TempDir(), "lock"))
	verify.Must(t, err)
	t.Cleanup(func() { verify.Must(t, l.Close()) })
	return l
}

// dup is a duplicate of a descriptor.
func dup(t testing.TB, fd int) int {
	t.Helper()
	n, err := syscall.Dup(fd)
	verify.Must(t, err)
	syscall.CloseOnExec(n)
	return n
}

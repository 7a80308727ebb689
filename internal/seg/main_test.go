package seg_test

import (
	"os"
	"testing"

	"github.com/go-multiproc/multiproc/internal/reexec"
)

func TestMain(m *testing.M) { reexec.Main(m, helpers) }

// helpers are the functions that tests run in other processes. Each test file
// adds its own.
var helpers = map[string]reexec.Helper{}

// shmDir is a directory on a tmpfs that is gone at the end.
func shmDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "multiproc-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func countFDs(t testing.TB) int {
	t.Helper()
	e, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(e)
}

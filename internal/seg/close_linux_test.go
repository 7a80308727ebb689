package seg_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/seg"
)

// Opening a name while the same process makes it joins what is being made: there
// is one mapping, and every handle to it closes.
func TestOpenWhileCreating(t *testing.T) {
	dir := shmDir(t)
	o := seg.Options{Dir: dir}
	for i := range 300 {
		name := fmt.Sprint("s", i)
		var stop atomic.Bool
		var joined *seg.Handle
		var wg sync.WaitGroup
		wg.Go(func() {
			for joined == nil && !stop.Load() {
				h, err := seg.Open(name, "test", "", o)
				if err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Error(err)
					return
				}
				joined = h
			}
		})
		h, err := seg.Create(name, seg.Spec{Kind: "test", Data: 8}, o)
		if err != nil {
			stop.Store(true)
			t.Fatal(err)
		}
		wg.Wait()
		if joined.Mapping() != h.Mapping() {
			t.Errorf("round %d: two mappings of one segment", i)
		}
		joined.Close(nil)
		h.Data()[0] = 1 // still there
		h.Close(nil)
		if err := seg.Remove(name, "test", o); err != nil {
			t.Fatal(err)
		}
	}
}

// Handing over a handle while it is closed gives its own file or an error, never
// another file that got the descriptor's number meanwhile.
func TestReopenRacesClose(t *testing.T) {
	other, err := os.CreateTemp(t.TempDir(), "other")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() { // takes every number that gets free
		for !stop.Load() {
			if fd, err := unix.Dup(int(other.Fd())); err == nil {
				unix.Close(fd)
			}
		}
	})
	for range 2000 {
		h, err := seg.New(seg.Spec{Kind: "test", Data: 8})
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() { h.Close(nil) })
		fd, err := h.Reopen()
		if err != nil {
			if !errors.Is(err, fs.ErrClosed) {
				t.Errorf("reopening a handle that is being closed: %v", err)
			}
			continue
		}
		name, _ := os.Readlink(fmt.Sprint("/proc/self/fd/", fd))
		if filepath.Base(name) == filepath.Base(other.Name()) {
			t.Fatalf("got %s", name)
		}
		unix.Close(fd)
	}
	stop.Store(true)
	wg.Wait()
}

package manager_test

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/manager"
)

// On a full disk calls that change a durable object are undone, with the reason; those that do not go on; a kill in that state takes nothing away; and it ends when there is
// room.
func TestDurableDiskFull(t *testing.T) {
	if !inOwnMounts(t) {
		return
	}
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=24m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	ctx := testContext(t)
	manager.TuneJournal(t, 0, 10*time.Millisecond, 1<<20)
	o := manager.Options{Path: filepath.Join(dir, "path")}
	m := must[*manager.Manager](t)(manager.Start(o))
	b := openBook(t, m)
	at := 100
	for round := range 3 {
		free := fillDisk(t, dir, 2<<20)
		var err error
		for n := 0; err == nil; {
			if n, err = write.Call(ctx, b, entry{Add: 1, Note: "long", Long: 10_000}); err == nil {
				at = n
			}
		}
		if !errors.Is(err, manager.ErrUndone) || !errors.Is(err, manager.ErrJournal) || !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("round %d: %v", round, err)
		}
		if _, err := write.Call(ctx, b, entry{Add: 1, End: "error"}); !errors.Is(err, manager.ErrUndone) || !errors.Is(err, errSpoiled) {
			t.Errorf("round %d: with an error of its own: %v", round, err)
		}
		if n, err := write.Call(ctx, b, entry{}); n != at || err != nil {
			t.Errorf("round %d: a call that changes nothing: %d, %v; want %d", round, n, err, at)
		}
		if got, err := read.Call(ctx, b, nil); got.N != at || err != nil {
			t.Errorf("round %d: the book is at %d, %v; want %d", round, got.N, err, at)
		}
		if _, err := books.New(m); !errors.Is(err, manager.ErrJournal) {
			t.Errorf("round %d: a new object: %v", round, err)
		}
		if round != 1 {
			kill(t, m)
			m = must[*manager.Manager](t)(manager.Start(o))
			b = openBook(t, m)
			if got, err := read.Call(ctx, b, nil); got.N != at || err != nil {
				t.Errorf("round %d: after a kill the book is at %d, %v; want %d", round, got.N, err, at)
			}
		}
		free()
		for {
			n, err := write.Call(ctx, b, entry{Add: 1})
			if err == nil {
				if at++; n != at {
					t.Errorf("round %d: with room again the book is at %d, want %d", round, n, at)
				}
				break
			}
			if !errors.Is(err, manager.ErrJournal) {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond) // it looks for room by itself, from time to time
		}
	}
	kill(t, m)
}

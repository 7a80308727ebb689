package psync_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/verify"
	"github.com/go-multiproc/multiproc/psync"
)

func crosses(t *testing.T, v, p any) {
	t.Helper()
	m, err := handover.Marshal(v, "args")
	verify.Must(t, err)
	if len(m.FDs) > 0 {
		t.Errorf("%d descriptors", len(m.FDs))
	}
	_, err = handover.Unmarshal(m.Data, nil, p)
	m.Sent()
	verify.Must(t, err)
}

// A FileLock crosses as its path, and what arrives is a lock on the same file.
func TestFileLockCrosses(t *testing.T) {
	type args struct{ L *psync.FileLock }
	l := newFileLock(t, lockPath(t))
	verify.Must(t, l.Lock(background))
	var got args
	crosses(t, args{l}, &got)
	if got.L.Path() != l.Path() {
		t.Errorf("path %q, want %q", got.L.Path(), l.Path())
	}
	mustTry(t, got.L, false)
	verify.Must(t, got.L.Unlock()) // the hold is the process's, whichever handle ends it
	verify.Must(t, got.L.Close())
	mustTry(t, l, true)
}

// Nothing is opened before the first Lock, which then makes the file.
func TestFileLockOpensLate(t *testing.T) {
	l := newFileLock(t, filepath.Join(t.TempDir(), "lock"))
	var got *psync.FileLock
	crosses(t, l, &got)
	mustTry(t, got, true)
	verify.Must(t, got.Close())
}

func TestFileLockTakeOverRefuses(t *testing.T) {
	for _, path := range []string{"", "relative", "/a\x00b"} {
		m, err := handover.Marshal([]any{uint64(0), path}, "v")
		verify.Must(t, err)
		var got *psync.FileLock
		if _, err := handover.Unmarshal(m.Data, nil, &got); err == nil || !strings.Contains(err.Error(), "absolute path") {
			t.Errorf("path %q: %v, %v", path, got, err)
		}
	}
	closed := newFileLock(t, lockPath(t))
	verify.Must(t, closed.Close())
	if _, err := handover.Marshal(closed, "args"); err == nil {
		t.Error("a closed FileLock was handed over")
	}
	if _, err := handover.Marshal(new(psync.FileLock), "args"); err == nil {
		t.Error("a zero FileLock was handed over")
	}
}

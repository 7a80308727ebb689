package psync_test

import (
	"context"
	"os"
	"testing"

	"github.com/go-multiproc/multiproc/internal/lock"
	"github.com/go-multiproc/multiproc/internal/reexec"
	"github.com/go-multiproc/multiproc/internal/seg"
	"github.com/go-multiproc/multiproc/psync"
)

func TestMain(m *testing.M) { reexec.Main(m, helpers) }

// helpers are the functions that tests run in other processes. Each test file
// adds its own.
var helpers = map[string]reexec.Helper{}

// soon is a context for a call that must not wait for ever.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// A shared is a Mutex with words that it guards, in one segment, which crosses
// to helpers as descriptor 3.
type shared struct {
	*psync.Mutex
	l *lock.Mutex
	h *seg.Handle

	count  *uint64 // holds that were completed
	fence  *uint64 // the last hold's
	inside *uint64 // process id of who is inside; only the lock makes it exclusive
}

func newShared(t testing.TB) *shared {
	t.Helper()
	h, err := seg.New(seg.Spec{Kind: "test", Data: 64, Meta: lock.Size})
	if err != nil {
		t.Fatal(err)
	}
	s := share(h)
	t.Cleanup(func() {
		if err := s.l.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return s
}

// inherited is what newShared's file is in a helper.
func inherited() (*shared, error) {
	h, err := seg.Attach(3, "", "test", "", false)
	if err != nil {
		return nil, err
	}
	return share(h), nil
}

func share(h *seg.Handle) *shared {
	l := lock.At(h, 0)
	w := words(h.Data())
	return &shared{Mutex: psync.Guard(l), l: l, h: h, count: &w[0], fence: &w[1], inside: &w[2]}
}

// file is the segment for a helper's ExtraFiles.
func (s *shared) file(t testing.TB) []*os.File {
	t.Helper()
	fd, err := s.h.Reopen()
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "segment")
	t.Cleanup(func() { f.Close() })
	return []*os.File{f}
}

package psync_test

import (
	"errors"
	"io/fs"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/psync"
)

// What arrives is the same lock, and in one process shares its queue.
func TestMutexHandover(t *testing.T) {
	mu := newMutex(t)
	m, err := handover.Marshal(mu, "mu")
	if err != nil {
		t.Fatal(err)
	}
	var got *psync.Mutex
	if _, err := handover.Unmarshal(m.Data, dups(t, m.FDs), &got); err != nil {
		t.Fatal(err)
	}
	m.Sent()
	if err := mu.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if ok, err := got.TryLock(); ok || err != nil {
		t.Errorf("TryLock through the other handle: %v, %v", ok, err)
	}
	if err := got.Unlock(); err != nil {
		t.Error(err)
	}
	if err := got.Close(); err != nil {
		t.Error(err)
	}
	if _, err := handover.Marshal(got, "mu"); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("handing over a closed Mutex: %v", err)
	}
	if _, err := handover.Marshal(new(psync.Mutex), "mu"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("handing over a zero Mutex: %v", err)
	}
}

// dups are what a socket would deliver.
func dups(t testing.TB, fds []int) []int {
	t.Helper()
	var all []int
	for _, fd := range fds {
		d, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, d)
	}
	return all
}

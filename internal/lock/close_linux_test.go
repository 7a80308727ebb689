package lock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"testing"

	"github.com/go-multiproc/multiproc/internal/reexec"
	"github.com/go-multiproc/multiproc/internal/seg"
)

// helperLock opens the segment in descriptor 3, takes its lock, and ends with its
// input.
func helperLock([]string) int {
	h, err := seg.Attach(3, "", "test", "", false)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	m := At(h, 0)
	fmt.Println(m.Lock(context.Background(), User))
	reexec.WaitToBeTold()
	return 0
}

// late is a lock to which something happens at the last moment of its closing
// when there is a way to the memory yet.
type late struct {
	*Mutex
	happens func()
}

func (l late) Quiesce() func([]byte) {
	resume := l.Mutex.Quiesce()
	l.happens()
	return resume
}

// Whatever this process has of a lock when its last handle closes, the others
// have the lock then, sound, and at once.
func TestCloseLeavesLockToOthers(t *testing.T) {
	tests := []struct {
		name    string
		happens func(m, b *Mutex)
	}{
		{"nothing, but that the holder unlocks", func(m, b *Mutex) {
			if err := b.Unlock(); err != nil {
				t.Error(err)
			}
		}},
		{"somebody takes it without a look at closed", func(m, b *Mutex) {
			if err := b.Unlock(); err != nil {
				t.Error(err)
			}
			for w := m.load(); ; w = m.load() {
				if !w.free() { // the helper is quicker, and waits no more
					return
				}
				if m.cas(w, w.takenBy(m.own|user)) {
					return
				}
			}
		}},
		{"a goroutine has got the wake-up, and gives up", func(m, b *Mutex) {
			for w := m.load(); !m.cas(w, w.released()); w = m.load() {
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := segment(t)
			m, b := At(h, 0), stranger(t, h)
			if err := b.Lock(t.Context(), User); err != nil {
				t.Fatal(err)
			}
			fd, err := h.Reopen()
			if err != nil {
				t.Fatal(err)
			}
			file := os.NewFile(uintptr(fd), "segment")
			defer file.Close()
			other := reexec.Start(t, "lock", []*os.File{file})
			within(t, "the other process waits", func() bool { return m.load().waiters() })
			if err := h.Close(late{m, func() { tt.happens(m, b) }}); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() {
				l, err := other.Out.ReadString('\n')
				if err == nil && l != "<nil>\n" {
					err = errors.New(l)
				}
				done <- err
			}()
			if err := comes(t, "the other process", done); err != nil {
				t.Error(err)
			}
			other.Done()
		})
	}
}

// Sections that do not end because of Close come to their end on the zero pages,
// one after the other, also those that waited for another process.
func TestInnerOutlivesClose(t *testing.T) {
	h := segment(t)
	m, b := Inner(h, 0), stranger(t, h)
	if err := b.Lock(t.Context(), User); err != nil {
		t.Fatal(err)
	}
	const n, each = 4, 1000
	inside := 0
	done := make(chan error, n)
	for range n {
		go func() {
			for range each {
				if err := m.Lock(context.Background(), Scoped); err != nil {
					done <- err
					return
				}
				inside++ // the race detector looks at it, too
				if err := m.Unlock(); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	within(t, "all wait", func() bool { return m.q.waiting() == n })
	if err := h.Close(nil); err != nil {
		t.Fatal(err)
	}
	for range n {
		if err := comes(t, "a section", done); err != nil {
			t.Error(err)
		}
	}
	if inside != n*each {
		t.Errorf("%d sections, want %d", inside, n*each)
	}
}

// A waiter that kept newcomers away does so no more when its handle is closed.
func TestCloseEndsHunger(t *testing.T) {
	hungryAtOnce(t)
	h := segment(t)
	m := At(h, 0)
	fd, err := h.Reopen()
	if err != nil {
		t.Fatal(err)
	}
	own, err := seg.Attach(fd, "", "test", "", false) // what is left when h is closed
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { own.Close(nil) })
	other := stranger(t, own)
	if err := other.Lock(t.Context(), User); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- m.Lock(context.Background(), User) }()
	within(t, "a waiter", func() bool { return m.q.waiting() == 1 && m.load().waiters() })
	m.q.mu.Lock()
	m.q.wakeFirstLocked() // in vain: the lock is held
	m.q.mu.Unlock()
	within(t, "hunger", func() bool { return m.load().hungry() })
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Lock of a closed handle: %v", err)
	}
	within(t, "the end of hunger", func() bool { return !other.load().hungry() })
	if err := other.Unlock(); err != nil {
		t.Fatal(err)
	}
	if ok, err := other.TryLock(User); !ok || err != nil {
		t.Errorf("a free lock: %v, %v", ok, err)
	}
	other.Unlock()
}

package psync_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/shm"
)

// BenchmarkUncontended compares Lock+Unlock with the least that a lock in shared
// memory can do, and with the lock for one process.
func BenchmarkUncontended(b *testing.B) {
	ctx := b.Context()
	b.Run("Mutex", func(b *testing.B) {
		mu := newMutex(b)
		for b.Loop() {
			if err := mu.Lock(ctx); err != nil {
				b.Fatal(err)
			}
			mu.Unlock()
		}
	})
	b.Run("CAS-pair", func(b *testing.B) {
		s, err := shm.New(64)
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		w := (*atomic.Uint64)(unsafe.Pointer(unsafe.SliceData(s.Bytes())))
		for b.Loop() {
			if !w.CompareAndSwap(0, 1) {
				b.Fatal("taken")
			}
			w.CompareAndSwap(1, 0)
		}
	})
	b.Run("sync.Mutex", func(b *testing.B) {
		var mu sync.Mutex
		for b.Loop() {
			mu.Lock()
			mu.Unlock() //lint:ignore SA2001 the lock itself is what is measured
		}
	})
}

func newMutex(t testing.TB) *psync.Mutex {
	t.Helper()
	mu, err := psync.NewMutex()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := mu.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return mu
}

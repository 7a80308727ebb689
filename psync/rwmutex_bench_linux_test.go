package psync_test

import (
	"sync"
	"testing"
)

// BenchmarkRWMutex compares reading and writing without contention with the lock for one
// process.
func BenchmarkRWMutex(b *testing.B) {
	ctx := b.Context()
	m := newRWMutex(b)
	var plain sync.RWMutex
	for _, c := range []struct {
		name string
		f    func() error
	}{
		{"read/RWMutex", func() error {
			if err := m.RLock(ctx); err != nil {
				return err
			}
			return m.RUnlock()
		}},
		{"read/sync.RWMutex", func() error { plain.RLock(); plain.RUnlock(); return nil }}, //lint:ignore SA2001 the lock itself is what is measured
		{"write/RWMutex", func() error {
			if err := m.Lock(ctx); err != nil {
				return err
			}
			return m.Unlock()
		}},
		{"write/sync.RWMutex", func() error { plain.Lock(); plain.Unlock(); return nil }}, //lint:ignore SA2001 the lock itself is what is measured
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if err := c.f(); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(c.name+"/parallel", func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := c.f(); err != nil {
						panic(err)
					}
				}
			})
		})
	}
}

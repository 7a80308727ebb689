package torture_test

import (
	"context"
	"math/bits"
	"testing"

	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/value"
)

// A gate lets some in at a time.
type gate struct {
	Permits *psync.Semaphore
	// Inside has a bit for each slot whose process is inside. It is one word, since counting in
	// several would count those who come and go meanwhile twice.
	Inside *value.Value[uint64]
	// Calm is odd from before a kill until the dead one's place in Inside is clear: its permit
	// may go to another before.
	Calm *value.Value[uint64]
}

const permits = 2

type visitor struct {
	Gate gate
	Slot slot
}

var visitors = process.Register(func(ctx context.Context, w visitor) error {
	g := w.Gate
	for ctx.Err() == nil {
		calm := g.Calm.Load()
		if err := g.Permits.Acquire(ctx); err != nil {
			return ignoreEnd(ctx, err)
		}
		inside := bits.OnesCount64(change(g.Inside, func(v uint64) uint64 { return v | 1<<w.Slot.N }))
		if calm%2 == 0 && g.Calm.Load() == calm && inside > permits {
			return violated("%d inside, with %d permits", inside, permits)
		}
		change(g.Inside, func(v uint64) uint64 { return v &^ (1 << w.Slot.N) })
		if err := g.Permits.Release(); err != nil {
			return err
		}
		w.Slot.step()
	}
	return nil
})

// change applies f in one step, and returns the result.
func change(v *value.Value[uint64], f func(uint64) uint64) uint64 {
	for {
		old := v.Load()
		if v.CompareAndSwap(old, f(old)) {
			return f(old)
		}
	}
}

func TestSemaphore(t *testing.T) {
	const crowd = 5
	sem, err := psync.NewSemaphore(permits)
	keep(t, sem, err)
	inside, err := value.NewRaw[uint64](0)
	keep(t, inside, err)
	calm, err := value.NewRaw[uint64](0)
	keep(t, calm, err)
	a := &act{
		name:  "semaphore",
		about: func() { value.Add(calm, 1) },
		killed: func(n int) {
			change(inside, func(v uint64) uint64 { return v &^ (1 << n) })
			value.Add(calm, 1)
		},
	}
	for range crowd {
		a.slots = append(a.slots, func(s slot) *process.Process {
			return process.New(visitors, visitor{gate{sem, inside, calm}, s})
		})
	}
	storm(t, a)
	// Every permit is back, whoever died with it.
	for i := range permits {
		if ok, err := sem.TryAcquire(); !ok || err != nil {
			t.Errorf("permit %d: %v, %v", i, ok, err)
		}
	}
	for range permits {
		if err := sem.Release(); err != nil {
			t.Error(err)
		}
	}
	if n := sem.Value(); n != permits {
		t.Errorf("%d permits of %d", n, permits)
	}
}

package torture_test

import (
	"context"
	"errors"
	"testing"

	"github.com/go-multiproc/multiproc/array"
	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/psync"
)

// A page has two halves that say the same, whenever nobody writes.
type page struct {
	Mu     *psync.RWMutex
	Halves *array.Array[int64]
}

type reader struct {
	Page   page
	Slot   slot
	Writes bool
}

var readers = process.Register(func(ctx context.Context, w reader) error {
	p := w.Page
	for ctx.Err() == nil {
		lock, unlock := p.Mu.RLock, p.Mu.RUnlock
		if w.Writes {
			lock, unlock = p.Mu.Lock, p.Mu.Unlock
		}
		err := lock(ctx)
		if errors.Is(err, psync.ErrOwnerDied) {
			if err := p.Mu.Recover(ctx, p.repair); err != nil {
				return ignoreEnd(ctx, err)
			}
			continue
		}
		if err != nil {
			return ignoreEnd(ctx, err)
		}
		a, b := p.Halves.Load(0), p.Halves.Load(1)
		if a != b {
			return violated("the page says %d and %d", a, b)
		}
		if w.Writes {
			p.Halves.Store(0, a+1)
			p.Halves.Store(1, a+1)
		} else if b := p.Halves.Load(1); a != b {
			return violated("the page says %d and then %d", a, b)
		}
		if err := unlock(); err != nil {
			return err
		}
		w.Slot.step()
	}
	return nil
})

func (p page) repair() error {
	p.Halves.Store(1, p.Halves.Load(0))
	return nil
}

func TestRWMutex(t *testing.T) {
	mu, err := psync.NewRWMutex()
	keep(t, mu, err)
	halves, err := array.NewRaw[int64](2)
	keep(t, halves, err)
	p := page{mu, halves}
	a := &act{name: "rwmutex"}
	for i := range 5 {
		a.slots = append(a.slots, func(s slot) *process.Process {
			return process.New(readers, reader{p, s, i < 2})
		})
	}
	storm(t, a)
	if err := mu.Lock(t.Context()); errors.Is(err, psync.ErrOwnerDied) {
		if err := mu.Recover(t.Context(), p.repair); err != nil {
			t.Fatal(err)
		}
	} else if err != nil {
		t.Fatal(err)
	} else if err := mu.Unlock(); err != nil {
		t.Fatal(err)
	}
	if a, b := halves.Load(0), halves.Load(1); a != b {
		t.Errorf("the page says %d and %d", a, b)
	}
}

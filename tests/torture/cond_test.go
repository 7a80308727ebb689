package torture_test

import (
	"context"
	"errors"
	"testing"

	"github.com/go-multiproc/multiproc/array"
	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/psync"
)

// A shelf has room for some goods, which some bring and others fetch, under one lock with
// two conditions.
type shelf struct {
	Mu              *psync.Mutex
	NotFull, NotEmp *psync.Cond
	Goods           *array.Array[int64] // one element: how many
}

const shelfRoom = 3

type carrier struct {
	Shelf  shelf
	Slot   slot
	Brings bool
}

var carriers = process.Register(func(ctx context.Context, w carrier) error {
	s := w.Shelf
	for ctx.Err() == nil {
		if err := s.Mu.LockOrRecover(ctx, nil); err != nil {
			return ignoreEnd(ctx, err)
		}
		cond, other, delta, blocked := s.NotEmp, s.NotFull, int64(-1), int64(0)
		if w.Brings {
			cond, other, delta, blocked = s.NotFull, s.NotEmp, 1, shelfRoom
		}
		err := cond.WaitFor(ctx, func() bool { return s.Goods.Load(0) != blocked })
		if err == nil {
			n := s.Goods.Load(0) + delta
			if n < 0 || n > shelfRoom {
				return violated("%d on a shelf for %d", n, shelfRoom)
			}
			s.Goods.Store(0, n) // one step: there is nothing to repair
			err = other.Signal()
		}
		if e := s.Mu.Unlock(); e != nil { // held in any case
			return e
		}
		if errors.Is(err, psync.ErrOwnerDied) {
			continue // somebody died with the lock; LockOrRecover is next
		}
		if err != nil {
			return ignoreEnd(ctx, err)
		}
		w.Slot.step()
	}
	return nil
})

func TestCond(t *testing.T) {
	mu, err := psync.NewMutex()
	keep(t, mu, err)
	full, err := psync.NewCond(mu)
	keep(t, full, err)
	empty, err := psync.NewCond(mu)
	keep(t, empty, err)
	goods, err := array.NewRaw[int64](1)
	keep(t, goods, err)
	a := &act{name: "cond"}
	for i := range 6 {
		a.slots = append(a.slots, func(s slot) *process.Process {
			return process.New(carriers, carrier{shelf{mu, full, empty, goods}, s, i%2 == 0})
		})
	}
	storm(t, a)
}

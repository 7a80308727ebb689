package torture_test

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/go-multiproc/multiproc/array"
	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/psync"
)

// A bank moves money between accounts under a lock. Who dies over a transfer leaves a
// journal, by which the next one undoes it.
type bank struct {
	Mu       *psync.Mutex
	Accounts *array.Array[int64]
	Journal  *array.Array[int64] // see the constants
	Fences   *array.Array[uint64]
}

// The journal's elements: where the money goes from and to, and what was there before. It counts once
// armed is set.
const (
	armed = iota
	from
	to
	fromWas
	toWas
	journalSize
)

const (
	accounts = 16
	money    = 1000 // on each
)

type teller struct {
	Bank bank
	Slot slot
}

var tellers = process.Register(func(ctx context.Context, w teller) error {
	random := rand.New(rand.NewPCG(uint64(w.Slot.N), uint64(w.Slot.Life)))
	b := w.Bank
	for ctx.Err() == nil {
		if err := b.Mu.LockOrRecover(ctx, b.repair); err != nil {
			return ignoreEnd(ctx, err)
		}
		if err := b.check(); err != nil {
			return err
		}
		b.transfer(random.IntN(accounts), random.IntN(accounts), random.Int64N(money))
		if err := b.Mu.Unlock(); err != nil {
			return err
		}
		w.Slot.step()
	}
	return nil
})

func (b bank) transfer(a, c int, amount int64) {
	j := b.Journal
	j.Store(from, int64(a))
	j.Store(to, int64(c))
	j.Store(fromWas, b.Accounts.Load(a))
	j.Store(toWas, b.Accounts.Load(c))
	j.Store(armed, 1)
	b.Accounts.Store(a, b.Accounts.Load(a)-amount)
	b.Accounts.Store(c, b.Accounts.Load(c)+amount)
	j.Store(armed, 0)
}

func (b bank) repair() error {
	j := b.Journal
	if j.Load(armed) == 1 {
		b.Accounts.Store(int(j.Load(from)), j.Load(fromWas))
		b.Accounts.Store(int(j.Load(to)), j.Load(toWas))
		j.Store(armed, 0)
	}
	return nil
}

// check looks, under the lock, whether what must hold does.
func (b bank) check() error {
	var sum int64
	for _, v := range b.Accounts.All() {
		sum += v
	}
	if sum != accounts*money {
		return violated("the accounts add up to %d, not %d", sum, accounts*money)
	}
	// Fences only ever rise, and nobody else may have written one meanwhile.
	fence := b.Mu.Fence()
	if last := b.Fences.Load(0); fence <= last {
		return violated("fence %d after %d", fence, last)
	}
	b.Fences.Store(0, fence)
	return nil
}

func TestBank(t *testing.T) {
	mu, err := psync.NewMutex()
	keep(t, mu, err)
	acc, err := array.NewRaw[int64](accounts)
	keep(t, acc, err)
	for i := range accounts {
		acc.Store(i, money)
	}
	journal, err := array.NewRaw[int64](journalSize)
	keep(t, journal, err)
	fences, err := array.NewRaw[uint64](1)
	keep(t, fences, err)
	b := bank{mu, acc, journal, fences}

	a := &act{name: "bank"}
	for range 4 {
		a.slots = append(a.slots, func(s slot) *process.Process {
			return process.New(tellers, teller{b, s})
		})
	}
	storm(t, a)
	if err := mu.LockOrRecover(t.Context(), b.repair); err != nil {
		t.Fatal(err)
	}
	defer mu.Unlock()
	if err := b.check(); err != nil {
		t.Error(err)
	}
}

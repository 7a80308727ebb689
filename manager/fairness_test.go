package manager_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/go-multiproc/multiproc/manager"
	"github.com/go-multiproc/multiproc/pipe"
	"github.com/go-multiproc/multiproc/process"
)

// Who waits for a lock, or a permit, gets it in the order of arrival.
func TestServedInTurn(t *testing.T) {
	w, ctx := watch(t), testContext(t)
	mu := must[*manager.Mutex](t)(manager.NewMutex(w.m))
	rmu := must[*manager.RMutex](t)(manager.NewRMutex(w.m))
	sem := must[*manager.Semaphore](t)(manager.NewSemaphore(w.m, 1))
	count := must[*manager.Semaphore](t)(manager.NewSemaphore(w.m, 1, manager.SemaphoreOptions{Counting: true}))
	for name, c := range map[string]struct {
		take func() (give func() error, err error)
	}{
		"Mutex": {func() (func() error, error) { return mu.Unlock, mu.Lock(ctx) }},
		"RMutex": {func() (func() error, error) {
			in, err := rmu.Lock(ctx)
			return func() error { return rmu.Unlock(in) }, err
		}},
		"Semaphore": {func() (func() error, error) {
			return func() error { return sem.Release(ctx) }, sem.Acquire(ctx)
		}},
		"counting Semaphore": {func() (func() error, error) {
			return func() error { return count.Release(ctx) }, count.Acquire(ctx)
		}},
	} {
		give, err := c.take()
		check(t, err)
		var writing sync.Mutex
		var order []int
		var waits []func() error
		for i := range 5 {
			waits = append(waits, later(func() error {
				give, err := c.take()
				if err != nil {
					return err
				}
				writing.Lock()
				order = append(order, i)
				writing.Unlock()
				return give()
			}))
			w.until(t, i+1)
		}
		check(t, give())
		for _, wait := range waits {
			check(t, wait())
		}
		if !slices.Equal(order, []int{0, 1, 2, 3, 4}) {
			t.Errorf("%s: they got it in the order %v", name, order)
		}
	}
}

// A partner comes to a barrier once, and is then only there.
type partner struct {
	B   *manager.Barrier
	Met *manager.Event
}

var comeOnce = process.Register(func(ctx context.Context, p partner) error {
	if _, err := p.B.Wait(ctx); err != nil {
		return err
	}
	if err := p.Met.Set(ctx); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
})

// Nobody is missed at a barrier who has died after a Reset, or after a round without it.
func TestBarrierMissesNobodyElse(t *testing.T) {
	ctx := testContext(t)
	m := start(t, manager.Options{})
	round := func(t *testing.T, b *manager.Barrier) {
		t.Helper()
		other := later(func() error { _, err := b.Wait(ctx); return err })
		_, err := b.Wait(ctx)
		if err := errors.Join(err, other()); err != nil {
			t.Fatal(err)
		}
	}
	for name, meanwhile := range map[string]func(t *testing.T, b *manager.Barrier){
		"after a Reset":         func(t *testing.T, b *manager.Barrier) { check(t, b.Reset(ctx)) },
		"after a round without": round,
	} {
		t.Run(name, func(t *testing.T) {
			b := must[*manager.Barrier](t)(manager.NewBarrier(m, 2))
			met := must[*manager.Event](t)(manager.NewEvent(m))
			p := run(t, comeOnce, partner{b, met})
			must[int](t)(b.Wait(ctx))
			check(t, met.Wait(ctx))
			meanwhile(t, b)
			check(t, p.Kill())
			for st, err := m.Stats(ctx); st.Sessions > 1; st, err = m.Stats(ctx) {
				check(t, err)
			}
			round(t, b)
		})
	}
}

// Stats counts what is being updated, and handles that are on their way.
func TestStatsOfWhatIsUnderWay(t *testing.T) {
	ctx := testContext(t)
	m := start(t, manager.Options{})
	d := must[*manager.Dict[string, int]](t)(manager.OpenDict[string, int](m, "d"))
	_, err := d.Update(ctx, "k", func(int, bool) (int, error) {
		if st, err := m.Stats(ctx); st.Updating != 1 || st.Named != 1 || st.Sessions != 1 || err != nil {
			t.Errorf("in Update: %+v, %v", st, err)
		}
		return 1, nil
	})
	check(t, err)
	here, there, err := pipe.New()
	check(t, err)
	defer here.Close()
	defer there.Close()
	check(t, here.Send(d))
	if st, err := m.Stats(ctx); st.InTransit != 1 || err != nil {
		t.Errorf("with a handle on its way: %+v, %v", st, err)
	}
	var got *manager.Dict[string, int]
	check(t, there.Recv(&got))
	if v, ok, err := got.Get(ctx, "k"); v != 1 || !ok || err != nil {
		t.Errorf("%d, %v, %v", v, ok, err)
	}
	if st, err := m.Stats(ctx); st.InTransit != 0 || st.Updating != 0 || st.Entries != 1 || err != nil {
		t.Errorf("after its arrival: %+v, %v", st, err)
	}
}

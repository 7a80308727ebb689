package manager_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/manager"
)

// A household is one object of each kind, by name.
type household struct {
	m     *manager.Manager
	dict  *manager.Dict[string, int]
	list  *manager.List[int]
	set   *manager.Set[int]
	names *manager.Namespace
	value *manager.Value[string]
	array *manager.Array[int]
	queue *manager.Queue[string]
	few   *manager.Queue[string] // with dead letters
	locks *manager.Dict[string, *manager.Mutex]
	sem   *manager.Semaphore
	event *manager.Event
	cond  *manager.Cond
	again *manager.RMutex
	meet  *manager.Barrier
}

func openHousehold(t testing.TB, o manager.Options) *household {
	t.Helper()
	m, err := manager.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	e := &household{m: m}
	var errs [15]error
	e.dict, errs[0] = manager.OpenDict[string, int](m, "dict")
	e.list, errs[1] = manager.OpenList[int](m, "list")
	e.set, errs[2] = manager.OpenSet[int](m, "set")
	e.names, errs[3] = manager.OpenNamespace(m, "namespace")
	e.value, errs[4] = manager.OpenValue(m, "value", "first")
	e.array, errs[5] = manager.OpenArray[int](m, "array", 5)
	e.queue, errs[6] = manager.OpenQueue[string](m, "queue", manager.QueueOptions{Capacity: 100})
	e.few, errs[7] = manager.OpenQueue[string](m, "few", manager.QueueOptions{MaxDeliveries: 2})
	e.locks, errs[8] = manager.OpenDict[string, *manager.Mutex](m, "locks")
	e.sem, errs[9] = manager.OpenSemaphore(m, "semaphore", 3)
	e.event, errs[10] = manager.OpenEvent(m, "event")
	mu, err := manager.OpenMutex(m, "mutex")
	errs[11] = err
	e.cond, errs[12] = manager.OpenCond(m, "cond", mu)
	e.again, errs[13] = manager.OpenRMutex(m, "rmutex")
	e.meet, errs[14] = manager.OpenBarrier(m, "barrier", 2)
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	return e
}

// describe says what there is, without changing it.
func (e *household) describe(t testing.TB, ctx context.Context) string {
	t.Helper()
	must := mustOpen[string](t)
	show := func(v any, err error) string { return must(fmt.Sprint(v), err) }
	var order []string
	for k, v := range e.dict.All(ctx) {
		_, ok, err := e.dict.TTL(ctx, k)
		if !ok || err != nil {
			t.Fatal(ok, err)
		}
		left, _, _ := e.dict.TTL(ctx, k)
		order = append(order, fmt.Sprint(k, "=", v, " ", left > 0))
	}
	list, err1 := e.list.Snapshot(ctx)
	set, err2 := e.set.Snapshot(ctx)
	array, err3 := e.array.Snapshot(ctx)
	names := slices.Collect(e.names.Names(ctx))
	value, err4 := e.value.Get(ctx)
	n, err5 := e.queue.Len(ctx)
	few, err6 := e.few.Len(ctx)
	dead, err := e.few.DeadLetters(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	letters, err7 := dead.Len(ctx)
	if err := errors.Join(err1, err2, err3, err4, err5, err6, err7); err != nil {
		t.Fatal(err)
	}
	return show([]any{order, list, set, array, names, value, n, few, letters}, nil)
}

// Whatever is done to an object of any kind is still done after a kill; from what was noted, from a snapshot, and from both.
func TestEveryKindOutlivesKill(t *testing.T) {
	for _, mode := range []string{"noted", "snapshots"} {
		t.Run(mode, func(t *testing.T) {
			if mode == "snapshots" {
				manager.TuneJournal(t, 100, time.Millisecond, 1<<20)
			}
			ctx := testContext(t)
			o := manager.Options{Path: t.TempDir(), Sync: manager.SyncNever}
			e := openHousehold(t, o)
			defer func() { e.m.Close() }()
			var held *manager.QueueLease[string]
			steps := [][]func(e *household) error{
				{
					func(e *household) error { return e.dict.BatchSet(ctx, map[string]int{"a": 1}) },
					func(e *household) error { return e.dict.SetTTL(ctx, "b", 2, time.Hour) },
					func(e *household) error { return e.dict.SetTTL(ctx, "c", 3, time.Hour) },
					func(e *household) error { return e.list.Append(ctx, 5, 3, 4, 1, 2) },
					func(e *household) error { _, err := e.set.Add(ctx, 1, 2, 3); return err },
					func(e *household) error { return manager.NamespaceSet(ctx, e.names, "x", 1) },
					func(e *household) error { return e.value.Set(ctx, "second") },
					func(e *household) error { return e.array.Set(ctx, 2, 7) },
					func(e *household) error { _, err := e.queue.PutMany(ctx, []string{"m1", "m2", "m3", "m4"}); return err },
					func(e *household) error { _, err := e.few.PutMany(ctx, []string{"bad", "good"}); return err },
				},
				{
					func(e *household) error {
						_, err := e.dict.Update(ctx, "a", func(v int, _ bool) (int, error) { return v + 10, nil })
						return err
					},
					func(e *household) error { return e.dict.Set(ctx, "b", 4) }, // without a time to live now
					func(e *household) error { return e.list.Sort(ctx) },
					func(e *household) error { return e.list.Insert(ctx, 1, 9) },
					func(e *household) error { return e.list.SetSlice(ctx, 2, 4, 6, 6, 6) },
					func(e *household) error { _, err := e.set.Discard(ctx, 1); return err },
					func(e *household) error { return e.array.Fill(ctx, 8) },
					func(e *household) error { return e.array.SetSlice(ctx, 1, 3, 1, 2) },
					func(e *household) error {
						v, err := e.queue.Get(ctx)
						if v != "m1" {
							t.Errorf("got %q", v)
						}
						return err
					},
					func(e *household) (err error) { held, err = e.queue.Lease(ctx); return err }, // m2, which the kill returns
					func(e *household) error {
						l, err := e.few.Lease(ctx)
						if err != nil {
							return err
						}
						return l.Nack(ctx) // once; bad comes last in again
					},
				},
				{
					func(e *household) error {
						l, err := e.queue.Lease(ctx)
						if err != nil {
							return err
						}
						if l.Value() != "m2" || l.Deliveries() != 2 {
							t.Errorf("after the kill the first message is %q, delivered %d times", l.Value(), l.Deliveries())
						}
						return l.Ack(ctx)
					},
					func(e *household) error {
						l, err := e.few.Lease(ctx)
						if err != nil {
							return err
						}
						if l.Value() != "bad" || l.Deliveries() != 2 {
							t.Errorf("the message that came back is %q, delivered %d times", l.Value(), l.Deliveries())
						}
						return l.Nack(ctx) // a dead letter
					},
					func(e *household) error { return e.list.Reverse(ctx) },
					func(e *household) error { _, err := e.list.Pop(ctx, 0); return err },
					func(e *household) error { _, err := e.list.Remove(ctx, 6); return err },
					func(e *household) error { return e.array.Sort(ctx) },
					func(e *household) error {
						other, err := manager.NewSet[int](e.m)
						if err != nil {
							return err
						}
						defer other.Close()
						if _, err := other.Add(ctx, 2, 20); err != nil {
							return err
						}
						return e.set.SymmetricDifferenceUpdate(ctx, other)
					},
					func(e *household) error { _, err := e.dict.Expire(ctx, "a", time.Hour); return err },
					func(e *household) error { return e.dict.SetTTL(ctx, "brief", 1, time.Nanosecond) },
				},
				{
					func(e *household) error { return e.queue.Shutdown(ctx) },
					func(e *household) error { return e.dict.Clear(ctx) },
					func(e *household) error { return e.list.Clear(ctx) },
					func(e *household) error { return e.set.Clear(ctx) },
					func(e *household) error { return e.names.Clear(ctx) },
					func(e *household) error { _, err := e.few.Drop(ctx); return err },
				},
				{},
			}
			for i, some := range steps {
				for j, step := range some {
					if err := step(e); err != nil {
						t.Fatalf("step %d.%d: %v", i, j, err)
					}
				}
				if i == 0 { // what is of one process does not come back
					mu, err := manager.NewMutex(e.m)
					if err != nil {
						t.Fatal(err)
					}
					if err := errors.Join(e.locks.Set(ctx, "lock", mu), mu.Lock(ctx), e.sem.Acquire(ctx), e.event.Set(ctx)); err != nil {
						t.Fatal(err)
					}
					if _, err := e.again.Lock(ctx); err != nil {
						t.Fatal(err)
					}
					if err := e.meet.Abort(ctx); err != nil {
						t.Fatal(err)
					}
				}
				want := e.describe(t, ctx)
				for mode == "snapshots" {
					s, err := e.m.Stats(ctx)
					if err != nil {
						t.Fatal(err)
					}
					if s.Snapshot > 0 {
						break
					}
					time.Sleep(time.Millisecond) // it is made beside us
				}
				kill(t, e.m)
				e = openHousehold(t, o)
				found := e.describe(t, ctx)
				if held != nil && i == 1 { // its message is among those that wait again
					if n, err := e.queue.Len(ctx); err != nil || n != 3 {
						t.Errorf("%d messages wait, %v; want 3", n, err)
					}
				} else if found != want {
					t.Fatalf("after step %d:\nfound %s\nwant  %s", i, found, want)
				}
				mu, ok, err := e.locks.Get(ctx, "lock")
				if err != nil || !ok {
					t.Fatal(ok, err)
				}
				if err := errors.Join(mu.Lock(ctx), mu.Unlock()); err != nil {
					t.Errorf("a lock that was held when the server was killed: %v", err)
				}
				mu.Close()
				if n, err := e.sem.Value(ctx); err != nil || n != 3 {
					t.Errorf("%d permits, %v", n, err)
				}
				if in, err := e.again.Lock(ctx); err != nil || e.again.Unlock(in) != nil {
					t.Errorf("a re-entrant lock that was held when the server was killed: %v", err)
				}
				if broken, err := e.meet.Broken(ctx); err != nil || broken {
					t.Errorf("a barrier that was broken when the server was killed: broken %t, %v", broken, err)
				}
			}
		})
	}
}

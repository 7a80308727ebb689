package manager_test

import (
	"slices"
	"testing"

	"github.com/go-multiproc/multiproc/manager"
)

// drained takes all that waits in a queue.
func drained(t *testing.T, q *manager.Queue[string]) []string {
	t.Helper()
	buf := make([]string, 100)
	n, err := q.GetMany(testContext(t), buf)
	check(t, err)
	return buf[:n]
}

// What is leased takes up its room until it is dealt with.
func TestQueueCapacityCountsLeases(t *testing.T) {
	w, ctx := watch(t), testContext(t)
	q := must[*manager.Queue[string]](t)(manager.NewQueue[string](w.m, manager.QueueOptions{Capacity: 2}))
	if n, err := q.PutMany(ctx, []string{"a", "b"}); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	l := must[*manager.QueueLease[string]](t)(q.Lease(ctx))
	if n, err := q.Len(ctx); n != 1 || err != nil {
		t.Errorf("Len = %d, %v", n, err)
	}
	if ok, err := q.TryPut(ctx, "c"); ok || err != nil {
		t.Errorf("TryPut beside a lease: %v, %v", ok, err)
	}
	put := later(func() error { return q.Put(ctx, "c") })
	w.until(t, 1)
	check(t, l.Ack(ctx))
	check(t, put())
	if got := drained(t, q); !slices.Equal(got, []string{"b", "c"}) {
		t.Errorf("%q", got)
	}
}

// A message that is to be delivered again comes before those that never were.
func TestQueueDeliversAgainFirst(t *testing.T) {
	w, ctx := watch(t), testContext(t)
	q := must[*manager.Queue[string]](t)(manager.NewQueue[string](w.m))
	if n, err := q.PutMany(ctx, []string{"a", "b", "c", "d"}); n != 4 || err != nil {
		t.Fatal(n, err)
	}
	a := must[*manager.QueueLease[string]](t)(q.Lease(ctx))
	b := must[*manager.QueueLease[string]](t)(q.Lease(ctx))
	check(t, a.Nack(ctx))
	check(t, b.Nack(ctx))
	if got := drained(t, q); !slices.Equal(got, []string{"a", "b", "c", "d"}) {
		t.Errorf("%q", got)
	}
}

// In a queue of dead letters that is full the oldest give way.
func TestDeadLettersGiveWay(t *testing.T) {
	w, ctx := watch(t), testContext(t)
	q := must[*manager.Queue[string]](t)(manager.NewQueue[string](w.m, manager.QueueOptions{Capacity: 2, MaxDeliveries: 1}))
	for _, s := range []string{"a", "b", "c", "d"} {
		check(t, q.Put(ctx, s))
		check(t, must[*manager.QueueLease[string]](t)(q.Lease(ctx)).Nack(ctx))
	}
	check(t, q.Join(ctx))
	dead := must[*manager.Queue[string]](t)(q.DeadLetters(ctx))
	if n, err := dead.Cap(ctx); n != 2 || err != nil {
		t.Errorf("Cap = %d, %v", n, err)
	}
	if got := drained(t, dead); !slices.Equal(got, []string{"c", "d"}) {
		t.Errorf("dead letters %q", got)
	}
}

// Drop takes what waits, and leaves what is leased. What it took counts as dealt with, and its room is free.
func TestQueueDrop(t *testing.T) {
	w, ctx := watch(t), testContext(t)
	q := must[*manager.Queue[string]](t)(manager.NewQueue[string](w.m, manager.QueueOptions{Capacity: 3}))
	if n, err := q.PutMany(ctx, []string{"a", "b", "c"}); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	l := must[*manager.QueueLease[string]](t)(q.Lease(ctx))
	put := later(func() error { return q.Put(ctx, "d") })
	w.until(t, 1)
	if n, err := q.Drop(ctx); n != 2 || err != nil {
		t.Errorf("Drop = %d, %v", n, err)
	}
	check(t, put()) // there is room
	joined := later(func() error { return q.Join(ctx) })
	w.until(t, 1)
	check(t, l.Ack(ctx))
	if n, err := q.Drop(ctx); n != 1 || err != nil {
		t.Errorf("Drop = %d, %v", n, err)
	}
	check(t, joined()) // nothing is left that anybody has to deal with
}

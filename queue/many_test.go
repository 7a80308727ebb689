package queue_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/verify"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/queue"
)

// PutMany waits for room in the middle, keeps the order, and says how far it came.
func TestPutManyWaitsForRoom(t *testing.T) {
	ctx := soon(t)
	q := newQueue[int](t, queue.Options{Capacity: 10})
	all := make([]int, 300) // more than are put in one step
	for i := range all {
		all[i] = i
	}
	put := verify.Blocks(t, "PutMany", func() error {
		n, err := q.PutMany(ctx, all)
		if n != len(all) && err == nil {
			err = fmt.Errorf("%d were put", n)
		}
		return err
	})
	for i := range all {
		if v, err := q.Get(ctx); v != i || err != nil {
			t.Fatalf("%d: got %d, %v", i, v, err)
		}
	}
	verify.Must(t, put())

	ends, cancel := context.WithCancel(ctx)
	n := 0
	put = verify.Blocks(t, "PutMany", func() (err error) {
		n, err = q.PutMany(ends, all)
		return err
	})
	cancel()
	if err := put(); err != context.Canceled || n != 10 || q.Len() != 10 {
		t.Errorf("%d were put and %d are there: %v", n, q.Len(), err)
	}
}

// What there is room for is seen together: who finds one finds all.
func TestPutManyIsOneStep(t *testing.T) {
	ctx := soon(t)
	const each, rounds = 128, 300
	q := newQueue[int](t, queue.Options{Bytes: 32 * each * rounds}) // room for all of them
	done := make(chan error, 1)
	go func() {
		for range rounds {
			if _, err := q.PutMany(ctx, make([]int, each)); err != nil {
				done <- err
				return
			}
		}
		done <- q.Shutdown()
	}()
	for {
		n := q.Len()
		if n%each != 0 {
			t.Fatalf("%d messages are there: a part of %d", n, each)
		}
		if n == 0 {
			if _, _, err := q.TryGet(); errors.Is(err, queue.ErrClosed) {
				break
			}
			// Whatever was there was put meanwhile: the rest of it is not wanted.
		}
		_, err := q.Drop(ctx)
		verify.Must(t, err)
	}
	verify.Must(t, <-done)
}

// Each of those who wait gets one of several that are put at once, and nobody sleeps on.
func TestPutManyWakesAll(t *testing.T) {
	ctx := soon(t)
	q := newQueue[int](t, queue.Options{})
	var waits []func() error
	for range 4 {
		waits = append(waits, verify.Blocks(t, "Get", func() error { _, err := q.Get(ctx); return err }))
	}
	if n, err := q.PutMany(ctx, []int{1, 2, 3, 4}); n != 4 || err != nil {
		t.Fatal(n, err)
	}
	start := time.Now()
	for _, wait := range waits {
		verify.Must(t, wait())
	}
	if took := time.Since(start); took > patience/2 {
		t.Errorf("it took %v", took)
	}
}

// What was put is what the caller has, to the last byte: also what Go left in the padding.
func TestPutLeavesTheMessageAlone(t *testing.T) {
	ctx := soon(t)
	q := newQueue[padded](t, queue.Options{})
	v := make([]padded, 2)
	for i := range v {
		makeDirty(&v[i])
	}
	if _, err := q.PutMany(ctx, v); err != nil {
		t.Fatal(err)
	}
	for i := range v {
		if !isDirty(&v[i]) {
			t.Error("PutMany wrote to what it was given")
		}
	}
	verify.Must(t, q.Put(ctx, v[0]))
	if ok, err := q.TryPut(v[1]); !ok || err != nil {
		t.Fatal(ok, err)
	}
	for range 4 {
		got, err := q.Get(ctx)
		verify.Must(t, err)
		if got != v[0] {
			t.Errorf("got %+v", got)
		}
		if isDirty(&got) {
			t.Error("what Go had left in the padding went to another process")
		}
	}
}

// GetMany returns what there is, and then the end; it does not mix a message with what the
// buffer had.
func TestGetMany(t *testing.T) {
	ctx := soon(t)
	type item struct {
		Name string
		Tags []string
		Ages map[string]int
	}
	q := newQueue[item](t, queue.Options{})
	buf := make([]item, 3)
	verify.Must(t, q.Put(ctx, item{"a", []string{"x", "y"}, map[string]int{"a": 1}}))
	if n, err := q.GetMany(ctx, buf); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	kept := buf[0]
	want := item{"", []string{"z"}, map[string]int{"b": 2}}
	verify.Must(t, q.Put(ctx, want))
	verify.Must(t, q.Put(ctx, item{}))
	verify.Must(t, q.Shutdown())
	if n, err := q.GetMany(ctx, buf); n != 2 || err != nil {
		t.Fatalf("%d, %v: the end comes behind the last message", n, err)
	}
	if got := buf[0]; got.Name != "" || !slices.Equal(got.Tags, want.Tags) || !maps.Equal(got.Ages, want.Ages) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if kept.Name != "a" || !slices.Equal(kept.Tags, []string{"x", "y"}) || !maps.Equal(kept.Ages, map[string]int{"a": 1}) {
		t.Errorf("an earlier message has changed: %+v", kept)
	}
	if n, err := q.GetMany(ctx, buf); n != 0 || !errors.Is(err, queue.ErrClosed) {
		t.Errorf("behind the end: %d, %v", n, err)
	}

	b := newQueue[[]byte](t, queue.Options{})
	room := [][]byte{make([]byte, 0, 100), nil}
	at := &room[0][:1][0]
	if _, err := b.PutMany(ctx, [][]byte{[]byte("one"), []byte("two")}); err != nil {
		t.Fatal(err)
	}
	if n, err := b.GetMany(ctx, room); n != 2 || err != nil || string(room[0]) != "one" || string(room[1]) != "two" {
		t.Fatalf("%d %q %v", n, room, err)
	}
	if &room[0][0] != at {
		t.Error("the slice in the buffer, which had the capacity, was not written to")
	}
}

// A message that cannot be decoded is an error of who takes it, and gone.
func TestUndecodable(t *testing.T) {
	ctx := soon(t)
	name := fmt.Sprintf("multiproc-test-%d", time.Now().UnixNano())
	theirs := func() any {
		type job struct{ N, By string }
		q, err := queue.Create[job](name, queue.Options{})
		verify.Must(t, err)
		for _, n := range []string{"one", "two", "three", "four", "five"} {
			verify.Must(t, q.Put(ctx, job{n, "me"}))
		}
		return q
	}().(interface{ Close() error })
	defer theirs.Close()
	defer queue.Remove(name)
	type job struct { // another version of the program
		N  int
		By string
	}
	q, err := queue.Open[job](name)
	verify.Must(t, err)
	defer q.Close()
	for what, f := range map[string]func() error{
		"Get":      func() error { _, err := q.Get(ctx); return err },
		"TryGet":   func() error { _, _, err := q.TryGet(); return err },
		"Lease":    func() error { _, err := q.Lease(ctx); return err },
		"TryLease": func() error { _, err := q.TryLease(); return err },
	} {
		before := q.Len()
		if err := f(); err == nil || errors.Is(err, queue.ErrClosed) {
			t.Errorf("%s: %v", what, err)
		}
		if n := q.Len(); n != before-1 {
			t.Errorf("%s: %d wait, and %d did before", what, n, before)
		}
	}
	if n, err := q.GetMany(ctx, make([]job, 2)); n != 0 || err == nil {
		t.Errorf("GetMany: %d, %v", n, err)
	}
	if q.Len() != 0 {
		t.Errorf("%d wait", q.Len())
	}
	for range 3 { // Get, TryGet and GetMany took theirs
		verify.Must(t, q.TaskDone())
	}
	verify.Must(t, q.Join(ctx))
}

// What is dropped is dealt with; what is leased stays.
func TestDrop(t *testing.T) {
	ctx := soon(t)
	q := newQueue[int](t, queue.Options{Capacity: 4})
	for i := range 4 {
		verify.Must(t, q.Put(ctx, i))
	}
	l, err := q.Lease(ctx)
	verify.Must(t, err)
	put := verify.Blocks(t, "Put", func() error { return q.Put(ctx, 4) })
	join := verify.Blocks(t, "Join", func() error { return q.Join(ctx) })
	if n, err := q.Drop(ctx); n != 3 || err != nil {
		t.Errorf("%d were dropped, %v", n, err)
	}
	verify.Must(t, l.Ack())
	verify.Must(t, put())
	if v, err := q.Get(ctx); v != 4 || err != nil {
		t.Error(v, err)
	}
	verify.Must(t, q.TaskDone())
	verify.Must(t, join())
	if err := q.TaskDone(); !errors.Is(err, queue.ErrNotTaken) {
		t.Errorf("who dropped messages owes for them: %v", err)
	}
	// By who is behind a lease, too.
	verify.Must(t, q.Put(ctx, 5))
	l, err = q.Lease(ctx)
	verify.Must(t, err)
	verify.Must(t, q.Put(ctx, 6))
	if n, err := q.Drop(ctx); n != 1 || err != nil {
		t.Errorf("%d were dropped, %v", n, err)
	}
	if l.Value() != 5 {
		t.Error(l.Value())
	}
	verify.Must(t, l.Ack())
	verify.Must(t, q.Join(ctx))
}

// A queue whose consumers come and go and never call TaskDone goes on, and knows what they owe.
func TestManyTakersOneAfterTheOther(t *testing.T) {
	ctx := soon(t)
	name := fmt.Sprintf("multiproc-test-%d", time.Now().UnixNano())
	const takers = queue.MaxTakerProcesses + 100
	q, err := queue.Create[int](name, queue.Options{})
	verify.Must(t, err)
	defer queue.Remove(name)
	for i := range takers {
		verify.Must(t, q.Put(ctx, i))
	}
	verify.Must(t, q.Close())
	for i := range takers {
		// To the queue, who opens it anew is another process.
		q, err := queue.Open[int](name)
		verify.Must(t, err)
		if v, err := q.Get(ctx); v != i || err != nil {
			t.Fatalf("taker %d: %d, %v", i, v, err)
		}
		verify.Must(t, q.Close())
	}
	q, err = queue.Open[int](name)
	verify.Must(t, err)
	defer q.Close()
	if err := q.Join(ctx); !errors.Is(err, psync.ErrOwnerDied) {
		t.Errorf("Join: %v", err)
	}
	if n, err := q.Recover(ctx); n != takers || err != nil {
		t.Errorf("%d takers left without TaskDone, and Recover says %d, %v", takers, n, err)
	}
	verify.Must(t, q.Join(ctx))
}

func TestNothingToDoAfterClose(t *testing.T) {
	ctx := soon(t)
	q, err := queue.New[int](queue.Options{})
	verify.Must(t, err)
	if n, err := q.PutMany(ctx, nil); n != 0 || err != nil {
		t.Error(n, err)
	}
	if n, err := q.GetMany(ctx, nil); n != 0 || err != nil {
		t.Error(n, err)
	}
	verify.Must(t, q.Close())
	if _, err := q.PutMany(ctx, nil); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("PutMany: %v", err)
	}
	if _, err := q.GetMany(ctx, nil); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("GetMany: %v", err)
	}
}

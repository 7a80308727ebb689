package queue_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/verify"
	"github.com/go-multiproc/multiproc/queue"
)

func init() { helpers["bury"] = bury }

// bury leases the oldest message of a queue again and again until it is a dead letter, and
// puts one of its own there, by way of the dead letters that it was given. It prints how many
// it has found there.
func bury(args []string) int {
	q := taken[[]*queue.Queue[stamp]](args)
	for {
		l, err := q[0].TryLease()
		if err == nil && l != nil {
			err = l.Nack()
		}
		if err != nil {
			fmt.Println(err)
			return 1
		}
		if l == nil {
			break
		}
	}
	fmt.Println(q[1].Len())
	bufio.NewReader(os.Stdin).ReadString('\n')
	return 0
}

// After Shutdown, getters wait as long as somebody else has a message that may come back.
func TestShutdownWaitsForLeases(t *testing.T) {
	ctx := soon(t)
	q := newQueue[stamp](t, queue.Options{})
	verify.Must(t, q.Put(ctx, stamp{0, 41}))
	p := start(t, "leaseOne", q)
	if got := p.Line(); got != "41 1" {
		t.Fatal(got)
	}
	verify.Must(t, q.Shutdown())
	if _, ok, err := q.TryGet(); ok || err != nil {
		t.Errorf("TryGet, while a message may come back: %v, %v", ok, err)
	}
	get := verify.Blocks(t, "Get", func() error {
		s, err := q.Get(ctx)
		if err == nil && s.Number != 41 {
			err = fmt.Errorf("got %v", s)
		}
		return err
	})
	p.Kill()
	verify.Must(t, get())
	if _, err := q.Get(ctx); !errors.Is(err, queue.ErrClosed) {
		t.Errorf("Get of what is shut down and empty: %v", err)
	}

	// What this process has itself, it need not wait for.
	own := newQueue[int](t, queue.Options{})
	verify.Must(t, own.Put(ctx, 1))
	l, err := own.Lease(ctx)
	verify.Must(t, err)
	verify.Must(t, own.Shutdown())
	if _, err := own.Get(ctx); !errors.Is(err, queue.ErrClosed) {
		t.Errorf("Get with a lease of one's own: %v", err)
	}
	verify.Must(t, l.Nack())
	if v, err := own.Get(ctx); v != 1 || err != nil {
		t.Errorf("Get of what came back: %d, %v", v, err)
	}
}

// What has a place arrives, also when the Queue was shut down meanwhile.
func TestCommitAfterShutdown(t *testing.T) {
	ctx := soon(t)
	q := newQueue[[]byte](t, queue.Options{})
	r, err := queue.Reserve(ctx, q, 2)
	verify.Must(t, err)
	verify.Must(t, q.Shutdown())
	get := verify.Blocks(t, "Get", func() error {
		b, err := q.Get(ctx)
		if err == nil && string(b) != "ok" {
			err = fmt.Errorf("got %q", b)
		}
		return err
	})
	copy(r.Bytes(), "ok")
	verify.Must(t, r.Commit())
	verify.Must(t, get())
	if _, err := queue.Reserve(ctx, q, 2); !errors.Is(err, queue.ErrClosed) {
		t.Errorf("Reserve after Shutdown: %v", err)
	}
	if _, err := q.Get(ctx); !errors.Is(err, queue.ErrClosed) {
		t.Error(err)
	}
	verify.Panics(t, "queue: Reserve of a negative number of bytes", func() { queue.Reserve(ctx, q, -1) })
}

// A place that was reserved through a handle that is closed is passed over, while another handle
// of the process goes on.
func TestReservationOfAClosedHandle(t *testing.T) {
	ctx := soon(t)
	name := fmt.Sprintf("multiproc-test-%d", time.Now().UnixNano())
	a, err := queue.Create[[]byte](name, queue.Options{})
	verify.Must(t, err)
	defer a.Close()
	defer queue.Remove(name)
	b, err := queue.Open[[]byte](name)
	verify.Must(t, err)
	r, err := queue.Reserve(ctx, b, 10)
	verify.Must(t, err)
	verify.Must(t, a.Put(ctx, []byte("next")))
	get := verify.Blocks(t, "Get", func() error {
		v, err := a.Get(ctx)
		if err == nil && string(v) != "next" {
			err = fmt.Errorf("got %q", v)
		}
		return err
	})
	verify.Must(t, b.Close())
	verify.Must(t, get())
	if err := r.Commit(); !errors.Is(err, queue.ErrLeaseEnded) {
		t.Errorf("Commit after Close: %v", err)
	}
}

// Leased messages take up their room, and are not among those that wait.
func TestLeasesCountInCapacity(t *testing.T) {
	ctx := soon(t)
	q := newQueue[int](t, queue.Options{Capacity: 2})
	verify.Must(t, q.Put(ctx, 1))
	verify.Must(t, q.Put(ctx, 2))
	first, err := q.Lease(ctx)
	verify.Must(t, err)
	second, err := q.Lease(ctx)
	verify.Must(t, err)
	if q.Len() != 0 {
		t.Errorf("%d wait", q.Len())
	}
	if ok, err := q.TryPut(3); ok || err != nil {
		t.Errorf("TryPut beyond the capacity: %v, %v", ok, err)
	}
	// What was put later makes no room before what was put earlier.
	verify.Must(t, second.Ack())
	if ok, err := q.TryPut(3); ok || err != nil {
		t.Errorf("TryPut behind a lease: %v, %v", ok, err)
	}
	put := verify.Blocks(t, "Put", func() error { return q.Put(ctx, 3) })
	verify.Must(t, first.Ack())
	verify.Must(t, put())
}

// A slice of a leased message that is kept too long never faults.
func TestLeaseKeptAfterClose(t *testing.T) {
	ctx := soon(t)
	q, err := queue.New[[]byte](queue.Options{})
	verify.Must(t, err)
	verify.Must(t, q.Put(ctx, bytes.Repeat([]byte{1}, 100)))
	l, err := q.Lease(ctx)
	verify.Must(t, err)
	b := l.Value()
	verify.Must(t, q.Close())
	if len(b) != 100 || slices.ContainsFunc(b, func(x byte) bool { return x != 0 }) {
		t.Errorf("it reads %v", b)
	}
	if err := l.Ack(); !errors.Is(err, queue.ErrLeaseEnded) {
		t.Errorf("Ack after Close: %v", err)
	}
}

// Dead letters are a Queue like any other: they cross to other processes, and end with theirs.
// Nobody has to take them: when they are full, the oldest ones go.
func TestDeadLetters(t *testing.T) {
	ctx := soon(t)
	q, err := queue.New[stamp](queue.Options{Bytes: 4096, MaxDeliveries: 1})
	verify.Must(t, err)
	defer q.Close()
	d := q.DeadLetters()
	const n = 300 // more than there is room for
	for i := range int64(n) {
		verify.Must(t, q.Put(ctx, stamp{0, i}))
		l, err := q.Lease(ctx)
		verify.Must(t, err)
		verify.Must(t, l.Nack())
	}
	if q.Len() != 0 {
		t.Errorf("%d wait", q.Len())
	}
	kept := int64(d.Len())
	if kept < 50 || kept >= n {
		t.Fatalf("%d dead letters of %d in 4 KiB", kept, n)
	}
	for i := n - kept; i < n; i++ {
		if s, err := d.Get(ctx); s.Number != i || err != nil {
			t.Fatalf("dead letter %d is %v, %v", i, s, err)
		}
	}

	verify.Must(t, q.Put(ctx, stamp{0, 41}))
	p := start(t, "bury", []*queue.Queue[stamp]{q, d})
	if got := p.Line(); got != "1" {
		t.Fatalf("the other process has %s dead letters", got)
	}
	if s, err := d.Get(ctx); s.Number != 41 || err != nil {
		t.Errorf("a dead letter of another process: %v, %v", s, err)
	}
	p.Say("")
	p.Done()

	// One whose holder was killed counts as delivered.
	verify.Must(t, q.Put(ctx, stamp{0, 42}))
	p = start(t, "leaseOne", q)
	if got := p.Line(); got != "42 1" {
		t.Fatal(got)
	}
	get := verify.Blocks(t, "Get", func() error { _, err := q.Get(ctx); return err })
	p.Kill()
	if s, err := d.Get(ctx); s.Number != 42 || err != nil {
		t.Errorf("the message of one who was killed: %v, %v", s, err)
	}
	verify.Must(t, q.Shutdown())
	if err := get(); !errors.Is(err, queue.ErrClosed) {
		t.Errorf("Get: %v", err)
	}

	verify.Must(t, d.Close())
	if ok, err := d.TryPut(stamp{}); !ok || err != nil {
		t.Errorf("TryPut after the dead letters' own Close: %v, %v", ok, err)
	}
	verify.Must(t, q.Close())
	if _, err := d.TryPut(stamp{}); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("TryPut after Close of their queue: %v", err)
	}
}

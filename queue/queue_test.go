package queue_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/reexec"
	"github.com/go-multiproc/multiproc/internal/verify"
	"github.com/go-multiproc/multiproc/pipe"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/queue"
	"github.com/go-multiproc/multiproc/shm"
)

type fixedPoint struct {
	X float64
	N int32 // and padding
}

type record struct {
	ID     int
	Name   string
	Values []int
	At     time.Time
}

func TestRoundTripOfEveryFace(t *testing.T) {
	t.Run("bytes", func(t *testing.T) {
		roundTrip(t, [][]byte{{}, {1}, []byte("1234567"), []byte("12345678"), make([]byte, 5000)}, bytes.Equal)
	})
	t.Run("fixed", func(t *testing.T) {
		roundTrip(t, []fixedPoint{{}, {1.5, -3}}, func(a, b fixedPoint) bool { return a == b })
	})
	t.Run("byte", func(t *testing.T) {
		roundTrip(t, []byte{0, 1, 255}, func(a, b byte) bool { return a == b })
	})
	t.Run("text", func(t *testing.T) {
		roundTrip(t, []string{"", "a", "\xff\xfe"}, func(a, b string) bool { return a == b })
	})
	t.Run("cbor", func(t *testing.T) {
		at := time.Unix(1, 2).UTC()
		roundTrip(t, []record{{}, {1, "x", []int{1, 2}, at}}, func(a, b record) bool {
			return a.ID == b.ID && a.Name == b.Name && slices.Equal(a.Values, b.Values) && a.At.Equal(b.At)
		})
	})
	t.Run("pointer", func(t *testing.T) {
		roundTrip(t, []*record{nil, {ID: 2}}, func(a, b *record) bool { return (a == nil) == (b == nil) && (a == nil || a.ID == b.ID) })
	})
}

func roundTrip[T any](t *testing.T, values []T, same func(a, b T) bool) {
	ctx := soon(t)
	q := newQueue[T](t, queue.Options{})
	check := func(how string, got []T) {
		t.Helper()
		if !slices.EqualFunc(got, values, same) {
			t.Errorf("%s: got %v, want %v", how, got, values)
		}
	}
	var got []T
	for _, v := range values {
		verify.Must(t, q.Put(ctx, v))
	}
	if q.Len() != len(values) {
		t.Errorf("Len is %d", q.Len())
	}
	for range values {
		v, err := q.Get(ctx)
		verify.Must(t, err)
		got = append(got, v)
	}
	check("Get", got)

	if n, err := q.PutMany(ctx, values); n != len(values) || err != nil {
		t.Fatal(n, err)
	}
	buf := make([]T, len(values)+3)
	n, err := q.GetMany(ctx, buf)
	verify.Must(t, err)
	check("GetMany", buf[:n])

	got = nil
	for _, v := range values {
		if ok, err := q.TryPut(v); !ok || err != nil {
			t.Fatal(ok, err)
		}
		v, ok, err := q.TryGet()
		if !ok || err != nil {
			t.Fatal(ok, err)
		}
		got = append(got, v)
	}
	check("TryGet", got)
	if _, ok, err := q.TryGet(); ok || err != nil {
		t.Error("TryGet of an empty queue:", ok, err)
	}

	got = nil
	q.PutMany(ctx, values)
	var ls []*queue.Lease[T]
	for range values {
		l, err := q.Lease(ctx)
		verify.Must(t, err)
		got = append(got, l.Value())
		ls = append(ls, l)
	}
	check("Lease", got)
	for _, l := range ls {
		verify.Must(t, l.Ack())
		if err := l.Ack(); !errors.Is(err, queue.ErrLeaseEnded) {
			t.Error(err)
		}
	}
	if q.Len() != 0 {
		t.Errorf("Len is %d", q.Len())
	}
}

// A dull queue beside the real one: every operation that does not wait, in random order.
func TestAgainstASlice(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	q := newQueue[[]byte](t, queue.Options{Bytes: 4096, MaxMessage: 20000})
	var want [][]byte // not taken
	type lease struct {
		l *queue.Lease[[]byte]
		b []byte
	}
	var leases []lease
	next := byte(0)
	message := func() []byte {
		n := rnd.IntN(100)
		switch rnd.IntN(20) {
		case 0:
			n = rnd.IntN(2032)
		case 1:
			n = 2033 + rnd.IntN(15000)
		}
		next++
		return bytes.Repeat([]byte{next}, n)
	}
	full := 0
	for step := range 60000 {
		switch rnd.IntN(9) {
		case 0, 1, 2:
			b := message()
			ok, err := q.TryPut(b)
			if err != nil {
				t.Fatal(step, err)
			}
			if ok {
				want = append(want, b)
			} else if full++; len(want)+len(leases) == 0 {
				t.Fatalf("step %d: no room for %d bytes in an empty queue: %v", step, len(b), q)
			}
		case 3, 4, 5:
			b, ok, err := q.TryGet()
			if err != nil {
				t.Fatal(step, err)
			}
			if ok != (len(want) > 0) || ok && !bytes.Equal(b, want[0]) {
				t.Fatalf("step %d: got %d bytes, %t; %d wait", step, len(b), ok, len(want))
			}
			if ok {
				want = want[1:]
			}
		case 6:
			l, err := q.TryLease()
			if err != nil {
				t.Fatal(step, err)
			}
			if (l != nil) != (len(want) > 0) || l != nil && !bytes.Equal(l.Value(), want[0]) {
				t.Fatalf("step %d: another message was leased", step)
			}
			if l != nil {
				leases = append(leases, lease{l, want[0]})
				want = want[1:]
			}
		case 7, 8:
			if len(leases) == 0 {
				continue
			}
			i := rnd.IntN(len(leases))
			l := leases[i]
			if !bytes.Equal(l.l.Value(), l.b) {
				t.Fatalf("step %d: a leased message changed", step)
			}
			leases = slices.Delete(leases, i, i+1)
			verify.Must(t, l.l.Ack())
		}
		if q.Len() != len(want) {
			t.Fatalf("step %d: Len is %d, want %d", step, q.Len(), len(want))
		}
	}
	if full == 0 {
		t.Error("never full")
	}
}

func TestCapacity(t *testing.T) {
	ctx := soon(t)
	q := newQueue[int](t, queue.Options{Capacity: 5})
	if q.Cap() != 5 {
		t.Errorf("Cap is %d", q.Cap())
	}
	for i := range 5 {
		verify.Must(t, q.Put(ctx, i))
	}
	if ok, err := q.TryPut(5); ok || err != nil {
		t.Error("TryPut beyond the capacity:", ok, err)
	}
	wait := verify.Blocks(t, "Put beyond the capacity", func() error { return q.Put(ctx, 5) })
	if v, err := q.Get(ctx); v != 0 || err != nil {
		t.Fatal(v, err)
	}
	verify.Must(t, wait())
	gone, cancel := context.WithCancel(context.Background())
	wait = verify.Blocks(t, "Put", func() error { return q.Put(gone, 6) })
	cancel()
	if err := wait(); err != context.Canceled {
		t.Error(err)
	}
	if q.Len() != 5 {
		t.Errorf("Len is %d", q.Len())
	}
}

func TestContextThatEndedBefore(t *testing.T) {
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	q := newQueue[int](t, queue.Options{})
	verify.Must(t, q.Put(context.Background(), 1))
	for name, f := range map[string]func() error{
		"Put":     func() error { return q.Put(gone, 1) },
		"Get":     func() error { _, err := q.Get(gone); return err },
		"PutMany": func() error { _, err := q.PutMany(gone, []int{1}); return err },
		"GetMany": func() error { _, err := q.GetMany(gone, make([]int, 1)); return err },
		"Lease":   func() error { _, err := q.Lease(gone); return err },
		"Join":    func() error { return q.Join(gone) },
		"Recover": func() error { _, err := q.Recover(gone); return err },
		"Drop":    func() error { _, err := q.Drop(gone); return err },
	} {
		if err := f(); err != context.Canceled {
			t.Errorf("%s: %v", name, err)
		}
	}
	if q.Len() != 1 {
		t.Error("something was done")
	}
}

func TestShutdown(t *testing.T) {
	ctx := soon(t)
	q := newQueue[int](t, queue.Options{Capacity: 2})
	verify.Must(t, q.Put(ctx, 1))
	verify.Must(t, q.Put(ctx, 2))
	put := verify.Blocks(t, "Put", func() error { return q.Put(ctx, 3) })
	verify.Must(t, q.Shutdown())
	if err := put(); !errors.Is(err, queue.ErrClosed) || errors.Is(err, fs.ErrClosed) {
		t.Error(err)
	}
	if err := q.Put(ctx, 3); !errors.Is(err, queue.ErrClosed) {
		t.Error(err)
	}
	for i := 1; i <= 2; i++ {
		if v, err := q.Get(ctx); v != i || err != nil {
			t.Error(v, err)
		}
	}
	if _, err := q.Get(ctx); !errors.Is(err, queue.ErrClosed) {
		t.Error(err)
	}
	if _, _, err := q.TryGet(); !errors.Is(err, queue.ErrClosed) {
		t.Error(err)
	}
	q2 := newQueue[int](t, queue.Options{})
	get := verify.Blocks(t, "Get", func() error { _, err := q2.Get(ctx); return err })
	verify.Must(t, q2.Shutdown())
	if err := get(); !errors.Is(err, queue.ErrClosed) {
		t.Error(err)
	}
	verify.Must(t, q2.Shutdown())
}

func TestClose(t *testing.T) {
	ctx := soon(t)
	q, err := queue.New[int](queue.Options{})
	verify.Must(t, err)
	get := verify.Blocks(t, "Get", func() error { _, err := q.Get(ctx); return err })
	verify.Must(t, q.Close())
	if err := get(); !errors.Is(err, fs.ErrClosed) || !errors.Is(err, queue.ErrClosed) {
		t.Error(err)
	}
	verify.Must(t, q.Close())
	for name, f := range map[string]func() error{
		"Put":      func() error { return q.Put(ctx, 1) },
		"TryPut":   func() error { _, err := q.TryPut(1); return err },
		"Get":      func() error { _, err := q.Get(ctx); return err },
		"TryGet":   func() error { _, _, err := q.TryGet(); return err },
		"PutMany":  func() error { _, err := q.PutMany(ctx, []int{1}); return err },
		"GetMany":  func() error { _, err := q.GetMany(ctx, make([]int, 1)); return err },
		"Lease":    func() error { _, err := q.Lease(ctx); return err },
		"TryLease": func() error { _, err := q.TryLease(); return err },
		"Join":     func() error { return q.Join(ctx) },
		"TaskDone": q.TaskDone,
		"Recover":  func() error { _, err := q.Recover(ctx); return err },
		"Drop":     func() error { _, err := q.Drop(ctx); return err },
		"Shutdown": q.Shutdown,
	} {
		if err := f(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	defer func() {
		if r := recover(); r != "queue: use of closed Queue" {
			t.Errorf("Len: %v", r)
		}
	}()
	q.Len()
}

func TestNamed(t *testing.T) {
	ctx := soon(t)
	name := fmt.Sprintf("multiproc-test-%d", time.Now().UnixNano())
	q, err := queue.Create[record](name, queue.Options{})
	verify.Must(t, err)
	t.Cleanup(func() { queue.Remove(name) })
	if _, err := queue.Create[record](name, queue.Options{}); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	verify.Must(t, q.Put(ctx, record{ID: 7}))
	verify.Must(t, q.Close())

	for what, f := range map[string]func() error{
		"int":    func() error { _, err := queue.Open[int](name); return err },
		"bytes":  func() error { _, err := queue.Open[[]byte](name); return err },
		"string": func() error { _, err := queue.Open[string](name); return err },
	} {
		if err := f(); !errors.Is(err, shm.ErrType) {
			t.Errorf("opened for %s: %v", what, err)
		}
	}
	q, err = queue.Open[record](name)
	verify.Must(t, err)
	defer q.Close()
	if q.Name() != name {
		t.Error(q.Name())
	}
	if r, err := q.Get(ctx); r.ID != 7 || err != nil {
		t.Error(r, err)
	}
	verify.Must(t, queue.Remove(name))
	if _, err := queue.Open[record](name); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestOptions(t *testing.T) {
	for name, o := range map[string]queue.Options{
		"capacity":   {Capacity: -1},
		"bytes":      {Bytes: -1},
		"message":    {MaxMessage: -1},
		"deliveries": {MaxDeliveries: -1},
	} {
		if _, err := queue.New[int](o); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	ctx := soon(t)
	type job struct {
		Name string
		Mu   *psync.Mutex
	}
	mu, err := psync.NewMutex()
	verify.Must(t, err)
	defer mu.Close()
	q := newQueue[job](t, queue.Options{})
	err = q.Put(ctx, job{"a", mu})
	if err == nil || !strings.Contains(err.Error(), "v.Mu: ") || !strings.Contains(err.Error(), "cannot be put in a queue") {
		t.Error(err)
	}
	verify.Must(t, q.Put(ctx, job{"a", nil}))
	f := newQueue[func()](t, queue.Options{})
	if err := f.Put(ctx, func() {}); err == nil {
		t.Error("a function was put in a queue")
	}
	if q.Len() != 1 || f.Len() != 0 {
		t.Error("something was put")
	}
}

func TestLarge(t *testing.T) {
	ctx := soon(t)
	q := newQueue[[]byte](t, queue.Options{Bytes: 8192, MaxMessage: 3 << 20})
	if err := q.Put(ctx, make([]byte, 3<<20+4096)); !errors.Is(err, queue.ErrTooLarge) {
		t.Error(err)
	}
	message := func(i, n int) []byte { return bytes.Repeat([]byte{byte(i)}, n) }
	sizes := []int{3 << 20, 10, 1 << 20, 4080, 4096, 2 << 20, 3 << 20}
	done := make(chan error)
	go func() {
		for i, n := range sizes {
			if err := q.Put(ctx, message(i, n)); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for i, n := range sizes {
		b, err := q.Get(ctx)
		verify.Must(t, err)
		if !bytes.Equal(b, message(i, n)) {
			t.Fatalf("message %d is not what was put", i)
		}
	}
	verify.Must(t, <-done)
	small := newQueue[[]byte](t, queue.Options{Bytes: 8192, MaxMessage: 100})
	if err := small.Put(ctx, make([]byte, 4081)); !errors.Is(err, queue.ErrTooLarge) {
		t.Error(err)
	}
}

// A large message has memory of its own while it is in the queue, and no longer.
func TestLargeMessagesGiveTheirMemoryBack(t *testing.T) {
	ctx := soon(t)
	name := fmt.Sprintf("multiproc-test-%d", time.Now().UnixNano())
	q, err := queue.Create[[]byte](name, queue.Options{})
	verify.Must(t, err)
	defer q.Close()
	defer queue.Remove(name)
	memory := func() int {
		all, err := shm.List()
		verify.Must(t, err)
		for _, in := range all {
			if in.Name == name {
				return in.Bytes
			}
		}
		t.Fatal("not listed")
		return 0
	}
	before := memory()
	if before > 2<<20 {
		t.Errorf("an empty queue takes %d bytes", before)
	}
	const size = 3 << 20
	verify.Must(t, q.Put(ctx, make([]byte, size)))
	if n := memory(); n < before+size || n > before+size+1<<20 {
		t.Errorf("%d bytes with a message of %d, %d before", n, size, before)
	}
	b, err := q.Get(ctx)
	verify.Must(t, err)
	if n := memory(); len(b) != size || n != before {
		t.Errorf("%d bytes afterwards, %d before", n, before)
	}
	// So has one that is leased, and one that was reserved and given up.
	verify.Must(t, q.Put(ctx, b))
	l, err := q.Lease(ctx)
	verify.Must(t, err)
	if !bytes.Equal(l.Value(), b) {
		t.Error("another message was leased")
	}
	verify.Must(t, l.Ack())
	r, err := queue.Reserve(ctx, q, size)
	verify.Must(t, err)
	verify.Must(t, r.Cancel())
	if _, ok, err := q.TryGet(); ok || err != nil {
		t.Error("a message that was given up arrived", err)
	}
	if n := memory(); n != before {
		t.Errorf("%d bytes afterwards, %d before", n, before)
	}
}

func TestNackAndDeadLetters(t *testing.T) {
	ctx := soon(t)
	q := newQueue[string](t, queue.Options{MaxDeliveries: 3})
	if newQueue[string](t, queue.Options{}).DeadLetters() != nil {
		t.Error("dead letters without MaxDeliveries")
	}
	verify.Must(t, q.Put(ctx, "poison"))
	verify.Must(t, q.Put(ctx, "food"))
	for i := 1; i <= 3; i++ {
		l, err := q.Lease(ctx)
		verify.Must(t, err)
		if l.Value() != "poison" || l.Deliveries() != i {
			t.Fatalf("delivery %d: %q, %d", i, l.Value(), l.Deliveries())
		}
		verify.Must(t, l.Nack())
	}
	if v, err := q.Get(ctx); v != "food" || err != nil {
		t.Error(v, err)
	}
	d := q.DeadLetters()
	if d.Len() != 1 {
		t.Fatalf("%d dead letters", d.Len())
	}
	if v, err := d.Get(ctx); v != "poison" || err != nil {
		t.Error(v, err)
	}
	verify.Must(t, d.Close())
	if q.Len() != 0 {
		t.Errorf("%d left", q.Len())
	}
}

func TestReserve(t *testing.T) {
	ctx := soon(t)
	for _, size := range []int{0, 1, 100, 5000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			q := newQueue[[]byte](t, queue.Options{Bytes: 8192})
			a, err := queue.Reserve(ctx, q, size)
			verify.Must(t, err)
			b, err := queue.Reserve(ctx, q, size)
			verify.Must(t, err)
			verify.Must(t, q.Put(ctx, []byte("last")))
			copy(b.Bytes(), bytes.Repeat([]byte{2}, size))
			verify.Must(t, b.Commit())
			if _, ok, err := q.TryGet(); ok || err != nil {
				t.Error("taken before an earlier one was committed", err)
			}
			get := verify.Blocks(t, "Get", func() error {
				v, err := q.Get(ctx)
				if err == nil && !bytes.Equal(v, bytes.Repeat([]byte{1}, size)) {
					err = fmt.Errorf("got %d", v)
				}
				return err
			})
			copy(a.Bytes(), bytes.Repeat([]byte{1}, size))
			verify.Must(t, a.Commit())
			if err := a.Cancel(); !errors.Is(err, queue.ErrLeaseEnded) || a.Bytes() != nil {
				t.Error(err)
			}
			verify.Must(t, get())
			l, err := q.Lease(ctx)
			verify.Must(t, err)
			if !bytes.Equal(l.Value(), bytes.Repeat([]byte{2}, size)) {
				t.Errorf("leased %d", l.Value())
			}
			verify.Must(t, l.Ack())
			c, err := queue.Reserve(ctx, q, size)
			verify.Must(t, err)
			verify.Must(t, c.Cancel())
			if v, err := q.Get(ctx); string(v) != "last" || err != nil {
				t.Error(v, err)
			}
			if _, ok, err := q.TryGet(); ok || err != nil {
				t.Error("a cancelled message arrived", err)
			}
			verify.Must(t, q.TaskDone())
			verify.Must(t, q.TaskDone())
			verify.Must(t, q.Join(ctx))
		})
	}
}

func TestJoin(t *testing.T) {
	ctx := soon(t)
	q := newQueue[int](t, queue.Options{})
	verify.Must(t, q.Join(ctx))
	if err := q.TaskDone(); !errors.Is(err, queue.ErrNotTaken) {
		t.Error(err)
	}
	for i := range 3 {
		verify.Must(t, q.Put(ctx, i))
	}
	join := verify.Blocks(t, "Join", func() error { return q.Join(ctx) })
	for range 2 {
		_, err := q.Get(ctx)
		verify.Must(t, err)
	}
	verify.Must(t, q.TaskDone())
	verify.Must(t, q.TaskDone())
	if err := q.TaskDone(); !errors.Is(err, queue.ErrNotTaken) {
		t.Error(err)
	}
	l, err := q.Lease(ctx)
	verify.Must(t, err)
	verify.Must(t, l.Ack())
	verify.Must(t, join())
}

func TestWait(t *testing.T) {
	ctx := soon(t)
	a, b := newQueue[int](t, queue.Options{}), newQueue[string](t, queue.Options{})
	verify.Must(t, a.Put(ctx, 1))
	ready, err := pipe.Wait[pipe.Waitable](ctx, a, b)
	if err != nil || len(ready) != 1 || ready[0] != pipe.Waitable(a) {
		t.Fatal(ready, err)
	}
	if a.Len() != 1 {
		t.Error("waiting took a message")
	}
	a.Get(ctx)
	wait := verify.Blocks(t, "Wait", func() error {
		ready, err := pipe.Wait[pipe.Waitable](ctx, a, b)
		if err == nil && (len(ready) != 1 || ready[0] != pipe.Waitable(b)) {
			err = fmt.Errorf("%v is ready", ready)
		}
		return err
	})
	verify.Must(t, b.Put(ctx, "x"))
	verify.Must(t, wait())
	b.Get(ctx)
	gone, cancel := context.WithCancel(ctx)
	wait = verify.Blocks(t, "Wait", func() error { _, err := pipe.Wait(gone, a); return err })
	cancel()
	if err := wait(); err != context.Canceled {
		t.Error(err)
	}
	// A message that is being written is none yet.
	q := newQueue[[]byte](t, queue.Options{})
	r, err := queue.Reserve(ctx, q, 1)
	verify.Must(t, err)
	wait = verify.Blocks(t, "Wait", func() error { _, err := pipe.Wait(ctx, q); return err })
	verify.Must(t, r.Commit())
	verify.Must(t, wait())
	verify.Must(t, a.Shutdown())
	if ready, err := pipe.Wait(ctx, a); len(ready) != 1 || err != nil {
		t.Error(ready, err)
	}
}

// Several processes put, several take: every message arrives once, and those of a producer
// arrive at each consumer in order.
func TestManyProcesses(t *testing.T) {
	const producers, consumers, each = 3, 3, 20000
	for _, o := range []queue.Options{{Bytes: 4096}, {Capacity: 5}, {}} {
		t.Run(fmt.Sprintf("%+v", o), func(t *testing.T) {
			q := newQueue[stamp](t, o)
			each := int64(each)
			if o.Capacity > 0 || testing.Short() {
				each /= 10
			}
			var ps, cs []*reexec.Process
			for range consumers {
				cs = append(cs, start(t, "consume", q))
			}
			for i := range producers {
				ps = append(ps, start(t, "produce", q, fmt.Sprint(i), fmt.Sprint(each)))
			}
			var outs [consumers][]byte
			var wg sync.WaitGroup
			for i, c := range cs {
				wg.Go(func() { outs[i], _ = io.ReadAll(c.Out) })
			}
			for _, p := range ps {
				p.Done()
			}
			verify.Must(t, q.Shutdown())
			wg.Wait()
			for _, c := range cs {
				c.Done()
			}
			seen := map[stamp]bool{}
			for i, out := range outs {
				last := map[int64]int64{}
				for line := range strings.Lines(string(out)) {
					var s stamp
					if _, err := fmt.Sscan(line, &s.Producer, &s.Number); err != nil {
						t.Fatalf("consumer %d says %q", i, line)
					}
					if seen[s] {
						t.Fatalf("%v arrived twice", s)
					}
					if before, ok := last[s.Producer]; ok && before > s.Number {
						t.Fatalf("consumer %d got %v after %d", i, s, before)
					}
					seen[s], last[s.Producer] = true, s.Number
				}
			}
			if len(seen) != producers*int(each) {
				t.Errorf("%d messages arrived of %d", len(seen), producers*each)
			}
		})
	}
}

func TestLeaseOfTheDead(t *testing.T) {
	ctx := soon(t)
	q := newQueue[stamp](t, queue.Options{})
	verify.Must(t, q.Put(ctx, stamp{0, 41}))
	verify.Must(t, q.Put(ctx, stamp{0, 42}))
	p := start(t, "leaseOne", q)
	if got := p.Line(); got != "41 1" {
		t.Fatal(got)
	}
	if s, err := q.Get(ctx); s.Number != 42 || err != nil {
		t.Fatal(s, err)
	}
	lease := verify.Blocks(t, "Lease", func() error {
		l, err := q.Lease(ctx)
		if err == nil && (l.Value().Number != 41 || l.Deliveries() != 2) {
			err = fmt.Errorf("%v for the %dth time", l.Value(), l.Deliveries())
		}
		if err == nil {
			err = l.Ack()
		}
		return err
	})
	p.Kill()
	verify.Must(t, lease())
	verify.Must(t, q.TaskDone())
	verify.Must(t, q.Join(ctx))
}

func TestJoinAfterTheTakerDied(t *testing.T) {
	ctx := soon(t)
	q := newQueue[stamp](t, queue.Options{})
	verify.Must(t, q.Put(ctx, stamp{0, 41}))
	p := start(t, "takeOne", q)
	if got := p.Line(); got != "41 <nil>" {
		t.Fatal(got)
	}
	join := verify.Blocks(t, "Join", func() error { return q.Join(ctx) })
	p.Kill()
	if err := join(); !errors.Is(err, psync.ErrOwnerDied) {
		t.Fatal(err)
	}
	if err := q.Join(ctx); !errors.Is(err, psync.ErrOwnerDied) {
		t.Fatal(err)
	}
	if n, err := q.Recover(ctx); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	verify.Must(t, q.Join(ctx))
}

// Leases of a handle that is closed come back, while another handle of the process goes on.
func TestLeaseOfAClosedHandle(t *testing.T) {
	ctx := soon(t)
	name := fmt.Sprintf("multiproc-test-%d", time.Now().UnixNano())
	a, err := queue.Create[int](name, queue.Options{})
	verify.Must(t, err)
	defer a.Close()
	defer queue.Remove(name)
	b, err := queue.Open[int](name)
	verify.Must(t, err)
	verify.Must(t, a.Put(ctx, 1))
	l, err := b.Lease(ctx)
	verify.Must(t, err)
	verify.Must(t, b.Close())
	if err := l.Ack(); !errors.Is(err, queue.ErrLeaseEnded) {
		t.Error(err)
	}
	if v, ok, err := a.TryGet(); v != 1 || !ok || err != nil {
		t.Error(v, ok, err)
	}
}

package pipe_test

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/waitable"
	"github.com/go-multiproc/multiproc/pipe"
)

// ends returns n pairs.
func ends(t testing.TB, n int) (near, far []*pipe.Conn) {
	for range n {
		a, b := pair(t)
		near, far = append(near, a), append(far, b)
	}
	return near, far
}

func TestWait(t *testing.T) {
	checkLeaks(t)
	near, far := ends(t, 5)
	ctx := withTimeout(t)

	far[3].Send(1)
	far[1].Close()
	far[4].Send(1)
	ready, err := pipe.Wait(ctx, near...)
	if err != nil || !slices.Equal(ready, []*pipe.Conn{near[1], near[3], near[4]}) {
		t.Fatal(ready, err)
	}
	// The same one twice is ready twice.
	ready, err = pipe.Wait(ctx, near[3], near[0], near[3])
	if err != nil || !slices.Equal(ready, []*pipe.Conn{near[3], near[3]}) {
		t.Fatal(ready, err)
	}
	// Later.
	go func() {
		waitParked(t, "pipe.(*waiter).block")
		far[2].Send(1)
	}()
	ready, err = pipe.Wait(ctx, near[0], near[2])
	if err != nil || !slices.Equal(ready, near[2:3]) {
		t.Fatal(ready, err)
	}
}

func TestWaitContext(t *testing.T) {
	checkLeaks(t)
	a, b := pair(t)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		waitParked(t, "pipe.(*waiter).block")
		cancel()
	}()
	if _, err := pipe.Wait(ctx, a); err != context.Canceled {
		t.Error(err)
	}
	b.Send(1)
	if _, err := pipe.Wait(ctx, a); err != context.Canceled {
		t.Errorf("ctx had ended before: %v", err)
	}
	short, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if _, err := pipe.Wait[pipe.Waitable](short); err != context.DeadlineExceeded {
		t.Errorf("nothing: %v", err)
	}
	if _, err := pipe.Wait[pipe.Waitable](context.Background()); err == nil {
		t.Error("nothing, for ever")
	}
}

// Messages that were read ahead are seen, although the descriptor has nothing any more.
func TestWaitReadAhead(t *testing.T) {
	a, b := pair(t)
	for range 3 {
		a.SendBytes([]byte("x"))
	}
	for range 3 {
		if ready, err := pipe.Wait(withTimeout(t), b); err != nil || len(ready) != 1 {
			t.Fatal(ready, err)
		}
		if _, err := b.RecvBytes(); err != nil {
			t.Fatal(err)
		}
	}
}

// While one goroutine waits, others receive; nothing is lost, and the waiter wakes for whatever they leave.
func TestWaitBesideRecv(t *testing.T) {
	checkLeaks(t)
	a, b := pair(t)
	const messages = 20_000
	ctx, cancel := context.WithCancel(context.Background())
	var woken atomic.Int64
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			if _, err := pipe.Wait(ctx, b); err != nil {
				return
			}
			woken.Add(1)
		}
	})
	wg.Go(func() {
		for range messages {
			a.SendBytes([]byte("x"))
		}
	})
	for range messages {
		if _, err := b.RecvBytes(); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	wg.Wait()
}

func TestWaitClosed(t *testing.T) {
	checkLeaks(t)
	a, b := pair(t)
	l := listen(t, "unix", pipe.Options{})
	for _, c := range []interface {
		pipe.Waitable
		io.Closer
	}{a, l} {
		other, _ := pair(t)
		go func() {
			waitParked(t, "pipe.(*waiter).block")
			c.Close()
		}()
		ready, err := pipe.Wait[pipe.Waitable](withTimeout(t), other, c)
		if err != nil || len(ready) != 1 || ready[0] != c {
			t.Errorf("closed while waiting: %v, %v", ready, err)
		}
		if ready, err = pipe.Wait[pipe.Waitable](withTimeout(t), other, c); err != nil || len(ready) != 1 {
			t.Errorf("closed before: %v, %v", ready, err)
		}
	}
	_, w, _ := pipe.NewOneWay()
	if ready, err := pipe.Wait(withTimeout(t), w); err != nil || len(ready) != 1 {
		t.Errorf("write-only: %v, %v", ready, err)
	}
	w.Close()
	b.Close()
}

// A thing of each kind, as other packages may describe theirs.
type (
	channel chan struct{} // by Notify alone would need a list; by Wait
	flag    struct {
		set   atomic.Bool
		wakes waitable.Waiters
	}
	descriptor int
)

func (c channel) Waiter() waitable.Source {
	return waitable.Source{
		Ready: func() bool {
			select {
			case <-c:
				return true
			default:
				return false
			}
		},
		Wait: func(ctx context.Context) error {
			select {
			case <-c:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		},
	}
}

func (f *flag) Waiter() waitable.Source {
	return waitable.Source{Ready: f.set.Load, Notify: f.wakes.Add}
}

func (d descriptor) Waiter() waitable.Source {
	return waitable.Source{FD: func(use func(fd int) error) error { return use(int(d)) }}
}

func TestWaitMixed(t *testing.T) {
	checkLeaks(t)
	set := func(f *flag) {
		f.set.Store(true)
		f.wakes.Wake()
	}
	for _, name := range []string{"conn", "listener", "channel", "flag", "descriptor"} {
		for _, late := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				a, b := pair(t)
				l := listen(t, "unix", pipe.Options{})
				ch := make(channel)
				f := new(flag)
				r, w, err := os.Pipe()
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				defer w.Close()
				var want pipe.Waitable
				var happen func()
				switch name {
				case "conn":
					want, happen = a, func() { b.Send(1) }
				case "listener":
					want, happen = l, func() { dialRaw(t, l) }
				case "channel":
					want, happen = ch, func() { close(ch) }
				case "flag":
					want, happen = f, func() { set(f) }
				case "descriptor":
					want, happen = descriptor(r.Fd()), func() { w.Write([]byte("x")) }
				}
				if late {
					go func() {
						waitParked(t, "pipe.(*waiter).block")
						happen()
					}()
				} else {
					happen()
				}
				ready, err := pipe.Wait[pipe.Waitable](withTimeout(t), a, l, ch, f, descriptor(r.Fd()))
				if err != nil || len(ready) != 1 || ready[0] != want {
					t.Errorf("ready %v, %v", ready, err)
				}
			})
		}
	}
	t.Run("no descriptor", func(t *testing.T) {
		ch, f := make(channel), new(flag)
		go set(f)
		if ready, err := pipe.Wait[pipe.Waitable](withTimeout(t), ch, f); err != nil || len(ready) != 1 || ready[0] != f {
			t.Error(ready, err)
		}
		go close(ch)
		if ready, err := pipe.Wait(withTimeout(t), ch, ch); err != nil || len(ready) == 0 {
			t.Error(ready, err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		if _, err := pipe.Wait(ctx, new(flag)); err != context.DeadlineExceeded {
			t.Error(err)
		}
	})
}

func TestWaitMany(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < 4200 {
		t.Skipf("RLIMIT_NOFILE is %d", limit.Cur)
	}
	near, far := ends(t, 2000)
	for _, c := range far {
		c.SendBytes(nil)
	}
	for len(near) > 0 {
		ready, err := pipe.Wait(withTimeout(t), near...)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.IsSortedFunc(ready, func(a, b *pipe.Conn) int { return slices.Index(near, a) - slices.Index(near, b) }) {
			t.Fatal("not in the order given")
		}
		for _, c := range ready {
			if _, err := c.RecvBytes(); err != nil {
				t.Fatal(err)
			}
		}
		near = slices.DeleteFunc(near, func(c *pipe.Conn) bool { return slices.Contains(ready, c) })
	}
}

func TestWaitNoDescriptors(t *testing.T) {
	a, b := pair(t)
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	low := old
	low.Cur = 3
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Skip(err)
	}
	_, err := pipe.Wait(context.Background(), a)
	unix.Setrlimit(unix.RLIMIT_NOFILE, &old)
	if !errors.Is(err, syscall.EMFILE) {
		t.Error(err)
	}
	b.Close()
}

package manager_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/go-multiproc/multiproc/manager"
	"github.com/go-multiproc/multiproc/process"
)

// isLimit checks an error that is to be ErrLimit and to name an option.
func isLimit(t *testing.T, err error, option string) {
	t.Helper()
	if !errors.Is(err, manager.ErrLimit) || !strings.Contains(err.Error(), "Options."+option) {
		t.Errorf("%v, want ErrLimit that names Options.%s", err, option)
	}
}

// works makes a dict and uses it, with values smaller and larger than a ring.
func works(t testing.TB, m *manager.Manager) {
	t.Helper()
	ctx := testContext(t)
	d, err := manager.NewDict[string, []byte](m)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, size := range []int{0, 1, 60_000, 70_000, 3 << 20} {
		v := bytes.Repeat([]byte{byte(size), 7}, size/2+1)
		if err := d.Set(ctx, "k", v); err != nil {
			t.Fatalf("setting %d bytes: %v", size, err)
		}
		if got, _, err := d.Get(ctx, "k"); err != nil || !bytes.Equal(got, v) {
			t.Fatalf("getting %d bytes: %d bytes, %v", size, len(got), err)
		}
	}
}

func sessions(t testing.TB, m *manager.Manager) int {
	t.Helper()
	s, err := m.Stats(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	return s.Sessions
}

// soak is how long tests that throw things at random go on: MULTIPROC_SOAK, a duration, for longer.
func soak(d time.Duration) time.Duration {
	if long, err := time.ParseDuration(os.Getenv("MULTIPROC_SOAK")); err == nil {
		return long
	}
	return d
}

func TestMaxConnections(t *testing.T) {
	for _, key := range [][]byte{nil, []byte("secret")} {
		path := serve(t, manager.Options{MaxConnections: 2, AuthKey: key})
		ctx := testContext(t)
		o := func(n int) manager.Options { return manager.Options{AuthKey: key, MaxMessage: 8<<20 + n} } // connections of their own
		a, b := connect(t, path, o(1)), connect(t, path, o(2))
		_, err := manager.Connect(ctx, "unix", path, o(3))
		isLimit(t, err, "MaxConnections")
		if errors.Is(err, manager.ErrDown) {
			t.Errorf("a refusal is not a death: %v", err)
		}
		works(t, a)
		b.Close()
		for sessions(t, a) > 1 {
		}
		works(t, connect(t, path, o(4)))
	}
}

func TestHelloTimeout(t *testing.T) {
	path := serve(t, manager.Options{HelloTimeout: 20 * time.Millisecond})
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	b, err := readFrame(c)
	var last []any
	if err == nil {
		err = cbor.Unmarshal(b, &last)
	}
	if err != nil || len(last) != 3 || last[0] != uint64(0) || !strings.Contains(fmt.Sprint(last[2]), "Options.HelloTimeout") {
		t.Errorf("a client that says nothing is told %v, %v", last, err)
	}
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after that: %v", err)
	}
}

func TestMaxWaiting(t *testing.T) {
	for _, tt := range []struct {
		option  string
		options manager.Options
		value   string
	}{
		{"MaxWaiting", manager.Options{MaxWaiting: 1}, "small"},
		{"MaxBuffered", manager.Options{MaxBuffered: 1000}, strings.Repeat("x", 1000)},
	} {
		t.Run(tt.option, func(t *testing.T) {
			m := connect(t, serve(t, tt.options), manager.Options{})
			ctx := testContext(t)
			d, err := manager.NewDict[string, string](m)
			if err != nil {
				t.Fatal(err)
			}
			// While one call updates the key, others wait for it: one may, and the rest is refused.
			updating, finish, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
			go func() {
				_, err := d.Update(ctx, "k", func(string, bool) (string, error) {
					close(updating)
					<-finish
					return "updated", nil
				})
				done <- err
			}()
			<-updating
			const calls = 5
			errs := make(chan error, calls)
			for range calls {
				go func() { errs <- d.Set(ctx, "k", tt.value) }()
			}
			for range calls - 1 {
				isLimit(t, <-errs, tt.option)
			}
			works(t, m)
			close(finish)
			if err := errors.Join(<-done, <-errs); err != nil {
				t.Error(err)
			}
		})
	}
}

// Calls that wait for a key and those that wait for a message have one bound together.
func TestMaxWaitingForAnything(t *testing.T) {
	for _, first := range []string{"key", "message"} {
		t.Run(first+" first", func(t *testing.T) {
			m := connect(t, serve(t, manager.Options{MaxWaiting: 1}), manager.Options{})
			ctx := testContext(t)
			d := must[*manager.Dict[string, int]](t)(manager.NewDict[string, int](m))
			q := must[*manager.Queue[int]](t)(manager.NewQueue[int](m, manager.QueueOptions{}))
			updating, finish, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
			go func() {
				_, err := d.Update(ctx, "k", func(int, bool) (int, error) {
					close(updating)
					<-finish
					return 1, nil
				})
				done <- err
			}()
			<-updating
			calls := map[string]func() error{
				"key":     func() error { return d.Set(ctx, "k", 2) },
				"message": func() error { _, err := q.Get(ctx); return err },
			}
			waits := make(chan error, 1)
			go func() { waits <- calls[first]() }()
			for st, err := m.Stats(ctx); st.Waiting == 0; st, err = m.Stats(ctx) {
				check(t, err)
			}
			for name, call := range calls {
				if name != first {
					isLimit(t, call(), "MaxWaiting")
				}
			}
			check(t, q.Put(ctx, 1))
			close(finish)
			if err := errors.Join(<-done, <-waits); err != nil {
				t.Error(err)
			}
		})
	}
}

// Calls that wait for a lock, a message or room are bounded as well, and who is refused is told by which option.
func TestMaxWaitingInLine(t *testing.T) {
	for _, tt := range []struct {
		option  string
		options manager.Options
		value   string
	}{
		{"MaxWaiting", manager.Options{MaxWaiting: 1}, "small"},
		{"MaxBuffered", manager.Options{MaxBuffered: 1000}, strings.Repeat("x", 800)},
	} {
		t.Run(tt.option, func(t *testing.T) {
			m := connect(t, serve(t, tt.options), manager.Options{})
			ctx := testContext(t)
			q := must[*manager.Queue[string]](t)(manager.NewQueue[string](m, manager.QueueOptions{Capacity: 1}))
			check(t, q.Put(ctx, "first"))
			const calls = 5
			errs := make(chan error, calls)
			for range calls {
				go func() { errs <- q.Put(ctx, tt.value) }()
			}
			for range calls - 1 { // one of them waits
				isLimit(t, <-errs, tt.option)
			}
			if v, err := q.Get(ctx); v != "first" || err != nil {
				t.Errorf("%q, %v", v, err)
			}
			check(t, <-errs)
			if v, err := q.Get(ctx); v != tt.value || err != nil {
				t.Errorf("%q, %v", v, err)
			}
		})
	}
}

var linger = manager.RegisterMethod(accounts, func(_ *account, ctx context.Context, _ string) (int, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}).Concurrent()

// Methods that run are calls that have not been answered, like those that wait.
func TestMaxWaitingInMethods(t *testing.T) {
	for _, tt := range []struct {
		option  string
		options manager.Options
		value   string
	}{
		{"MaxWaiting", manager.Options{MaxWaiting: 1}, "small"},
		{"MaxBuffered", manager.Options{MaxBuffered: 1000}, strings.Repeat("x", 800)},
	} {
		t.Run(tt.option, func(t *testing.T) {
			m := connect(t, serve(t, tt.options), manager.Options{})
			o := must[*manager.Object[account]](t)(accounts.New(m))
			ctx := testContext(t)
			running, giveUp := context.WithCancel(ctx)
			const calls = 5
			errs := make(chan error, calls)
			for range calls {
				go func() {
					_, err := linger.Call(running, o, tt.value)
					errs <- err
				}()
			}
			for range calls - 1 { // one of them runs
				isLimit(t, <-errs, tt.option)
			}
			giveUp()
			if err := <-errs; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			// Who gives up need not wait for the method's end, after which there is room for the next.
			err := manager.ErrLimit
			for errors.Is(err, manager.ErrLimit) {
				_, err = panics.Call(ctx, o, tt.value)
			}
			if e := new(manager.MethodError); !errors.As(err, &e) {
				t.Error(err)
			}
		})
	}
}

// raiseFiles allows this process and its children as many descriptors as it may have.
func raiseFiles(t *testing.T, n uint64) {
	t.Helper()
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		t.Fatal(err)
	}
	if r.Max < n {
		t.Skipf("needs %d descriptors, and the hard limit is %d", n, r.Max)
	}
	if r.Cur >= n {
		return
	}
	old := r.Cur
	r.Cur = n
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		r.Cur = old
		syscall.Setrlimit(syscall.RLIMIT_NOFILE, &r)
	})
}

// Ten thousand connections that say nothing: others come and are served all the while, and the server ends them soon.
func TestSilentCrowd(t *testing.T) {
	const crowd = 10_000
	raiseFiles(t, crowd+1000)
	m := start(t, manager.Options{HelloTimeout: 5 * time.Second})
	ctx := testContext(t)
	d, err := manager.OpenDict[string, int](m, "d")
	if err != nil {
		t.Fatal(err)
	}
	path := m.Addr().String()
	var silent []net.Conn
	defer func() {
		for _, c := range silent {
			c.Close()
		}
	}()
	for n := range crowd {
		var c net.Conn
		for {
			if c, err = net.Dial("unix", path); !errors.Is(err, syscall.EAGAIN) { // the queue of those who wait is full
				break
			}
			runtime.Gosched()
		}
		if err != nil {
			t.Fatalf("connection %d: %v", n, err)
		}
		silent = append(silent, c)
		if n%500 != 0 {
			continue
		}
		if err := d.Set(ctx, "n", n); err != nil {
			t.Fatalf("an old client, beside %d who say nothing: %v", n, err)
		}
		newcomer, err := manager.Connect(ctx, "unix", path, manager.Options{MaxMessage: 1<<20 + n})
		if err != nil {
			t.Fatalf("a new client, beside %d who say nothing: %v", n, err)
		}
		newcomer.Close()
	}
	// All of them end: most were displaced, and the rest is late.
	for i, c := range silent {
		c.SetReadDeadline(time.Now().Add(patience))
		said, err := io.ReadAll(c)
		if err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("connection %d: %v", i, err)
		}
		if i == 0 && !strings.Contains(string(said), "introduced themselves") {
			t.Errorf("the first to go was told %q", said)
		}
		if i == crowd-1 && !strings.Contains(string(said), "Options.HelloTimeout") {
			t.Errorf("the last to go was told %q", said)
		}
	}
	for sessions(t, m) > 1 {
	}
}

// Random bytes on the socket, with and without a hello before them, harm nobody else. MULTIPROC_SOAK=1m for a minute.
func TestGarbageOnTheSocket(t *testing.T) {
	path := serve(t, manager.Options{MaxMessage: 1 << 20, HelloTimeout: time.Second})
	m := connect(t, path, manager.Options{})
	ctx := testContext(t)
	d, err := manager.NewDict[string, int](m)
	if err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(soak(2 * time.Second))
	var work sync.WaitGroup
	for worker := range 3 {
		work.Go(func() {
			random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), uint64(worker)))
			for time.Now().Before(end) {
				c, err := net.Dial("unix", path)
				if errors.Is(err, syscall.EAGAIN) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				c.SetDeadline(time.Now().Add(patience))
				if random.IntN(4) > 0 {
					c.Write(framed(encode(t, []any{"multiproc-manager", 1, 1, "raw"})))
					readFrame(c)
				}
				for range random.IntN(20) {
					if _, err := c.Write(randomFrame(random)); err != nil {
						break
					}
				}
				if random.IntN(2) == 0 {
					c.(*net.UnixConn).CloseWrite()
					io.Copy(io.Discard, io.LimitReader(c, 1<<20))
				}
				c.Close()
			}
		})
	}
	for n := 0; time.Now().Before(end); n++ {
		if err := d.Set(ctx, "k", n); err != nil {
			t.Fatal(err)
		}
		if v, _, err := d.Get(ctx, "k"); v != n || err != nil {
			t.Fatal(v, err)
		}
		if n%1000 == 0 { // however long the test is to go on
			ctx = testContext(t)
		}
	}
	work.Wait()
	for sessions(t, m) > 1 {
	}
}

// randomFrame is a request that could be one, or one with some bytes changed, or noise.
func randomFrame(random *rand.Rand) []byte {
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return b
	}
	if random.IntN(5) == 0 {
		return noise(random.IntN(200))
	}
	items := []any{random.IntN(20), random.IntN(512)}
	if items[1] == 2 { // that would be the end of the server
		items[1] = 3
	}
	for range random.IntN(5) {
		switch random.IntN(5) {
		case 0:
			items = append(items, random.Uint64()>>random.IntN(64))
		case 1:
			items = append(items, noise(random.IntN(20)))
		case 2:
			items = append(items, "text")
		case 3:
			items = append(items, random.IntN(2) == 0)
		case 4:
			items = append(items, []any{noise(3), []int{random.IntN(5)}})
		}
	}
	b, err := cbor.Marshal(items)
	if err != nil {
		panic(err)
	}
	for range random.IntN(3) {
		i := random.IntN(len(b))
		if was := b[i]; random.IntN(2) == 0 {
			if b[i] = byte(random.Uint32()); b[i] == 2 {
				b[i] = was // likewise
			}
		}
	}
	return framed(b)
}

// Somebody else who is in Options.AllowUIDs is let in, by the socket's mode and by the server.
func TestAllowUIDs(t *testing.T) {
	const nobody = 65534
	m := start(t, manager.Options{AllowUIDs: []int{nobody}})
	d, err := manager.NewDict[string, int](m)
	if err != nil {
		t.Fatal(err)
	}
	p := process.New(useRemotely, d)
	p.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	p.Dir = "/"
	if err := p.Start(); err != nil {
		t.Skip("cannot run a child as another user here: ", err)
	}
	join(t, p)
	if n, _, err := d.Get(testContext(t), "n"); n != 1 || err != nil {
		t.Errorf("n = %d, %v", n, err)
	}
	if i, err := os.Stat(m.Addr().String()); err != nil || i.Mode().Perm() != 0o666 {
		t.Errorf("the socket's mode: %v, %v", i, err)
	}
}

package manager_test

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/go-multiproc/multiproc/manager"
	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/value"
)

var onSocket = manager.Options{NoRings: true}

// stacksWith counts this process's goroutines that are in a function.
func stacksWith(function string) (n int) {
	buf := make([]byte, 8<<20)
	for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(stack, function) {
			n++
		}
	}
	return n
}

// awaitPolled waits until so many sessions of this process's servers are with a poller.
func awaitPolled(t testing.TB, want int) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; runtime.Gosched() {
		got := stacksWith("manager.(*poller).poll(")
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d sessions are polled, want %d", got, want)
		}
	}
}

// openRaw opens the dict "d" on a raw connection, and returns the object.
func openRaw(t testing.TB, c net.Conn) any {
	t.Helper()
	c.Write(framed(encode(t, []any{1, 5, "d", 1, "", true})))
	b, err := readFrame(c)
	var opened []any
	if err == nil {
		err = cbor.Unmarshal(b, &opened)
	}
	if err != nil || len(opened) != 3 {
		t.Fatal(opened, err)
	}
	return opened[2]
}

// A client that sends requests as fast as it can, many in each packet, does not keep another one waiting.
func TestFloodOnTheSocket(t *testing.T) {
	path := serve(t, manager.Options{})
	ctx := testContext(t)
	flood := dialRaw(t, path)
	d := openRaw(t, flood)
	const each = 500
	var packet []byte
	for range each {
		packet = append(packet, framed(encode(t, []any{7, 33, d, encode(t, "k")}))...)
	}
	reply, err := func() ([]byte, error) {
		if _, err := flood.Write(packet); err != nil {
			return nil, err
		}
		var b []byte
		for range each {
			var err error
			if b, err = readFrame(flood); err != nil {
				return nil, err
			}
		}
		return b, nil
	}()
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	defer work.Wait()
	defer flood.Close()
	work.Go(func() {
		for {
			if _, err := flood.Write(packet); err != nil {
				return
			}
		}
	})
	replies := make(chan struct{}, 1) // a packet's worth of them has come
	work.Go(func() {
		b := make([]byte, each*(4+len(reply)))
		for {
			if _, err := io.ReadFull(flood, b); err != nil {
				return
			}
			select {
			case replies <- struct{}{}:
			default:
			}
		}
	})

	m := connect(t, path, onSocket)
	quiet, err := manager.OpenDict[string, int](m, "quiet")
	if err != nil {
		t.Fatal(err)
	}
	const calls = 300
	var took []time.Duration
	for n := range calls {
		if n%50 == 0 {
			select {
			case <-replies: // it is still at it
			case <-ctx.Done():
				t.Fatal("the flood is not served")
			}
		}
		began := time.Now()
		if err := quiet.Set(ctx, "k", n); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	if median := took[calls/2]; median > 100*time.Millisecond { // what one read takes in is done in a millisecond or so
		t.Errorf("beside a flood, half of the calls take more than %v", median)
	}
}

// A message that comes in pieces is put together by the session's own goroutine, which then returns the session to the poller.
func TestLargeMessageIsHandedBack(t *testing.T) {
	path := serve(t, manager.Options{})
	c := dialRaw(t, path)
	d := openRaw(t, c)
	awaitPolled(t, 1)
	value := make([]byte, 8<<20)
	set := framed(encode(t, []any{2, 34, d, encode(t, "k"), encode(t, value)}))
	half := len(set) / 2
	if _, err := c.Write(set[:half]); err != nil {
		t.Fatal(err)
	}
	awaitPolled(t, 0)
	if _, err := c.Write(set[half:]); err != nil {
		t.Fatal(err)
	}
	if b, err := readFrame(c); err != nil || b[2] != 0 {
		t.Fatalf("%x, %v", b, err)
	}
	awaitPolled(t, 1)
	// The reply to this one does not fit in the socket. While it is not read, the session is with its goroutine again.
	if _, err := c.Write(framed(encode(t, []any{3, 33, d, encode(t, "k")}))); err != nil {
		t.Fatal(err)
	}
	awaitPolled(t, 0)
	m := connect(t, path, onSocket)
	works(t, m)
	awaitPolled(t, 1)
	if b, err := readFrame(c); err != nil || len(b) < len(value) {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	awaitPolled(t, 2)
}

// A client that asks in small portions, and reads nothing, is not read either once the server has gathered enough for it, although its session goes back
// and forth between the poller and its goroutine.
func TestSlowReaderInPortions(t *testing.T) {
	path := serve(t, manager.Options{})
	m := connect(t, path, onSocket)
	ctx := testContext(t)
	dict, err := manager.OpenDict[string, []byte](m, "d")
	if err != nil {
		t.Fatal(err)
	}
	if err := dict.Set(ctx, "k", make([]byte, 64<<10)); err != nil {
		t.Fatal(err)
	}
	c := dialRaw(t, path)
	d := openRaw(t, c)
	get := framed(encode(t, []any{2, 33, d, encode(t, "k")}))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	sent, silence := 0, 0
	for silence < 1000 && sent < 100_000 {
		c.SetWriteDeadline(time.Now().Add(time.Millisecond))
		n, err := c.Write(get)
		if n > 0 && n < len(get) {
			c.SetWriteDeadline(time.Now().Add(patience))
			go c.Write(get[n:])
			break
		}
		if err == nil {
			sent, silence = sent+1, 0
		} else {
			silence++
		}
		if err := dict.Set(ctx, "other", nil); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 16<<20 || sent == 100_000 {
		t.Errorf("the server took %d requests and gathered %d MB for a client that reads nothing", sent, grown>>20)
	}
}

// When a server is shut down under its polled clients, busy and quiet ones, all calls fail and nothing of the poller is left.
func TestShutdownWhilePolled(t *testing.T) {
	path := filepath.Join(socketDir(t), "server")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- manager.Serve(l, manager.Options{}) }()
	ctx := testContext(t)
	quiet := dialRaw(t, path)
	openRaw(t, quiet)
	var work sync.WaitGroup
	var first sync.WaitGroup
	const clients = 8
	failed := make([]error, clients)
	for i := range clients {
		// Each has a connection of its own, because each has another limit.
		m := connect(t, path, manager.Options{NoRings: true, MaxMessage: 1<<20 + i})
		d, err := manager.OpenDict[string, int](m, "d")
		if err != nil {
			t.Fatal(err)
		}
		first.Add(1)
		work.Go(func() {
			for n := 0; ; n++ {
				if n == 100 {
					first.Done()
				}
				if err := d.Set(ctx, "k", n); err != nil {
					failed[i] = err
					return
				}
			}
		})
	}
	first.Wait()
	if err := connect(t, path, onSocket).Shutdown(ctx); err != nil {
		t.Error(err)
	}
	work.Wait()
	for _, err := range failed {
		if !errors.Is(err, manager.ErrDown) {
			t.Errorf("a call under way: %v", err)
		}
	}
	if b, err := readFrame(quiet); err != nil || b[1] != 0 {
		t.Errorf("the quiet client's farewell: %x, %v", b, err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if n := stacksWith("manager.(*poller)"); n > 0 {
		t.Errorf("%d goroutines are left of the poller", n)
	}
}

type polledVictim struct {
	Path  string
	Ready *manager.Event
}

var dieBusy = process.Register(func(ctx context.Context, v polledVictim) error {
	m, err := manager.Connect(ctx, "unix", v.Path, onSocket)
	if err != nil {
		return err
	}
	mu, err := manager.OpenMutex(m, "mu")
	if err == nil {
		err = mu.Lock(ctx)
	}
	d, derr := manager.OpenDict[string, int](m, "d")
	if err = errors.Join(err, derr); err != nil {
		return err
	}
	for n := 0; ; n++ {
		if n == 100 {
			if err := v.Ready.Set(ctx); err != nil {
				return err
			}
		}
		if err := d.Set(ctx, "k", n); err != nil {
			return err
		}
	}
})

// A client that is killed while it is being polled, in the middle of its calls, has its lock abandoned at once, and the others go on.
func TestKilledWhilePolled(t *testing.T) {
	path := serve(t, manager.Options{})
	m := connect(t, path, onSocket)
	ctx := testContext(t)
	mu, err := manager.OpenMutex(m, "mu")
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		ready, err := manager.NewEvent(m)
		if err != nil {
			t.Fatal(err)
		}
		p := run(t, dieBusy, polledVictim{path, ready})
		if err := ready.Wait(ctx); err != nil {
			t.Fatal(err)
		}
		locked := make(chan error, 1)
		go func() { locked <- mu.Lock(ctx) }()
		killed(p)
		if err := <-locked; !errors.Is(err, psync.ErrOwnerDied) {
			t.Fatalf("Lock after the owner's death: %v", err)
		}
		if err := mu.Recover(ctx, func() error { return nil }); err != nil {
			t.Fatal(err)
		}
		ready.Close()
	}
	works(t, m)
	awaitPolled(t, 1)
}

// What clients of several sessions do in one round is kept before any of them hears of it.
func TestPolledAndKept(t *testing.T) {
	dir := t.TempDir()
	ctx := testContext(t)
	const clients, keys = 4, 200
	func() {
		path := filepath.Join(socketDir(t), "server")
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- manager.Serve(l, manager.Options{Path: dir}) }()
		var work sync.WaitGroup
		for i := range clients {
			m := connect(t, path, manager.Options{NoRings: true, MaxMessage: 1<<20 + i})
			d, err := manager.OpenDict[int, int](m, "d")
			if err != nil {
				t.Fatal(err)
			}
			work.Go(func() {
				for n := range keys {
					if err := d.Set(ctx, i*keys+n, n); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		work.Wait()
		connect(t, path, onSocket).Shutdown(ctx)
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	m := connect(t, serve(t, manager.Options{Path: dir}), onSocket)
	d, err := manager.OpenDict[int, int](m, "d")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := d.Len(ctx); n != clients*keys || err != nil {
		t.Errorf("%d entries, %v", n, err)
	}
}

type hurried struct {
	Path string
	Done *value.Value[int64] // how many calls it has made
	Tick *psync.Event        // is set when that is a multiple of ticks
}

const ticks = 200

var callOnAndOn = process.Register(func(ctx context.Context, h hurried) error {
	m, err := manager.Connect(ctx, "unix", h.Path, onSocket)
	if err != nil {
		return err
	}
	d, err := manager.OpenDict[string, int64](m, "d")
	if err != nil {
		return err
	}
	for n := int64(1); ; n++ {
		if err := d.Set(ctx, "k", n); err != nil {
			return err
		}
		h.Done.Store(n)
		if n%ticks == 0 {
			h.Tick.Set()
		}
	}
})

// A client that has had the server for itself, and asks one thing after the other without a pause, does not get many answers before another one who asks in
// between gets its own.
func TestAloneNoMore(t *testing.T) {
	server := start(t, manager.Options{})
	ctx := testContext(t)
	h := hurried{Path: server.Addr().String(), Done: must[*value.Value[int64]](t)(value.New[int64](0)), Tick: must[*psync.Event](t)(psync.NewEvent())}
	defer h.Done.Close()
	defer h.Tick.Close()
	d := must[*manager.Dict[string, int64]](t)(manager.OpenDict[string, int64](connect(t, h.Path, onSocket), "d"))
	run(t, callOnAndOn, h)
	const calls = 200
	var late []int64
	for range calls {
		h.Tick.Clear()
		check(t, h.Tick.Wait(ctx)) // it was alone for that long
		before := h.Done.Load()
		last, _, err := d.Get(ctx, "k")
		check(t, err)
		late = append(late, last-before)
	}
	slices.Sort(late)
	if n := late[calls*9/10]; n > 100 { // it should be 16 at most
		t.Errorf("a tenth of the calls were served only after %d of the other client's", n)
	}
}

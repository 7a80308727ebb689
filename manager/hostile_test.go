package manager_test

import (
	"bytes"
	"errors"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/go-multiproc/multiproc/internal/detector"
	"github.com/go-multiproc/multiproc/manager"
)

// A hostile is a client that keeps to the protocol and means ill.
type hostile struct {
	t  testing.TB
	c  net.Conn
	id uint64
}

func newHostile(t testing.TB, path string) *hostile {
	t.Helper()
	return &hostile{t: t, c: dialRaw(t, path)}
}

// send sends a request and does not wait. It returns its id.
func (h *hostile) send(items ...any) uint64 {
	h.t.Helper()
	h.id++
	if _, err := h.c.Write(framed(encode(h.t, append([]any{h.id}, items...)))); err != nil {
		h.t.Fatalf("sending operation %v: %v", items[0], err)
	}
	return h.id
}

// read reads the next reply: the code, and what follows it.
func (h *hostile) read() (code uint64, rest []any) {
	h.t.Helper()
	b, err := readFrame(h.c)
	if err != nil {
		h.t.Fatalf("reading a reply: %v", err)
	}
	var reply []any
	if err := cbor.Unmarshal(b, &reply); err != nil || len(reply) < 2 {
		h.t.Fatalf("reply %.100x: %v", b, err)
	}
	return reply[1].(uint64), reply[2:]
}

// ask sends a request and reads its reply.
func (h *hostile) ask(items ...any) (code uint64, rest []any) {
	h.t.Helper()
	h.send(items...)
	h.c.SetDeadline(time.Now().Add(patience))
	return h.read()
}

// must is ask for a request that is to succeed; it returns its first result.
func (h *hostile) must(items ...any) any {
	h.t.Helper()
	code, rest := h.ask(items...)
	if code != 0 {
		h.t.Fatalf("operation %v: code %d, %v", items[0], code, rest)
	}
	if len(rest) == 0 {
		return nil
	}
	return rest[0]
}

// What one client stores, every other can read: no value grows beyond what a message holds, and pages do not, whatever their values mention.
func TestValuesStayReadable(t *testing.T) {
	ctx := testContext(t)
	const limit = 1 << 20
	path := serve(t, manager.Options{MaxMessage: limit})
	for _, noRings := range []bool{false, true} {
		m := connect(t, path, manager.Options{MaxMessage: limit, NoRings: noRings})
		h := newHostile(t, path)

		d := must[*manager.Dict[string, any]](t)(manager.OpenDict[string, any](m, "values"))
		id := h.must(5, "values", 1, "", false)
		h.must(34, id, encode(t, "k"), encode(t, []any{}))
		chunk := encode(t, []any{string(bytes.Repeat([]byte("x"), limit/2))})
		code := uint64(0)
		for i := 0; code == 0; i++ {
			if code, _ = h.ask(25, id, encode(t, "k"), chunk); i > 3 {
				t.Fatal("it grows and grows")
			}
		}
		if code != 5 {
			t.Errorf("appending beyond what a message holds: code %d", code)
		}
		if v, _, err := d.Get(ctx, "k"); err != nil || len(v.([]any)) < 2 {
			t.Errorf("another client gets %v", err)
		}

		// Values of few bytes that mention much.
		made := h.must(4, 1, "")
		many := 50_000
		if detector.Enabled {
			many = 10_000
		}
		mentions := make([]any, many)
		for i := range mentions {
			mentions[i] = made
		}
		heavy := []any{[]byte{0xf6}, mentions}
		lists := must[*manager.List[any]](t)(manager.OpenList[any](m, "heavy"))
		list := h.must(5, "heavy", 2, "", false)
		queue := must[*manager.Queue[any]](t)(manager.OpenQueue[any](m, "queue", manager.QueueOptions{}))
		messages := h.must(5, "queue", 4, "", false)
		for range 60 {
			h.must(67, list, heavy)
			h.must(130, messages, heavy)
		}
		if all, err := lists.Snapshot(ctx); err != nil || len(all) != 60 {
			t.Errorf("another client lists %d values, %v", len(all), err)
		}
		n := 0
		for n < 60 {
			some, err := queue.GetMany(ctx, make([]any, 60))
			if err != nil {
				t.Errorf("another client takes messages: %v", err)
				break
			}
			n += some
		}
		if err := m.Remove(ctx, "values"); err != nil {
			t.Errorf("the other client's connection: %v", err)
		}
		for _, name := range []string{"heavy", "queue"} {
			if err := m.Remove(ctx, name); err != nil && !errors.Is(err, manager.ErrNotFound) {
				t.Error(strings.TrimSpace(err.Error()))
			}
		}
		m.Close()
	}
}

// A client that has the server busy as well as it can delays the others by what one of its requests takes, and not by what all of them take.
func TestHeavyRequests(t *testing.T) {
	ctx := testContext(t)
	path := serve(t, manager.Options{})
	for _, noRings := range []bool{false, true} {
		m := connect(t, path, manager.Options{NoRings: noRings})
		d := must[*manager.Dict[string, int]](t)(manager.NewDict[string, int](m))
		h := newHostile(t, path)
		large := h.must(4, 1, "")
		h.must(34, large, encode(t, "k"), encode(t, map[string]any{"a": make([]byte, 8<<20), "b": 1}))
		list := h.must(4, 2, "")
		for i := range 20 {
			values := []any{67, list}
			for j := range 1000 {
				values = append(values, encode(t, i*j%1999))
			}
			h.must(values...)
		}
		get := func() []byte { // a place in a large value, some ten milliseconds
			h.id++
			return framed(encode(t, []any{h.id, 21, large, encode(t, "k"), encode(t, "b")}))
		}
		sort := func() []byte {
			h.id++
			return framed(encode(t, []any{h.id, 78, list, h.id%2 == 0}))
		}
		h.c.SetDeadline(time.Now().Add(patience))
		var requests []byte
		const heavy = 150
		for range heavy {
			requests = append(append(requests, get()...), sort()...)
		}
		began := time.Now()
		if _, err := h.c.Write(requests); err != nil {
			t.Fatal(err)
		}
		all := make(chan time.Duration, 1)
		go func() {
			for range 2 * heavy {
				if code, rest := h.read(); code != 0 {
					t.Errorf("code %d: %v", code, rest)
				}
			}
			all <- time.Since(began)
		}()
		worst := time.Duration(0)
		calls := 0
		for done := false; !done; calls++ {
			began := time.Now()
			if err := d.Set(ctx, "k", 1); err != nil {
				t.Fatal(err)
			}
			worst = max(worst, time.Since(began))
			select {
			case took := <-all:
				done = true
				t.Logf("the heavy requests took %v; meanwhile another client made %d calls, of which the slowest took %v", took, calls, worst)
				if calls < 20 || worst > took/2 {
					t.Errorf("%d calls of another client in %v, the slowest %v", calls, took, worst)
				}
			default:
			}
		}
	}
}

// A client that begins things and never ends them, or takes and never reads, meets a limit before the server has much of it.
func TestHoarders(t *testing.T) {
	const kb = 1 << 10
	large := func(h *hostile) []byte {
		return append([]byte{0x1b, 0, 0, 0, 0, byte(h.id >> 24), byte(h.id >> 16), byte(h.id >> 8), byte(h.id)}, make([]byte, 100*kb)...)
	}
	for name, test := range map[string]struct {
		code uint64
		have func(h *hostile) any                // makes the object
		more func(h *hostile, object any) uint64 // takes something more, and returns the code
	}{
		"leases of keys": {8, func(h *hostile) any { return h.must(4, 1, "") }, func(h *hostile, d any) uint64 {
			code, _ := h.ask(41, d, large(h))
			return code
		}},
		"watches of keys": {8, func(h *hostile) any { return h.must(4, 1, "") }, func(h *hostile, d any) uint64 {
			code, _ := h.ask(19, d, large(h))
			return code
		}},
		"offers": {8, func(h *hostile) any { return h.must(4, 1, "") }, func(h *hostile, d any) uint64 {
			code, _ := h.ask(8, d)
			return code
		}},
		"snapshots": {8, func(h *hostile) any {
			l := h.must(4, 2, "")
			h.must(append([]any{67, l}, slices.Repeat([]any{make([]byte, 2*kb)}, 500)...)...)
			for range 3000 {
				h.must(68, l, 250, []byte{1}) // which splits chunks
			}
			return l
		}, func(h *hostile, l any) uint64 {
			code, _ := h.ask(70, l)
			return code
		}},
		"messages that are not confirmed": {8, func(h *hostile) any { return h.must(4, 4, "") }, func(h *hostile, q any) uint64 {
			h.must(130, q, make([]byte, 100*kb))
			code, _ := h.ask(132, q, 1)
			return code
		}},
		"messages that are leased": {12, func(h *hostile) any { return h.must(4, 4, "") }, func(h *hostile, q any) uint64 {
			code, _ := h.ask(130, q, make([]byte, 100*kb))
			if code == 0 {
				h.must(134, q)
			}
			return code
		}},
		"many entries at once": {12, func(h *hostile) any { return h.must(4, 2, "") }, func(h *hostile, l any) uint64 {
			code, _ := h.ask(append([]any{67, l}, slices.Repeat([]any{[]byte{}}, 100_000)...)...)
			return code
		}},
		"a request of many items": {8, func(h *hostile) any { return h.must(4, 1, "") }, func(h *hostile, d any) uint64 {
			code, _ := h.ask(append([]any{36, d}, slices.Repeat([]any{[]byte{}}, 500_000)...)...)
			return code
		}},
	} {
		t.Run(name, func(t *testing.T) {
			path := serve(t, manager.Options{MaxMessage: 4 << 20, MaxBuffered: 1 << 20, MaxMemory: 8 << 20, MaxEntries: 1_000_000})
			h := newHostile(t, path)
			object := test.have(h)
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			code := uint64(0)
			for i := 0; code == 0; i++ {
				if code = test.more(h, object); i > 20_000 {
					t.Fatal("it goes on and on")
				}
			}
			if code != test.code {
				t.Errorf("code %d, want %d", code, test.code)
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 64<<20 {
				t.Errorf("the server has %d MB more", grown>>20)
			}
			if m := connect(t, path, manager.Options{MaxMessage: 4 << 20}); code == 8 { // only this client has met its limit
				works(t, m)
			} else {
				sessions(t, m)
			}
		})
	}
}

// What others put for a client that waits, and does not read what it is sent, stays in the queue.
func TestUnreadMessagesPileUpNowhere(t *testing.T) {
	path := serve(t, manager.Options{MaxMessage: 4 << 20, MaxBuffered: 4 << 20, MaxMemory: 32 << 20})
	for _, op := range []int{132, 134} { // get, lease
		waits, puts := newHostile(t, path), newHostile(t, path)
		queue := puts.must(5, "queue", 4, "", true)
		waits.must(5, "queue", 4, "", false)
		for range 500 {
			if op == 132 {
				waits.send(op, queue, 1)
			} else {
				waits.send(op, queue)
			}
		}
		m := connect(t, path, manager.Options{MaxMessage: 4 << 20})
		for s, err := m.Stats(testContext(t)); s.Waiting < 500; s, err = m.Stats(testContext(t)) {
			if err != nil {
				t.Fatal(err)
			}
		}
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		full := false
		for range 400 {
			code, _ := puts.ask(130, queue, make([]byte, 512<<10))
			if full = code == 12; full {
				break
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 120<<20 || !full {
			t.Errorf("operation %d: the server has %d MB more; its memory was full: %v", op, grown>>20, full)
		}
		waits.c.Close()
		puts.must(143, queue)
		puts.must(6, "queue")
		puts.c.Close()
		for s, err := m.Stats(testContext(t)); s.Sessions > 1 || s.Objects["queue"] > 0; s, err = m.Stats(testContext(t)) {
			if err != nil {
				t.Fatal(err)
			}
		}
		m.Close()
	}
}

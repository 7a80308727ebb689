package manager_test

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
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

func encode(t testing.TB, v any) []byte {
	t.Helper()
	b, err := cbor.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// dialRaw connects to a server and says hello.
func dialRaw(t testing.TB, path string) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	c.Write(framed(encode(t, []any{"multiproc-manager", 1, 1, "raw"})))
	if _, err := readFrame(c); err != nil {
		t.Fatalf("no hello from the server: %v", err)
	}
	return c
}

// Peers that break the protocol lose their connection; everybody else goes on, and nothing is left of them.
func TestBadClients(t *testing.T) {
	defer manager.SetHelloTime(time.Second)() // which those who do say hello have, too
	path := serve(t, manager.Options{MaxMessage: 1 << 20})
	m := connect(t, path, manager.Options{})
	ctx := testContext(t)
	d, err := manager.NewDict[string, int](m)
	if err != nil {
		t.Fatal(err)
	}
	raw := func(t *testing.T) net.Conn { return dialRaw(t, path) }
	silent := func(t *testing.T) net.Conn {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(patience))
		return c
	}
	length := func(n int32) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }
	for _, test := range []struct {
		name  string
		dial  func(t *testing.T) net.Conn
		sends []byte
	}{
		{"no hello at all", silent, nil},
		{"half a hello", silent, framed(encode(t, []any{"multiproc-manager", 1, 1, "raw"}))[:10]},
		{"garbage for a hello", silent, framed([]byte("GET / HTTP/1.1\r\n\r\n"))},
		{"a hello of another protocol", silent, framed(encode(t, []any{"something", 1, 1, "raw"}))},
		{"a huge hello", silent, length(1 << 20)},
		{"a negative length", raw, length(-2)},
		{"a length of 2 GiB", raw, length(1<<31 - 1)},
		{"a length above the limit", raw, length(1<<20 + 1)},
		{"garbage for a request", raw, framed([]byte{0xff, 0xff, 0xff})},
		{"an empty request", raw, framed(nil)},
		{"no array", raw, framed(encode(t, "hello"))},
		{"a request without operation", raw, framed(encode(t, []any{1}))},
		{"an array longer than the message", raw, framed([]byte{0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})},
		{"a string longer than the message", raw, framed(append(encode(t, []any{1, 33, 1})[:0], 0x84, 1, 0x18, 33, 1, 0x5a, 0x7f, 0xff, 0xff, 0xff))},
		{"too many arguments", raw, framed(encode(t, []any{1, 1, 5}))},
		{"too few arguments", raw, framed(encode(t, []any{1, 33, 1}))},
		{"the wrong type of argument", raw, framed(encode(t, []any{1, 33, "x", []byte{1}}))},
		{"an odd number of keys and values", raw, framed(encode(t, []any{1, 37, 1, []byte{1}}))},
		{"bytes behind the request", raw, framed(append(encode(t, []any{1, 1}), 0))},
		{"an indefinite array", raw, framed([]byte{0x9f, 1, 1, 0xff})},
		{"a request that needs an id", raw, framed(encode(t, []any{0, 1}))},
		{"a token of the wrong length", raw, framed(encode(t, []any{1, 9, []byte{1, 2}}))},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := test.dial(t)
			defer c.Close()
			if _, err := c.Write(test.sends); err != nil {
				t.Fatal(err)
			}
			rest, err := io.ReadAll(c)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the server has not hung up")
			}
			if len(rest) > 0 && !strings.Contains(test.name, "hello") {
				t.Errorf("the server answered %x", rest)
			}
			if err := d.Set(ctx, "k", 1); err != nil {
				t.Errorf("another client: %v", err)
			}
		})
	}
	t.Run("hangs up inside a frame", func(t *testing.T) {
		c := raw(t)
		c.Write(framed(encode(t, []any{1, 33, 1, []byte{1}}))[:7])
		c.Close()
	})
	t.Run("unknown operations and objects are refused, no more", func(t *testing.T) {
		c := raw(t)
		for i, request := range [][]any{{1, 31}, {1, 99999}, {1, 33, 4711, []byte{1}}, {1, 65, 1, 0}, {1, 4, 77, ""}, {1, 4, 300, ""}, {1, 42, 9, []byte{1}}, {1, 11, 9}, {1, 9, make([]byte, 16)}} {
			c.Write(framed(encode(t, request)))
			b, err := readFrame(c)
			if err != nil {
				t.Fatalf("request %d: %v", i, err)
			}
			var reply []any
			if err := cbor.Unmarshal(b, &reply); err != nil || len(reply) != 3 || reply[1] == uint64(0) {
				t.Errorf("request %d: reply %v, %v", i, reply, err)
			}
		}
	})
	t.Run("nothing is left of them", func(t *testing.T) {
		for {
			s, err := m.Stats(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if s.Sessions == 1 && s.Objects["dict"] == 1 {
				break
			}
		}
	})
}

// A client that does not read its replies has its requests left unread, and is in nobody's way.
func TestSlowReader(t *testing.T) {
	path := serve(t, manager.Options{})
	m := connect(t, path, manager.Options{})
	ctx := testContext(t)
	d, err := manager.OpenDict[string, []byte](m, "d")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Set(ctx, "k", make([]byte, 64<<10)); err != nil {
		t.Fatal(err)
	}
	c := dialRaw(t, path)
	c.Write(framed(encode(t, []any{1, 5, "d", 1, "", false})))
	b, err := readFrame(c)
	if err != nil {
		t.Fatal(err)
	}
	var opened []any
	if err := cbor.Unmarshal(b, &opened); err != nil || len(opened) != 3 {
		t.Fatal(opened, err)
	}
	// Gigabytes of replies, if the server gathered them.
	get := framed(encode(t, []any{2, 33, opened[2], encode(t, "k")}))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
	sent := 0
	for range 40_000 {
		n, err := c.Write(get)
		sent += n
		if err != nil {
			break
		}
	}
	if sent == 40_000*len(get) {
		t.Error("the server has taken all requests of a client that reads nothing")
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 16<<20 {
		t.Errorf("the server gathered %d MB for a client that reads nothing", grown>>20)
	}
	if err := d.Set(ctx, "k2", nil); err != nil {
		t.Errorf("another client: %v", err)
	}
	// It catches up as soon as it reads.
	c.SetDeadline(time.Now().Add(patience))
	go io.Copy(io.Discard, c)
	if rest := sent % len(get); rest > 0 {
		c.Write(get[rest:])
	}
	if _, err := c.Write(get); err != nil {
		t.Error(err)
	}
}

// A server that breaks the protocol ends the connection; calls fail and do not hang.
func TestBadServers(t *testing.T) {
	hello := func(t *testing.T, c net.Conn) {
		if _, err := readFrame(c); err != nil {
			return
		}
		c.Write(framed(encode(t, []any{"multiproc-manager", 1, make([]byte, 16), 1 << 20})))
	}
	answer := func(reply func(id uint64) []byte) func(t *testing.T, c net.Conn) {
		return func(t *testing.T, c net.Conn) {
			hello(t, c)
			for {
				b, err := readFrame(c)
				if err != nil {
					return
				}
				var request []any
				if err := cbor.Unmarshal(b, &request); err != nil {
					t.Error(err)
					return
				}
				c.Write(reply(request[0].(uint64)))
			}
		}
	}
	for _, test := range []struct {
		name  string
		serve func(t *testing.T, c net.Conn)
		is    error
	}{
		{"hangs up at once", func(t *testing.T, c net.Conn) {}, manager.ErrDown},
		{"sends garbage for a hello", func(t *testing.T, c net.Conn) { c.Write(framed([]byte("what?"))) }, manager.ErrDown},
		{"speaks another version", func(t *testing.T, c net.Conn) {
			readFrame(c)
			c.Write(framed(encode(t, []any{"multiproc-manager", 0, make([]byte, 16), 1 << 20})))
		}, manager.ErrDown},
		{"hangs up after the hello", hello, manager.ErrDown},
		{"replies garbage", answer(func(uint64) []byte { return framed([]byte{0xff}) }), manager.ErrDown},
		{"replies to what was not asked", answer(func(id uint64) []byte { return framed(encode(t, []any{id + 7, 0, 1})) }), manager.ErrDown},
		{"replies with a huge frame", answer(func(uint64) []byte { return []byte{0x7f, 0xff, 0xff, 0xff} }), manager.ErrDown},
		{"replies with the wrong type", answer(func(id uint64) []byte { return framed(encode(t, []any{id, 0, "x"})) }), nil},
		{"replies with too little", answer(func(id uint64) []byte { return framed(encode(t, []any{id, 0})) }), nil},
		{"replies with numbers without end", answer(func(id uint64) []byte {
			return framed(encode(t, []any{id, 0, uint64(1)<<63 + 1<<61, 1, ""}))
		}), nil},
		{"replies with too much", answer(func(id uint64) []byte { return framed(encode(t, []any{id, 0, 1, 2})) }), nil},
		{"replies with half a frame", answer(func(id uint64) []byte { return framed(encode(t, []any{id, 0, 1}))[:6] }), context.DeadlineExceeded},
	} {
		try := func(t *testing.T, noRings bool) {
			path := filepath.Join(socketDir(t), "bad")
			l, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			defer wg.Wait()
			defer l.Close()
			wg.Go(func() {
				c, err := l.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				test.serve(t, c)
			})
			ctx := testContext(t)
			m, err := manager.Connect(ctx, "unix", path, manager.Options{NoRings: noRings})
			if err == nil {
				defer m.Close()
				if test.is == context.DeadlineExceeded {
					short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
					defer cancel()
					_, err = m.Stats(short)
				} else if err = m.Remove(ctx, "x"); err == nil || test.is == nil {
					_, err = m.Stats(ctx)
					if _, lerr := manager.NewList[int](m); err == nil || lerr == nil {
						t.Errorf("Stats: %v; NewList: %v", err, lerr)
					}
				}
			}
			if err == nil {
				t.Fatal("no error")
			}
			if test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("%v, want %v", err, test.is)
			}
			if test.is == manager.ErrDown && !strings.Contains(err.Error(), path) {
				t.Errorf("the error does not say where: %v", err)
			}
		}
		t.Run(test.name, func(t *testing.T) { try(t, true) })
		if test.is != context.DeadlineExceeded {
			t.Run(test.name+", asked for rings", func(t *testing.T) { try(t, false) })
		}
	}
	t.Run("is not there", func(t *testing.T) {
		path := filepath.Join(socketDir(t), "none")
		if _, err := manager.Connect(testContext(t), "unix", path, manager.Options{}); !errors.Is(err, manager.ErrDown) || !strings.Contains(err.Error(), path) {
			t.Errorf("Connect: %v", err)
		}
	})
}

var useRemotely = process.Register(func(ctx context.Context, d *manager.Dict[string, int]) error {
	_, err := d.Update(ctx, "n", func(n int, _ bool) (int, error) { return n + 1, nil })
	return err
})

// Who gives up on a connection is told how far it has come.
func TestConnectTellsHowFarItCame(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	path := filepath.Join(t.TempDir(), "silent")
	silentPath, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer silentPath.Close()
	key := []byte("secret")
	for _, test := range []struct {
		name, network, address string
		options                manager.Options
		want                   string
	}{
		{"TCP", "tcp", silent.Addr().String(), manager.Options{AuthKey: key}, "it may have Options.TLS, which this side has not"},
		{"TLS", "tcp", silent.Addr().String(), manager.Options{AuthKey: key, TLS: &tls.Config{InsecureSkipVerify: true}}, "has not shown its certificate"},
		{"Unix", "unix", path, manager.Options{}, "has not introduced itself"},
	} {
		t.Run(test.name, func(t *testing.T) {
			// On a busy machine even the first step may take long.
			for patience := 20 * time.Millisecond; ; patience *= 2 {
				ctx, cancel := context.WithTimeout(testContext(t), patience)
				_, err := manager.Connect(ctx, test.network, test.address, test.options)
				cancel()
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("%v", err)
				}
				if strings.Contains(err.Error(), test.want) {
					break
				}
				if patience > 10*time.Second {
					t.Fatalf("%v, want %q", err, test.want)
				}
			}
		})
	}
}

func TestTCP(t *testing.T) {
	ctx := testContext(t)
	if _, err := manager.Start(manager.Options{Network: "tcp", Address: "127.0.0.1:0"}); err == nil || !strings.Contains(err.Error(), "AuthKey") {
		t.Fatalf("TCP without a key: %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := manager.Serve(l, manager.Options{}); err == nil || !strings.Contains(err.Error(), "AuthKey") {
		t.Fatalf("Serve on TCP without a key: %v", err)
	}
	o := manager.Options{Network: "tcp", Address: "127.0.0.1:0", AuthKey: []byte("secret")}
	m := start(t, o)
	addr := m.Addr().String()
	if _, err := manager.Connect(ctx, "tcp", addr, manager.Options{}); err == nil || !strings.Contains(err.Error(), "AuthKey") {
		t.Errorf("Connect without a key: %v", err)
	}
	_, err = manager.Connect(ctx, "tcp", addr, manager.Options{AuthKey: []byte("wrong")})
	if !errors.Is(err, manager.ErrDown) || !errors.Is(err, manager.ErrAuth) || !strings.Contains(err.Error(), "key") {
		t.Errorf("Connect with the wrong key: %v", err)
	}
	d, err := manager.NewDict[string, int](m)
	if err != nil {
		t.Fatal(err)
	}
	join(t, run(t, useRemotely, d), run(t, useRemotely, d))
	if n, _, err := d.Get(ctx, "n"); n != 2 || err != nil {
		t.Errorf("n = %d, %v", n, err)
	}
}

// A client with a key waits for the challenge of a server that has none, which waits for the client's hello: both learn why.
func TestKeyThatNobodyWants(t *testing.T) {
	ctx := testContext(t)
	path := serve(t, manager.Options{HelloTimeout: 20 * time.Millisecond})
	if _, err := manager.Connect(ctx, "unix", path, manager.Options{AuthKey: []byte("secret")}); !errors.Is(err, manager.ErrAuth) || !strings.Contains(err.Error(), "it has none") {
		t.Errorf("%v", err)
	}
	slow := serve(t, manager.Options{})
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := manager.Connect(short, "unix", slow, manager.Options{AuthKey: []byte("secret")}); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "it may have no key") {
		t.Errorf("%v", err)
	}
}

// What cannot be meant is refused, and by all who take options.
func TestOptionsThatCannotBe(t *testing.T) {
	for name, o := range map[string]manager.Options{
		"MaxMessage": {MaxMessage: -1}, "MaxObjects": {MaxObjects: -1}, "MaxEntries": {MaxEntries: -1}, "MaxMemory": {MaxMemory: -1}, "MaxConnections": {MaxConnections: -1},
		"HelloTimeout": {HelloTimeout: -1}, "MaxWaiting": {MaxWaiting: -1}, "MaxBuffered": {MaxBuffered: -1}, "RingSize": {RingSize: -1}, "Sync": {Sync: 7},
	} {
		l, err := net.Listen("unix", filepath.Join(socketDir(t), "s"))
		if err != nil {
			t.Fatal(err)
		}
		m1, err1 := manager.Start(o)
		m2, err2 := manager.Connect(context.Background(), "unix", l.Addr().String(), o)
		for _, m := range []*manager.Manager{m1, m2} {
			if m != nil {
				m.Close()
			}
		}
		for by, err := range map[string]error{"Start": err1, "Connect": err2, "Serve": manager.Serve(l, o)} {
			if !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), "Options."+name) {
				t.Errorf("%s with a wrong %s: %v", by, name, err)
			}
		}
	}
}

func TestUnixKey(t *testing.T) {
	ctx := testContext(t)
	path := filepath.Join(socketDir(t), "s")
	o := manager.Options{Network: "unix", Address: path, AuthKey: []byte("secret")}
	m := start(t, o)
	if i, err := os.Stat(path); err != nil || i.Mode().Perm() != 0o600 {
		t.Errorf("the socket's mode: %v, %v", i.Mode(), err)
	}
	if _, err := manager.Connect(ctx, "unix", path, manager.Options{}); !errors.Is(err, manager.ErrAuth) || !strings.Contains(err.Error(), "Options.AuthKey") {
		t.Errorf("without the key: %v", err)
	}
	if _, err := manager.Connect(ctx, "unix", path, manager.Options{AuthKey: []byte("wrong")}); !errors.Is(err, manager.ErrDown) {
		t.Errorf("with the wrong key: %v", err)
	}
	d, err := manager.NewDict[string, int](m)
	if err != nil {
		t.Fatal(err)
	}
	join(t, run(t, useRemotely, d))
	if _, err := manager.Start(o); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a second server at the same path: %v", err)
	}
	m.Close()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestSocketPaths(t *testing.T) {
	dir := socketDir(t)
	long := filepath.Join(dir, strings.Repeat("d", 120))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Run("a long path", func(t *testing.T) {
		o := manager.Options{Network: "unix", Address: filepath.Join(long, "s")}
		m := start(t, o)
		m2, err := manager.Connect(testContext(t), "unix", o.Address, manager.Options{})
		if err != nil {
			t.Fatal(err)
		}
		m2.Close()
		if m.Addr().String() != o.Address {
			t.Errorf("Addr = %v", m.Addr())
		}
	})
	t.Run("a long TMPDIR", func(t *testing.T) {
		t.Setenv("TMPDIR", long)
		m := start(t, manager.Options{})
		path := m.Addr().String()
		if i, err := os.Stat(filepath.Dir(path)); err != nil || i.Mode().Perm() != 0o700 {
			t.Errorf("the directory of %s: %v", path, err)
		}
	})
	t.Run("a socket that a killed server left", func(t *testing.T) {
		path := filepath.Join(dir, "left")
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		l.Close()
		start(t, manager.Options{Network: "unix", Address: path})
	})
	t.Run("a file that is no socket", func(t *testing.T) {
		path := filepath.Join(dir, "file")
		if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := manager.Start(manager.Options{Network: "unix", Address: path}); err == nil {
			t.Error("a file was replaced")
		}
		if b, err := os.ReadFile(path); string(b) != "mine" || err != nil {
			t.Errorf("the file: %q, %v", b, err)
		}
	})
	t.Run("a path and no network", func(t *testing.T) {
		path := filepath.Join(dir, "plain")
		m := start(t, manager.Options{Address: path})
		if a := m.Addr(); a.Network() != "unix" || a.String() != path {
			t.Errorf("Addr = %v", a)
		}
		if _, err := manager.Start(manager.Options{Address: path}); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("a second server there: %v", err)
		}
	})
	t.Run("a network and no path", func(t *testing.T) {
		m, err := manager.Start(manager.Options{Network: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		private := filepath.Dir(m.Addr().String())
		if i, err := os.Stat(private); err != nil || i.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v", private, err)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(private); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after Close, %s: %v", private, err)
		}
	})
	t.Run("TCP and no address", func(t *testing.T) {
		if m, err := manager.Start(manager.Options{Network: "tcp", AuthKey: []byte("k")}); err == nil || !strings.Contains(err.Error(), "127.0.0.1:0") {
			t.Errorf("%v", err)
			m.Close()
		}
	})
	t.Run("an abstract socket", func(t *testing.T) {
		if _, err := manager.Start(manager.Options{Network: "unix", Address: "@x"}); err == nil {
			t.Error("accepted")
		}
	})
	t.Run("a network that there is not", func(t *testing.T) {
		if _, err := manager.Start(manager.Options{Network: "udp", Address: "x"}); err == nil {
			t.Error("accepted")
		}
	})
}

func TestMaxMessage(t *testing.T) {
	ctx := testContext(t)
	m := start(t, manager.Options{MaxMessage: 100 << 10})
	d, err := manager.NewDict[string, []byte](m)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Set(ctx, "big", make([]byte, 101<<10)); !errors.Is(err, manager.ErrTooLarge) {
		t.Errorf("Set of too much: %v", err)
	}
	many := map[string][]byte{}
	var keys []string
	for i := range 10 {
		k := fmt.Sprint(i)
		keys = append(keys, k)
		many[k] = make([]byte, 90<<10)
		if err := d.Set(ctx, k, many[k]); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.BatchGet(ctx, keys); !errors.Is(err, manager.ErrTooLarge) {
		t.Errorf("BatchGet of too much: %v", err)
	}
	if err := d.BatchSet(ctx, many); !errors.Is(err, manager.ErrTooLarge) {
		t.Errorf("BatchSet of too much: %v", err)
	}
	// What does not fit in one message is read in pages.
	if s, err := d.Snapshot(ctx); len(s) != 10 || err != nil {
		t.Errorf("Snapshot has %d entries, %v", len(s), err)
	}
}

// Containers larger than a page, read while they change.
func TestPages(t *testing.T) {
	ctx := testContext(t)
	m := start(t, manager.Options{})
	d, err := manager.NewDict[int, string](m)
	if err != nil {
		t.Fatal(err)
	}
	l, err := manager.NewList[string](m)
	if err != nil {
		t.Fatal(err)
	}
	const n = 30_000
	entries := map[int]string{}
	var values []string
	for i := range n {
		v := strings.Repeat("x", i%100)
		entries[i] = v
		values = append(values, v)
	}
	if err := d.BatchSet(ctx, entries); err != nil {
		t.Fatal(err)
	}
	if err := l.Append(ctx, values...); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for k, v := range d.All(ctx) {
		if entries[k] != v {
			t.Fatalf("key %d has another value", k)
		}
		if seen++; seen%1000 == 0 {
			d.Set(ctx, n+seen, "new")
			d.Delete(ctx, n+seen-1000)
		}
		delete(entries, k)
		entries[n+seen] = "new"
	}
	for k := range n {
		if _, ok := entries[k]; ok {
			t.Fatalf("key %d was not seen", k)
		}
	}
	i := 0
	for at, v := range l.All(ctx) {
		if at != i || v != values[i] {
			t.Fatalf("value %d", i)
		}
		if i++; i == 1 {
			l.Pop(ctx, -1) // the iteration does not notice
		}
	}
	if i != n {
		t.Errorf("saw %d values", i)
	}
	// A loop that is left early leaves nothing on the server.
	for range l.All(ctx) {
		break
	}
	if s, err := l.Snapshot(ctx); len(s) != n-1 || err != nil {
		t.Errorf("Snapshot has %d values, %v", len(s), err)
	}
	keys := 0
	for range d.Keys(ctx) {
		keys++
	}
	vs := 0
	for range d.Values(ctx) {
		vs++
	}
	if want, _ := d.Len(ctx); keys != want || vs != want {
		t.Errorf("%d keys, %d values, Len %d", keys, vs, want)
	}
	mine := errors.New("mine")
	if err := d.Each(ctx, func(int, string) error { return mine }); err != mine {
		t.Errorf("Each: %v", err)
	}
	if err := l.Each(ctx, func(int, string) error { return mine }); err != mine {
		t.Errorf("Each: %v", err)
	}
}

// Many goroutines on one connection, with contexts that end at any moment: every call gets its own reply.
func TestManyInFlight(t *testing.T) {
	m := start(t, manager.Options{})
	d, err := manager.NewDict[int, int](m)
	if err != nil {
		t.Fatal(err)
	}
	ctx := testContext(t)
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 0))
			for i := range 300 {
				cctx, cancel := ctx, context.CancelFunc(func() {})
				if r.IntN(3) == 0 {
					cctx, cancel = context.WithTimeout(ctx, time.Duration(r.IntN(200))*time.Microsecond)
				}
				err := d.Set(cctx, g, i)
				if err == nil {
					var v int
					if v, _, err = d.Get(cctx, g); err == nil && v != i {
						t.Errorf("goroutine %d: got %d, want %d", g, v, i)
					}
				}
				if err == nil && r.IntN(4) == 0 {
					_, err = d.Update(cctx, 1000, func(v int, _ bool) (int, error) { return v + 1, nil })
				}
				if err != nil && err != context.DeadlineExceeded {
					t.Errorf("goroutine %d: %v", g, err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if _, err := d.Update(ctx, 1000, func(v int, _ bool) (int, error) { return v, nil }); err != nil {
		t.Error(err)
	}
	if s, err := m.Stats(ctx); s.Updating != 0 || s.Entries > 17 || err != nil {
		t.Errorf("left: %+v, %v", s, err)
	}
}

// Connections come and go with their users, and nobody is cut off by somebody else's Close.
func TestConnectionsAreShared(t *testing.T) {
	path := serve(t, manager.Options{})
	ctx := testContext(t)
	others := manager.Connections() // of tests before, to servers that are gone
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				m, err := manager.Connect(ctx, "unix", path, manager.Options{})
				if err != nil {
					t.Error(err)
					return
				}
				l, err := manager.NewList[int](m)
				if err != nil {
					t.Error(err)
					return
				}
				m.Close()
				if err := l.Append(ctx, 1); err != nil {
					t.Error(err)
				}
				l.Close()
			}
		})
	}
	wg.Wait()
	if n := manager.Connections(); n > others {
		t.Errorf("%d connections are left, were %d", n, others)
	}
	m := connect(t, path, manager.Options{})
	objects(t, m, 0)
	again := connect(t, path, manager.Options{})
	if s, err := again.Stats(ctx); s.Sessions != 1 || err != nil {
		t.Errorf("%d sessions, %v", s.Sessions, err)
	}
	// An unreachable Manager lets go.
	m.Close()
	again.Close()
	func() {
		if _, err := manager.Connect(ctx, "unix", path, manager.Options{}); err != nil {
			t.Error(err)
		}
	}()
	for manager.Connections() > others && ctx.Err() == nil {
		runtime.GC()
	}
	if err := ctx.Err(); err != nil {
		t.Error("the connection of an unreachable Manager is still there")
	}
}

// Nothing is left in this process when all is closed.
func TestNothingIsLeft(t *testing.T) {
	fds := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip(err)
		}
		return len(entries)
	}
	use := func() {
		m, err := manager.Start(manager.Options{})
		if err != nil {
			t.Fatal(err)
		}
		ctx := testContext(t)
		s := newShared(t, m, 5)
		inner, _ := manager.NewList[int](m)
		s.Nested.Set(ctx, "inner", inner)
		join(t, run(t, workShared, s))
		short, cancel := context.WithTimeout(ctx, time.Microsecond)
		s.Lines.Len(short)
		cancel()
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		for _, err := range []error{s.Counts.Close(), s.Lines.Close(), s.Nested.Close(), inner.Close()} {
			if err != nil {
				t.Error(err)
			}
		}
	}
	use()
	goroutines, files, connections := runtime.NumGoroutine(), fds(), manager.Connections()
	for range 5 {
		use()
	}
	deadline := time.Now().Add(patience)
	for runtime.NumGoroutine() > goroutines || fds() > files || manager.Connections() > connections {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			t.Fatalf("left: %d goroutines (were %d), %d descriptors (were %d), %d connections (were %d)\n%s",
				runtime.NumGoroutine(), goroutines, fds(), files, manager.Connections(), connections, buf[:runtime.Stack(buf, true)])
		}
		time.Sleep(time.Millisecond)
	}
}

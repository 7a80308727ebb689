package manager_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/duplex"
	"github.com/go-multiproc/multiproc/manager"
	"github.com/go-multiproc/multiproc/process"
)

// A connection goes through rings where it can and through the socket where not, and nobody notices.
func TestRingsOrNot(t *testing.T) {
	ctx := testContext(t)
	tcp := func(o manager.Options) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() { defer close(done); manager.Serve(l, o) }()
		t.Cleanup(func() { l.Close(); <-done })
		return l.Addr().String()
	}
	lossy := func() string { path, _ := record(t, serve(t, manager.Options{})); return path }
	key := []byte("secret")
	for _, tt := range []struct {
		name             string
		network, address string
		options          manager.Options
		rings            bool
	}{
		{"by default", "unix", serve(t, manager.Options{}), manager.Options{}, true},
		{"with a key", "unix", serve(t, manager.Options{AuthKey: key}), manager.Options{AuthKey: key}, true},
		{"small rings", "unix", serve(t, manager.Options{RingSize: 1}), manager.Options{}, true},
		{"large rings", "unix", serve(t, manager.Options{RingSize: 1<<20 + 1}), manager.Options{}, true},
		{"client without", "unix", serve(t, manager.Options{}), manager.Options{NoRings: true}, false},
		{"server without", "unix", serve(t, manager.Options{NoRings: true}), manager.Options{}, false},
		{"the descriptor is lost on the way", "unix", lossy(), manager.Options{}, false},
		{"tcp", "tcp", tcp(manager.Options{AuthKey: key}), manager.Options{AuthKey: key}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := manager.Connect(ctx, tt.network, tt.address, tt.options)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if got := manager.OnRings(m); got != tt.rings {
				t.Errorf("on rings: %v", got)
			}
			works(t, m)
		})
	}
}

// rawRings is a client that has asked for rings and mapped them. It has not said so.
func rawRings(t testing.TB, path string) (c *net.UnixConn, m *duplex.Memory) {
	t.Helper()
	c = dialRaw(t, path).(*net.UnixConn)
	m, err := takeRings(c)
	if err != nil {
		t.Fatal(err)
	}
	return c, m
}

func takeRings(c *net.UnixConn) (*duplex.Memory, error) {
	if _, err := c.Write(framed([]byte{0x82, 1, 12})); err != nil {
		return nil, err
	}
	b, oob := make([]byte, 100), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := c.ReadMsgUnix(b, oob)
	if err != nil {
		return nil, err
	}
	var reply []uint64
	if err := cbor.Unmarshal(b[4:n], &reply); err != nil || len(reply) != 3 {
		return nil, fmt.Errorf("reply %x: %w", b[:n], err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(messages) != 1 {
		return nil, fmt.Errorf("%d control messages, %w", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, err
	}
	return duplex.Attach(fds[0], int(reply[2]))
}

var ringsTaken = []any{0, 13, true}

// Clients that misuse the offer lose their connections, and those that use it well do not.
func TestRingOffer(t *testing.T) {
	path := serve(t, manager.Options{})
	send := func(t *testing.T, c net.Conn, frames ...[]any) {
		var b []byte
		for _, f := range frames {
			b = append(b, framed(encode(t, f))...)
		}
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, c *net.UnixConn)
		ends bool
	}{
		{"not asked for", func(t *testing.T, c *net.UnixConn) { send(t, c, ringsTaken) }, true},
		{"asked for too late", func(t *testing.T, c *net.UnixConn) { send(t, c, []any{1, 1}, []any{2, 12}) }, true},
		{"asked for with an argument", func(t *testing.T, c *net.UnixConn) { send(t, c, []any{1, 12, 5}) }, true},
		{"something in between", func(t *testing.T, c *net.UnixConn) { send(t, c, []any{1, 12}, []any{2, 1}) }, true},
		{"asked for twice", func(t *testing.T, c *net.UnixConn) { send(t, c, []any{1, 12}, []any{2, 12}) }, true},
		{"taken before the offer came, and not alone", func(t *testing.T, c *net.UnixConn) { send(t, c, []any{1, 12}, ringsTaken, []any{2, 1}) }, true},
		{"an answer that is none", func(t *testing.T, c *net.UnixConn) { send(t, c, []any{1, 12}, []any{0, 13, 1}) }, true},
		{"taken twice", func(t *testing.T, c *net.UnixConn) { send(t, c, []any{1, 12}, []any{0, 13, false}, ringsTaken) }, true},
		{"declined", func(t *testing.T, c *net.UnixConn) { send(t, c, []any{1, 12}, []any{0, 13, false}, []any{2, 1}) }, false},
		{"ended instead", func(t *testing.T, c *net.UnixConn) { send(t, c, []any{1, 12}); c.CloseWrite() }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := dialRaw(t, path).(*net.UnixConn)
			tt.do(t, c)
			var last []byte
			for {
				b, err := readFrame(c)
				if err != nil {
					if !tt.ends {
						t.Error(err)
					}
					break
				}
				if last = b; bytes.Equal(last, encode(t, []any{2, 0})) {
					if tt.ends {
						t.Error("the connection goes on")
					}
					break
				}
			}
		})
	}
	works(t, connect(t, path, manager.Options{}))
}

// Random bytes in the rings, and in the words that govern them, harm only the connection that they are written on: a
// client of the same server is served all the time.
func TestGarbageInRings(t *testing.T) {
	path := serve(t, manager.Options{MaxMessage: 1 << 20})
	m := connect(t, path, manager.Options{})
	ctx := testContext(t)
	d, err := manager.NewDict[string, int](m)
	if err != nil {
		t.Fatal(err)
	}
	before := sessions(t, m)
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	end := time.Now().Add(soak(2 * time.Second))
	for rounds := 0; time.Now().Before(end); rounds++ {
		c, m := rawRings(t, path)
		memory, err := unix.Mmap(m.FD(), 0, 4096+128<<10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			t.Fatal(err)
		}
		m.Close()
		c.Write(framed(encode(t, ringsTaken)))
		for range 30 {
			switch random.IntN(4) {
			case 0: // bytes that are meant to be frames
				b := memory[4096:][:64<<10]
				for i := range b[:256] {
					b[i] = byte(random.Uint32())
				}
				b[0], b[1] = 0, 0 // a length that may be
				memory[1] = byte(random.Uint32())
			case 1: // any word
				for i, off := 0, 128*random.IntN(8); i < 8; i++ {
					memory[off+i] = byte(random.Uint32())
				}
			case 2: // a believable tail
				memory[random.IntN(2)] = byte(random.Uint32())
			case 3:
				c.Write([]byte{0})
			}
		}
		c.Write([]byte{0})
		if rounds%2 == 0 {
			c.Close()
		}
		unix.Munmap(memory)
		if err := d.Set(ctx, "k", rounds); err != nil {
			t.Fatal(err)
		}
		if n, _, err := d.Get(ctx, "k"); n != rounds || err != nil {
			t.Fatal(n, err)
		}
		c.Close()
	}
	for sessions(t, m) > before {
		if ctx.Err() != nil {
			t.Fatal("sessions stay behind")
		}
	}
}

type halfJob struct {
	Path  string
	Rings bool
	Ready *os.File
}

// sendHalf sends a request and half of another one, and waits to be killed.
var sendHalf = process.Register(func(ctx context.Context, j halfJob) error {
	c, err := net.Dial("unix", j.Path)
	if err != nil {
		return err
	}
	say := func(c io.Writer, items ...any) error {
		b, err := cbor.Marshal(items)
		if err == nil {
			_, err = c.Write(framed(b))
		}
		return err
	}
	if err := say(c, "multiproc-manager", 1, 1, "half"); err != nil {
		return err
	}
	if _, err := readFrame(c); err != nil {
		return err
	}
	var w io.Writer = c
	if j.Rings {
		m, err := takeRings(c.(*net.UnixConn))
		if err != nil {
			return err
		}
		if err := say(c, ringsTaken...); err != nil {
			return err
		}
		if w, err = duplex.New(m, c.(*net.UnixConn), duplex.Attacher); err != nil {
			return err
		}
	}
	if err := say(w, 2, 5, "held by half", 1, "", true); err != nil {
		return err
	}
	if err := say(w, 3, 41, 1, []byte{0}); err != nil { // a lease, if the dict is the first object
		return err
	}
	if _, err := w.Write(framed(make([]byte, 200_000))[:100_000]); err != nil {
		return err
	}
	j.Ready.Write([]byte{1})
	<-ctx.Done()
	return nil
})

// A client that is killed halfway through a frame is gone, and what it held is free.
func TestKilledInsideAFrame(t *testing.T) {
	for _, rings := range []bool{true, false} {
		t.Run(fmt.Sprintf("rings %v", rings), func(t *testing.T) {
			path := serve(t, manager.Options{})
			m := connect(t, path, manager.Options{NoRings: !rings})
			ctx := testContext(t)
			d, err := manager.OpenDict[int, int](m, "held by half")
			if err != nil {
				t.Fatal(err)
			}
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			defer w.Close()
			child := run(t, sendHalf, halfJob{path, rings, w})
			w.Close()
			if n, err := r.Read(make([]byte, 1)); n != 1 {
				t.Fatalf("the child has ended: %v, %v", err, child.Join(ctx))
			}
			for leases(t, m) == 0 { // its requests are being done
			}
			child.Kill()
			if err := d.Set(ctx, 0, 1); err != nil { // its lease stood in the way
				t.Fatal(err)
			}
			for sessions(t, m) > 1 {
			}
		})
	}
}

func leases(t testing.TB, m *manager.Manager) int {
	t.Helper()
	s, err := m.Stats(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	return s.Updating
}

// A client that asks for much and reads nothing, over rings: its requests are left unread, the server gathers little, and others who
// are served by the same goroutine do not wait for it.
func TestSlowReaderOfRings(t *testing.T) {
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
	socket, memory := rawRings(t, path)
	if _, err := socket.Write(framed(encode(t, ringsTaken))); err != nil {
		t.Fatal(err)
	}
	c, err := duplex.New(memory, socket, duplex.Attacher)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(framed(encode(t, []any{2, 5, "d", 1, "", false}))); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	n, _, err := c.Receive(b, true, true)
	var opened []any
	if err == nil {
		err = cbor.Unmarshal(b[4:n], &opened)
	}
	if err != nil || len(opened) != 3 {
		t.Fatal(opened, err)
	}
	get := framed(encode(t, []any{3, 33, opened[2], encode(t, "k")}))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	// As long as there is room now and then, it goes on asking. When the server has taken all that it will take, there is none any more, however
	// often another client is served meanwhile.
	sent, rest := 0, get
	for silence := 0; silence < 1000; silence++ {
		for {
			n, err := c.TryWrite(rest)
			if err != nil {
				t.Fatal(err)
			}
			if n == 0 {
				break
			}
			silence = 0
			if rest = rest[n:]; len(rest) == 0 {
				sent, rest = sent+1, get
			}
		}
		if err := d.Set(ctx, "k2", nil); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 16<<20 {
		t.Errorf("the server gathered %d MB for a client that reads nothing", grown>>20)
	}
	// It catches up as soon as it reads.
	buf := make([]byte, 1<<20)
	for got := 0; got < sent*(64<<10); {
		n, _, err := c.Receive(buf, true, true)
		if n == 0 || err != nil {
			t.Fatalf("after %d bytes of the replies: %v", got, err)
		}
		got += n
	}
}

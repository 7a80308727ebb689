package pipe_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/verify"
	"github.com/go-multiproc/multiproc/pipe"
)

var networks = []string{"unix", "tcp", "tcp4"}

func listen(t testing.TB, network string, o pipe.Options) *pipe.Listener {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(shortDir(t), "s")
	}
	l, err := pipe.Listen(network, address, o)
	if err != nil {
		t.Fatal(err)
	}
	closeWith(t, l)
	return l
}

// shortDir is a directory whose name fits in a socket's, which t.TempDir's may not.
func shortDir(t testing.TB) string {
	dir, err := os.MkdirTemp("", "p")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func dial(t testing.TB, l *pipe.Listener, o pipe.Options) (*pipe.Conn, error) {
	t.Helper()
	c, err := pipe.Dial(withTimeout(t), l.Addr().Network(), l.Addr().String(), o)
	if err == nil {
		closeWith(t, c)
	}
	return c, err
}

// dialRaw connects without a handshake.
func dialRaw(t testing.TB, l *pipe.Listener) net.Conn {
	t.Helper()
	c, err := net.Dial(l.Addr().Network(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	closeWith(t, c)
	return c
}

func TestListenDial(t *testing.T) {
	for _, network := range networks {
		for name, key := range map[string][]byte{"no key": nil, "key": []byte("secret"), "empty key": {}, "long key": bytes.Repeat([]byte("k"), 1000)} {
			t.Run(network+", "+name, func(t *testing.T) {
				checkLeaks(t)
				l := listen(t, network, pipe.Options{AuthKey: key, RefuseMD5: true})
				for range 3 {
					c, err := dial(t, l, pipe.Options{AuthKey: key, RefuseMD5: true})
					if err != nil {
						t.Fatal(err)
					}
					s, err := l.Accept()
					if err != nil {
						t.Fatal(err)
					}
					closeWith(t, s)
					var got order
					if err := c.Send(someOrder()); err != nil {
						t.Fatal(err)
					}
					if err := s.Recv(&got); err != nil || got.ID != 7 {
						t.Fatal(got, err)
					}
					go s.SendBytes(pattern(3 << 20))
					b, err := c.RecvBytes()
					if err != nil || !bytes.Equal(b, pattern(3<<20)) {
						t.Fatal(len(b), err)
					}
					if c.RemoteAddr().String() != l.Addr().String() || s.LocalAddr().String() != l.Addr().String() {
						t.Errorf("listener is %v, the ends say %v and %v", l.Addr(), c.RemoteAddr(), s.LocalAddr())
					}
				}
			})
		}
	}
}

func TestHandlesOverTCP(t *testing.T) {
	l := listen(t, "tcp", pipe.Options{})
	c, err := dial(t, l, pipe.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := must[*pipe.Conn](t)(l.Accept())
	closeWith(t, s)
	err = c.Send(map[string][]*os.File{"files": {nil, os.Stdin}})
	if err == nil || !errorsContain(err, `message["files"][1]`, "TCP") {
		t.Errorf("got %v", err)
	}
	x, y := pair(t)
	if err := c.Send(x); err == nil {
		t.Error("a pipe end went over TCP")
	}
	y.Send("works")
	var got string
	if err := x.Recv(&got); err != nil || got != "works" {
		t.Errorf("an end that was refused: %q, %v", got, err)
	}
	c.Send("on")
	if err := s.Recv(&got); err != nil || got != "on" {
		t.Error(got, err)
	}
}

func TestWrongKey(t *testing.T) {
	for _, network := range networks {
		for _, tt := range []struct {
			name           string
			listener, dial []byte
		}{
			{"other key", []byte("a"), []byte("b")},
			{"empty key", []byte("a"), []byte{}},
			{"key against empty key", []byte{}, []byte("a")},
		} {
			t.Run(network+", "+tt.name, func(t *testing.T) {
				checkLeaks(t)
				l := listen(t, network, pipe.Options{AuthKey: tt.listener})
				if _, err := dial(t, l, pipe.Options{AuthKey: tt.dial}); !errors.Is(err, pipe.ErrAuth) || !errorsContain(err, "digest sent was rejected") {
					t.Errorf("Dial: %v", err)
				}
				if _, err := l.Accept(); !errors.Is(err, pipe.ErrAuth) || !errorsContain(err, "digest received was wrong") {
					t.Errorf("Accept: %v", err)
				}
				good, err := dial(t, l, pipe.Options{AuthKey: tt.listener})
				if err != nil {
					t.Fatal(err)
				}
				s, err := l.Accept()
				if err != nil {
					t.Fatal(err)
				}
				s.Close()
				good.Close()
			})
		}
	}
	t.Run("listener has no key", func(t *testing.T) {
		l := listen(t, "unix", pipe.Options{})
		go func() {
			s, err := l.Accept()
			if err == nil {
				s.Send("hello")
				s.Close()
			}
		}()
		if _, err := dial(t, l, pipe.Options{AuthKey: []byte("a")}); !errors.Is(err, pipe.ErrAuth) || !errorsContain(err, "does not challenge") {
			t.Errorf("Dial: %v", err)
		}
	})
}

// Whatever a client does or leaves, it fails alone.
func TestBadClients(t *testing.T) {
	for _, tt := range []struct {
		name   string
		client func(c net.Conn)
		want   string
	}{
		{"silent", func(net.Conn) {}, "silent"},
		{"hangs up", func(c net.Conn) { c.Close() }, "closed the connection"},
		{"half a frame", func(c net.Conn) { c.Write([]byte{0, 0}) }, "silent"},
		{"half a frame and hangs up", func(c net.Conn) { c.Write([]byte{0, 0, 0, 9, 1}); c.Close() }, "closed the connection"},
		{"HTTP", func(c net.Conn) { io.WriteString(c, "GET / HTTP/1.1\r\n\r\n") }, "speaks no handshake"},
		{"257 bytes", func(c net.Conn) { c.Write(frame(make([]byte, 257))) }, "speaks no handshake"},
		{"256 bytes", func(c net.Conn) { c.Write(frame(make([]byte, 256))) }, "is none"},
		{"empty answer", func(c net.Conn) { c.Write(frame(nil)) }, "is none"},
		{"16 bytes", func(c net.Conn) { c.Write(frame(make([]byte, 16))) }, "wrong"},
		{"unknown digest", func(c net.Conn) { c.Write(frame([]byte("{sha1}xxxxxxxxxxxxxxxxxxxx"))) }, "is none"},
		{"no digest", func(c net.Conn) { c.Write(frame([]byte("{sha256}"))) }, "wrong"},
		{"2 GiB", func(c net.Conn) { c.Write([]byte{0x7f, 0xff, 0xff, 0xff}) }, "speaks no handshake"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			checkLeaks(t)
			// The good one has the same time, which a busy machine may need.
			limit := time.Minute
			if tt.want == "silent" {
				limit = time.Second
			}
			o := pipe.Options{AuthKey: []byte("k"), HandshakeTimeout: limit}
			l := listen(t, "unix", o)
			bad := dialRaw(t, l)
			tt.client(bad)
			good, err := dial(t, l, o)
			if err != nil {
				t.Fatal(err)
			}
			var failed error
			accepted := 0
			for range 2 {
				c, err := l.Accept()
				if err != nil {
					failed = err
					continue
				}
				accepted++
				c.Close()
			}
			if accepted != 1 || !errors.Is(failed, pipe.ErrAuth) || !errorsContain(failed, tt.want) {
				t.Errorf("%d accepted; %v; want %s", accepted, failed, tt.want)
			}
			good.Close()
		})
	}
}

// Clients that say nothing keep nobody out, however many they are and however long they have.
func TestSilentCrowd(t *testing.T) {
	o := pipe.Options{AuthKey: []byte("k"), HandshakeTimeout: time.Hour}
	l := listen(t, "unix", o)
	const crowd = 300 // more than may authenticate at once
	for range crowd {
		dialRaw(t, l)
	}
	failures := make(chan int)
	go func() {
		n := 0
		for {
			c, err := l.Accept()
			if err == nil {
				c.Send("hello")
				c.Close()
				failures <- n
				return
			}
			if !errors.Is(err, pipe.ErrAuth) {
				t.Error(err)
			}
			n++
		}
	}()
	c, err := dial(t, l, o)
	if err != nil {
		t.Fatal(err)
	}
	var s string
	if err := c.Recv(&s); err != nil || s != "hello" {
		t.Error(s, err)
	}
	if n := <-failures; n > crowd/2 {
		t.Errorf("%d of %d clients were thrown out", n, crowd)
	}
}

// More clients than a listener accepts ahead wait, and none is lost.
func TestManyClients(t *testing.T) {
	o := pipe.Options{AuthKey: []byte("k")}
	l := listen(t, "unix", o)
	const clients = 400
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			c, err := pipe.Dial(context.Background(), "unix", l.Addr().String(), o)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			if _, err := c.RecvBytes(); err != nil {
				t.Error(err)
			}
		})
	}
	for range clients {
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.SendBytes(nil); err != nil {
			t.Error(err)
		}
		c.Close()
	}
	wg.Wait()
}

func TestListenerClose(t *testing.T) {
	checkLeaks(t)
	l := listen(t, "unix", pipe.Options{AuthKey: []byte("k")})
	path := l.Addr().String()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket file: %v, %v", info.Mode(), err)
	}
	dialRaw(t, l) // in its handshake
	waiting, err := dial(t, l, pipe.Options{AuthKey: []byte("k")})
	if err != nil {
		t.Fatal(err)
	}
	for ready := []*pipe.Listener(nil); ready == nil; {
		if ready, err = pipe.Wait(withTimeout(t), l); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("again: %v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket file: %v", err)
	}
	waiting.SetReadDeadline(time.Now().Add(60 * time.Second)) // not when the garbage collector finds it
	if _, err := waiting.RecvBytes(); err != io.EOF {
		t.Errorf("a client that nobody accepted: %v", err)
	}

	l = listen(t, "tcp", pipe.Options{})
	accept := verify.Blocks(t, "Accept", func() error {
		_, err := l.Accept()
		return err
	})
	l.Close()
	if err := accept(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Accept while closing: %v", err)
	}

	// A file that has become another's stays.
	l = listen(t, "unix", pipe.Options{})
	os.Remove(l.Addr().String())
	if err := os.WriteFile(l.Addr().String(), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := os.Stat(l.Addr().String()); err != nil {
		t.Errorf("another's file: %v", err)
	}
}

func TestAddresses(t *testing.T) {
	dir := shortDir(t)
	live := filepath.Join(dir, "live")
	ll, err := pipe.Listen("unix", live, pipe.Options{})
	if err != nil {
		t.Fatal(err)
	}
	closeWith(t, ll)
	stale := filepath.Join(dir, "stale")
	fd, _ := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: stale}); err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	file := filepath.Join(dir, "file")
	os.WriteFile(file, nil, 0o600)

	for _, tt := range []struct {
		name, network, address string
		listen, dial           string // in the error
		is                     error  // of Listen
	}{
		{"live", "unix", live, "another listener uses", "", syscall.EADDRINUSE},
		{"stale", "unix", stale, "remove it and try again", "refused", syscall.EADDRINUSE},
		{"a file", "unix", file, "something else", "refused", syscall.EADDRINUSE},
		{"a directory", "unix", dir, "something else", "refused", syscall.EADDRINUSE},
		{"no directory", "unix", filepath.Join(dir, "none", "s"), "no such file", "no such file", fs.ErrNotExist},
		{"empty", "unix", "", "needs a path", "needs a path", nil},
		{"abstract", "unix", "@name", "abstract", "abstract", nil},
		{"abstract by NUL", "unix", "\x00name", "abstract", "abstract", nil},
		{"NUL", "unix", "na\x00me", "NUL", "NUL", nil},
		{"long name", "unix", filepath.Join(dir, strings.Repeat("n", 120)), "too long", "too long", nil},
		{"long and no directory", "unix", filepath.Join(dir, strings.Repeat("n", 120), "s"), "no such file", "no such file", fs.ErrNotExist},
		{"network", "udp", "127.0.0.1:0", "unknown network udp", "unknown network udp", nil},
		{"unixgram", "unixgram", live, "unknown network", "unknown network", nil},
		{"no port", "tcp", "127.0.0.1", "missing port", "missing port", nil},
		{"no host", "tcp", "127.0.0.1:1", "", "refused", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := pipe.Listen(tt.network, tt.address, pipe.Options{})
			if err == nil {
				l.Close()
			}
			if tt.listen != "" && (err == nil || !errorsContain(err, tt.listen, "pipe: listen "+tt.network) || tt.is != nil && !errors.Is(err, tt.is)) {
				t.Errorf("Listen: %v", err)
			}
			c, err := pipe.Dial(withTimeout(t), tt.network, tt.address, pipe.Options{})
			if err == nil {
				c.Close()
			}
			if tt.dial != "" && (err == nil || !errorsContain(err, tt.dial, "pipe: dial "+tt.network)) {
				t.Errorf("Dial: %v", err)
			}
		})
	}
	for _, path := range []string{stale, file} {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("Listen has touched what is not its own: %v", err)
		}
	}
	// Asking after the live one was not a client.
	c, err := dial(t, ll, pipe.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c.SendBytes([]byte("first"))
	for range 2 { // the Dial above, and this one
		s, err := ll.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if b, err := s.RecvBytes(); err == nil && string(b) == "first" {
			s.Close()
			break
		}
		s.Close()
	}
}

func TestLongPath(t *testing.T) {
	checkLeaks(t)
	dir := filepath.Join(shortDir(t), strings.Repeat("d", 100), strings.Repeat("e", 100))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "socket")
	l, err := pipe.Listen("unix", path, pipe.Options{AuthKey: []byte("k")})
	if err != nil {
		t.Fatal(err)
	}
	if l.Addr().String() != path {
		t.Errorf("address %s", l.Addr())
	}
	if _, err := pipe.Listen("unix", path, pipe.Options{}); err == nil || !errorsContain(err, "another listener uses") {
		t.Errorf("again: %v", err)
	}
	c, err := dial(t, l, pipe.Options{AuthKey: []byte("k")})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	l.Close()
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestDialContext(t *testing.T) {
	checkLeaks(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := pipe.Dial(ctx, "unix", "/nowhere", pipe.Options{}); err != context.Canceled {
		t.Errorf("ended ctx: %v", err)
	}
	// A listener that never answers.
	inner, err := net.Listen("unix", filepath.Join(shortDir(t), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	ctx, cancel = context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := pipe.Dial(ctx, "unix", inner.Addr().String(), pipe.Options{AuthKey: []byte("k")}); err != context.DeadlineExceeded {
		t.Errorf("silent listener: %v", err)
	}
	// One whose queue is full.
	path := filepath.Join(shortDir(t), "full")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	unix.Listen(fd, 0)
	first, err := pipe.Dial(context.Background(), "unix", path, pipe.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	ctx, cancel = context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := pipe.Dial(ctx, "unix", path, pipe.Options{}); err != context.DeadlineExceeded {
		t.Errorf("full queue: %v", err)
	}
	second := make(chan error)
	go func() {
		c, err := pipe.Dial(context.Background(), "unix", path, pipe.Options{})
		if err == nil {
			c.Close()
		}
		second <- err
	}()
	for range 2 {
		nfd, _, err := unix.Accept(fd)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(nfd)
	}
	if err := <-second; err != nil {
		t.Errorf("a queue that had room again: %v", err)
	}
}

// Vectors made with stock Pythons, key "secret".
func TestAnswerVectors(t *testing.T) {
	sequence := make([]byte, 40)
	for i := range sequence {
		sequence[i] = byte(i)
	}
	for _, tt := range []struct {
		name, challenge string
		refuse          bool
		answer          string // "" = ErrAuth
	}{
		{"3.11", string(sequence[:20]), false, unhex("7defa9cc46abc3583325d17ccda75190")},
		{"3.11, refused", string(sequence[:20]), true, ""},
		{"3.12", "{sha256}" + string(sequence), true, "{sha256}" + unhex("fc57fbe650d6124b98215e7b5d197d5807ad69982d275a9735ea2d56f1fa6989")},
		{"md5 by name, refused", "{md5}" + string(sequence), true, ""},
		{"too short", string(sequence[:19]), false, ""},
		{"neither length nor name", string(sequence[:21]), false, ""},
		{"unknown", "{sha1}" + string(sequence), false, ""},
		{"empty name", "{}" + string(sequence), false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inner, err := net.Listen("unix", filepath.Join(shortDir(t), "s"))
			if err != nil {
				t.Fatal(err)
			}
			defer inner.Close()
			got := make(chan string, 1)
			go func() {
				c, err := inner.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				c.Write(frame([]byte("#CHALLENGE#" + tt.challenge)))
				b := make([]byte, 1000)
				n, _ := c.Read(b)
				got <- string(b[:n])
			}()
			_, err = pipe.Dial(withTimeout(t), "unix", inner.Addr().String(), pipe.Options{AuthKey: []byte("secret"), RefuseMD5: tt.refuse})
			if !errors.Is(err, pipe.ErrAuth) {
				t.Errorf("Dial: %v", err)
			}
			want := ""
			if tt.answer != "" {
				want = string(frame([]byte(tt.answer)))
			}
			if g := <-got; g != want {
				t.Errorf("answer %q, not %q", g, want)
			}
		})
	}
}

func unhex(s string) string {
	b, _ := hex.DecodeString(s)
	return string(b)
}

// The listener's side against clients of both generations.
func TestAnswersAccepted(t *testing.T) {
	mac := func(name string, m []byte) []byte {
		h := hmac.New(md5.New, []byte("secret"))
		if name == "sha256" {
			h = hmac.New(sha256.New, []byte("secret"))
		}
		h.Write(m)
		return h.Sum(nil)
	}
	for _, tt := range []struct {
		name   string
		refuse bool
		answer func(m []byte) []byte
		ok     bool
	}{
		{"3.12", true, func(m []byte) []byte { return append([]byte("{sha256}"), mac("sha256", m)...) }, true},
		{"3.11", false, func(m []byte) []byte { return mac("md5", m) }, true},
		{"3.11, refused", true, func(m []byte) []byte { return mac("md5", m) }, false},
		{"md5 by name", false, func(m []byte) []byte { return append([]byte("{md5}"), mac("md5", m)...) }, true},
		{"md5 by name, refused", true, func(m []byte) []byte { return append([]byte("{md5}"), mac("md5", m)...) }, false},
		{"without the prefix", false, func(m []byte) []byte { return append([]byte("{sha256}"), mac("sha256", m[8:])...) }, false},
		{"truncated", false, func(m []byte) []byte { return append([]byte("{sha256}"), mac("sha256", m)[:16]...) }, false},
		{"the challenge itself", false, func(m []byte) []byte { return m }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := listen(t, "unix", pipe.Options{AuthKey: []byte("secret"), RefuseMD5: tt.refuse})
			c := dialRaw(t, l)
			b := make([]byte, 300)
			n, err := c.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			m, ok := bytes.CutPrefix(b[4:n], []byte("#CHALLENGE#"))
			if !ok || len(m) != 48 || !bytes.HasPrefix(m, []byte("{sha256}")) {
				t.Fatalf("challenge %q", b[:n])
			}
			c.Write(frame(tt.answer(m)))
			if n, err = c.Read(b); err != nil {
				t.Fatal(err)
			}
			want := "#FAILURE#"
			if tt.ok {
				want = "#WELCOME#"
			}
			if got := string(b[4:n]); got != want {
				t.Errorf("verdict %q, not %q", got, want)
			}
			c.Close()
			if _, err := l.Accept(); !errors.Is(err, pipe.ErrAuth) {
				t.Errorf("Accept: %v", err)
			}
		})
	}
}

// Addresses of IPv6 are as good as others.
func TestIPv6(t *testing.T) {
	l, err := pipe.Listen("tcp6", "[::1]:0", pipe.Options{AuthKey: []byte("secret")})
	if err != nil {
		t.Skipf("no IPv6 here: %v", err)
	}
	closeWith(t, l)
	c, err := pipe.Dial(t.Context(), "tcp6", l.Addr().String(), pipe.Options{AuthKey: []byte("secret")})
	if err != nil {
		t.Fatal(err)
	}
	closeWith(t, c)
	served, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	closeWith(t, served)
	if served.RemoteAddr().String() != c.LocalAddr().String() || c.RemoteAddr().String() != served.LocalAddr().String() || served.LocalAddr().String() != l.Addr().String() {
		t.Errorf("served %v from %v, dialled %v from %v, listening on %v", served.LocalAddr(), served.RemoteAddr(), c.RemoteAddr(), c.LocalAddr(), l.Addr())
	}
}

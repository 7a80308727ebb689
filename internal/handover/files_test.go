package handover_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/handover"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func tcpPair(t testing.TB) (client, server *net.TCPConn) {
	t.Helper()
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	defer l.Close()
	client = must(net.Dial("tcp", l.Addr().String())).(*net.TCPConn)
	server = must(l.Accept()).(*net.TCPConn)
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func say(t testing.TB, w io.Writer, r io.Reader, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, len(text))
	if _, err := io.ReadFull(r, b); err != nil || string(b) != text {
		t.Fatalf("read %q, %v", b, err)
	}
}

func TestFiles(t *testing.T) {
	checkFDs(t)
	dir := t.TempDir()
	f := must(os.Create(filepath.Join(dir, "f")))
	defer f.Close()
	r, w := must2(os.Pipe())
	defer r.Close()
	defer w.Close()
	d := must(os.Open(dir))
	defer d.Close()

	type files struct {
		F, R, W, Dir, Nil *os.File
		More              []*os.File
	}
	out := cross(t, files{F: f, R: r, W: w, Dir: d, More: []*os.File{f}})
	if out.F.Name() != f.Name() || out.Nil != nil || out.More[0] != out.F {
		t.Errorf("arrived as %+v", out)
	}
	// One open file: its offset is shared.
	must(io.WriteString(out.F, "child "))
	must(io.WriteString(f, "parent"))
	if b := must(os.ReadFile(f.Name())); string(b) != "child parent" {
		t.Errorf("file holds %q", b)
	}
	if names, err := out.Dir.Readdirnames(-1); err != nil || len(names) != 1 {
		t.Errorf("directory: %v, %v", names, err)
	}
	say(t, out.W, r, "to the parent")
	say(t, w, out.R, "to the child")
	// Deadlines work there and still work here: nobody made the pipe blocking.
	for name, r := range map[string]*os.File{"there": out.R, "here": r} {
		if err := r.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := r.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: read: %v", name, err)
		}
	}
	flags := must(unix.FcntlInt(fdOf(t, out.F), unix.F_GETFD, 0))
	if flags&unix.FD_CLOEXEC == 0 {
		t.Error("the file is inherited by every program that the receiver starts")
	}
}

func must2[A, B any](a A, b B, err error) (A, B) {
	if err != nil {
		panic(err)
	}
	return a, b
}

func fdOf(t testing.TB, f *os.File) (fd uintptr) {
	t.Helper()
	if err := must(f.SyscallConn()).Control(func(n uintptr) { fd = n }); err != nil {
		t.Fatal(err)
	}
	return fd
}

func TestBlockingFileStaysBlocking(t *testing.T) {
	checkFDs(t)
	var p [2]int
	if err := unix.Pipe(p[:]); err != nil {
		t.Fatal(err)
	}
	r, w := os.NewFile(uintptr(p[0]), "r"), os.NewFile(uintptr(p[1]), "w")
	defer r.Close()
	defer w.Close()
	out := cross(t, r)
	if flags := must(unix.FcntlInt(fdOf(t, out), unix.F_GETFL, 0)); flags&unix.O_NONBLOCK != 0 {
		t.Error("handing a file over made it non-blocking, for everybody who has it")
	}
	say(t, w, out, "x")
}

func TestConns(t *testing.T) {
	checkFDs(t)
	dir := t.TempDir()
	client, server := tcpPair(t)

	ul := must(net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unix"}))
	defer ul.Close()
	uclient := must(net.Dial("unix", ul.Addr().String())).(*net.UnixConn)
	defer uclient.Close()
	userver := must(ul.Accept())
	defer userver.Close()

	tl := must(net.Listen("tcp", "127.0.0.1:0"))
	defer tl.Close()
	udp := must(net.ListenPacket("udp", "127.0.0.1:0"))
	defer udp.Close()
	ugram := must(net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "g"), Net: "unixgram"}))
	defer ugram.Close()

	type all struct {
		Conn     net.Conn
		TCP      *net.TCPConn
		Unix     *net.UnixConn
		UDP      *net.UDPConn
		Gram     *net.UnixConn
		Packet   net.PacketConn
		Listener net.Listener
		TCPL     *net.TCPListener
		UnixL    *net.UnixListener
		NilConn  net.Conn
		NilL     net.Listener
		NilTCP   *net.TCPConn
		Map      map[string]net.Conn
	}
	in := all{
		Conn: server, TCP: server, Unix: uclient, UDP: udp.(*net.UDPConn), Gram: ugram, Packet: udp, Listener: tl,
		TCPL: tl.(*net.TCPListener), UnixL: ul, Map: map[string]net.Conn{"u": userver},
	}
	out := cross(t, in)
	if out.NilConn != nil || out.NilL != nil || out.NilTCP != nil {
		t.Errorf("nil arrived as %+v", out)
	}
	if out.Conn != net.Conn(out.TCP) || out.Packet != net.PacketConn(out.UDP) || out.Listener != net.Listener(out.TCPL) {
		t.Error("one connection in two fields arrived as two")
	}
	say(t, client, out.Conn, "tcp")
	say(t, out.TCP, client, "tcp back")
	say(t, out.Unix, out.Map["u"], "unix")
	say(t, uclient, userver, "unix here")
	if out.Conn.RemoteAddr().String() != client.LocalAddr().String() {
		t.Errorf("remote address %v", out.Conn.RemoteAddr())
	}
	// The listener accepts there.
	c := must(net.Dial("tcp", tl.Addr().String()))
	defer c.Close()
	ac := must(out.Listener.Accept())
	defer ac.Close()
	say(t, c, ac, "accepted")
	must(udp.WriteTo([]byte("datagram"), out.UDP.LocalAddr()))
	b := make([]byte, 100)
	if n, _, err := out.Packet.ReadFrom(b); err != nil || string(b[:n]) != "datagram" {
		t.Errorf("udp: %q, %v", b[:n], err)
	}
	// The receiver's Close does not remove the socket that the sender listens on.
	out.UnixL.Close()
	c2 := must(net.Dial("unix", ul.Addr().String()))
	c2.Close()
	for name, c := range map[string]net.Conn{"there": out.Conn, "here": server} {
		c.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := c.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: read: %v", name, err)
		}
	}
}

// logged has a descriptor by what it embeds, guarded has none to show.
type logged struct{ *net.TCPConn }
type guarded struct{ net.Conn }

func TestConnsWithout(t *testing.T) {
	checkFDs(t)
	client, server := tcpPair(t)
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	closed := must(os.Open("/dev/null"))
	closed.Close()
	type in struct{ C net.Conn }
	for _, c := range []struct {
		name string
		v    any
		want []string
	}{
		{"net.Pipe", in{a}, []string{"args.C: a *net.pipe cannot be passed to another process: it has no file descriptor"}},
		{"tls.Conn", []net.Conn{tls.Client(client, &tls.Config{})}, []string{"args[0]: a *tls.Conn cannot be passed to another process: it has no file descriptor; pass the *net.TCPConn under it"}},
		{"wrapper", in{&guarded{client}}, []string{"args.C: a *handover_test.guarded cannot be passed to another process: it has no file descriptor"}},
		{"nil in an interface", in{(*net.TCPConn)(nil)}, []string{"args.C: a nil *net.TCPConn in an interface"}},
		{"closed file", struct{ F *os.File }{closed}, []string{"args.F: ", "closed"}},
		{"net.Addr", struct{ A net.Addr }{client.LocalAddr()}, []string{"args.A: a net.Addr cannot be passed to another process; use the concrete type"}},
		{"tls listener", struct{ L net.Listener }{tls.NewListener(nil, nil)}, []string{"args.L: a *tls.listener cannot"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := handover.Marshal(c.v, "args")
			mustFail(t, err, c.want...)
		})
	}
	out := cross(t, []net.Conn{logged{server}, &logged{server}})
	say(t, client, out[0], "through a wrapper")
	say(t, client, out[1], "through a wrapper's pointer")
	if _, ok := out[0].(*net.TCPConn); !ok {
		t.Errorf("arrived as %T", out[0])
	}
	if closed := new(net.TCPConn); true {
		_, err := handover.Marshal(closed, "args")
		mustFail(t, err, "args: ")
	}
}

func TestWrongDescriptor(t *testing.T) {
	checkFDs(t)
	client, server := tcpPair(t)
	_ = client
	data, fds := ship(t, []net.Conn{server})
	for _, fd := range fds {
		unix.Close(fd)
	}
	null := func() []int { return []int{must(unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0))} }
	_, err := handover.Unmarshal(data, null(), new([]net.Conn))
	mustFail(t, err, "message[0]: ")
	_, err = handover.Unmarshal(data, null(), new([]*os.File))
	mustFail(t, err, "message[0]: a conn has come where a file is needed")
	_, err = handover.Unmarshal(data, null(), new([]*box))
	mustFail(t, err, "message[0]: ")
	_, err = handover.Unmarshal(data, null(), new([]net.Listener))
	mustFail(t, err, "message[0]: a conn has come where a listener is needed")

	data, fds = ship(t, []net.Conn{server})
	_, err = handover.Unmarshal(data, fds, new([]*net.UnixConn))
	mustFail(t, err, "message[0]: a *net.TCPConn has come, which is not a *net.UnixConn")
}

func TestDescriptorLimit(t *testing.T) {
	checkFDs(t)
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	r, w := must2(os.Pipe())
	defer r.Close()
	defer w.Close()
	many := make([]struct{ F *os.File }, 500)
	for i := range many {
		many[i].F = must(os.Open("/dev/null"))
		defer many[i].F.Close()
	}
	low := old
	low.Cur = 600
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	_, err := handover.Marshal(many, "args")
	if e := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); e != nil {
		t.Fatal(e)
	}
	mustFail(t, err, "args[", "].F: ", "raise RLIMIT_NOFILE")
	if !errors.Is(err, unix.EMFILE) || strings.Contains(err.Error(), "args[0]") {
		t.Errorf("%v", err)
	}
	// Without the limit all 500 go, more than one message of the kernel carries.
	if out := cross(t, many); out[499].F == nil {
		t.Error("the last one is missing")
	}
}

func TestKeep(t *testing.T) {
	checkFDs(t)
	data, fds := ship(t, []*box{newBox(t, "a"), newBox(t, "b")})
	var out []*box
	taken, err := handover.Unmarshal(data, fds, &out)
	if err != nil {
		t.Fatal(err)
	}
	if !taken.Keep(out[0]) || taken.Keep(out[0]) || taken.Keep("x") {
		t.Error("Keep")
	}
	taken.Close()
	if out[0].closed || !out[1].closed {
		t.Errorf("closed: kept %v, other %v", out[0].closed, out[1].closed)
	}
	out[0].Close()
}

package pipe_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/pipe"
)

// What happens to this end when the process with the other end dies or stops, by moment.

func init() {
	// Says that it runs, and then blocks inside a message that nobody reads.
	helpers["stick in a message"] = func(c *pipe.Conn) error {
		if err := c.Send("ready"); err != nil {
			return err
		}
		return c.SendBytes(make([]byte, 64<<20))
	}
	// Says that it runs, and then receives nothing for ever.
	helpers["ignore"] = func(c *pipe.Conn) error {
		if err := c.Send("ready"); err != nil {
			return err
		}
		select {}
	}
	// Stops itself after every message that it has echoed.
	helpers["stop"] = func(c *pipe.Conn) error {
		for {
			b, err := c.RecvBytes()
			if err == io.EOF {
				return nil
			}
			if err == nil {
				err = c.SendBytes(b)
			}
			if err != nil {
				return err
			}
			unix.Kill(os.Getpid(), unix.SIGSTOP)
		}
	}
	// Sends numbered messages of all sizes until it is killed.
	helpers["chatter"] = func(c *pipe.Conn) error {
		for i := 0; ; i++ {
			n := i * i * 131 % 70_000
			if err := c.Send(map[string]any{"i": i, "b": bytes.Repeat([]byte{byte(i)}, n)}); err != nil {
				return err
			}
		}
	}
	// Receives files with room for few, and tells how it went.
	helpers["few descriptors"] = func(c *pipe.Conn) error {
		var none int
		if err := c.Recv(&none); err != nil { // the poller exists from here on
			return err
		}
		before := len(openFDs())
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(before) + 10, Max: uint64(before) + 10}); err != nil {
			return err
		}
		if err := c.Send("ready"); err != nil { // the files must not have been read ahead by now
			return err
		}
		var files []*os.File
		err := c.Recv(&files)
		report := fewReport{EMFILE: errors.Is(err, syscall.EMFILE), Leaked: len(openFDs()) - before}
		if err != nil {
			report.Err = err.Error()
		}
		if err := c.Send(report); err != nil {
			return err
		}
		if err := c.Recv(&files); err != nil { // fewer
			return err
		}
		return c.Send(len(files))
	}
}

func init() {
	// Listens, with room for few clients; lets them go when there is no more.
	helpers["few clients"] = func(c *pipe.Conn) error {
		dir, err := os.MkdirTemp("", "p")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		l, err := pipe.Listen("unix", dir+"/s", pipe.Options{AuthKey: []byte("k")})
		if err != nil {
			return err
		}
		defer l.Close()
		limit := uint64(len(openFDs()) + 10)
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
			return err
		}
		if err := c.Send(l.Addr().String()); err != nil {
			return err
		}
		full := 0
		var open []*pipe.Conn
		for served := 0; served < 40; {
			client, err := l.Accept()
			if err == nil {
				served++
				open = append(open, client)
				continue
			}
			if !errors.Is(err, syscall.EMFILE) {
				return err
			}
			full++
			for _, client := range open {
				client.SendBytes(nil)
				client.Close()
			}
			open = nil
		}
		for _, client := range open {
			client.SendBytes(nil)
			client.Close()
		}
		return c.Send(full)
	}
}

// A listener that runs out of descriptors says so, and loses nobody.
func TestFewClients(t *testing.T) {
	c, peer := pair(t)
	p := start(t, "few clients", peer)
	var path string
	if err := c.Recv(&path); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	for range 40 {
		go func() {
			client, err := pipe.Dial(withTimeout(t), "unix", path, pipe.Options{AuthKey: []byte("k")})
			if err == nil {
				_, err = client.RecvBytes()
				client.Close()
			}
			done <- err
		}()
	}
	for range 40 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	var full int
	if err := c.Recv(&full); err != nil || full == 0 {
		t.Errorf("%d times out of descriptors, %v", full, err)
	}
	p.wait(t)
}

// Those who wait for messages that do not come use no CPU, however many they are and although each has spun for a moment.
func TestIdle(t *testing.T) {
	near, far := ends(t, 100)
	for i, c := range near {
		far[i].SendBytes(nil)
		go func() {
			for {
				if _, err := c.RecvBytes(); err != nil {
					return
				}
			}
		}()
	}
	waitParked(t, "pipe.(*Conn).RecvBytes")
	best := time.Duration(math.MaxInt64)
	for range 5 { // somebody else may need CPU here now and then: the runtime
		var before, after unix.Rusage
		unix.Getrusage(unix.RUSAGE_SELF, &before)
		time.Sleep(100 * time.Millisecond) // the window that is measured
		unix.Getrusage(unix.RUSAGE_SELF, &after)
		best = min(best, time.Duration(after.Utime.Nano()+after.Stime.Nano()-before.Utime.Nano()-before.Stime.Nano()))
	}
	if best > 5*time.Millisecond {
		t.Errorf("%v of CPU in 100 ms", best)
	}
}

type fewReport struct {
	EMFILE bool
	Err    string
	Leaked int
}

func expect(t *testing.T, c *pipe.Conn, want string) {
	t.Helper()
	var got string
	if err := c.Recv(&got); err != nil || got != want {
		t.Fatalf("%q, %v; want %q", got, err, want)
	}
}

func TestPeerKilledInMessage(t *testing.T) {
	c, peer := pair(t)
	p := start(t, "stick in a message", peer)
	expect(t, c, "ready")
	if ok, err := c.Poll(-1); !ok || err != nil { // the message has begun
		t.Fatal(ok, err)
	}
	c.SetReadDeadline(time.Now().Add(time.Millisecond))
	if _, err := c.RecvBytesInto(make([]byte, 10)); err == nil {
		t.Fatal("64 MiB arrived within a millisecond")
	}
	c.SetReadDeadline(time.Time{})
	received := make(chan error)
	go func() {
		_, err := c.RecvBytes()
		received <- err
	}()
	p.Process.Kill()
	// It may have been done just before; then this is the end that follows.
	switch err := <-received; {
	case errors.Is(err, io.ErrUnexpectedEOF):
	case err == nil:
		if _, err := c.RecvBytes(); err != io.EOF {
			t.Errorf("got %v", err)
		}
	default:
		t.Errorf("got %v", err)
	}
}

func TestPeerKilledWhileWeSend(t *testing.T) {
	c, peer := pair(t)
	p := start(t, "ignore", peer)
	expect(t, c, "ready")
	sent := make(chan error)
	go func() { sent <- c.SendBytes(make([]byte, 64<<20)) }()
	waitParked(t, "pipe.(*Conn).SendBytes")
	p.Process.Kill()
	if err := <-sent; !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("Send: %v", err)
	}
	if _, err := c.RecvBytes(); !errors.Is(err, syscall.ECONNRESET) && err != io.EOF {
		t.Errorf("Recv: %v", err)
	}
}

func TestPeerKilledWhileWeReceive(t *testing.T) {
	c, peer := pair(t)
	p := start(t, "ignore", peer)
	expect(t, c, "ready")
	received := make(chan error)
	go func() {
		_, err := c.RecvBytes()
		received <- err
	}()
	waitParked(t, "pipe.(*Conn).RecvBytes")
	p.Process.Kill()
	if err := <-received; err != io.EOF {
		t.Errorf("Recv: %v", err)
	}
	if err := c.SendBytes(nil); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("Send: %v", err)
	}
}

func TestPeerStopped(t *testing.T) {
	c, peer := pair(t)
	p := start(t, "stop", peer)
	if err := c.SendBytes([]byte("one")); err != nil {
		t.Fatal(err)
	}
	if b, err := c.RecvBytes(); err != nil || string(b) != "one" {
		t.Fatal(b, err)
	}
	waitStopped(t, p.Process.Pid)

	// It cannot be told from a slow one, so only deadlines end this.
	c.SetDeadline(time.Now().Add(50 * time.Millisecond))
	if err := c.SendBytes([]byte("two")); err != nil { // fits in the buffers
		t.Fatal(err)
	}
	if _, err := c.RecvBytes(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Recv: %v", err)
	}
	if ok, err := c.Poll(time.Millisecond); ok || err != nil {
		t.Errorf("Poll: %v, %v", ok, err)
	}
	c.SetDeadline(time.Time{})
	p.Process.Signal(syscall.SIGCONT)
	if b, err := c.RecvBytes(); err != nil || string(b) != "two" {
		t.Errorf("after it went on: %q, %v", b, err)
	}
	waitStopped(t, p.Process.Pid)
	p.Process.Signal(syscall.SIGCONT)
	c.Close()
	p.wait(t)
}

func waitStopped(t *testing.T, pid int) {
	t.Helper()
	for range 60000 {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Skip(err)
		}
		if i := bytes.LastIndexByte(b, ')'); i > 0 && b[i+2] == 'T' {
			return
		}
		time.Sleep(time.Millisecond) // nothing tells
	}
	t.Fatalf("process %d has not stopped", pid)
}

// A sender is killed at any moment: every message but the last is whole.
func TestKillStorm(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	rounds := 12
	if testing.Short() {
		rounds = 5
	}
	for range rounds {
		c, peer := pair(t)
		p := start(t, "chatter", peer)
		last := random.IntN(300)
		for i := 0; ; i++ {
			if i == last {
				p.Process.Kill()
			}
			var m struct {
				I int    `cbor:"i"`
				B []byte `cbor:"b"`
			}
			err := c.Recv(&m)
			if err != nil {
				if i < last || err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatalf("message %d of %d: %v", i, last, err)
				}
				break
			}
			if m.I != i || len(m.B) != i*i*131%70_000 || len(bytes.Trim(m.B, string([]byte{byte(i)}))) != 0 {
				t.Fatalf("message %d is %d, with %d bytes", i, m.I, len(m.B))
			}
		}
		c.Close()
	}
}

// What was on its way to a process that dies is closed by the kernel: nobody waits for ever at the other ends.
func TestHandlesInFlight(t *testing.T) {
	c, peer := pair(t)
	p := start(t, "ignore", peer)
	expect(t, c, "ready")
	near, far := pair(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := c.Send(struct {
		End  *pipe.Conn
		File *os.File
	}{far, w}); err != nil {
		t.Fatal(err)
	}
	w.Close()
	p.Process.Kill()
	if _, err := near.RecvBytes(); err != io.EOF {
		t.Errorf("the end's peer: %v", err)
	}
	if b, err := io.ReadAll(r); len(b) != 0 || err != nil {
		t.Errorf("the file's peer: %q, %v", b, err)
	}
}

func TestFewDescriptors(t *testing.T) {
	c, peer := pair(t)
	p := start(t, "few descriptors", peer)
	files := make([]*os.File, 20)
	for i := range files {
		var err error
		if files[i], err = os.Open(os.DevNull); err != nil {
			t.Fatal(err)
		}
		defer files[i].Close()
	}
	if err := c.Send(0); err != nil {
		t.Fatal(err)
	}
	expect(t, c, "ready")
	if err := c.Send(files); err != nil {
		t.Fatal(err)
	}
	var report fewReport
	if err := c.Recv(&report); err != nil {
		t.Fatalf("%v\n%s", err, &p.stderr)
	}
	if !report.EMFILE || !errorsContain(errors.New(report.Err), "RLIMIT_NOFILE") {
		t.Errorf("Recv: %s", report.Err)
	}
	if report.Leaked != 0 {
		t.Errorf("%d descriptors leaked", report.Leaked)
	}
	var n int
	if err := errors.Join(c.Send(files[:3]), c.Recv(&n)); err != nil || n != 3 {
		t.Errorf("the next message: %d files, %v", n, err)
	}
	p.wait(t)
}

// Somebody who announces a lot gets no memory for it.
func TestLiar(t *testing.T) {
	for _, long := range []bool{false, true} {
		c, fd := rawPair(t)
		header := []byte{0x3f, 0xff, 0xff, 0xff}
		if long {
			c.SetMaxMessage(1 << 60)
			header = []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
		}
		unix.Write(fd, header)
		unix.Write(fd, make([]byte, 100))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		c.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := c.RecvBytes(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 2<<20 {
			t.Errorf("%d bytes were allocated for 100", got)
		}
		unix.Close(fd)
	}
}

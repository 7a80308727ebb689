package wire_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/wire"
)

const max = 1 << 30

// pair returns two connected ends that are closed with the test.
func pair(t testing.TB) (a, b *wire.Conn) {
	t.Helper()
	a, b, err := wire.Pair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// rawPair returns a Conn and the bare descriptor of its peer.
func rawPair(t testing.TB) (*wire.Conn, int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	c, err := wire.New(fds[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, fds[1]
}

func write(t testing.TB, fd int, b []byte) {
	t.Helper()
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		if err != nil {
			t.Fatal(err)
		}
		b = b[n:]
	}
}

func frame(payload []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(payload))), payload...)
}

func pattern(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func openFDs(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestFrames(t *testing.T) {
	sizes := []int{0, 1, 3, 4, 63, 64, 4095, 8 << 10, 8<<10 - 4, 8<<10 - 3, 8<<10 - 5, 16 << 10, 16<<10 - 1, 16<<10 + 1, 1<<20 - 1, 1 << 20, 1<<20 + 1, 3<<20 + 7, 5 << 20}
	a, b := pair(t)
	for round := range 3 {
		done := make(chan error, 1)
		go func() {
			for _, n := range sizes {
				if err := a.WriteFrame(pattern(n), nil); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
		for _, n := range sizes {
			var buf []byte
			switch round {
			case 1:
				buf = make([]byte, n)
			case 2:
				buf = make([]byte, n/2)
			}
			got, fds, err := b.ReadFrameInto(buf, max)
			if err != nil || fds != nil {
				t.Fatalf("size %d: %v, %d descriptors", n, err, len(fds))
			}
			if !bytes.Equal(got, pattern(n)) {
				t.Fatalf("size %d: other bytes arrived (%d of them)", n, len(got))
			}
			if round == 1 && n > 0 && &got[0] != &buf[0] {
				t.Errorf("size %d: a buffer that was large enough was not used", n)
			}
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

// Every way to cut a stream of frames into pieces gives the same frames.
func TestPieces(t *testing.T) {
	var stream []byte
	payloads := [][]byte{{}, {1}, pattern(10), pattern(300), {}, {}}
	for _, p := range payloads {
		stream = append(stream, frame(p)...)
	}
	for cut := 1; cut < len(stream); cut++ {
		c, fd := rawPair(t)
		write(t, fd, stream[:cut])
		var got [][]byte
		read := func() {
			for {
				c.SetReadDeadline(time.Now().Add(time.Millisecond))
				b, _, err := c.ReadFrame(max)
				if errors.Is(err, os.ErrDeadlineExceeded) {
					return
				}
				if err == io.EOF {
					return
				}
				if err != nil {
					t.Fatalf("cut at %d: %v", cut, err)
				}
				got = append(got, b)
			}
		}
		read() // ends by deadline, within a frame more often than not
		write(t, fd, stream[cut:])
		unix.Close(fd)
		read()
		if len(got) != len(payloads) {
			t.Fatalf("cut at %d: %d frames instead of %d", cut, len(got), len(payloads))
		}
		for i := range got {
			if !bytes.Equal(got[i], payloads[i]) {
				t.Errorf("cut at %d: frame %d is %x", cut, i, got[i])
			}
		}
		c.Close()
	}
}

func TestBadStreams(t *testing.T) {
	long := func(n uint64) []byte { return binary.BigEndian.AppendUint64([]byte{0xff, 0xff, 0xff, 0xff}, n) }
	for _, tt := range []struct {
		name   string
		stream []byte
		want   error
		sticky bool
	}{
		{"nothing", nil, io.EOF, true},
		{"half a header", []byte{0, 0}, io.ErrUnexpectedEOF, true},
		{"header only", []byte{0, 0, 0, 5}, io.ErrUnexpectedEOF, true},
		{"half a payload", []byte{0, 0, 0, 5, 1, 2}, io.ErrUnexpectedEOF, true},
		{"half a long header", long(5)[:9], io.ErrUnexpectedEOF, true},
		{"length of -2", append([]byte{0xff, 0xff, 0xff, 0xfe}, frame([]byte("x"))...), wire.ErrProtocol, true},
		{"lowest length", []byte{0x80, 0, 0, 0}, wire.ErrProtocol, true},
		{"2 GiB", []byte{0x7f, 0xff, 0xff, 0xff, 1}, wire.ErrTooLarge, true},
		{"8 EiB", long(1 << 62), wire.ErrTooLarge, true},
		{"more than an int", long(1<<64 - 1), wire.ErrProtocol, true},
		{"a liar", append([]byte{0x30, 0, 0, 0}, pattern(100)...), io.ErrUnexpectedEOF, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, fd := rawPair(t)
			write(t, fd, tt.stream)
			unix.Close(fd)
			for range 2 {
				b, _, err := c.ReadFrame(max)
				if !errors.Is(err, tt.want) {
					t.Fatalf("got %d bytes and %v; want %v", len(b), err, tt.want)
				}
			}
		})
	}
}

// A long header with a small length is what nobody sends, and legal.
func TestLongHeader(t *testing.T) {
	c, fd := rawPair(t)
	defer unix.Close(fd)
	write(t, fd, append([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 3}, "abc"...))
	b, _, err := c.ReadFrame(max)
	if err != nil || string(b) != "abc" {
		t.Errorf("got %q, %v", b, err)
	}
}

// numbered returns n descriptors of files, each of which holds its own number.
func numbered(t testing.TB, n int) (fds []int) {
	for i := range n {
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		fd, err := unix.Dup(int(f.Fd()))
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		write(t, fd, []byte(strconv.Itoa(i)))
		fds = append(fds, fd)
	}
	return fds
}

func checkNumbered(t testing.TB, fds []int, first, n int) {
	t.Helper()
	if len(fds) != n {
		t.Fatalf("%d descriptors arrived, not %d", len(fds), n)
	}
	for i, fd := range fds {
		b := make([]byte, 20)
		m, err := unix.Pread(fd, b, 0)
		if err != nil || string(b[:m]) != strconv.Itoa(first+i) {
			t.Fatalf("descriptor %d is %q (%v), not %d", i, b[:m], err, first+i)
		}
		if flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("descriptor %d would be inherited by every child", i)
		}
		unix.Close(fd)
	}
}

// Descriptors come out with the frame that they went in with, however many frames one receive takes.
func TestRights(t *testing.T) {
	a, b := pair(t)
	sent := []struct{ size, fds int }{{5, 0}, {0, 0}, {5, 2}, {7, 0}, {0, 1}, {0, 3}, {9000, 1}, {100, 253}, {1, 254}, {30, 600}, {64, 0}, {1 << 20, 1}, {3, 0}, {3, 1}}
	fds := numbered(t, 700)
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	before := openFDs(t)
	writeAll := func() error {
		for _, s := range sent {
			if err := a.WriteFrame(pattern(s.size), fds[:s.fds]); err != nil {
				return err
			}
		}
		return nil
	}
	done := make(chan error, 1)
	go func() { done <- writeAll() }()
	for i, s := range sent {
		got, rights, err := b.ReadFrame(max)
		if err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
		if !bytes.Equal(got, pattern(s.size)) {
			t.Fatalf("frame %d: other bytes", i)
		}
		checkNumbered(t, rights, 0, s.fds)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if after := openFDs(t); after != before {
		t.Errorf("%d descriptors open before, %d after", before, after)
	}
}

// All that fits is in the buffer before the first read, so that one receive crosses frames.
func TestRightsReadAhead(t *testing.T) {
	for plain := range 4 {
		a, b := pair(t)
		fds := numbered(t, 2)
		for i := range plain {
			if err := a.WriteFrame([]byte{byte(i)}, nil); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 2 {
			if err := a.WriteFrame([]byte("with"), fds[i:i+1]); err != nil {
				t.Fatal(err)
			}
			if err := a.WriteFrame([]byte("without"), nil); err != nil {
				t.Fatal(err)
			}
			unix.Close(fds[i])
		}
		for i := range plain {
			got, rights, err := b.ReadFrame(max)
			if err != nil || len(got) != 1 || got[0] != byte(i) || rights != nil {
				t.Fatalf("%d plain frames: frame %d is %q with %d descriptors, %v", plain, i, got, len(rights), err)
			}
		}
		for i := range 2 {
			got, rights, err := b.ReadFrame(max)
			if err != nil || string(got) != "with" {
				t.Fatalf("%d plain frames: %q, %v", plain, got, err)
			}
			checkNumbered(t, rights, i, 1)
			got, rights, err = b.ReadFrame(max)
			if err != nil || string(got) != "without" || rights != nil {
				t.Fatalf("%d plain frames: %q with %d descriptors, %v", plain, got, len(rights), err)
			}
		}
	}
}

// Descriptors that nobody read are closed with the Conn.
func TestRightsDropped(t *testing.T) {
	before := openFDs(t)
	a, b, err := wire.Pair()
	if err != nil {
		t.Fatal(err)
	}
	fds := numbered(t, 3)
	a.WriteFrame([]byte("one"), nil)
	a.WriteFrame([]byte("two"), fds)
	if got, _, err := b.ReadFrame(max); err != nil || string(got) != "one" {
		t.Fatal(got, err)
	}
	for _, fd := range fds {
		unix.Close(fd)
	}
	a.Close()
	b.Close()
	if after := openFDs(t); after != before {
		t.Errorf("%d descriptors open before, %d after", before, after)
	}
}

func TestRightsOverTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	f, err := nc.(*net.TCPConn).File()
	nc.Close()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Dup(int(f.Fd()))
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	c, err := wire.New(fd)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.CarriesRights() {
		t.Error("a TCP connection says that it carries descriptors")
	}
	if err := c.WriteFrame([]byte("x"), []int{0}); err == nil {
		t.Error("a descriptor went over TCP")
	}
	if err := c.WriteFrame([]byte("x"), nil); err != nil {
		t.Errorf("a refused message spoiled the connection: %v", err)
	}
}

func TestDeadline(t *testing.T) {
	a, b := pair(t)
	b.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	start := time.Now()
	if _, _, err := b.ReadFrame(max); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	if d := time.Since(start); d < 15*time.Millisecond {
		t.Errorf("deadline after %v", d)
	}
	b.SetReadDeadline(time.Time{})

	a.SetWriteDeadline(time.Now().Add(-time.Second))
	if err := a.WriteFrame([]byte("x"), nil); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	large := make([]byte, 100<<20)
	a.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	if err := a.WriteFrame(large, nil); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("100 MiB that nobody reads: %v", err)
	}
	a.SetWriteDeadline(time.Time{})
	if err := a.WriteFrame([]byte("x"), nil); !errors.Is(err, wire.ErrTorn) {
		t.Errorf("after half a frame: %v", err)
	}
}

func TestClose(t *testing.T) {
	a, b := pair(t)
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			var err error
			if i < 3 {
				_, _, err = b.ReadFrame(max)
			} else {
				err = b.WriteFrame(make([]byte, 64<<20), nil)
			}
			if !errors.Is(err, fs.ErrClosed) {
				t.Errorf("a blocked caller got %v", err)
			}
		})
	}
	// One byte of the large frame says that a writer is at it.
	if err := a.Control(func(fd int) error {
		for {
			if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1); err != unix.EINTR {
				return err
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if err := b.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, _, err := b.ReadFrame(max); !errors.Is(err, fs.ErrClosed) {
		t.Error(err)
	}
	if err := b.WriteFrame(nil, nil); !errors.Is(err, fs.ErrClosed) {
		t.Error(err)
	}
	if err := b.SetDeadline(time.Now()); !errors.Is(err, fs.ErrClosed) {
		t.Error(err)
	}
	if err := a.WriteFrame([]byte("x"), nil); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("write to a closed peer: %v", err)
	}
}

// Frames of many writers and many readers stay whole.
func TestConcurrent(t *testing.T) {
	a, b := pair(t)
	const writers, each = 8, 200
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				payload := bytes.Repeat([]byte{byte(w)}, 1+(i*i*97)%20000)
				if err := a.WriteFrame(payload, nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	frames := make(chan []byte)
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				p, _, err := b.ReadFrame(max)
				if err == io.EOF {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				frames <- p
			}
		})
	}
	go func() { wg.Wait(); a.Close(); readers.Wait(); close(frames) }()
	n := 0
	for p := range frames {
		n++
		for _, x := range p {
			if x != p[0] {
				t.Fatal("a frame holds bytes of another")
			}
		}
	}
	if n != writers*each {
		t.Errorf("%d frames of %d", n, writers*each)
	}
}

// A socket moves with all that was received and not read.
func TestMove(t *testing.T) {
	for _, tt := range []struct {
		name string
		cut  int // bytes of the last frame that arrive before the move
	}{{"whole", 5004}, {"none", 0}, {"half a header", 2}, {"header", 4}, {"half a payload", 3000}} {
		t.Run(tt.name, func(t *testing.T) {
			c, fd := rawPair(t)
			defer unix.Close(fd)
			rights := numbered(t, 2)
			last := frame(pattern(5000))
			send := func(b []byte, fds ...int) {
				if err := unix.Sendmsg(fd, b, unix.UnixRights(fds...), nil, 0); err != nil {
					t.Fatal(err)
				}
			}
			write(t, fd, frame([]byte("first")))
			write(t, fd, frame([]byte("second")))
			send(frame([]byte("third")), rights[0])
			if tt.cut > 0 {
				send(last[:tt.cut], rights[1])
			}
			if b, _, err := c.ReadFrame(max); err != nil || string(b) != "first" {
				t.Fatal(b, err)
			}
			if tt.cut == 3000 { // go into the frame, too
				for _, want := range []string{"second", "third"} {
					b, fds, err := c.ReadFrame(max)
					if err != nil || string(b) != want {
						t.Fatal(b, err)
					}
					if want == "third" {
						checkNumbered(t, fds, 0, 1)
					}
				}
				c.SetReadDeadline(time.Now().Add(time.Millisecond))
				if _, _, err := c.ReadFrameInto(make([]byte, 5000), max); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatal(err)
				}
			}
			backlog, err := c.BeginMove()
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := c.ReadFrame(max); !errors.Is(err, wire.ErrMoving) {
				t.Error(err)
			}
			if _, err := c.BeginMove(); !errors.Is(err, wire.ErrMoving) {
				t.Error(err)
			}
			c.AbortMove()
			if backlog, err = c.BeginMove(); err != nil {
				t.Fatal(err)
			}
			moved, err := c.Dup()
			if err != nil {
				t.Fatal(err)
			}
			for i, fds := range backlog.Rights {
				backlog.Rights[i] = nil
				for _, fd := range fds {
					dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
					if err != nil {
						t.Fatal(err)
					}
					backlog.Rights[i] = append(backlog.Rights[i], dup)
				}
			}
			c.Close()
			d, err := wire.New(moved)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			if err := d.Restore(backlog); err != nil {
				t.Fatal(err)
			}
			write(t, fd, last[tt.cut:])
			write(t, fd, frame(nil))
			wants := []string{"second", "third"}
			if tt.cut == 3000 {
				wants = nil
			}
			for _, want := range wants {
				b, fds, err := d.ReadFrame(max)
				if err != nil || string(b) != want {
					t.Fatalf("%q, %v; want %s", b, err, want)
				}
				if want == "third" {
					checkNumbered(t, fds, 0, 1)
				}
			}
			b, fds, err := d.ReadFrame(max)
			if err != nil || !bytes.Equal(b, pattern(5000)) {
				t.Fatalf("%d bytes, %v", len(b), err)
			}
			if tt.cut > 0 {
				checkNumbered(t, fds, 1, 1)
			}
			if b, _, err := d.ReadFrame(max); err != nil || len(b) != 0 {
				t.Fatal(b, err)
			}
			for _, fd := range rights {
				unix.Close(fd)
			}
		})
	}
}

func TestNew(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	fd, _ := unix.Dup(int(r.Fd()))
	if _, err := wire.New(fd); !errors.Is(err, syscall.ENOTSOCK) {
		t.Errorf("a pipe: %v", err)
	}
	if err := unix.Close(fd); err != unix.EBADF {
		t.Errorf("New kept a descriptor open that it refused: %v", err)
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[1])
	if _, err := wire.New(fds[0]); err == nil {
		t.Error("a datagram socket was taken")
	}
}

// A payload above 2 GiB has the long header. Its pages are never touched but by the kernel, which has one page of zeros for all.
func TestWriteLongHeader(t *testing.T) {
	const size = 1<<31 + 5
	huge, err := unix.Mmap(-1, 0, size, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Skip(err)
	}
	defer unix.Munmap(huge)
	c, fd := rawPair(t)
	defer unix.Close(fd)
	c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	if err := c.WriteFrame(huge, nil); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	header := make([]byte, 13)
	if n, err := unix.Read(fd, header); n != len(header) || err != nil {
		t.Fatal(n, err)
	}
	if want := []byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0x80, 0, 0, 5, 0}; !bytes.Equal(header, want) {
		t.Errorf("header %x, not %x", header, want)
	}
}

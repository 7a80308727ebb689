package pipe_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/verify"
	"github.com/go-multiproc/multiproc/pipe"
)

type order struct {
	ID    int
	Lines []string
	At    time.Time
	Note  map[string]any
}

func someOrder() order {
	return order{7, []string{"a", "\xff not UTF-8"}, time.Date(2024, 2, 29, 1, 2, 3, 4, time.UTC), map[string]any{"n": int64(3), "s": "超"}}
}

func pattern(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n)}).Read(b)
	return b
}

func TestObjects(t *testing.T) {
	a, b := pair(t)
	for _, c := range [][2]*pipe.Conn{{a, b}, {b, a}} {
		if err := c[0].Send(someOrder()); err != nil {
			t.Fatal(err)
		}
		var got order
		if err := c[1].Recv(&got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, someOrder()) {
			t.Errorf("got %+v", got)
		}
	}
	// A big one, and one after it.
	numbers := make([]int, 300_000)
	for i := range numbers {
		numbers[i] = i
	}
	go func() {
		a.Send(numbers)
		a.Send("end")
	}()
	var got []int
	if err := b.Recv(&got); err != nil || !reflect.DeepEqual(got, numbers) {
		t.Fatalf("%d numbers, %v", len(got), err)
	}
	var end string
	if err := b.Recv(&end); err != nil || end != "end" {
		t.Fatal(end, err)
	}
}

// What was received must not change when the buffer that it came through is used again.
func TestRecvKeepsNothing(t *testing.T) {
	a, b := pair(t)
	type message struct {
		B []byte
		S string
		A any
	}
	var first message
	a.Send(message{[]byte("first"), "first", []byte("first")})
	if err := b.Recv(&first); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		var m message
		a.Send(message{[]byte("other"), "other", []byte("other")})
		if err := b.Recv(&m); err != nil {
			t.Fatal(err)
		}
	}
	if !reflect.DeepEqual(first, message{[]byte("first"), "first", []byte("first")}) {
		t.Errorf("an earlier message has become %+v", first)
	}
}

func TestBytes(t *testing.T) {
	a, b := pair(t)
	for _, n := range []int{0, 1, 64, 16<<10 - 1, 16 << 10, 16<<10 + 1, 1 << 20, 20 << 20} {
		go func() {
			for range 3 {
				if err := a.SendBytes(pattern(n)); err != nil {
					t.Error(err)
				}
			}
		}()
		got, err := b.RecvBytes()
		if err != nil || got == nil || !bytes.Equal(got, pattern(n)) {
			t.Fatalf("%d bytes: got %d, %v", n, len(got), err)
		}
		buf := make([]byte, n+3)
		m, err := b.RecvBytesInto(buf)
		if err != nil || !bytes.Equal(buf[:m], pattern(n)) {
			t.Fatalf("%d bytes: got %d, %v", n, m, err)
		}
		if n == 0 {
			b.RecvBytes()
			continue
		}
		_, err = b.RecvBytesInto(make([]byte, n-1, n+1)) // what is behind the length is none of ours
		var short *pipe.TooShortError
		if !errors.Is(err, pipe.ErrTooShort) || !errors.As(err, &short) || !bytes.Equal(short.Message, pattern(n)) {
			t.Fatalf("%d bytes into a buffer of one less: %v", n, err)
		}
	}
}

func TestOneWay(t *testing.T) {
	r, w, err := pipe.NewOneWay()
	if err != nil {
		t.Fatal(err)
	}
	closeWith(t, r, w)
	if err := w.Send("x"); err != nil {
		t.Fatal(err)
	}
	if ok, err := r.Poll(-1); !ok || err != nil {
		t.Fatal(ok, err)
	}
	var s string
	if err := r.Recv(&s); err != nil || s != "x" {
		t.Fatal(s, err)
	}
	_, bytesErr := w.RecvBytes()
	_, intoErr := w.RecvBytesInto(nil)
	_, pollErr := w.Poll(0)
	for _, tt := range []struct {
		name      string
		got, want error
	}{
		{"Send", r.Send(1), pipe.ErrReadOnly},
		{"SendBytes", r.SendBytes(nil), pipe.ErrReadOnly},
		{"Recv", w.Recv(&s), pipe.ErrWriteOnly},
		{"RecvBytes", bytesErr, pipe.ErrWriteOnly},
		{"RecvBytesInto", intoErr, pipe.ErrWriteOnly},
		{"Poll", pollErr, pipe.ErrWriteOnly},
	} {
		if !errors.Is(tt.got, tt.want) {
			t.Errorf("%s against the direction: %v", tt.name, tt.got)
		}
	}
	w.Close()
	if err := r.Recv(&s); err != io.EOF {
		t.Errorf("after the writer closed: %v", err)
	}
	r2, w2, _ := pipe.NewOneWay()
	r2.Close()
	if err := w2.Send(1); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("after the reader closed: %v", err)
	}
	w2.Close()
}

func TestZeroConn(t *testing.T) {
	var c pipe.Conn
	if c.Send(1) == nil || c.Recv(new(int)) == nil || c.SetDeadline(time.Time{}) == nil {
		t.Error("a Conn that nobody made works")
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	a, _ := pair(t)
	if err := a.Send(&c); err == nil || !strings.Contains(err.Error(), "message: ") {
		t.Errorf("sending it: %v", err)
	}
}

func TestEnd(t *testing.T) {
	t.Run("clean", func(t *testing.T) {
		a, b := pair(t)
		a.Send("last")
		a.Close()
		var s string
		if err := b.Recv(&s); err != nil || s != "last" {
			t.Fatal(s, err)
		}
		for range 2 {
			if err := b.Recv(&s); err != io.EOF {
				t.Fatalf("got %v", err)
			}
		}
	})
	t.Run("messages unread", func(t *testing.T) {
		a, b := pair(t)
		b.Send("never read")
		a.Send("last")
		a.Close()
		var s string
		if err := b.Recv(&s); err != nil || s != "last" {
			t.Fatal(s, err)
		}
		if err := b.Recv(&s); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("got %v", err)
		}
		if err := b.Recv(&s); err != io.EOF {
			t.Errorf("got %v", err)
		}
		if err := b.Send("x"); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("got %v", err)
		}
	})
}

func frame(payload []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(payload))), payload...)
}

func TestHostilePeer(t *testing.T) {
	for _, tt := range []struct {
		name   string
		stream []byte
		want   error
	}{
		{"half a header", []byte{0, 0}, io.ErrUnexpectedEOF},
		{"truncated", []byte{0, 0, 0, 9, 'x'}, io.ErrUnexpectedEOF},
		{"length of -2", []byte{0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 0}, pipe.ErrProtocol},
		{"2 GiB", []byte{0x7f, 0xff, 0xff, 0xff}, pipe.ErrTooLarge},
		{"1 GiB and a byte", []byte{0x40, 0, 0, 1}, pipe.ErrTooLarge},
		{"1 GiB that does not come", append([]byte{0x40, 0, 0, 0}, make([]byte, 5000)...), io.ErrUnexpectedEOF},
		{"longest", []byte{0xff, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, pipe.ErrProtocol},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, fd := rawPair(t)
			if _, err := unix.Write(fd, tt.stream); err != nil {
				t.Fatal(err)
			}
			unix.Shutdown(fd, unix.SHUT_WR)
			defer unix.Close(fd)
			var err error
			var v any
			for range 2 { // it stays so
				if err = c.Recv(&v); !errors.Is(err, tt.want) {
					t.Fatalf("Recv: %v; want %v", err, tt.want)
				}
			}
			if !strings.HasPrefix(err.Error(), "pipe: ") {
				t.Errorf("text: %v", err)
			}
			if ok, err := c.Poll(-1); !ok || err != nil {
				t.Errorf("Poll: %v, %v", ok, err)
			}
			if err := c.SendBytes([]byte("x")); err != nil {
				t.Errorf("the other direction suffers: %v", err)
			}
		})
	}
}

func TestGarbage(t *testing.T) {
	a, b := pair(t)
	for _, garbage := range []string{"", "\xff", "\x1f", "\x5b\xff\xff\xff\xff\xff\xff\xff\xff", "\x9b\x7f\xff\xff\xff\xff\xff\xff\xff", "\x01\x01", strings.Repeat("\x81", 200_000), "\x80\x04K\x01."} {
		if err := a.SendBytes([]byte(garbage)); err != nil {
			t.Fatal(err)
		}
		var v any
		if err := b.Recv(&v); err == nil || !strings.HasPrefix(err.Error(), "pipe: recv: ") {
			t.Errorf("%.20q: %v, %v", garbage, v, err)
		}
	}
	a.Send("not a number")
	var n int
	if err := b.Recv(&n); err == nil {
		t.Error("a string in an int")
	}
	a.Send(5)
	if err := b.Recv(&n); err != nil || n != 5 {
		t.Errorf("after garbage: %d, %v", n, err)
	}
}

func TestMaxMessage(t *testing.T) {
	a, b := pair(t)
	b.SetMaxMessage(100)
	a.SendBytes(make([]byte, 100))
	if _, err := b.RecvBytes(); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, -1} { // as much as usual
		b.SetMaxMessage(n)
		a.SendBytes(make([]byte, 101))
		if _, err := b.RecvBytes(); err != nil {
			t.Errorf("SetMaxMessage(%d): %v", n, err)
		}
	}
	b.SetMaxMessage(100)
	a.SendBytes(make([]byte, 101))
	if _, err := b.RecvBytes(); !errors.Is(err, pipe.ErrTooLarge) {
		t.Error(err)
	}
}

// SetDeadline is both deadlines, each of which ends those who are blocked by it already.
func TestSetDeadlineIsBoth(t *testing.T) {
	a, _ := pair(t)
	recv := verify.Blocks(t, "Recv", func() error { return a.Recv(new(int)) })
	send := verify.Blocks(t, "SendBytes", func() error { return a.SendBytes(make([]byte, 8<<20)) })
	if err := a.SetDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{"Recv": recv(), "SendBytes": send()} {
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestPoll(t *testing.T) {
	checkLeaks(t)
	a, b := pair(t)
	poll := func(d time.Duration, want bool) {
		t.Helper()
		ok, err := b.Poll(d)
		if ok != want || err != nil {
			t.Fatalf("Poll(%v) = %v, %v", d, ok, err)
		}
	}
	poll(0, false)
	poll(5*time.Millisecond, false)
	go a.SendBytes([]byte("one"))
	poll(-1, true)
	a.SendBytes([]byte("two"))
	a.SendBytes([]byte("three"))
	poll(0, true)
	for range 3 { // the later ones are read ahead by then
		poll(0, true)
		poll(-1, true)
		if _, err := b.RecvBytes(); err != nil {
			t.Fatal(err)
		}
	}
	poll(0, false)
	b.SetReadDeadline(time.Now().Add(-time.Second))
	poll(time.Millisecond, false)
	a.Close()
	poll(0, true)
	poll(-1, true)

	c, d := pair(t)
	polled := make(chan error)
	go func() {
		_, err := c.Poll(-1)
		polled <- err
	}()
	waitParked(t, "pipe.(*waiter).block")
	c.Close()
	if err := <-polled; !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Poll when closed: %v", err)
	}
	if _, err := c.Poll(0); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Poll after Close: %v", err)
	}
	d.Close()
}

// waitParked waits until a goroutine stands in function.
func waitParked(t testing.TB, function string) {
	t.Helper()
	for range 60000 {
		buf := make([]byte, 1<<20)
		for g := range strings.SplitSeq(stacks(buf), "\n\n") {
			if strings.Contains(g, function) && strings.Contains(g, "IO wait") {
				return
			}
		}
		time.Sleep(time.Millisecond) // nothing tells
	}
	t.Fatalf("no goroutine has parked in %s", function)
}

func TestDeadlines(t *testing.T) {
	a, b := pair(t)
	for _, d := range []time.Duration{-time.Second, 10 * time.Millisecond} {
		b.SetReadDeadline(time.Now().Add(d))
		if _, err := b.RecvBytes(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("deadline in %v: %v", d, err)
		}
	}
	// One that is blocked sees a new deadline.
	b.SetReadDeadline(time.Time{})
	done := make(chan error)
	go func() {
		_, err := b.RecvBytes()
		done <- err
	}()
	waitParked(t, "pipe.(*Conn).RecvBytes")
	b.SetReadDeadline(time.Now())
	if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	b.SetDeadline(time.Time{})

	large := make([]byte, 32<<20)
	a.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	if err := a.SendBytes(large); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	a.SetWriteDeadline(time.Time{})
	for range 2 {
		if err := a.SendBytes([]byte("x")); !errors.Is(err, pipe.ErrTorn) {
			t.Errorf("after half a message: %v", err)
		}
	}
	b.SendBytes([]byte("y"))
	if got, err := a.RecvBytes(); err != nil || string(got) != "y" {
		t.Errorf("the other direction: %q, %v", got, err)
	}
}

// A deadline inside a message loses nothing, whichever calls follow each other.
func TestDeadlineInMessage(t *testing.T) {
	payload := pattern(300_000)
	stream := append(frame(payload), frame([]byte("next"))...)
	recv := map[string]func(c *pipe.Conn) ([]byte, error){
		"RecvBytes": (*pipe.Conn).RecvBytes,
		"RecvBytesInto": func(c *pipe.Conn) ([]byte, error) {
			b := make([]byte, 400_000)
			n, err := c.RecvBytesInto(b)
			return b[:n], err
		},
		"too short": func(c *pipe.Conn) ([]byte, error) {
			_, err := c.RecvBytesInto(nil)
			if short := (*pipe.TooShortError)(nil); errors.As(err, &short) {
				return short.Message, nil
			}
			return nil, err
		},
	}
	for first, recv1 := range recv {
		for second, recv2 := range recv {
			t.Run(first+", "+second, func(t *testing.T) {
				c, fd := rawPair(t)
				defer unix.Close(fd)
				for _, cut := range [][]byte{stream[:2], stream[2:4], stream[4:5], stream[5:10_000], stream[10_000:100_000]} {
					if _, err := unix.Write(fd, cut); err != nil {
						t.Fatal(err)
					}
					c.SetReadDeadline(time.Now().Add(time.Millisecond))
					if b, err := recv1(c); !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Fatalf("%d bytes, %v", len(b), err)
					}
				}
				c.SetReadDeadline(time.Time{})
				go unix.Write(fd, stream[100_000:])
				b, err := recv2(c)
				if err != nil || !bytes.Equal(b, payload) {
					t.Fatalf("%d bytes, %v", len(b), err)
				}
				if b, err := c.RecvBytes(); err != nil || string(b) != "next" {
					t.Fatalf("%q, %v", b, err)
				}
			})
		}
	}
}

func TestConnClose(t *testing.T) {
	checkLeaks(t)
	a, b := pair(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := a.RecvBytes(); !errors.Is(err, fs.ErrClosed) {
				t.Errorf("RecvBytes: %v", err)
			}
		})
		wg.Go(func() {
			if err := a.SendBytes(make([]byte, 32<<20)); !errors.Is(err, fs.ErrClosed) {
				t.Errorf("SendBytes: %v", err)
			}
		})
	}
	waitParked(t, "pipe.(*Conn).RecvBytes")
	waitParked(t, "pipe.(*Conn).SendBytes")
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if err := a.Close(); err != nil {
		t.Errorf("again: %v", err)
	}
	for name, err := range map[string]error{"Send": a.Send(1), "Recv": a.Recv(new(int)), "SetDeadline": a.SetDeadline(time.Time{}), "handing over": b.Send(a)} {
		if !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	b.Close()
}

func TestConcurrent(t *testing.T) {
	a, b := pair(t)
	const senders, each = 8, 300
	var sending, receiving sync.WaitGroup
	for s := range senders {
		sending.Go(func() {
			for i := range each {
				if err := a.Send(map[string]any{"sender": s, "i": i, "pad": strings.Repeat(string(rune('a'+s)), i*31%9000)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var mu sync.Mutex
	seen := map[[2]int]bool{}
	for range 4 {
		receiving.Go(func() {
			for {
				var m struct {
					Sender int    `cbor:"sender"`
					I      int    `cbor:"i"`
					Pad    string `cbor:"pad"`
				}
				err := b.Recv(&m)
				if err == io.EOF {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				if strings.Trim(m.Pad, string(rune('a'+m.Sender))) != "" {
					t.Error("mixed up")
				}
				mu.Lock()
				seen[[2]int{m.Sender, m.I}] = true
				mu.Unlock()
			}
		})
	}
	sending.Wait()
	a.Close()
	receiving.Wait()
	if len(seen) != senders*each {
		t.Errorf("%d messages of %d", len(seen), senders*each)
	}
}

func TestHandles(t *testing.T) {
	checkLeaks(t)
	a, b, err := pipe.New()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	defer b.Close()
	type parcel struct {
		Name  string
		Files map[string]*os.File
		Ends  []*pipe.Conn
		None  *pipe.Conn
	}
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	x, y, _ := pipe.New()
	r, w, _ := pipe.NewOneWay()
	x.Send("waiting in the socket")
	y.SetMaxMessage(1000)

	if err := a.Send(parcel{"p", map[string]*os.File{"f": f}, []*pipe.Conn{y, w}, nil}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*pipe.Conn{y, w} {
		if err := c.Send(1); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("an end that was sent away: %v", err)
		}
	}
	if _, err := f.Stat(); err != nil {
		t.Errorf("a file that was sent: %v", err)
	}
	var got parcel
	if err := b.Recv(&got); err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(got.Files["f"])
	if err != nil || string(content) != "content" {
		t.Errorf("%q, %v", content, err)
	}
	got.Files["f"].Close()
	var s string
	if err := got.Ends[0].Recv(&s); err != nil || s != "waiting in the socket" {
		t.Error(s, err)
	}
	x.SendBytes(make([]byte, 1001))
	if _, err := got.Ends[0].RecvBytes(); !errors.Is(err, pipe.ErrTooLarge) {
		t.Errorf("MaxMessage was lost: %v", err)
	}
	if err := got.Ends[1].Recv(&s); !errors.Is(err, pipe.ErrWriteOnly) {
		t.Errorf("the direction was lost: %v", err)
	}
	got.Ends[1].Send("through")
	if err := r.Recv(&s); err != nil || s != "through" {
		t.Error(s, err)
	}
	// Ours are closed, so theirs are the last.
	got.Ends[1].Close()
	if err := r.Recv(&s); err != io.EOF {
		t.Error(err)
	}
	got.Ends[0].Close()
	if err := x.Recv(&s); err != io.EOF {
		t.Error(err)
	}
	if got.None != nil {
		t.Error("nil has become an end")
	}
	x.Close()
	r.Close()
}

// What this process has read ahead moves with the end, descriptors and all.
func TestMoveUnread(t *testing.T) {
	checkLeaks(t)
	a, b, _ := pipe.New()
	x, y, _ := pipe.New()
	defer a.Close()
	defer b.Close()
	defer x.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	x.Send("one")
	x.Send("two")
	x.Send(w)
	w.Close()
	var s string
	if err := y.Recv(&s); err != nil || s != "one" {
		t.Fatal(s, err)
	}
	if err := a.Send(y); err != nil {
		t.Fatal(err)
	}
	x.Send("four")
	var z *pipe.Conn
	if err := b.Recv(&z); err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	if err := z.Recv(&s); err != nil || s != "two" {
		t.Fatal(s, err)
	}
	var f *os.File
	if err := z.Recv(&f); err != nil {
		t.Fatal(err)
	}
	f.WriteString("hello")
	f.Close()
	if got, err := io.ReadAll(r); err != nil || string(got) != "hello" {
		t.Fatal(got, err)
	}
	r.Close()
	if err := z.Recv(&s); err != nil || s != "four" {
		t.Fatal(s, err)
	}
}

func TestMoveRefused(t *testing.T) {
	checkLeaks(t)
	a, b, _ := pipe.New()
	x, y, _ := pipe.New()
	defer func() { a.Close(); b.Close(); x.Close(); y.Close() }()

	if err := a.Send(a); err == nil || !errorsContain(err, "send", "to another process") {
		t.Errorf("an end through itself: %v", err)
	}
	if err := a.Send([]any{1, make(chan int)}); err == nil || !errorsContain(err, "message[1]") {
		t.Errorf("a chan: %v", err)
	}
	if err := a.Send(struct {
		End *pipe.Conn
		Bad func()
	}{y, func() {}}); err == nil || !errorsContain(err, "message.Bad") {
		t.Errorf("a func: %v", err)
	}
	done := make(chan error)
	go func() {
		_, err := y.RecvBytes()
		done <- err
	}()
	waitParked(t, "pipe.(*Conn).RecvBytes")
	if err := a.Send(struct{ End *pipe.Conn }{y}); err == nil || !errorsContain(err, "message.End", "in use") {
		t.Errorf("an end in use: %v", err)
	}
	x.SendBytes(nil)
	if err := <-done; err != nil {
		t.Errorf("the refused end: %v", err)
	}
	// After all of this both ends still work.
	for _, c := range [][2]*pipe.Conn{{a, b}, {x, y}} {
		var s string
		c[0].Send("works")
		if err := c[1].Recv(&s); err != nil || s != "works" {
			t.Error(s, err)
		}
	}
	// A message that cannot be sent leaves the ends in it.
	b.Close()
	if err := a.Send(y); !errors.Is(err, syscall.EPIPE) {
		t.Fatal(err)
	}
	var s string
	x.Send("still")
	if err := y.Recv(&s); err != nil || s != "still" {
		t.Error(s, err)
	}
}

func errorsContain(err error, words ...string) bool {
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			return false
		}
	}
	return true
}

func TestManyHandles(t *testing.T) {
	checkLeaks(t)
	a, b, _ := pipe.New()
	defer a.Close()
	defer b.Close()
	const n = 700
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	var files []*os.File
	for range n {
		fd, err := unix.FcntlInt(null.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, os.NewFile(uintptr(fd), "null"))
	}
	null.Close()
	sent := make(chan error)
	go func() { sent <- a.Send(files) }()
	var got []*os.File
	if err := b.Recv(&got); err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if len(got) != n {
		t.Fatalf("%d files", len(got))
	}
	for i := range got {
		if _, err := got[i].Stat(); err != nil {
			t.Fatal(err)
		}
		got[i].Close()
		files[i].Close()
	}
}

// Descriptors that nobody asked for are closed.
func TestHandlesIgnored(t *testing.T) {
	a, b := pair(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var s string
	buf := make([]byte, 100)
	for name, recv := range map[string]func() error{
		"RecvBytes":     func() error { _, err := b.RecvBytes(); return err },
		"RecvBytesInto": func() error { _, err := b.RecvBytesInto(buf); return err },
		"Recv":          func() error { b.Recv(&s); return nil },
	} {
		if err := a.Send(w); err != nil {
			t.Fatal(err)
		}
		if err := recv(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	a.Send(w)
	b.Close()
	w.Close()
	if got, err := io.ReadAll(r); len(got) != 0 || err != nil { // ends only if no copy of w is left
		t.Error(got, err)
	}
	r.Close()
}

func TestFromFile(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := pipe.FromFile(f); !errors.Is(err, syscall.ENOTSOCK) {
		t.Errorf("a file: %v", err)
	}
	if got := fmt.Sprint(err); strings.Contains(got, "wire") {
		t.Error(got)
	}
}

// An end that nobody can reach any more is closed, so that the other side learns of it.
func TestUnreachable(t *testing.T) {
	a := func() *pipe.Conn { // which does not keep the other end
		a, _, err := pipe.New()
		if err != nil {
			t.Fatal(err)
		}
		return a
	}()
	defer a.Close()
	ended := make(chan error, 1)
	go func() {
		_, err := a.RecvBytes()
		ended <- err
	}()
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); {
		runtime.GC()
		select {
		case err := <-ended:
			if err != io.EOF {
				t.Errorf("RecvBytes: %v", err)
			}
			return
		case <-time.After(time.Millisecond): // another collection
		}
	}
	t.Error("the other side was not told")
}

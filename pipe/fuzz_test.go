package pipe_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/wire"
	"github.com/go-multiproc/multiproc/pipe"
)

// FuzzHandshake plays both roles against a peer that sends anything: it ends, in an error, and never lets the peer in.
func FuzzHandshake(f *testing.F) {
	for _, seed := range []string{"", "\x00", "\xff\xff\xff\xfe", "\x7f\xff\xff\xff"} {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed), true)
	}
	for _, m := range []string{"", "01234567890123456789", "{sha256}0123456789012345678901234567890123456789", "{md5}0123456789012345", "{sha3_384}0123456789012345", "{}", "{sha256", "}"} {
		challenge := append(frame([]byte("#CHALLENGE#"+m)), frame([]byte("#WELCOME#"))...)
		f.Add(append(challenge, frame(make([]byte, 16))...), false)
		f.Add(append(frame([]byte(m)), challenge...), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, listener bool) {
		if len(b) > 10_000 {
			return
		}
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fds[1])
		w, err := wire.New(fds[0])
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		unix.Write(fds[1], b)
		unix.Shutdown(fds[1], unix.SHUT_WR)
		w.SetDeadline(time.Now().Add(60 * time.Second))
		err = pipe.Handshake(w, pipe.Options{AuthKey: []byte("k")}, listener)
		if err == nil {
			t.Fatal("let in without the key")
		}
		if !errors.Is(err, pipe.ErrAuth) || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
	})
}

// FuzzRecv receives anything, with descriptors of several kinds beside it, where a pipe end is expected. Nothing may be left open.
func FuzzRecv(f *testing.F) {
	// What a real end looks like.
	a, b, err := pipe.New()
	if err != nil {
		f.Fatal(err)
	}
	x, y, _ := pipe.New()
	x.SendBytes([]byte("read"))
	x.SendBytes([]byte("unread"))
	y.RecvBytes()
	if err := a.Send(y); err != nil {
		f.Fatal(err)
	}
	seed, err := b.RecvBytes()
	if err != nil {
		f.Fatal(err)
	}
	for _, c := range []*pipe.Conn{a, b, x} {
		c.Close()
	}
	for n := range uint8(8) {
		f.Add(seed, n)
	}
	f.Add([]byte{}, uint8(1))
	f.Add([]byte{0xf6}, uint8(3))
	f.Fuzz(func(t *testing.T, data []byte, kinds uint8) {
		before := len(openFDs())
		func() {
			a, b, err := pipe.New()
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			defer b.Close()
			var fds []int
			for i := range 3 { // two bits each: none, a socket, a pipe, a file
				var pair [2]int
				switch kinds >> (2 * i) & 3 {
				case 0:
					continue
				case 1:
					pair, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
				case 2:
					var p [2]int
					err = unix.Pipe(p[:])
					pair = p
				case 3:
					pair[0], err = unix.Open(os.DevNull, unix.O_RDWR, 0)
					pair[1], _ = unix.Dup(pair[0])
				}
				if err != nil {
					t.Fatal(err)
				}
				fds = append(fds, pair[0])
				defer unix.Close(pair[0])
				defer unix.Close(pair[1])
			}
			if err := pipe.SendRaw(a, data, fds); err != nil {
				t.Fatal(err)
			}
			var got *pipe.Conn
			if err := b.Recv(&got); err != nil || got == nil {
				return
			}
			got.SetDeadline(time.Now())
			got.RecvBytes()
			got.RecvBytes()
			got.Poll(0)
			got.Close()
		}()
		if after := len(openFDs()); after != before {
			t.Fatalf("%d descriptors before, %d after: %v", before, after, openFDs())
		}
	})
}

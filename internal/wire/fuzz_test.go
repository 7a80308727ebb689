package wire_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/wire"
)

// reference is a dull reader of frames: the payloads, and how the stream ends.
func reference(stream []byte, max int) (payloads [][]byte, end error) {
	for {
		if len(stream) == 0 {
			return payloads, io.EOF
		}
		if len(stream) < 4 {
			return payloads, io.ErrUnexpectedEOF
		}
		size := uint64(binary.BigEndian.Uint32(stream))
		stream = stream[4:]
		if size == 1<<32-1 {
			if len(stream) < 8 {
				return payloads, io.ErrUnexpectedEOF
			}
			size = binary.BigEndian.Uint64(stream)
			stream = stream[8:]
			if size > 1<<63-100 {
				return payloads, wire.ErrProtocol
			}
		} else if size >= 1<<31 {
			return payloads, wire.ErrProtocol
		}
		if size > uint64(max) {
			return payloads, wire.ErrTooLarge
		}
		if uint64(len(stream)) < size {
			return payloads, io.ErrUnexpectedEOF
		}
		payloads = append(payloads, stream[:size])
		stream = stream[size:]
	}
}

// FuzzRead reads any stream, cut into two pieces, with a deadline between them, and with a buffer or without, as the reference does.
func FuzzRead(f *testing.F) {
	f.Add([]byte{}, uint16(0), false)
	f.Add([]byte{0, 0, 0, 1, 'x', 0, 0, 0, 0}, uint16(3), true)
	f.Add([]byte{0xff, 0xff, 0xff, 0xfe}, uint16(1), false)
	f.Add([]byte{0x7f, 0xff, 0xff, 0xff, 1}, uint16(5), false)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 2, 'a', 'b', 0}, uint16(6), true)
	f.Fuzz(func(t *testing.T, stream []byte, cut uint16, into bool) {
		const max = 5000
		if len(stream) > 50_000 {
			return
		}
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		c, err := wire.New(fds[0])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		var buf []byte
		if into {
			buf = make([]byte, 100)
		}
		var got [][]byte
		read := func() error {
			for {
				b, fds, err := c.ReadFrameInto(buf, max)
				if err != nil {
					return err
				}
				if fds != nil {
					t.Fatal("descriptors out of nothing")
				}
				got = append(got, bytes.Clone(b))
			}
		}
		first := min(int(cut), len(stream))
		write(t, fds[1], stream[:first])
		c.SetReadDeadline(time.Now().Add(-time.Second)) // what is there already may be read, or may wait
		c.SetReadDeadline(time.Now().Add(100 * time.Microsecond))
		err = read()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.SetReadDeadline(time.Now().Add(60 * time.Second))
			write(t, fds[1], stream[first:])
			unix.Close(fds[1])
			err = read()
		} else {
			unix.Close(fds[1])
		}
		want, end := reference(stream, max)
		if !errors.Is(err, end) {
			t.Fatalf("ended with %v, not %v", err, end)
		}
		if len(got) != len(want) {
			t.Fatalf("%d frames, not %d", len(got), len(want))
		}
		for i := range got {
			if !bytes.Equal(got[i], want[i]) {
				t.Fatalf("frame %d is %x, not %x", i, got[i], want[i])
			}
		}
	})
}

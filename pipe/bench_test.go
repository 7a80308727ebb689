package pipe_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/wire"
	"github.com/go-multiproc/multiproc/pipe"
)

// Between two processes: the benchmark and a child that runs a helper below. Each stands beside the same without this package.

func init() {
	helpers["echo bytes"] = func(c *pipe.Conn) error {
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
		}
	}
	helpers["echo objects"] = func(c *pipe.Conn) error {
		for {
			var m message
			err := c.Recv(&m)
			if err == io.EOF {
				return nil
			}
			if err == nil {
				err = c.Send(m)
			}
			if err != nil {
				return err
			}
		}
	}
	// Takes ends, and echoes on all of them at once.
	helpers["echo many"] = func(c *pipe.Conn) error {
		var parked bool
		var ends []*pipe.Conn
		if err := errors.Join(c.Recv(&parked), c.Recv(&ends), c.Send("ready")); err != nil {
			return err
		}
		wire.NoSpin.Store(parked)
		var wg sync.WaitGroup
		for _, end := range ends {
			wg.Go(func() { helpers["echo bytes"](end) })
		}
		wg.Wait()
		return nil
	}
	// Answers an empty message after all before it were received.
	helpers["sink"] = func(c *pipe.Conn) error {
		into := false
		if err := c.Recv(&into); err != nil {
			return err
		}
		buf := make([]byte, 1<<20)
		for {
			var n int
			var err error
			if into {
				n, err = c.RecvBytesInto(buf)
			} else {
				var b []byte
				b, err = c.RecvBytes()
				n = len(b)
			}
			if err == io.EOF {
				return nil
			}
			if err == nil && n == 0 {
				err = c.SendBytes(nil)
			}
			if err != nil {
				return err
			}
		}
	}
	// Echoes 68 bytes by bare system calls, on the socket that it is told the number of.
	helpers["echo bare"] = func(c *pipe.Conn) error {
		var f *os.File
		var spin time.Duration
		if err := errors.Join(c.Recv(&spin), c.Recv(&f)); err != nil {
			return err
		}
		return bareEcho(int(f.Fd()), spin)
	}
}

type message struct {
	ID     int
	Name   string
	Values []int
}

func BenchmarkRoundTrip(b *testing.B) {
	b.Run("bytes", func(b *testing.B) {
		c, peer := pair(b)
		start(b, "echo bytes", peer)
		out, in := pattern(64), make([]byte, 64)
		for b.Loop() {
			if err := c.SendBytes(out); err != nil {
				b.Fatal(err)
			}
			if _, err := c.RecvBytesInto(in); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("objects", func(b *testing.B) {
		c, peer := pair(b)
		start(b, "echo objects", peer)
		out := message{1, "something", []int{1, 2, 3}}
		for b.Loop() {
			var in message
			if err := errors.Join(c.Send(out), c.Recv(&in)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("bytes, parked", func(b *testing.B) {
		wire.NoSpin.Store(true)
		defer wire.NoSpin.Store(false)
		near, far := ends(b, 1)
		c, peer := pair(b)
		start(b, "echo many", peer)
		var ready string
		if err := errors.Join(c.Send(true), c.Send(far), c.Recv(&ready)); err != nil {
			b.Fatal(err)
		}
		m := pattern(64)
		for b.Loop() {
			near[0].SendBytes(m)
			near[0].RecvBytesInto(m)
		}
	})
	b.Run("bytes after Poll", func(b *testing.B) {
		c, peer := pair(b)
		start(b, "echo bytes", peer)
		m := pattern(64)
		for b.Loop() {
			c.SendBytes(m)
			if ok, err := c.Poll(-1); !ok {
				b.Fatal(err)
			}
			c.RecvBytesInto(m)
		}
	})
	b.Run("bytes after Wait", func(b *testing.B) {
		near, _ := ends(b, 9)
		c, peer := pair(b)
		near = append(near, c)
		start(b, "echo bytes", peer)
		m := pattern(64)
		for b.Loop() {
			c.SendBytes(m)
			if _, err := pipe.Wait(context.Background(), near...); err != nil {
				b.Fatal(err)
			}
			c.RecvBytesInto(m)
		}
	})
	b.Run("one process", func(b *testing.B) {
		c, peer := pair(b)
		go helpers["echo bytes"](peer)
		out, in := pattern(64), make([]byte, 64)
		for b.Loop() {
			c.SendBytes(out)
			if _, err := c.RecvBytesInto(in); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("one process, channels", func(b *testing.B) {
		to, from := make(chan []byte), make(chan []byte)
		go func() {
			for m := range to {
				from <- bytes.Clone(m)
			}
		}()
		out := pattern(64)
		for b.Loop() {
			to <- out
			<-from
		}
		close(to)
	})
	for _, spin := range []time.Duration{50 * time.Microsecond, 0} {
		b.Run(fmt.Sprintf("bare, spin %v", spin), func(b *testing.B) {
			c, peer := pair(b)
			fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			if err != nil {
				b.Fatal(err)
			}
			defer unix.Close(fds[0])
			start(b, "echo bare", peer)
			f := os.NewFile(uintptr(fds[1]), "")
			if err := errors.Join(c.Send(spin), c.Send(f), f.Close()); err != nil {
				b.Fatal(err)
			}
			unix.SetNonblock(fds[0], spin > 0)
			m := pattern(68)
			for b.Loop() {
				if _, err := unix.Write(fds[0], m); err != nil {
					b.Fatal(err)
				}
				if n, err := bareRead(fds[0], m, spin); n != 68 {
					b.Fatal(n, err)
				}
			}
		})
	}
	b.Run("python bytes", func(b *testing.B) { python(b, "bytes") })
	b.Run("python objects", func(b *testing.B) { python(b, "objects") })
}

// bareRead is spin-then-read: what there is to be compared with.
func bareRead(fd int, b []byte, spin time.Duration) (int, error) {
	if spin == 0 {
		return unix.Read(fd, b)
	}
	start := time.Now()
	for i := 0; ; i++ {
		n, err := unix.Read(fd, b)
		if err != unix.EAGAIN {
			return n, err
		}
		if i >= 4 {
			bareYield()
		}
		if time.Since(start) > spin {
			unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		}
	}
}

func bareEcho(fd int, spin time.Duration) error {
	unix.SetNonblock(fd, spin > 0)
	b := make([]byte, 68)
	for {
		n, err := bareRead(fd, b, spin)
		if n <= 0 || err != nil {
			return err
		}
		if _, err := unix.Write(fd, b[:n]); err != nil {
			return err
		}
	}
}

// One goroutine that sends and receives: what a message costs when nobody waits.
func BenchmarkNoWait(b *testing.B) {
	b.Run("bytes", func(b *testing.B) {
		x, y := pair(b)
		m := pattern(64)
		b.ReportAllocs()
		for b.Loop() {
			x.SendBytes(m)
			y.RecvBytesInto(m)
		}
	})
	b.Run("objects", func(b *testing.B) {
		x, y := pair(b)
		out := message{1, "something", []int{1, 2, 3}}
		b.ReportAllocs()
		for b.Loop() {
			var in message
			x.Send(out)
			y.Recv(&in)
		}
	})
	b.Run("bare", func(b *testing.B) {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			b.Fatal(err)
		}
		defer unix.Close(fds[0])
		defer unix.Close(fds[1])
		m := pattern(68)
		b.ReportAllocs()
		for b.Loop() {
			unix.Write(fds[0], m)
			unix.Read(fds[1], m)
		}
	})
}

// Eight conversations at once: spinners must not take the CPU from those who work.
func BenchmarkEight(b *testing.B) {
	for _, parked := range []bool{false, true} {
		b.Run(map[bool]string{false: "spinning", true: "parked"}[parked], func(b *testing.B) {
			wire.NoSpin.Store(parked)
			defer wire.NoSpin.Store(false)
			near, far := ends(b, 8)
			c, peer := pair(b)
			start(b, "echo many", peer)
			var ready string
			if err := errors.Join(c.Send(parked), c.Send(far), c.Recv(&ready)); err != nil {
				b.Fatal(err)
			}
			var wg sync.WaitGroup
			b.ResetTimer()
			for _, c := range near {
				wg.Go(func() {
					m := pattern(64)
					for range b.N / 8 {
						c.SendBytes(m)
						if _, err := c.RecvBytesInto(m); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

func BenchmarkStream(b *testing.B) {
	for _, size := range []int{64, 4 << 10, 64 << 10, 1 << 20} {
		for _, into := range []bool{false, true} {
			name := "RecvBytes"
			if into {
				name = "RecvBytesInto"
			}
			b.Run(fmt.Sprintf("%d/%s", size, name), func(b *testing.B) {
				c, peer := pair(b)
				start(b, "sink", peer)
				m := pattern(size)
				c.Send(into)
				b.SetBytes(int64(size))
				for b.Loop() {
					if err := c.SendBytes(m); err != nil {
						b.Fatal(err)
					}
				}
				c.SendBytes(nil)
				if _, err := c.RecvBytes(); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
	b.Run(strconv.Itoa(1<<20)+"/python", func(b *testing.B) { python(b, "stream") })
}

// python runs the same in Python, b.N times, on Python's own clock.
func python(b *testing.B, what string) {
	if _, err := exec.LookPath("python3"); err != nil {
		b.Skip(err)
	}
	out, err := exec.Command("python3", "../bench/pipe.py", what, strconv.Itoa(b.N)).Output()
	if err != nil {
		b.Fatal(err)
	}
	seconds, err := strconv.ParseFloat(string(bytes.TrimSpace(out)), 64)
	if err != nil {
		b.Fatal(err)
	}
	if what == "stream" {
		b.ReportMetric(float64(b.N)*(1<<20)/1e6/seconds, "MB/s")
	}
	b.ReportMetric(seconds/float64(b.N)*1e9, "ns/op")
}

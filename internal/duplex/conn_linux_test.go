package duplex_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/duplex"
	"github.com/go-multiproc/multiproc/internal/reexec"
	"github.com/go-multiproc/multiproc/internal/wire"
)

func TestMain(m *testing.M) {
	reexec.Main(m, map[string]reexec.Helper{"echo": helper(echo), "pour": helper(pour)})
}

func helper(f func(args []string) error) reexec.Helper {
	return func(args []string) int {
		if err := f(args); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}
}

// patience is how long a test waits for what must come.
const patience = 60 * time.Second

func unixConn(t testing.TB, fd int) *net.UnixConn {
	t.Helper()
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	return c.(*net.UnixConn)
}

func dup(t testing.TB, fd int) int {
	t.Helper()
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// pair makes both ends in this process.
func pair(t testing.TB, size int) (creator, attacher *duplex.Conn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	m, err := duplex.Create(size)
	if err != nil {
		t.Fatal(err)
	}
	other, err := duplex.Attach(dup(t, m.FD()), size)
	if err != nil {
		t.Fatal(err)
	}
	return newConn(t, m, fds[0], duplex.Creator), newConn(t, other, fds[1], duplex.Attacher)
}

func newConn(t testing.TB, m *duplex.Memory, fd int, r duplex.Role) *duplex.Conn {
	t.Helper()
	c, err := duplex.New(m, unixConn(t, fd), r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// readFull is io.ReadFull.
func readFull(c *duplex.Conn, b []byte) error {
	for len(b) > 0 {
		n, _, err := c.Receive(b, true, true)
		if err != nil {
			return err
		}
		if n == 0 {
			return io.EOF
		}
		b = b[n:]
	}
	return nil
}

// withPeer starts a helper that has the attacher's end.
func withPeer(t *testing.T, helper string, size int, args ...string) (*reexec.Process, *duplex.Conn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	m, err := duplex.Create(size)
	if err != nil {
		t.Fatal(err)
	}
	memory, socket := os.NewFile(uintptr(dup(t, m.FD())), "memory"), os.NewFile(uintptr(fds[1]), "socket")
	defer memory.Close()
	defer socket.Close()
	p := reexec.Start(t, helper, []*os.File{memory, socket}, append([]string{strconv.Itoa(size)}, args...)...)
	return p, newConn(t, m, fds[0], duplex.Creator)
}

func peerEnd(args []string) (*duplex.Conn, error) {
	size, err := strconv.Atoi(args[0])
	if err != nil {
		return nil, err
	}
	m, err := duplex.Attach(3, size)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(4, "socket")
	defer f.Close()
	s, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	return duplex.New(m, s.(*net.UnixConn), duplex.Attacher)
}

// echo sends back what it receives.
func echo(args []string) error {
	c, err := peerEnd(args)
	if err != nil {
		return err
	}
	wire.NoSpin.Store(args[1] == "sleeps")
	b := make([]byte, 10_000)
	for {
		n, _, err := c.Receive(b, true, true)
		if err != nil || n == 0 {
			return err
		}
		if _, err := c.Write(b[:n]); err != nil {
			return err
		}
	}
}

// Bytes come as they were sent, through rings smaller and larger than the pieces, whether both sides spin or sleep each time.
func TestEcho(t *testing.T) {
	for _, tt := range []struct {
		name  string
		sleep bool
		total int
	}{
		{"spinning", false, 8 << 20},
		{"sleeping", true, 2 << 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mode := "spins"
			if tt.sleep {
				mode = "sleeps"
				wire.NoSpin.Store(true)
				defer wire.NoSpin.Store(false)
			}
			p, c := withPeer(t, "echo", duplex.MinSize, mode)
			random := rand.New(rand.NewPCG(1, 2))
			sent := make([]byte, tt.total)
			for i := range sent {
				sent[i] = byte(random.Uint32())
			}
			failed := make(chan error, 1)
			go func() {
				for rest := sent; len(rest) > 0; {
					n := min(len(rest), 1+random.IntN(3*duplex.MinSize))
					if _, err := c.Write(rest[:n]); err != nil {
						failed <- err
						return
					}
					rest = rest[n:]
				}
				failed <- nil
			}()
			got := make([]byte, len(sent))
			if err := readFull(c, got); err != nil {
				t.Fatal(err)
			}
			if err := <-failed; err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(sent, got) {
				t.Error("what came back is not what was sent")
			}
			c.Close()
			p.Done()
		})
	}
}

// A thousand round trips of one byte, each of which sleeps on both sides: no wake-up is lost.
func TestEveryByteWakes(t *testing.T) {
	wire.NoSpin.Store(true)
	defer wire.NoSpin.Store(false)
	p, c := withPeer(t, "echo", duplex.MinSize, "sleeps")
	done := make(chan error, 1)
	go func() {
		b := []byte{0}
		for i := range 1000 {
			b[0] = byte(i)
			if _, err := c.Write(b); err != nil {
				done <- err
				return
			}
			if err := readFull(c, b); err != nil || b[0] != byte(i) {
				done <- fmt.Errorf("round trip %d: %d, %w", i, b[0], err)
				return
			}
		}
		done <- nil
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(patience):
		t.Fatal("somebody sleeps for ever")
	}
	c.Close()
	p.Done()
}

// pour writes numbers for ever.
func pour(args []string) error {
	c, err := peerEnd(args)
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		if _, err := c.Write([]byte{byte(i), byte(i >> 8), byte(i >> 16), byte(i >> 24)}); err != nil {
			return err
		}
	}
}

// What a killed process had published is read to the end, and then comes the end; whoever writes to it learns of it, too.
func TestKilledPeer(t *testing.T) {
	for round := range 10 {
		p, c := withPeer(t, "pour", duplex.MinSize)
		b := make([]byte, 4*1000)
		if err := readFull(c, b); err != nil {
			t.Fatal(err)
		}
		p.Kill()
		rest := 0
		for {
			n, _, err := c.Receive(b, true, true)
			if err != nil {
				t.Fatalf("round %d: after %d bytes: %v", round, rest, err)
			}
			if n == 0 {
				break
			}
			rest += n
		}
		if rest > duplex.MinSize {
			t.Errorf("a ring of %d bytes had %d in it", duplex.MinSize, rest)
		}
		if n, err := c.Write(make([]byte, 2*duplex.MinSize)); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("writing to the dead: %d, %v", n, err)
		}
		c.Close()
	}
}

// Close wakes readers and writers, and nobody touches memory that is gone: that would be the end of this test's process.
func TestClose(t *testing.T) {
	for range 50 {
		a, b := pair(t, duplex.MinSize)
		var work sync.WaitGroup
		work.Go(func() {
			for {
				if _, err := a.Write(make([]byte, 1000)); err != nil {
					if !errors.Is(err, net.ErrClosed) {
						t.Errorf("Write: %v", err)
					}
					return
				}
			}
		})
		work.Go(func() {
			for {
				if n, _, err := a.Receive(make([]byte, 10), true, true); err != nil || n == 0 {
					if !errors.Is(err, net.ErrClosed) {
						t.Errorf("Receive: %d, %v", n, err)
					}
					return
				}
			}
		})
		if err := readFull(b, make([]byte, 3*duplex.MinSize)); err != nil {
			t.Fatal(err)
		}
		work.Go(func() { a.Close() })
		a.Close()
		work.Wait()
		b.Close()
	}
}

func TestStop(t *testing.T) {
	a, b := pair(t, duplex.MinSize)
	reading := make(chan error, 1)
	read := func() {
		_, _, err := a.Receive(make([]byte, 1), false, true)
		reading <- err
	}
	go read()
	a.StopReading()
	if err := <-reading; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Receive after StopReading: %v", err)
	}
	if _, err := b.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	read()
	if err := <-reading; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Receive of something after StopReading: %v", err)
	}
	a.GoOnReading()
	read()
	if err := <-reading; err != nil {
		t.Errorf("Receive after GoOnReading: %v", err)
	}
	// A writer that waits for room, while a reader listens.
	go read()
	writing := make(chan error, 1)
	go func() {
		_, err := a.Write(make([]byte, 2*duplex.MinSize))
		writing <- err
	}()
	a.StopWriting()
	if err := <-writing; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Write after StopWriting: %v", err)
	}
	if _, err := b.Write([]byte{2}); err != nil {
		t.Fatal(err)
	}
	if err := <-reading; err != nil {
		t.Errorf("Receive after that: %v", err)
	}
}

// Memory that is not what Create makes is refused.
func TestAttachRefuses(t *testing.T) {
	file := func(size int64, seals int) int {
		fd, err := unix.MemfdCreate("test", unix.MFD_ALLOW_SEALING|unix.MFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Ftruncate(fd, size); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
			t.Fatal(err)
		}
		return fd
	}
	const size = 4096 + 2*duplex.MinSize
	const sealed = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW
	pipe := make([]int, 2)
	if err := unix.Pipe2(pipe, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	unix.Close(pipe[1])
	for _, tt := range []struct {
		name string
		fd   int
		size int
	}{
		{"not sealed", file(size, 0), duplex.MinSize},
		{"can grow", file(size, unix.F_SEAL_SHRINK), duplex.MinSize},
		{"too small", file(size-1, sealed), duplex.MinSize},
		{"too large", file(size+1, sealed), duplex.MinSize},
		{"another size said", file(size, sealed), 2 * duplex.MinSize},
		{"no power of two", file(size, sealed), duplex.MinSize + 8},
		{"size 0", file(size, sealed), 0},
		{"negative", file(size, sealed), -duplex.MinSize},
		{"a pipe", pipe[0], duplex.MinSize},
		{"no descriptor", -1, duplex.MinSize},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if m, err := duplex.Attach(tt.fd, tt.size); err == nil {
				m.Close()
				t.Error("was taken")
			}
			if _, err := unix.FcntlInt(uintptr(tt.fd), unix.F_GETFD, 0); err == nil {
				t.Error("the descriptor stays open")
			}
		})
	}
}

// hostile is a view of the memory by somebody who keeps to nothing.
func hostile(t testing.TB, size int) (c *duplex.Conn, memory []byte, socket *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	m, err := duplex.Create(size)
	if err != nil {
		t.Fatal(err)
	}
	memory, err = unix.Mmap(m.FD(), 0, 4096+2*size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(memory) })
	socket = unixConn(t, fds[1])
	t.Cleanup(func() { socket.Close() })
	return newConn(t, m, fds[0], duplex.Creator), memory, socket
}

// A peer that writes what it likes, all the time, ends its own connection with ErrGarbage, or is silent. Nobody panics or
// reads beyond what there is, and Close ends it in any case.
func TestGarbage(t *testing.T) {
	deadline := time.Now().Add(2 * time.Second)
	garbage := 0
	for seed := uint64(0); time.Now().Before(deadline); seed++ {
		c, memory, socket := hostile(t, duplex.MinSize)
		stop := make(chan struct{})
		var peer, side sync.WaitGroup
		peer.Go(func() {
			random := rand.New(rand.NewPCG(seed, 1))
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				word := memory[128*random.IntN(8):]
				v := random.Uint64()
				switch random.IntN(3) {
				case 0:
					v %= 2 * duplex.MinSize
				case 1:
					v &= 1
				}
				*wordAt(word) = v
				if n%64 == 0 {
					socket.SetWriteDeadline(time.Unix(1, 0)) // not to be kept waiting
					socket.Write([]byte{7})
				}
			}
		})
		var ends [2]error
		side.Go(func() {
			for {
				n, _, err := c.Receive(make([]byte, 100), true, true)
				if err != nil || n == 0 {
					ends[0] = err
					return
				}
			}
		})
		side.Go(func() {
			for {
				if _, err := c.Write(make([]byte, 100)); err != nil {
					ends[1] = err
					return
				}
			}
		})
		time.AfterFunc(5*time.Millisecond, func() { c.Close() })
		side.Wait()
		close(stop)
		peer.Wait()
		socket.Close()
		for _, err := range ends {
			switch {
			case errors.Is(err, duplex.ErrGarbage):
				garbage++
			case errors.Is(err, net.ErrClosed):
			default:
				t.Errorf("seed %d: ended with %v", seed, err)
			}
		}
	}
	if garbage == 0 {
		t.Error("garbage was never noticed")
	}
}

// Single positions that cannot be.
func TestImpossiblePositions(t *testing.T) {
	const size = duplex.MinSize
	for _, tt := range []struct {
		name       string
		tail, head uint64 // of the ring that the peer writes, and of the one that it reads
		ok         bool
	}{
		{"at the start", 0, 0, true},
		{"as much as there is room", size, 0, true},
		{"more than there is room", size + 1, 0, false},
		{"far ahead", 1 << 40, 0, false},
		{"behind", ^uint64(0), 0, false},
		{"the reader ahead of the writer", 0, 11, false},
		{"the reader where the writer is", 0, 10, true},
		{"the reader behind where it was", 0, ^uint64(0), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, memory, _ := hostile(t, size)
			if n, err := c.TryWrite(make([]byte, 10)); n != 10 || err != nil {
				t.Fatal(n, err)
			}
			*wordAt(memory) = tt.tail
			*wordAt(memory[512+128:]) = tt.head
			_, _, rerr := c.Receive(make([]byte, 2*size), false, false)
			_, werr := c.TryWrite(make([]byte, 2*size))
			if ok := rerr == nil && werr == nil; ok != tt.ok {
				t.Errorf("reading: %v, writing: %v", rerr, werr)
			}
			for _, err := range []error{rerr, werr} {
				if err != nil && !errors.Is(err, duplex.ErrGarbage) {
					t.Error(err)
				}
			}
		})
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	c, d := pair(b, 64<<10)
	go func() {
		buf := make([]byte, 64)
		for readFull(d, buf) == nil {
			d.Write(buf)
		}
	}()
	buf := make([]byte, 64)
	for b.Loop() {
		c.Write(buf)
		if err := readFull(c, buf); err != nil {
			b.Fatal(err)
		}
	}
}

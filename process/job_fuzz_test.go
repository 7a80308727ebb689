//go:build linux

package process

import (
	"bytes"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/registered"
	"github.com/go-multiproc/multiproc/internal/wire"
)

// frame returns what send writes.
func frame(t testing.TB, send func(*wire.Conn) error) (b []byte, fds []int) {
	t.Helper()
	a, c, err := wire.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	defer c.Close()
	if err := send(a); err != nil {
		t.Fatal(err)
	}
	if b, fds, err = c.ReadFrame(maxFrame); err != nil {
		t.Fatal(err)
	}
	return b, fds
}

func jobFrame(t testing.TB, v any) (b []byte, fds []int) {
	t.Helper()
	m, err := handover.Marshal(v, "args")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Drop()
	h := jobHeader{Func: registered.Identity{Name: "main.f", In: "int", K: 1, N: 1}, Info: Info{Name: "Process-1", Method: Spawn}}
	return frame(t, func(c *wire.Conn) error { return sendJob(c, h, []*handover.Message{m}) })
}

// openDescriptors makes n descriptors, the first of them a memory file with this content.
func openDescriptors(t testing.TB, n int, memory []byte) []int {
	t.Helper()
	var fds []int
	for i := range n {
		fd, err := writeMemory([][]byte{memory})
		if i > 0 {
			unix.Close(fd)
			fd, err = unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		}
		if err != nil {
			t.Fatal(err)
		}
		fds = append(fds, fd)
	}
	return fds
}

func isOpen(fd int) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil
}

// Whatever arrives as a job, it is refused or becomes one: whose parts are what the header says, and that has
// all the descriptors.
func FuzzJob(f *testing.F) {
	small, _ := jobFrame(f, 7)
	large, fds := jobFrame(f, strings.Repeat("x", 2200))
	closeAll(fds)
	f.Add(small, 0, []byte(nil))
	f.Add(large, 1, []byte(strings.Repeat("x", 2203)))
	f.Add(large, 2, []byte("short"))
	f.Add([]byte{}, 0, []byte(nil))
	f.Fuzz(func(t *testing.T, frame []byte, n int, memory []byte) {
		if n < 0 || n > 4 {
			return
		}
		fds := openDescriptors(t, n, memory)
		j, err := parseJob(bytes.Clone(frame), fds)
		if err != nil {
			for _, fd := range fds {
				if !isOpen(fd) {
					t.Fatalf("descriptor %d was closed with the error %v", fd, err)
				}
			}
			closeAll(fds)
			return
		}
		if len(j.data) != len(j.header.Parts) || len(j.fds) != len(j.header.Parts) {
			t.Fatalf("%d parts of data, %d of descriptors, want %d", len(j.data), len(j.fds), len(j.header.Parts))
		}
		var sum byte
		for i, p := range j.header.Parts {
			if len(j.data[i]) != p.Bytes || len(j.fds[i]) != p.FDs {
				t.Fatalf("part %d is %d bytes and %d descriptors, want %+v", i, len(j.data[i]), len(j.fds[i]), p)
			}
			for _, b := range j.data[i] {
				sum += b // every byte can be read
			}
		}
		functions.Find(j.header.Func)
		j.free()
		if j.header.Log {
			unix.Close(j.log)
		}
		for i := range j.fds {
			for _, fd := range j.takeFDs(i) {
				if !isOpen(fd) {
					t.Fatalf("descriptor %d of part %d is closed", fd, i)
				}
				unix.Close(fd)
			}
		}
		for _, fd := range fds {
			if isOpen(fd) {
				t.Fatalf("descriptor %d is nobody's", fd)
			}
		}
	})
}

// Whatever a child says of its end, its parent says something of it.
func FuzzResult(f *testing.F) {
	for _, r := range []result{
		{Outcome: returned},
		{Outcome: returned, Failed: true, Err: "open x"},
		{Outcome: panicked, Failed: true, Err: "oh", Stack: "goroutine 1"},
		{Outcome: refused, Failed: true, Err: strings.Repeat("long", 600)},
	} {
		b, fds := frame(f, func(c *wire.Conn) error { return sendResult(c, r) })
		f.Add(b, len(fds), []byte(strings.Repeat("long", 600)))
		closeAll(fds)
	}
	f.Fuzz(func(t *testing.T, frame []byte, n int, memory []byte) {
		if n < 0 || n > 2 {
			return
		}
		fds := openDescriptors(t, n, memory)
		defer closeAll(fds)
		r, err := parseResult(frame, fds)
		if err == nil && (len(r.Err) > maxFrame || len(r.Stack) > maxFrame) {
			t.Fatalf("texts of %d and %d bytes", len(r.Err), len(r.Stack))
		}
		for _, status := range []uint32{0, 3 << 8, 9} {
			e := decodeExit(syscall.WaitStatus(status), nil, r, err, nil)
			if err := e.joinError(); err != nil && err.Error() == "" {
				t.Fatal("an error without a text")
			}
		}
	})
}

// A memory file that somebody could still shrink would be a SIGBUS in the reader.
func TestUnsealedMemoryIsRefused(t *testing.T) {
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, 100); err != nil {
		t.Fatal(err)
	}
	if _, _, err := mapMemory(fd, 100); err == nil || !strings.Contains(err.Error(), "sealed") {
		t.Errorf("mapMemory: %v", err)
	}
}

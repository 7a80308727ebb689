package array_test

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/go-multiproc/multiproc/array"
	"github.com/go-multiproc/multiproc/internal/reexec"
	"github.com/go-multiproc/multiproc/internal/verify"
	"github.com/go-multiproc/multiproc/shm"
)

func TestOver(t *testing.T) {
	s, err := shm.New(100)
	verify.Must(t, err)
	ints, err := array.Over[int32](s, 8, 5)
	a := own(t, ints, err)
	trios, err := array.Over[[3]byte](s, 29, 4)
	b := own(t, trios, err)
	a.Store(4, 0x04030201)
	if got := s.Bytes()[24:28]; string(got) != "\x01\x02\x03\x04" {
		t.Errorf("bytes % x", got)
	}
	b.Store(1, [3]byte{7, 8, 9})
	if got := s.Bytes()[32:35]; string(got) != "\x07\x08\x09" {
		t.Errorf("bytes % x", got)
	}
	if !b.CompareAndSwap(1, [3]byte{7, 8, 9}, [3]byte{1}) || b.Swap(1, [3]byte{2}) != [3]byte{1} {
		t.Error("CompareAndSwap or Swap went wrong")
	}
	if array.Add(a, 4, -1) != 0x04030200 || a.Mutex() != nil {
		t.Error("Add went wrong, or there is a guard")
	}
	if got := start(t, "fill", a); got.Line() != "5" {
		t.Error("the helper sees another length")
	}
	// The array has a hold of its own.
	verify.Must(t, s.Close())
	if a.Load(4) != 0x04030200 || b.Load(1) != [3]byte{2} {
		t.Error("closing the segment took the memory away")
	}
}

// fillHelper stores 41, 42, … to all elements when its input ends.
func fillHelper(args []string) int {
	a := take[*array.Array[int32]](args)
	fmt.Println(a.Len())
	reexec.WaitToBeTold()
	for i := range a.Len() {
		a.Store(i, int32(41+i))
	}
	return 0
}

func TestOverCrosses(t *testing.T) {
	s, err := shm.New(4096)
	verify.Must(t, err)
	defer s.Close()
	c, err := array.Over[int32](s, 12, 3)
	a := own(t, c, err)
	p := start(t, "fill", a)
	p.Line()
	p.Done()
	for i, x := range a.All() {
		if x != int32(41+i) {
			t.Errorf("element %d is %d", i, x)
		}
	}
}

func TestOverRefuses(t *testing.T) {
	s, err := shm.New(100)
	verify.Must(t, err)
	tests := []struct {
		name  string
		make  func() error
		wants string
	}{
		{"behind the end", func() error { _, err := array.Over[int64](s, 8, 12); return err }, "not all within the segment's 100 bytes"},
		{"negative offset", func() error { _, err := array.Over[int64](s, -8, 1); return err }, "not all within"},
		{"negative length", func() error { _, err := array.Over[int64](s, 0, -1); return err }, "not all within"},
		{"offset behind the end", func() error { _, err := array.Over[byte](s, 101, 0); return err }, "not all within"},
		{"huge", func() error { _, err := array.Over[int64](s, 0, 1<<61); return err }, "not all within"},
		{"misaligned", func() error { _, err := array.Over[int64](s, 4, 1); return err }, "multiples of 8"},
		{"misaligned array of 8 bytes", func() error { _, err := array.Over[[8]byte](s, 4, 1); return err }, "multiples of 8"},
		{"misaligned struct", func() error { _, err := array.Over[pair](s, 4, 1); return err }, "multiples of 8"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.make(); !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), tt.wants) {
				t.Errorf("error %v, want %q", err, tt.wants)
			}
		})
	}
	if _, err := array.Over[string](s, 0, 1); err == nil {
		t.Error("strings were accepted")
	}
	verify.Must(t, s.Close())
	if _, err := array.Over[byte](s, 0, 1); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("over a closed segment: %v", err)
	}
}

// A segment that Python made, and keeps.
func TestOverPythonsSegment(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip(err)
	}
	n := name(t)
	cmd := exec.Command("python3", "-u", "-c", `
import struct, sys
from multiprocessing.shared_memory import SharedMemory
shm = SharedMemory(name=sys.argv[1], create=True, size=50)
struct.pack_into("<3d", shm.buf, 16, 0.5, 1.5, 2.5)
print("made")
sys.stdin.readline()
print(*struct.unpack_from("<3d", shm.buf, 16))
shm.close()
shm.unlink()
`, n)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	verify.Must(t, err)
	out, err := cmd.StdoutPipe()
	verify.Must(t, err)
	verify.Must(t, cmd.Start())
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "made" {
		t.Fatal(lines.Text())
	}
	s, err := shm.OpenRaw(n)
	verify.Must(t, err)
	c, err := array.Over[float64](s, 16, 3)
	a := own(t, c, err)
	verify.Must(t, s.Close())
	for i, x := range a.All() {
		if x != float64(i)+0.5 {
			t.Errorf("element %d is %v", i, x)
		}
	}
	a.Store(1, -7.25)
	array.Add(a, 2, 1)
	if p := start(t, "fill", a); p != nil {
		// Handing a float64 array over as int32 does not matter here: of a
		// segment that somebody else made, nobody knows the types.
		if got := p.Line(); got != "3" {
			t.Errorf("the helper sees %s elements", got)
		}
		p.Kill()
	}
	fmt.Fprintln(in)
	if !lines.Scan() || lines.Text() != "0.5 -7.25 3.5" {
		t.Errorf("Python sees %q", lines.Text())
	}
	verify.Must(t, cmd.Wait())
}

func TestPythonReadsAndWrites(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip(err)
	}
	n := name(t)
	c, err := array.Create[float64](n, 1000)
	a := own(t, c, err)
	for i := range a.Len() {
		a.Store(i, float64(i))
	}
	// numpy where there is one, and else the standard library.
	cmd := exec.Command("python3", "-c", `
import struct, sys
from multiprocessing.shared_memory import SharedMemory
if sys.version_info >= (3, 13):
    shm = SharedMemory(name=sys.argv[1], track=False)
else:
    from multiprocessing import resource_tracker
    shm = SharedMemory(name=sys.argv[1])
    resource_tracker.unregister("/" + sys.argv[1], "shared_memory")
try:
    import numpy
    prices = numpy.ndarray((1000,), "<f8", buffer=shm.buf)
except ImportError:
    prices = shm.buf[:8000].cast("d")
print(sum(prices))
for i in range(1000):
    prices[i] += 1
if hasattr(prices, "release"):
    prices.release()
del prices
shm.close()
`, n)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	verify.Must(t, err)
	if got := strings.TrimSpace(string(out)); got != "499500.0" {
		t.Errorf("Python's sum is %s", got)
	}
	for i, x := range a.All() {
		if x != float64(i+1) {
			t.Fatalf("element %d is %v", i, x)
		}
	}
	if _, err := os.Stat("/dev/shm/" + n); err != nil {
		t.Errorf("Python took the segment along: %v", err)
	}
}

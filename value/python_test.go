package value_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/go-multiproc/multiproc/internal/reexec"
	"github.com/go-multiproc/multiproc/internal/verify"
	"github.com/go-multiproc/multiproc/value"
)

// python runs a program with the machine's python3.
func python(t *testing.T, program string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip(err)
	}
	cmd := exec.Command("python3", append([]string{"-c", program}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("python3: %v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// attach is what the documentation tells Python programs to do.
const attach = `
import struct, sys
from multiprocessing.shared_memory import SharedMemory
if sys.version_info >= (3, 13):
    shm = SharedMemory(name=sys.argv[1], track=False)
else:
    from multiprocessing import resource_tracker
    shm = SharedMemory(name=sys.argv[1])
    resource_tracker.unregister("/" + sys.argv[1], "shared_memory")
`

func TestPythonReadsAndWrites(t *testing.T) {
	n := name(t)
	c, err := value.Create(n, int64(-42))
	v := own(t, c, err)
	got := python(t, attach+`
print(struct.unpack_from("<q", shm.buf)[0])
struct.pack_into("<q", shm.buf, 0, 1 << 40)
shm.close()
`, n)
	if got != "-42" || v.Load() != 1<<40 {
		t.Errorf("Python read %s and wrote %d", got, v.Load())
	}
	if _, err := os.Stat("/dev/shm/" + n); err != nil {
		t.Errorf("Python took the segment along: %v", err)
	}
}

func TestPythonStruct(t *testing.T) {
	n := name(t)
	c, err := value.Create(n, sample{At: 1.5, Count: [3]int32{1, -2, 3}, Flags: 7, Total: -9})
	v := own(t, c, err)
	got := python(t, attach+`
print(*struct.unpack_from("<d3iIq", shm.buf))
struct.pack_into("<d3iIq", shm.buf, 0, 2.5, 4, 5, 6, 8, 10)
shm.close()
`, n)
	want := sample{At: 2.5, Count: [3]int32{4, 5, 6}, Flags: 8, Total: 10}
	if got != "1.5 1 -2 3 7 -9" || v.Load() != want {
		t.Errorf("Python read %s and wrote %+v", got, v.Load())
	}
	// What Python wrote is where everything goes on from.
	x, err := v.Update(background, func(s sample) sample { s.Total++; return s })
	if err != nil || x.Total != 11 {
		t.Errorf("Update = %+v, %v", x, err)
	}
}

// The guard can be a file that Python locks too.
func TestPythonTakesPart(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip(err)
	}
	const each = 300
	n := name(t)
	l := fileLock(t)
	// uint32, so that only the lock makes Python's load and store one step.
	c, err := value.Create(n, uint32(0), value.Options{Guard: l})
	v := own(t, c, err)
	cmd := exec.Command("python3", "-c", attach+`
import fcntl
f = open(sys.argv[2])
for i in range(int(sys.argv[3])):
    fcntl.flock(f, fcntl.LOCK_EX)
    n, = struct.unpack_from("<I", shm.buf)
    struct.pack_into("<I", shm.buf, 0, n + 1)
    fcntl.flock(f, fcntl.LOCK_UN)
shm.close()
`, n, l.Path(), fmt.Sprint(each))
	cmd.Stderr = os.Stderr
	verify.Must(t, cmd.Start())
	for range each {
		if _, err := v.Update(background, func(n uint32) uint32 { return n + 1 }); err != nil {
			t.Fatal(err)
		}
	}
	verify.Must(t, cmd.Wait())
	if got := v.Load(); got != 2*each {
		t.Errorf("counted %d, want %d", got, 2*each)
	}
}

// shoutHelper opens the value by name and adds 1 for every line that it reads.
func shoutHelper(args []string) int {
	v, err := value.Open[int64](args[0])
	if err != nil {
		fmt.Println(err)
		return 1
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		fmt.Println(value.Add(v, 1))
	}
	return 0
}

func TestStrangersMeetByName(t *testing.T) {
	n := name(t)
	c, err := value.Create(n, int64(1))
	v := own(t, c, err)
	p := reexec.Start(t, "shout", nil, n)
	p.Say("")
	if got := p.Line(); got != "2" || v.Load() != 2 {
		t.Errorf("the stranger says %s, value %d", got, v.Load())
	}
	p.Done()
}

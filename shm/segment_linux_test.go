package shm_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/reexec"
	"github.com/go-multiproc/multiproc/internal/seg"
	"github.com/go-multiproc/multiproc/internal/verify"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/shm"
)

func TestMain(m *testing.M) {
	reexec.Main(m, map[string]reexec.Helper{
		"open":   helperOpen,
		"attach": helperAttach,
		"meet":   helperMeet,
	})
}

// helperOpen opens dir/name, says so, and holds it until its input ends.
func helperOpen(args []string) int {
	s, err := shm.Open(args[1], shm.Options{Dir: args[0]})
	if err != nil {
		fmt.Println("error:", err)
		return 1
	}
	s.Bytes()[1]++
	fmt.Println("open")
	reexec.WaitToBeTold()
	return 0
}

// helperAttach takes descriptor 3 as a segment and adds one to its first byte.
func helperAttach(args []string) int {
	h, err := seg.Attach(3, "", "segment", "", false)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	h.Data()[0]++
	return 0
}

func TestNewIsZeroAndPrivate(t *testing.T) {
	for _, size := range []int{1, 511, 4096, 4097, 1 << 20, 3<<20 + 5} {
		s, err := shm.New(size)
		if err != nil {
			t.Fatal(err)
		}
		b := s.Bytes()
		if len(b) != size || cap(b) != size || s.Size() != size {
			t.Errorf("size %d: len %d, cap %d, Size %d", size, len(b), cap(b), s.Size())
		}
		for i, x := range b {
			if x != 0 {
				t.Fatalf("size %d: byte %d is %d", size, i, x)
			}
		}
		for i := range b {
			b[i] = byte(i)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBadSizes(t *testing.T) {
	for _, size := range []int{0, -1, -1 << 62} {
		if _, err := shm.New(size); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("New(%d): %v", size, err)
		}
	}
	for _, size := range []int{1 << 45, 1<<63 - 1} {
		_, err := shm.New(size)
		if !errors.Is(err, shm.ErrNoSpace) {
			t.Errorf("New(%d): %v", size, err)
		}
		_, err = shm.Create("multiproc-test-huge", size)
		if !errors.Is(err, shm.ErrNoSpace) {
			t.Errorf("Create(%d): %v", size, err)
		}
	}
}

func TestNamedRoundTrip(t *testing.T) {
	dir := tmpfs(t)
	o := shm.Options{Dir: dir}
	s, err := shm.Create("a", 100, o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := shm.Create("a", 100, o); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second Create: %v", err)
	}
	st, err := os.Stat(filepath.Join(dir, "a"))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	s.Bytes()[0] = 7
	s2, err := shm.Open("a", o)
	if err != nil {
		t.Fatal(err)
	}
	if s2.Bytes()[0] != 7 {
		t.Error("the second handle sees other memory")
	}
	// One mapping for both: closing one leaves the other's slice alone.
	b := s2.Bytes()
	s2.Close()
	if b[0] != 7 {
		t.Error("closing one of two handles took the memory away")
	}
	p := reexec.Start(t, "open", nil, dir, "a")
	if l := p.Line(); l != "open" {
		t.Fatal(l)
	}
	if s.Bytes()[1] != 1 {
		t.Error("what the other process wrote did not arrive")
	}
	p.Done()
	if err := shm.Remove("a", o); err != nil {
		t.Error(err)
	}
	if err := shm.Remove("a", o); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("second Remove: %v", err)
	}
	if s.Bytes()[0] != 7 {
		t.Error("removing the name took the memory away")
	}
}

// A kept slice reads zeros after Close, can be written, and the memory is back.
func TestKeptSlice(t *testing.T) {
	s, err := shm.New(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	b := s.Bytes()
	b[0], b[1<<20-1] = 1, 2
	s.Close()
	s.Close()
	s = nil
	for range 3 {
		runtime.GC()
	}
	if b[0] != 0 || b[1<<20-1] != 0 {
		t.Errorf("kept slice reads %d, %d", b[0], b[1<<20-1])
	}
	for i := range b {
		b[i] = 3
	}
}

func TestUseAfterClose(t *testing.T) {
	s, err := shm.New(10)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	defer func() {
		if r := recover(); r != "shm: use of closed Segment" {
			t.Errorf("Bytes after Close: %v", r)
		}
	}()
	s.Bytes()
}

// Segments that become unreachable give back descriptors, and, if no slice of
// them was given out, addresses.
func TestUnreachable(t *testing.T) {
	before := openFDs(t)
	for range 50 {
		if _, err := shm.New(4096); err != nil {
			t.Fatal(err)
		}
	}
	for i := 0; openFDs(t) > before; i++ {
		if i == 100 {
			t.Fatalf("%d descriptors before, %d after", before, openFDs(t))
		}
		runtime.GC()
		runtime.Gosched()
	}
}

func TestAttachAcrossProcesses(t *testing.T) {
	h, err := seg.New(seg.Spec{Kind: "segment", Data: 8})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(nil)
	f, err := h.Reopen()
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(f), "segment")
	defer file.Close()
	for range 3 {
		reexec.Start(t, "attach", []*os.File{file}).Done()
	}
	if h.Data()[0] != 3 {
		t.Errorf("three processes added up to %d", h.Data()[0])
	}
}

func TestReapAndList(t *testing.T) {
	dir := tmpfs(t)
	o := shm.Options{Dir: dir}
	os.WriteFile(filepath.Join(dir, "foreign"), []byte("not ours"), 0o600)
	mine, err := shm.Create("mine", 10, o)
	if err != nil {
		t.Fatal(err)
	}
	other, err := shm.Create("other", 5000, o)
	if err != nil {
		t.Fatal(err)
	}
	p := reexec.Start(t, "open", nil, dir, "other")
	p.Line()
	other.Close()

	if r, err := shm.Reap(o); err != nil || len(r) != 0 {
		t.Fatalf("Reap with all in use: %v, %v", r, err)
	}
	all, err := shm.List(o)
	if err != nil || len(all) != 2 || !all[0].InUse || !all[1].InUse || all[1].Name != "other" || all[1].Size != 5000 || all[1].Kind != "segment" {
		t.Fatalf("List: %+v, %v", all, err)
	}
	p.Kill()
	r, err := shm.Reap(o)
	if err != nil || len(r) != 1 || r[0].Name != "other" {
		t.Fatalf("Reap after the kill: %+v, %v", r, err)
	}
	mine.Close()
	if r, err := shm.Reap(o); err != nil || len(r) != 1 || r[0].Name != "mine" {
		t.Fatalf("Reap after Close: %+v, %v", r, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "foreign")); err != nil {
		t.Errorf("Reap touched a foreign file: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := tmpfs(t)
	o := shm.Options{Dir: dir}
	path := func(n string) string { return filepath.Join(dir, n) }
	good, err := shm.Create("good", 100, o)
	if err != nil {
		t.Fatal(err)
	}
	defer good.Close()
	image, err := os.ReadFile(path("good"))
	if err != nil {
		t.Fatal(err)
	}
	h, err := seg.Create("mutex", seg.Spec{Kind: "mutex", Meta: 64}, seg.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(nil)
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(path("foreign"), []byte("hello"), 0o600))
	must(os.WriteFile(path("empty"), nil, 0o600))
	must(os.WriteFile(path("short"), image[:len(image)-1], 0o600))
	must(os.WriteFile(path("long"), append(image[:len(image):len(image)], image[len(image)-512:]...), 0o600))
	newer := append([]byte(nil), image...)
	newer[len(newer)-512+8] = 3
	must(os.WriteFile(path("newer"), newer, 0o600))
	flipped := append([]byte(nil), image...)
	flipped[len(flipped)-512+24]++
	must(os.WriteFile(path("damaged"), flipped, 0o600))
	must(os.WriteFile(path("copy"), image, 0o600))
	must(os.Symlink("good", path("link")))
	must(os.Mkdir(path("folder"), 0o700))
	must(unix.Mkfifo(path("fifo"), 0o600))
	must(os.WriteFile(path("stranger"), image, 0o666))
	if os.Getuid() == 0 {
		must(os.Chown(path("stranger"), 12345, 12345))
	}

	tests := []struct {
		name string
		is   error
		says string
	}{
		{"missing", fs.ErrNotExist, "missing"},
		{"a/b", fs.ErrInvalid, "slash"},
		{"..", fs.ErrInvalid, "directory"},
		{".", fs.ErrInvalid, "directory"},
		{"", fs.ErrInvalid, "empty"},
		{"nul\x00l", fs.ErrInvalid, "NUL"},
		{strings.Repeat("n", 300), fs.ErrInvalid, "300 bytes"},
		{"mutex", shm.ErrType, "it is a mutex, not a segment"},
		{"foreign", shm.ErrFormat, "another program"},
		{"empty", shm.ErrFormat, "another program"},
		{"short", shm.ErrFormat, "cut short"},
		{"long", shm.ErrFormat, "resized"},
		{"newer", shm.ErrFormat, "version 3"},
		{"damaged", shm.ErrFormat, "checksum"},
		{"copy", shm.ErrFormat, "copy"},
		{"link", shm.ErrFormat, "symbolic link"},
		{"folder", shm.ErrFormat, "regular file"},
		{"fifo", shm.ErrFormat, "regular file"},
	}
	if os.Getuid() == 0 {
		tests = append(tests, struct {
			name string
			is   error
			says string
		}{"stranger", fs.ErrPermission, "belongs to user 12345"})
	}
	fds := openFDs(t)
	for _, tt := range tests {
		t.Run(tt.name[:min(len(tt.name), 20)], func(t *testing.T) {
			s, err := shm.Open(tt.name, o)
			if err == nil {
				s.Close()
			}
			if !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v: want %v with %q", err, tt.is, tt.says)
			}
		})
	}
	if n := openFDs(t); n != fds {
		t.Errorf("%d descriptors before, %d after", fds, n)
	}
}

func TestFullTmpfs(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("mounting is not permitted here: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	o := shm.Options{Dir: dir}
	fds := openFDs(t)
	if _, err := shm.Create("big", 1<<20, o); !errors.Is(err, shm.ErrNoSpace) || !errors.Is(err, unix.ENOSPC) {
		t.Errorf("larger than the file system: %v", err)
	}
	s, err := shm.Create("fits", 200<<10, o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := shm.Create("second", 100<<10, o); !errors.Is(err, shm.ErrNoSpace) {
		t.Errorf("file system nearly full: %v", err)
	}
	for i := range s.Bytes() { // all of it is there: no SIGBUS
		s.Bytes()[i] = 1
	}
	if e, _ := os.ReadDir(dir); len(e) != 1 {
		t.Errorf("left behind: %v", e)
	}
	s.Close()
	if n := openFDs(t); n != fds {
		t.Errorf("%d descriptors before, %d after", fds, n)
	}
}

// tmpfs is a directory for named segments that is empty at the end.
func tmpfs(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "multiproc-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func openFDs(t *testing.T) int {
	t.Helper()
	e, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(e)
}

func TestOpenRaw(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 here")
	}
	script := `
from multiprocessing import shared_memory, resource_tracker
import sys
s = shared_memory.SharedMemory(create=True, size=64)
s.buf[0] = 42
print(s.name, flush=True)
sys.stdin.readline()
print(s.buf[1], flush=True)
s.close(); s.unlink()
`
	cmd := exec.Command(python, "-c", script)
	p := reexec.StartCmd(t, cmd, "", nil)
	name := p.Line()
	s, err := shm.OpenRaw(name)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if len(s.Bytes()) != 64 || s.Bytes()[0] != 42 {
		t.Errorf("%d bytes, the first %d", len(s.Bytes()), s.Bytes()[0])
	}
	s.Bytes()[1] = 43
	p.Say("")
	if l := p.Line(); l != "43" {
		t.Errorf("Python reads %s", l)
	}
	p.Done()
	if _, err := shm.Open(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after unlink: %v", err)
	}
}

// Nobody can change the size of an anonymous segment under its readers, who would fault.
func TestSizeIsSealed(t *testing.T) {
	h, err := seg.New(seg.Spec{Kind: "segment", Data: 8})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(nil)
	fd, err := h.Reopen()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for _, size := range []int64{0, 1, 1 << 20} {
		if err := unix.Ftruncate(fd, size); err != unix.EPERM {
			t.Errorf("ftruncate to %d: %v", size, err)
		}
	}
	h.Data()[7] = 1
}

// The mode of a named segment is what was asked for, whatever the umask.
func TestMode(t *testing.T) {
	defer unix.Umask(unix.Umask(0o077))
	for _, test := range []struct{ ask, want fs.FileMode }{{0, 0o600}, {0o640, 0o640}, {0o666, 0o666}} {
		dir := tmpfs(t)
		s, err := shm.Create("a", 1, shm.Options{Dir: dir, Mode: test.ask})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		st, err := os.Stat(filepath.Join(dir, "a"))
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm() != test.want {
			t.Errorf("Mode %o: %o, want %o", test.ask, st.Mode().Perm(), test.want)
		}
	}
}

// A file that belongs to somebody else is opened only by those who say that they know.
func TestAnyOwner(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give files away")
	}
	dir := tmpfs(t)
	o := shm.Options{Dir: dir}
	s, err := shm.Create("theirs", 8, o)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if err := os.Chown(filepath.Join(dir, "theirs"), 65534, 65534); err != nil {
		t.Fatal(err)
	}
	for name, open := range map[string]func(string, ...shm.Options) (*shm.Segment, error){"Open": shm.Open, "OpenRaw": shm.OpenRaw} {
		if _, err := open("theirs", o); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s of another user's: %v", name, err)
		}
		s, err := open("theirs", shm.Options{Dir: dir, AnyOwner: true})
		if err != nil {
			t.Errorf("%s with AnyOwner: %v", name, err)
			continue
		}
		s.Close()
	}
}

// The zero Segment is none, and says so.
func TestZeroSegment(t *testing.T) {
	var s shm.Segment
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	for what, f := range map[string]func(){
		"Bytes": func() { s.Bytes() }, "Size": func() { s.Size() }, "Name": func() { s.Name() },
		"placing": func() { psync.MutexAt(&s, 0) },
	} {
		t.Run(what, func(t *testing.T) {
			verify.Panics(t, "shm: use of a Segment that was not made by New, Create, Open, OpenOrCreate or OpenRaw", f)
		})
	}
	if _, err := handover.Marshal(&s, "it"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("handing it over: %v", err)
	}
}

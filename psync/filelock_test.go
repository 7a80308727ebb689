package psync_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/verify"
	"github.com/go-multiproc/multiproc/psync"
)

var background = context.Background()

func newFileLock(t *testing.T, path string) *psync.FileLock {
	t.Helper()
	l, err := psync.NewFileLock(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func lockPath(t *testing.T) string { return filepath.Join(t.TempDir(), "lock") }

// mustTry checks what TryLock answers, and gives the lock back.
func mustTry(t *testing.T, l *psync.FileLock, want bool) {
	t.Helper()
	ok, err := l.TryLock()
	verify.Must(t, err)
	if ok != want {
		t.Fatalf("TryLock = %v, want %v", ok, want)
	}
	if ok {
		verify.Must(t, l.Unlock())
	}
}

func TestFileLockMakesAndKeepsTheFile(t *testing.T) {
	path := lockPath(t)
	l := newFileLock(t, path)
	verify.Must(t, l.Lock(background))
	verify.Must(t, l.Unlock())
	verify.Must(t, l.Close())
	fi, err := os.Stat(path)
	verify.Must(t, err)
	if fi.Mode() != 0o600 {
		t.Errorf("mode %v", fi.Mode())
	}
	if l.Path() != path {
		t.Errorf("Path() = %q, want %q", l.Path(), path)
	}
}

func TestFileLockRelativePath(t *testing.T) {
	t.Chdir(t.TempDir())
	l := newFileLock(t, "here")
	if want, _ := filepath.Abs("here"); l.Path() != want {
		t.Errorf("Path() = %q, want %q", l.Path(), want)
	}
}

func TestFileLockBadPaths(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	verify.Must(t, syscall.Mkfifo(fifo, 0o600))
	loop := filepath.Join(dir, "loop")
	verify.Must(t, os.Symlink(loop, loop))
	tests := []struct {
		name, path string
		want       error
	}{
		{"empty", "", fs.ErrNotExist},
		{"no such directory", filepath.Join(dir, "none", "lock"), fs.ErrNotExist},
		{"directory", dir, syscall.EISDIR},
		{"file as directory", filepath.Join(os.Args[0], "lock"), syscall.ENOTDIR},
		{"NUL", filepath.Join(dir, "a\x00b"), syscall.EINVAL},
		{"300 characters", filepath.Join(dir, strings.Repeat("x", 300)), syscall.ENAMETOOLONG},
		{"symlink loop", loop, syscall.ELOOP},
		{"fifo", fifo, nil},
		{"device", "/dev/null", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, err := psync.NewFileLock(tt.path)
			var pe *fs.PathError
			if l != nil || !errors.As(err, &pe) {
				t.Fatalf("NewFileLock = %v, %v; want an fs.PathError", l, err)
			}
			if tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
}

func TestFileLockWithoutPermission(t *testing.T) {
	if os.Getuid() != 0 {
		path := lockPath(t)
		verify.Must(t, os.WriteFile(path, nil, 0))
		if _, err := psync.NewFileLock(path); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("error %v", err)
		}
		return
	}
	// root may open anything, so somebody else has to try.
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		verify.Must(t, os.Chmod(d, 0o755))
	}
	path := filepath.Join(dir, "lock")
	verify.Must(t, os.WriteFile(path, nil, 0o600))
	exe := filepath.Join(dir, "test")
	b, err := os.ReadFile("/proc/self/exe")
	verify.Must(t, err)
	verify.Must(t, os.WriteFile(exe, b, 0o755))
	cmd := exec.Command(exe)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), fileLockHelperVar+"="+path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, _ := cmd.Output()
	if want := "open " + path + ": permission denied"; strings.TrimSpace(string(out)) != want {
		t.Errorf("the other user got %q, want %q", out, want)
	}
}

func TestFileLockNotHeld(t *testing.T) {
	l := newFileLock(t, lockPath(t))
	check := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, psync.ErrNotHeld) {
			t.Errorf("%s: %v, want ErrNotHeld", what, err)
		}
	}
	check("Unlock", l.Unlock())
	check("RUnlock", l.RUnlock())
	verify.Must(t, l.Lock(background))
	check("RUnlock of an exclusive hold", l.RUnlock())
	verify.Must(t, l.Unlock())
	check("second Unlock", l.Unlock())
	verify.Must(t, l.RLock(background))
	check("Unlock of a shared hold", l.Unlock())
	verify.Must(t, l.RUnlock())

	p := startPeer(t, l.Path())
	p.do("lock")
	check("Unlock of another process's hold", l.Unlock())
	p.do("unlock")
}

// Within a process, the file counts, and not the handle or the path.
func TestFileLockExcludesWithinProcess(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "lock")
	l := newFileLock(t, path)
	verify.Must(t, os.Link(path, filepath.Join(dir, "hardlink")))
	verify.Must(t, os.Symlink(path, filepath.Join(dir, "symlink")))
	for _, name := range []string{"lock", "hardlink", "symlink"} {
		t.Run(name, func(t *testing.T) {
			other := newFileLock(t, filepath.Join(dir, name))
			verify.Must(t, l.Lock(background))
			mustTry(t, other, false)
			wait := verify.Blocks(t, "Lock", func() error { return other.Lock(background) })
			verify.Must(t, l.Unlock())
			verify.Must(t, wait())
			mustTry(t, l, false)
			// A hold is the process's: whichever handle may end it.
			verify.Must(t, l.Unlock())
			mustTry(t, l, true)
		})
	}
	t.Run("same handle", func(t *testing.T) {
		verify.Must(t, l.Lock(background))
		wait := verify.Blocks(t, "Lock", func() error { return l.Lock(background) })
		verify.Must(t, l.Unlock())
		verify.Must(t, wait())
		verify.Must(t, l.Unlock())
	})
}

func TestFileLockExcludesProcesses(t *testing.T) {
	path := lockPath(t)
	const processes, each = 3, 100
	verify.Must(t, os.WriteFile(path+".count", []byte("0"), 0o600))
	peers := make([]*peer, processes)
	for i := range peers {
		peers[i] = startPeer(t, path)
		peers[i].send("count " + strconv.Itoa(each))
	}
	verify.Must(t, countUp(path, strconv.Itoa(each)))
	for _, p := range peers {
		if got := p.answer(); got != "ok" {
			t.Error(got)
		}
	}
	b, err := os.ReadFile(path + ".count")
	verify.Must(t, err)
	if want := strconv.Itoa((processes + 1) * 4 * each); string(b) != want {
		t.Errorf("counted %s, want %s", b, want)
	}
}

func TestFileLockReadersShare(t *testing.T) {
	l := newFileLock(t, lockPath(t))
	p := startPeer(t, l.Path())
	p.do("rlock")
	verify.Must(t, l.RLock(background))
	verify.Must(t, l.RLock(background))
	mustTry(t, l, false)

	// A writer waits for all of them, here and there; a reader that comes later
	// waits behind it.
	writer := verify.Blocks(t, "Lock", func() error { return l.Lock(background) })
	verify.Must(t, l.RUnlock())
	verify.Must(t, l.RUnlock())
	late := verify.Blocks(t, "RLock behind Lock", func() error { return l.RLock(background) })
	p.do("runlock")
	verify.Must(t, writer())
	verify.Must(t, l.Unlock())
	verify.Must(t, late())
	verify.Must(t, l.RUnlock())
}

func TestFileLockReadersGoOnWhenWriterGivesUp(t *testing.T) {
	l := newFileLock(t, lockPath(t))
	p := startPeer(t, l.Path())
	p.do("rlock")
	ctx, cancel := context.WithCancel(background)
	defer cancel()
	writer := verify.Blocks(t, "Lock", func() error { return l.Lock(ctx) })
	reader := verify.Blocks(t, "RLock behind Lock", func() error { return l.RLock(background) })
	standsInKernel(t, l.Path())
	cancel()
	if err := writer(); err != context.Canceled {
		t.Errorf("Lock = %v", err)
	}
	// The peer still reads, so a stander that the writer left behind still waits.
	verify.Must(t, reader())
	verify.Must(t, l.RUnlock())
	p.do("runlock")
}

func TestFileLockOrder(t *testing.T) {
	l := newFileLock(t, lockPath(t))
	verify.Must(t, l.Lock(background))
	const n = 40 // more than are served without unlocking
	var mu sync.Mutex
	var order []int
	var all sync.WaitGroup
	for i := range n {
		queued := psync.FileLockWaiters(l)
		all.Go(func() {
			if err := l.Lock(background); err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			order = append(order, i)
			mu.Unlock()
			if err := l.Unlock(); err != nil {
				t.Error(err)
			}
		})
		for psync.FileLockWaiters(l) == queued {
			runtime.Gosched()
		}
	}
	verify.Must(t, l.Unlock())
	all.Wait()
	for i, got := range order {
		if got != i {
			t.Fatalf("order %v", order)
		}
	}
}

func TestFileLockFreeIsTakenWithoutALookAtCtx(t *testing.T) {
	l := newFileLock(t, lockPath(t))
	ended, cancel := context.WithCancel(background)
	cancel()
	verify.Must(t, l.Lock(ended))
	other := newFileLock(t, l.Path())
	if err := other.Lock(ended); err != context.Canceled {
		t.Errorf("Lock of a taken lock = %v", err)
	}
	verify.Must(t, l.Unlock())
}

// Goroutines that give up return at once, at the cost of one thread, and the
// lock is not lost on the stander that they leave behind.
func TestFileLockGivingUp(t *testing.T) {
	l := newFileLock(t, lockPath(t))
	p := startPeer(t, l.Path())
	p.do("lock")
	before := threads(t)
	ctx, cancel := context.WithCancel(background)
	defer cancel()
	const n = 1000
	errs := make(chan error, n)
	for range n {
		go func() { errs <- l.Lock(ctx) }()
	}
	for psync.FileLockWaiters(l) < n {
		runtime.Gosched()
	}
	// The runtime starts some threads of its own for so many goroutines.
	if grown := threads(t) - before; grown > 10 {
		t.Errorf("%d goroutines that wait took %d threads", n, grown)
	}
	standsInKernel(t, l.Path())
	cancel()
	for range n {
		if err := <-errs; err != context.Canceled {
			t.Fatalf("Lock = %v", err)
		}
	}
	timeout, cancel := context.WithTimeout(background, watched)
	defer cancel()
	if err := l.Lock(timeout); err != context.DeadlineExceeded {
		t.Fatalf("Lock = %v", err)
	}
	verify.Must(t, l.Close())

	p.do("unlock")
	p.do("lock") // after or before our stander: either way it gets it
	p.do("unlock")
	waitIdle(t)
}

// waitIdle waits until this process has nothing to do with any file.
func waitIdle(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(patience); psync.FileLocksInUse() > 0; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("a file is still in use")
		}
	}
}

func threads(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Skip(err)
	}
	return len(list)
}

func TestFileLockHolderDies(t *testing.T) {
	l := newFileLock(t, lockPath(t))
	p := startPeer(t, l.Path())
	p.do("lock")
	wait := verify.Blocks(t, "Lock", func() error { return l.Lock(background) })
	standsInKernel(t, l.Path())
	verify.Must(t, p.cmd.Process.Kill())
	verify.Must(t, wait())
	ran := false
	verify.Must(t, l.Recover(background, func() error { ran = true; return nil }))
	if ran {
		t.Error("Recover ran repair on a lock that was not abandoned")
	}
	verify.Must(t, l.Unlock())
}

func TestFileLockStoppedHolderKeepsIt(t *testing.T) {
	l := newFileLock(t, lockPath(t))
	p := startPeer(t, l.Path())
	p.do("lock")
	verify.Must(t, p.cmd.Process.Signal(syscall.SIGSTOP))
	wait := verify.Blocks(t, "Lock", func() error { return l.Lock(background) })
	standsInKernel(t, l.Path())
	verify.Must(t, p.cmd.Process.Signal(syscall.SIGCONT))
	p.do("unlock")
	verify.Must(t, wait())
	verify.Must(t, l.Unlock())
}

// Whoever waits while the file is replaced gets the lock on the new one.
func TestFileLockReplacedFile(t *testing.T) {
	path := lockPath(t)
	for _, holder := range []string{"other process", "same process"} {
		t.Run(holder, func(t *testing.T) {
			l := newFileLock(t, path)
			mine := newFileLock(t, path)
			p := startPeer(t, path)
			if holder == "same process" {
				verify.Must(t, mine.Lock(background))
			} else {
				p.do("lock")
			}
			wait := verify.Blocks(t, "Lock", func() error { return l.Lock(background) })
			if holder == "other process" {
				standsInKernel(t, path)
			}
			verify.Must(t, os.WriteFile(path+".new", nil, 0o600))
			verify.Must(t, os.Rename(path+".new", path))
			newcomer := startPeer(t, path)
			newcomer.do("lock")
			if holder == "same process" {
				verify.Must(t, mine.Unlock())
			} else {
				p.do("unlock")
			}
			// Now the old file's lock is free; the new one's is not.
			newcomer.send("trylock")
			if got := newcomer.answer(); got != "busy" {
				t.Errorf("trylock of the new file: %s", got)
			}
			newcomer.do("unlock")
			verify.Must(t, wait())
			newcomer.send("trylock")
			if got := newcomer.answer(); got != "busy" {
				t.Errorf("trylock after the waiter got it: %s", got)
			}
			verify.Must(t, l.Unlock())
		})
	}
}

func TestFileLockRemovedFile(t *testing.T) {
	l := newFileLock(t, lockPath(t))
	verify.Must(t, l.Lock(background))
	verify.Must(t, os.Remove(l.Path()))
	verify.Must(t, l.Unlock())
	verify.Must(t, l.Lock(background))
	if _, err := os.Stat(l.Path()); err != nil {
		t.Error(err)
	}
	verify.Must(t, l.Unlock())
	verify.Must(t, os.RemoveAll(filepath.Dir(l.Path())))
	var pe *fs.PathError
	if err := l.Lock(background); !errors.As(err, &pe) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Lock without the directory = %v", err)
	}
}

func TestFileLockClose(t *testing.T) {
	l := newFileLock(t, lockPath(t))
	verify.Must(t, l.Lock(background))
	if err := l.Close(); err == nil {
		t.Fatal("closing a held lock succeeded")
	}
	other := newFileLock(t, l.Path())
	wait := verify.Blocks(t, "Lock", func() error { return other.Lock(background) })
	verify.Must(t, other.Close()) // the hold is not its own
	if err := wait(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Lock while Close = %v", err)
	}
	verify.Must(t, l.Unlock())
	verify.Must(t, l.Close())
	verify.Must(t, l.Close())
	_, err := l.TryLock()
	for what, err := range map[string]error{
		"Lock": l.Lock(background), "TryLock": err, "Unlock": l.Unlock(), "RLock": l.RLock(background),
		"RUnlock": l.RUnlock(), "Recover": l.Recover(background, nil),
	} {
		if !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%s after Close = %v", what, err)
		}
	}
}

func TestFileLockZero(t *testing.T) {
	var l psync.FileLock
	if err := l.Lock(background); err == nil {
		t.Error("Lock of a zero FileLock succeeded")
	}
	if err := l.Unlock(); err == nil {
		t.Error("Unlock of a zero FileLock succeeded")
	}
	verify.Must(t, l.Close())
}

func TestFileLockLeaksNothing(t *testing.T) {
	path := lockPath(t)
	fds := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip(err)
		}
		return len(list)
	}
	waitIdle(t)
	before := fds()
	for range 50 {
		l := newFileLock(t, path)
		other := newFileLock(t, path)
		verify.Must(t, l.Lock(background))
		mustTry(t, other, false)
		done := make(chan error)
		go func() { done <- other.RLock(background) }()
		verify.Must(t, l.Unlock())
		verify.Must(t, <-done)
		verify.Must(t, other.RUnlock())
	}
	waitIdle(t)
	if after := fds(); after > before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

// flock(1) and Python are stock programs that take the same lock.
func TestFileLockWithOtherPrograms(t *testing.T) {
	python := func(op string) []string {
		return []string{"python3", "-u", "-c", `
import fcntl, sys
f = open(sys.argv[1])
fcntl.flock(f, fcntl.` + op + `)
print("locked", flush=True)
sys.stdin.readline()`}
	}
	tests := []struct {
		name   string
		argv   []string
		shared bool
	}{
		{"flock(1)", []string{"flock", "{}", "sh", "-c", "echo locked; read x"}, false},
		{"flock(1) shared", []string{"flock", "-s", "{}", "sh", "-c", "echo locked; read x"}, true},
		{"python", append(python("LOCK_EX"), "{}"), false},
		{"python shared", append(python("LOCK_SH"), "{}"), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := exec.LookPath(tt.argv[0]); err != nil {
				t.Skip(err)
			}
			l := newFileLock(t, lockPath(t))
			argv := make([]string, len(tt.argv))
			for i, a := range tt.argv {
				argv[i] = strings.ReplaceAll(a, "{}", l.Path())
			}
			// It has it: we wait.
			p := startPeerCommand(t, exec.Command(argv[0], argv[1:]...))
			if got := p.answer(); got != "locked" {
				t.Fatal(got)
			}
			if ok, err := l.TryRLock(); err != nil || ok != tt.shared {
				t.Fatalf("TryRLock = %v, %v; want %v", ok, err, tt.shared)
			} else if ok {
				verify.Must(t, l.RUnlock())
			}
			wait := verify.Blocks(t, "Lock", func() error { return l.Lock(background) })
			standsInKernel(t, l.Path())
			p.send("")
			verify.Must(t, wait())

			// We have it: it waits.
			p = startPeerCommand(t, exec.Command(argv[0], argv[1:]...))
			wait = verify.Blocks(t, tt.name, func() error {
				if got := p.answer(); got != "locked" {
					return fmt.Errorf("answer %q", got)
				}
				return nil
			})
			standsInKernel(t, l.Path())
			verify.Must(t, l.Unlock())
			verify.Must(t, wait())
		})
	}
}

// Who does not wait does not overtake who does, not even in the instant in which the lock is free.
func TestFileLockTryLockDoesNotOvertake(t *testing.T) {
	l := newFileLock(t, lockPath(t))
	for range 20 {
		verify.Must(t, l.Lock(t.Context()))
		read := verify.Blocks(t, "RLock", func() error { return l.RLock(context.Background()) })
		verify.Must(t, l.Unlock())
		if ok, err := l.TryLock(); ok || err != nil {
			t.Fatalf("TryLock while another goroutine waits, or reads: %v, %v", ok, err)
		}
		verify.Must(t, read())
		verify.Must(t, l.RUnlock())
	}
}

package pipe_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/wire"
	"github.com/go-multiproc/multiproc/pipe"
)

// helpers are what this binary does as a child process. Each has the end of a pipe, which its parent gave it, and ends the process
// by returning.
var helpers = map[string]func(c *pipe.Conn) error{}

const helperEnv = "PIPE_TEST_HELPER"

func TestMain(m *testing.M) {
	if name := os.Getenv(helperEnv); name != "" {
		os.Exit(runHelper(name))
	}
	// A test binary under -race sleeps a second at exit, so that a child would.
	os.Setenv("GORACE", strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=0"))
	if r, w, err := os.Pipe(); err == nil { // Go's poller has descriptors of its own, from the first use on
		r.Close()
		w.Close()
	}
	before := openFDs()
	code := m.Run()
	if after := settle(func() int { return len(openFDs()) - len(before) }); code == 0 && after > 0 {
		fmt.Fprintf(os.Stderr, "%d descriptors were left open: %v\n", after, openFDs())
		code = 1
	}
	os.Exit(code)
}

func runHelper(name string) int {
	// The parent holds the other end of 4 and sends nothing, so this returns when it is dead, killed by a timeout for one. A blocking
	// read, because one that is parked in Go's poller would take part in what is measured.
	go func() {
		for {
			if _, err := unix.Read(4, make([]byte, 1)); err != unix.EINTR {
				os.Exit(3)
			}
		}
	}()
	var c *pipe.Conn
	w, err := wire.New(3)
	if err == nil {
		var b []byte
		var fds []int
		if b, fds, err = w.ReadFrame(1 << 20); err == nil {
			_, err = handover.Unmarshal(b, fds, &c)
		}
		w.Close()
	}
	if err == nil {
		err = helpers[name](c)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "helper %s: %v\n", name, err)
		return 1
	}
	return 0
}

// A child is a process of this binary that runs a helper.
type child struct {
	*exec.Cmd
	stderr strings.Builder
}

// start runs helper name, to which c moves.
func start(t testing.TB, name string, c *pipe.Conn) *child {
	t.Helper()
	if helpers[name] == nil {
		t.Fatalf("no helper %s", name)
	}
	ours, theirs, err := wire.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	defer theirs.Close()
	fd, err := theirs.Dup()
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "boot")
	defer f.Close()
	alive, held, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer alive.Close()
	p := &child{Cmd: exec.Command(os.Args[0])}
	p.Env = append(os.Environ(), helperEnv+"="+name)
	p.ExtraFiles = []*os.File{f, alive}
	p.Stderr = &p.stderr
	if err := p.Start(); err != nil {
		held.Close()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Process.Kill()
		p.Wait()
		held.Close()
	})
	m, err := handover.Marshal(c, "end")
	if err != nil {
		t.Fatal(err)
	}
	if err := ours.WriteFrame(m.Data, m.FDs); err != nil {
		t.Fatal(err)
	}
	m.Sent()
	return p
}

// wait waits for the child's good end.
func (p *child) wait(t testing.TB) {
	t.Helper()
	if err := p.Wait(); err != nil {
		t.Errorf("child: %v\n%s", err, &p.stderr)
	}
}

func openFDs() []string {
	dir := "/proc/self/fd"
	entries, _ := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		if target, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil {
			names = append(names, e.Name()+"="+target)
		}
	}
	return names
}

// settle waits until f is at most 0, because some things are released by a goroutine that nobody can wait for, and returns its last value.
func settle(f func() int) int {
	n := f()
	for range 2000 {
		if n <= 0 {
			break
		}
		runtime.GC() // finalizers close what tests leave behind on failure only
		time.Sleep(5 * time.Millisecond)
		n = f()
	}
	return n
}

// checkLeaks fails the test if it leaves descriptors or goroutines behind.
func checkLeaks(t testing.TB) {
	t.Helper()
	fds, goroutines := len(openFDs()), runtime.NumGoroutine()
	t.Cleanup(func() {
		if n := settle(func() int { return len(openFDs()) - fds }); n > 0 {
			t.Errorf("%d descriptors were left open: %v", n, openFDs())
		}
		if n := settle(func() int { return runtime.NumGoroutine() - goroutines }); n > 0 {
			buf := make([]byte, 1<<16)
			t.Errorf("%d goroutines were left:\n%s", n, buf[:runtime.Stack(buf, true)])
		}
	})
}

// pair returns two connected ends, which are closed with the test.
func pair(t testing.TB) (a, b *pipe.Conn) {
	t.Helper()
	a, b, err := pipe.New()
	if err != nil {
		t.Fatal(err)
	}
	closeWith(t, a, b)
	return a, b
}

func closeWith[C io.Closer](t testing.TB, cs ...C) {
	t.Cleanup(func() {
		for _, c := range cs {
			c.Close()
		}
	})
}

// rawPair returns a Conn and the bare descriptor of its peer.
func rawPair(t testing.TB) (*pipe.Conn, int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fds[0]), "peer")
	c, err := pipe.FromFile(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	closeWith(t, c)
	return c, fds[1]
}

// withTimeout is a context that ends long after a test should have.
func withTimeout(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func stacks(buf []byte) string { return string(buf[:runtime.Stack(buf, true)]) }

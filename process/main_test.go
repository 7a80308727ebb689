//go:build linux

package process_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/process"
)

const (
	// bareMarker makes this binary exit at the place where a child begins.
	bareMarker = "PROCESS_TEST_BARE"

	// mainMarker makes this binary a program of its own: the one in mains that it names.
	mainMarker = "PROCESS_TEST_MAIN"
)

// mains are programs that tests start, to do to them what cannot be done to the test itself. An init function
// of each test file adds its own.
var mains = map[string]func() int{}

func TestMain(m *testing.M) {
	if os.Getenv(bareMarker) != "" {
		return
	}
	process.Main(func() int {
		// Under the race detector every exit takes a second by default, to let reports come out.
		os.Setenv("GORACE", strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=0"))
		if name := os.Getenv(mainMarker); name != "" {
			program, ok := mains[name]
			if !ok {
				fmt.Fprintf(os.Stderr, "no program %q\n", name)
				return 125
			}
			takeWay(context.Background())
			return program()
		}
		// Who runs us may have set what a child with an environment of its own does not have, and ForkServer refuses then.
		for _, kv := range os.Environ() {
			if key, _, _ := strings.Cut(kv, "="); process.ReadEarly(key) {
				os.Unsetenv(key)
			}
		}
		return m.Run()
	})
}

// program prepares a run of one of mains.
func program(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	if _, ok := mains[name]; !ok {
		t.Fatalf("no program %q", name)
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), mainMarker+"="+name)
	if currentWay != ways[0] {
		cmd.Env = append(cmd.Env, wayMarker+"="+currentWay.name)
	}
	return cmd
}

// deadline is far beyond what anything here takes, and short of the test's own end.
const deadline = 60 * time.Second

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	t.Cleanup(cancel)
	return ctx
}

// start starts a process, and sees to it that none is left.
func start[A any](t testing.TB, fn *process.Func[A], args A) *process.Process {
	t.Helper()
	p := process.New(fn, args)
	mustStart(t, p)
	return p
}

func mustStart(t testing.TB, p *process.Process) {
	t.Helper()
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	done := p.Done()
	t.Cleanup(func() {
		p.Kill()
		<-done
	})
}

func join(t testing.TB, p *process.Process) {
	t.Helper()
	if err := p.Join(within(t)); err != nil {
		t.Fatal(err)
	}
}

// joinError waits for a process that ends badly.
func joinError(t testing.TB, p *process.Process) *process.ExitError {
	t.Helper()
	err := p.Join(within(t))
	var e *process.ExitError
	if !errors.As(err, &e) {
		t.Fatalf("Join = %v, want an *ExitError", err)
	}
	return e
}

// output gives p a standard output that can be read: to its end when everybody who has it is gone.
func output(t testing.TB, p *process.Process) io.Reader {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	r.SetReadDeadline(time.Now().Add(deadline))
	p.Stdout = w
	return r
}

// run runs a process to its end, and returns what it wrote.
func run[A any](t testing.TB, fn *process.Func[A], args A, settings ...func(*process.Process)) string {
	t.Helper()
	p := process.New(fn, args)
	r := output(t, p)
	for _, set := range settings {
		set(p)
	}
	mustStart(t, p)
	p.Stdout.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	join(t, p)
	return string(b)
}

// lines are what a child writes, one at a time.
type lines struct {
	t testing.TB
	r io.Reader
	b bytes.Buffer
}

// next returns the next line, without its end.
func (l *lines) next() string {
	l.t.Helper()
	var c [1]byte
	for {
		if i := bytes.IndexByte(l.b.Bytes(), '\n'); i >= 0 {
			return string(bytes.TrimSuffix(l.b.Next(i+1), []byte("\n")))
		}
		n, err := l.r.Read(c[:])
		l.b.Write(c[:n])
		if err != nil {
			l.t.Fatalf("no further line after %q: %v", l.b.String(), err)
		}
	}
}

// end fails unless nothing more comes, and everybody who could write is gone.
func (l *lines) end() {
	l.t.Helper()
	if b, err := io.ReadAll(l.r); len(b)+l.b.Len() > 0 || err != nil {
		l.t.Fatalf("more output: %q %v", l.b.String()+string(b), err)
	}
}

// waitForEnd is what a function does that shall stay until it is told otherwise.
func waitForEnd(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

//go:build linux

package process_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/detector"
	"github.com/go-multiproc/multiproc/process"
)

// speech is what a child says on standard error, and how it ends then.
type speech struct {
	Text  string
	Times int
	Code  int
}

var speak = process.Register(func(_ context.Context, s speech) error {
	w := bufio.NewWriter(os.Stderr)
	for range s.Times {
		w.WriteString(s.Text)
	}
	w.Flush()
	os.Exit(s.Code)
	return nil
})

// captured starts a process with a captured standard error, which goes on to r.
func captured(t testing.TB, p *process.Process) (r *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	r.SetReadDeadline(time.Now().Add(deadline))
	p.CaptureStderr, p.Stderr = true, w
	mustStart(t, p)
	w.Close()
	return r
}

func TestCaptureStderr(t *testing.T) {
	numbered := ""
	for i := range 100 {
		numbered += fmt.Sprintf("line %d\n", i)
	}
	long := strings.Repeat("x", 1000)
	for _, test := range []struct {
		name   string
		speech speech
		keeps  string
		last   string
	}{
		{"nothing", speech{"", 1, 3}, "", ""},
		{"a line", speech{"oh no\n", 1, 3}, "oh no\n", "; last on standard error: oh no"},
		{"half a line", speech{"oh no", 1, 3}, "oh no", "; last on standard error: oh no"},
		{"blank lines", speech{"oh no\n\n \n", 1, 3}, "oh no\n\n \n", "; last on standard error: oh no"},
		{"many lines", speech{numbered, 1, 3}, numbered[strings.Index(numbered, "line 60\n"):], "; last on standard error: line 99"},
		{"very many lines", speech{numbered, 5000, 3}, numbered[strings.Index(numbered, "line 60\n"):], "; last on standard error: line 99"},
		{"long lines", speech{strings.Repeat("x", 9999) + "\n", 50, 3}, strings.Repeat(strings.Repeat("x", 9999)+"\n", 6), "; last on standard error: " + long[:200] + "…"},
		{"one line", speech{long, 1000, 3}, strings.Repeat("x", 64<<10), "; last on standard error: " + long[:200] + "…"},
		{"no text", speech{strings.Repeat("\xff", 300), 1, 3}, strings.Repeat("\xff", 300), "; last on standard error: " + strings.Repeat("\xff", 200) + "…"},
	} {
		for _, method := range methods(t) {
			t.Run(test.name+"/"+method.String(), func(t *testing.T) {
				t.Parallel()
				p := process.New(speak, test.speech)
				p.Method = method
				r := captured(t, p)
				b, err := io.ReadAll(r)
				if want := strings.Repeat(test.speech.Text, test.speech.Times); err != nil || string(b) != want {
					t.Errorf("%d bytes were passed on, want %d: %v", len(b), len(want), err)
				}
				e := joinError(t, p)
				if e.Stderr != test.keeps {
					t.Errorf("Stderr has %d bytes: %.100q, want %d", len(e.Stderr), e.Stderr, len(test.keeps))
				}
				if want := "exited with code 3: its function did not return: it called os.Exit, or log.Fatal" + test.last; !strings.HasSuffix(e.Error(), want) {
					t.Errorf("%.200q, want %.200q", e.Error(), want)
				}
			})
		}
	}
}

// All that the dead child wrote was passed on when Join returns.
func TestJoinWaitsForPassingOn(t *testing.T) {
	for range 20 {
		p := process.New(speak, speech{"0123456789\n", 500, 1})
		r := captured(t, p)
		joinError(t, p)
		raw, err := r.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for b := make([]byte, 64<<10); n < 5500; {
			var m int
			if rerr := raw.Read(func(fd uintptr) bool { m, err = syscall.Read(int(fd), b); return true }); rerr != nil {
				t.Fatal(rerr)
			}
			if err != nil { // EAGAIN: nothing is waited for
				t.Fatalf("%d bytes are there: %v", n, err)
			}
			n += m
		}
	}
}

// With what the runtime writes to standard error only, ends are told in its words.
func TestCaptureTellsFatalErrors(t *testing.T) {
	for how, want := range map[string]string{
		"map writes": "fatal error: concurrent map writes",
		"stack":      "fatal error: stack overflow",
		"bad unlock": "fatal error: sync: unlock of unlocked mutex",
	} {
		t.Run(how, func(t *testing.T) {
			if how == "map writes" && (detector.Enabled || runtime.GOMAXPROCS(0) == 1) {
				t.Skip("the race detector finds it first, one CPU never")
			}
			p := process.New(end, how)
			p.CaptureStderr, p.Stderr = true, devNull(t)
			mustStart(t, p)
			if e := joinError(t, p); e.Err != want || e.Code != 2 || e.Stack == "" || e.Stderr == "" || strings.Contains(e.Stderr, "\ngoroutine ") {
				t.Errorf("%+v, want %q", e, want)
			}
		})
	}
	t.Run("log.Fatal", func(t *testing.T) {
		log.SetFlags(0)
		p := process.New(end, "log.Fatal")
		p.CaptureStderr, p.Stderr = true, devNull(t)
		mustStart(t, p)
		if e := joinError(t, p); e.Code != 1 || !strings.HasSuffix(e.Error(), " fatal") {
			t.Error(e)
		}
	})
	t.Run("panic", func(t *testing.T) {
		p := process.New(end, "panic")
		p.CaptureStderr, p.Stderr = true, devNull(t)
		mustStart(t, p)
		if e := joinError(t, p); !strings.HasSuffix(e.Error(), "panicked: oh no") || !strings.HasPrefix(e.Stderr, "panic: oh no") {
			t.Errorf("%v: %q", e, e.Stderr)
		}
	})
	t.Run("last words", func(t *testing.T) {
		p := process.New(end, "last words")
		p.CaptureStderr, p.Stderr = true, devNull(t)
		mustStart(t, p)
		if e := joinError(t, p); e.Stderr != "goroutine 5 is a band\nlibparse: assertion failed\nfatal error: sync: unlock of unlocked mutex\n" {
			t.Errorf("%q", e.Stderr)
		}
	})
}

// A grandchild that has the child's standard error does not hold up Join, and what it writes later is passed on.
func TestCaptureWithGrandchild(t *testing.T) {
	hold, release, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	hold.Fd()
	defer hold.Close()
	defer release.Close()
	p := process.New(leaveEchoBehind, hold)
	r := captured(t, p)
	out := &lines{t: t, r: r}
	if e := joinError(t, p); e.Code != 7 || e.Stderr != "from the child\n" {
		t.Errorf("%v: %q", e, e.Stderr)
	}
	if s := out.next(); s != "from the child" {
		t.Error(s)
	}
	fmt.Fprintln(release, "from the grandchild")
	if s := out.next(); s != "from the grandchild" {
		t.Error(s)
	}
	release.Close()
	out.end()
}

var leaveEchoBehind = process.Register(func(_ context.Context, hold *os.File) error {
	fmt.Fprintln(os.Stderr, "from the child")
	cmd := exec.Command("cat")
	cmd.Stdin, cmd.Stdout = hold, os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	os.Exit(7)
	return nil
})

// A destination that takes nothing holds up the child, but not Join, once the child is dead.
func TestCaptureWithStuckDestination(t *testing.T) {
	p := process.New(speakForEver, "all work and no play\n")
	r := captured(t, p)
	// Nobody reads r. When both pipes are full, the child stands still.
	waitUntil(t, "the child waits for its standard error", func() bool { return blockedInWrite(p.PID()) })
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if e := joinError(t, p); e.Signal != syscall.SIGKILL || !strings.HasSuffix(e.Stderr, "all work and no play\n") {
		t.Errorf("%v: %.50q", e, e.Stderr)
	}
	// What is left comes when there is room.
	b, err := io.ReadAll(r)
	if err != nil || len(b) < 100<<10 || strings.Trim(string(b), "al workndpy\n") != "" {
		t.Errorf("%d bytes: %v", len(b), err)
	}
}

var speakForEver = process.Register(func(_ context.Context, line string) error {
	for {
		if _, err := os.Stderr.WriteString(line); err != nil {
			return err
		}
	}
})

// blockedInWrite reports whether a thread of a process is in a write to standard error.
func blockedInWrite(pid int) bool {
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, task := range tasks {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/syscall", pid, task.Name()))
		if err == nil && strings.HasPrefix(string(b), fmt.Sprintf("%d 0x2 ", syscall.SYS_WRITE)) {
			return true
		}
	}
	return false
}

// A destination that is gone is no reason to hold up the child, or to stop capturing.
func TestCaptureWithoutDestination(t *testing.T) {
	p := process.New(speak, speech{"0123456789\n", 100_000, 5})
	captured(t, p).Close()
	if e := joinError(t, p); e.Code != 5 || len(e.Stderr) != 40*11 {
		t.Errorf("%v: %d bytes", e, len(e.Stderr))
	}
}

func TestCaptureRefusals(t *testing.T) {
	p := process.New(nothing, struct{}{})
	p.CaptureStderr, p.Detach = true, true
	if err := p.Start(); err == nil || !strings.Contains(err.Error(), "CaptureStderr and Detach") {
		t.Error(err)
	}
	p.Detach, p.Stderr = false, devNull(t)
	p.Stderr.Close()
	if err := p.Start(); !errors.Is(err, fs.ErrClosed) {
		t.Error(err)
	}
}

//go:build linux

package process_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/detector"
	"github.com/go-multiproc/multiproc/process"
)

type badError struct{}

func (*badError) Error() string { panic("no text") }

var endings = map[string]func(context.Context) error{
	"nil":          func(context.Context) error { return nil },
	"error":        func(context.Context) error { return fmt.Errorf("open x: %w", os.ErrNotExist) },
	"empty error":  func(context.Context) error { return errors.New("") },
	"bad error":    func(context.Context) error { return &badError{} },
	"nil in error": func(context.Context) error { return (*os.PathError)(nil) },
	"long error":   func(context.Context) error { return errors.New(strings.Repeat("0123456789", 50_000)) },
	"longer error": func(context.Context) error { return errors.New("begin" + strings.Repeat("x", 3<<20) + "end") },
	"binary error": func(context.Context) error { return errors.New("\xff\x00\xfe") },
	"panic":        func(context.Context) error { panic("oh no") },
	"panic error":  func(context.Context) error { panic(fmt.Errorf("wrapped: %w", os.ErrExist)) },
	"panic nil":    func(context.Context) error { panic(nil) },
	"nil pointer":  func(context.Context) error { var p *int; *p = 1; return nil },
	"goexit":       func(context.Context) error { runtime.Goexit(); return nil },
	"exit 0":       func(context.Context) error { os.Exit(0); return nil },
	"exit 3":       func(context.Context) error { os.Exit(3); return nil },
	"log.Fatal":    func(context.Context) error { log.Fatal("fatal"); return nil },
	"kill":         func(ctx context.Context) error { return killSelf(ctx, syscall.SIGKILL) },
	"segv":         func(ctx context.Context) error { return killSelf(ctx, syscall.SIGSEGV) },
	"quit":         func(ctx context.Context) error { return killSelf(ctx, syscall.SIGQUIT) },
	"raw fault":    func(context.Context) error { *unmapped() = 1; return nil },
	"stray fault":  func(ctx context.Context) error { go func() { *unmapped() = 1 }(); return waitForEnd(ctx) },
	"stray nil":    func(ctx context.Context) error { go func() { var p *int; *p = 1 }(); return waitForEnd(ctx) },
	"stray error":  func(ctx context.Context) error { go panic(errors.New("two\nlines")); return waitForEnd(ctx) },
	"bad unlock":   func(context.Context) error { new(sync.Mutex).Unlock(); return nil },
	"last words": func(context.Context) error {
		fmt.Fprintln(os.Stderr, "goroutine 5 is a band\nlibparse: assertion failed")
		new(sync.Mutex).Unlock()
		return nil
	},
	"reader writer": func(context.Context) error { return concurrentMapIteration() },
	"goroutines":    func(ctx context.Context) error { return manyThenPanic() },
	"after return":  func(context.Context) error { return failThenPanic() },
	"hangup":        func(ctx context.Context) error { return killSelf(ctx, syscall.SIGHUP) },
	"stray panic":   func(ctx context.Context) error { go panic("elsewhere"); <-ctx.Done(); return nil },
	"map writes":    func(context.Context) error { return concurrentMapWrites() },
	"stack":         func(context.Context) error { return tooDeep(0) },
	"closed socket": func(context.Context) error { syscall.Close(3); return errors.New("lost") },
}

func killSelf(ctx context.Context, sig syscall.Signal) error {
	syscall.Kill(os.Getpid(), sig)
	<-ctx.Done()
	return nil
}

func concurrentMapWrites() error {
	m := map[int]int{}
	for range 4 {
		go func() {
			for i := 0; ; i++ {
				m[i%8] = i
			}
		}()
	}
	select {}
}

func concurrentMapIteration() error {
	m := map[int]int{}
	for i := range 1000 {
		m[i] = i
	}
	for range 2 {
		go func() {
			for i := 0; ; i++ {
				m[i%8] = i
			}
		}()
	}
	for {
		for range m {
		}
	}
}

// manyThenPanic has so many goroutines that their stacks would take gigabytes.
func manyThenPanic() error {
	debug.SetTraceback("all")
	block := make(chan int)
	for range 500 {
		go func() { <-block }()
	}
	go panic("one of many")
	<-block
	return nil
}

// failThenPanic lets its process end otherwise while it waits for a child.
func failThenPanic() error {
	p := process.New(stay, struct{}{})
	if err := p.Start(); err != nil {
		return err
	}
	go func() {
		for b := make([]byte, 64<<10); ; runtime.Gosched() {
			if n := runtime.Stack(b, true); strings.Contains(string(b[:n]), "(*children).finish") {
				panic("second")
			}
		}
	}()
	return errors.New("first")
}

func tooDeep(n int) error {
	var pad [1024]byte
	pad[n%len(pad)] = 1
	if n < 0 {
		return nil
	}
	if err := tooDeep(n + 1); err != nil {
		return err
	}
	return fmt.Errorf("%d", pad[0])
}

var end = process.Register(func(ctx context.Context, how string) error { return endings[how](ctx) })

// Every way to end gives an ExitError that tells which.
func TestEndings(t *testing.T) { eachWay(t, testEndings) }

func testEndings(t *testing.T) {
	ways := map[string]struct {
		code   int
		signal syscall.Signal
		err    string // in ExitError.Err
		text   string // in ExitError.Error()
		stack  bool
	}{
		"nil":           {},
		"exit 0":        {},
		"error":         {code: 1, err: "open x: file does not exist", text: "exited with code 1: open x: file does not exist"},
		"empty error":   {code: 1, text: "exited with code 1"},
		"bad error":     {code: 1, err: "PANIC", text: "exited with code 1: "},
		"nil in error":  {code: 1, err: "<nil>", text: "exited with code 1: <nil>"},
		"long error":    {code: 1, err: strings.Repeat("0123456789", 50_000)},
		"longer error":  {code: 1, err: "bytes left out"},
		"binary error":  {code: 1, err: "\xff\x00\xfe"},
		"panic":         {code: 2, err: "oh no", text: "panicked: oh no", stack: true},
		"panic error":   {code: 2, err: "wrapped: file already exists", text: "panicked: wrapped", stack: true},
		"panic nil":     {code: 2, err: "panic called with nil argument", text: "panicked: panic called with nil", stack: true},
		"nil pointer":   {code: 2, err: "runtime error: invalid memory address", text: "panicked: runtime error", stack: true},
		"goexit":        {code: 1, err: "runtime.Goexit", text: "exited with code 1: its function called runtime.Goexit"},
		"exit 3":        {code: 3, err: "os.Exit", text: "exited with code 3: its function did not return"},
		"log.Fatal":     {code: 1, err: "os.Exit", text: "exited with code 1: its function did not return"},
		"kill":          {code: -1, signal: syscall.SIGKILL, text: "was ended by signal 9 (killed)"},
		"hangup":        {code: -1, signal: syscall.SIGHUP, text: "was ended by signal 1 (hangup)"},
		"segv":          {code: 2, err: "SIGSEGV: segmentation violation, sent by a process", text: "crashed: SIGSEGV", stack: true},
		"quit":          {code: 2, err: "SIGQUIT: quit, sent by a process", text: "crashed: SIGQUIT", stack: true},
		"raw fault":     {code: 2, err: "fatal error: fault: SIGSEGV: segmentation violation", text: "crashed: fatal error: fault", stack: true},
		"stray fault":   {code: 2, err: "fatal error: fault: SIGSEGV: segmentation violation", text: "crashed: fatal error: fault", stack: true},
		"stray panic":   {code: 2, err: "elsewhere", text: "panicked: elsewhere", stack: true},
		"stray nil":     {code: 2, err: "runtime error: invalid memory address", text: "panicked: runtime error", stack: true},
		"stray error":   {code: 2, err: "two\nlines", text: "panicked: two\nlines", stack: true},
		"goroutines":    {code: 2, err: "one of many", text: "panicked: one of many", stack: true},
		"after return":  {code: 2, err: "first; then second", text: "panicked: first; then second", stack: true},
		"map writes":    {code: 2, err: "fatal error: concurrent use of a map", text: "crashed: fatal error: concurrent use", stack: true},
		"reader writer": {code: 2, err: "fatal error: concurrent use of a map", text: "crashed: fatal error: concurrent use", stack: true},
		"stack":         {code: 2, err: "fatal error: stack overflow", text: "crashed: fatal error: stack overflow", stack: true},
		"bad unlock":    {code: 2, err: "fatal error: in internal/sync.(*Mutex)", text: "crashed: fatal error: in internal/sync.(*Mutex)", stack: true},
		"closed socket": {code: 1, err: "did not return", text: "exited with code 1"},
	}
	for how, want := range ways {
		t.Run(how, func(t *testing.T) {
			if (how == "map writes" || how == "reader writer") && (detector.Enabled || runtime.GOMAXPROCS(0) == 1) {
				t.Skip("the race detector finds it first, one CPU never")
			}
			if how == "hangup" && signal.Ignored(syscall.SIGHUP) {
				t.Skip("this process was started to survive SIGHUP (nohup), and so are its children")
			}
			t.Parallel()
			p := process.New(end, how)
			p.Name = "ender"
			p.Stderr = devNull(t)
			mustStart(t, p)
			err := p.Join(within(t))
			if again := p.Join(within(t)); again != err {
				t.Errorf("second Join: %v, first: %v", again, err)
			}
			if p.ExitCode() != want.code {
				t.Errorf("ExitCode = %d, want %d", p.ExitCode(), want.code)
			}
			if want.code == 0 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var e *process.ExitError
			if !errors.As(err, &e) {
				t.Fatalf("Join = %v, want an *ExitError", err)
			}
			if e.Name != "ender" || e.PID != p.PID() || e.Code != want.code || e.Signal != want.signal {
				t.Errorf("%+v, want code %d, signal %d", e, want.code, want.signal)
			}
			if !strings.Contains(e.Err, want.err) || want.err == "" && e.Err != "" {
				t.Errorf("Err = %.200q, want %.200q", e.Err, want.err)
			}
			if prefix := fmt.Sprintf("process: ender (pid %d) ", p.PID()); !strings.HasPrefix(e.Error(), prefix+want.text) {
				t.Errorf("Error() = %.200q, want %q", e.Error(), prefix+want.text)
			}
			if (e.Stack != "") != want.stack {
				t.Errorf("Stack = %q", e.Stack)
			}
			if want.stack && (!strings.HasPrefix(strings.TrimPrefix(e.Stack, "runtime stack:"), "goroutine ") && how != "stack" || !strings.Contains(e.Stack, "process_test.")) {
				t.Errorf("Stack = %s", e.Stack)
			}
		})
	}
}

func devNull(t *testing.T) *os.File {
	t.Helper()
	f, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// A text that is shortened keeps its beginning and its end.
func TestLongErrorKeepsItsEnds(t *testing.T) { eachWay(t, testLongErrorKeepsItsEnds) }

func testLongErrorKeepsItsEnds(t *testing.T) {
	e := joinError(t, start(t, end, "longer error"))
	if !strings.HasPrefix(e.Err, "begin") || !strings.HasSuffix(e.Err, "end") || len(e.Err) > 1<<20 {
		t.Errorf("%d bytes: %.20q … %q", len(e.Err), e.Err, e.Err[len(e.Err)-20:])
	}
}

// A panic is on standard error too, as in any Go program: it must not go unseen if nobody joins.
func TestPanicIsPrinted(t *testing.T) { eachWay(t, testPanicIsPrinted) }

func testPanicIsPrinted(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := process.New(end, "panic")
	p.Stderr = w
	mustStart(t, p)
	w.Close()
	l := &lines{t: t, r: r}
	if s := l.next(); !strings.HasPrefix(s, "panic: oh no") {
		t.Errorf("standard error begins with %q", s)
	}
}

// Join does not wait for those who still have the child's standard error.
func TestJoinDoesNotWaitForGrandchildren(t *testing.T) {
	eachWay(t, testJoinDoesNotWaitForGrandchildren)
}

func testJoinDoesNotWaitForGrandchildren(t *testing.T) {
	hold, release, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	hold.Fd() // blocking, as cat expects it
	defer hold.Close()
	defer release.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := process.New(leaveBehind, hold)
	p.Stderr = w
	mustStart(t, p)
	w.Close()
	if e := joinError(t, p); e.Code != 7 {
		t.Error(e)
	}
	r.SetReadDeadline(time.Now().Add(time.Millisecond))
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the grandchild does not hold standard error: %v", err)
	}
	release.Close()
	r.SetReadDeadline(time.Now().Add(deadline))
	if b, err := io.ReadAll(r); err != nil || len(b) > 0 {
		t.Errorf("%q %v", b, err)
	}
}

var leaveBehind = process.Register(func(_ context.Context, hold *os.File) error {
	cmd := exec.Command("cat")
	cmd.Stdin, cmd.Stderr = hold, os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	os.Exit(7)
	return nil
})

// methods are the start methods that there are.
func methods(t testing.TB) []process.Method {
	var ms []process.Method
	for _, m := range []process.Method{process.Spawn, process.Fork, process.ForkServer} {
		p := process.New(nothing, struct{}{})
		p.Method = m
		err := p.Start()
		if errors.Is(err, errors.ErrUnsupported) {
			continue
		}
		if err == nil {
			err = p.Join(within(t))
		}
		if err != nil {
			t.Fatal(err)
		}
		ms = append(ms, m)
	}
	return ms
}

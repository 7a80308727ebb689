//go:build linux

package process_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/detector"
	"github.com/go-multiproc/multiproc/process"
)

// initMarker makes the initialisation of this package panic.
const initMarker = "PROCESS_TEST_PANIC_IN_INIT"

func init() {
	if os.Getenv(initMarker) != "" {
		panic("in init")
	}
}

// A child that does not get as far as main says why.
func TestPanicInInitialisation(t *testing.T) {
	p := process.New(nothing, struct{}{})
	p.Env = append(os.Environ(), initMarker+"=1")
	p.Method, p.Stderr = process.Spawn, devNull(t)
	mustStart(t, p)
	if e := joinError(t, p); e.Code != 2 || e.Err != "in init" || !strings.Contains(e.Stack, "ends_test.go") || !strings.HasSuffix(e.Error(), "panicked: in init") {
		t.Errorf("%v: %+v", e, *e)
	}
}

var endUnder = process.Register(func(ctx context.Context, how string) error {
	unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	return endings[how](ctx)
})

// GOTRACEBACK changes how a Go program ends, and not what is known of it.
func TestTracebackSettings(t *testing.T) {
	for _, test := range []struct {
		traceback, how string
		code           int
		signal         syscall.Signal
		err            string
		stack          bool
	}{
		{"none", "stray panic", 2, 0, "elsewhere", false},
		{"none", "map writes", 2, 0, "its function did not return: it called os.Exit, or the Go runtime", false},
		{"all", "stray panic", 2, 0, "elsewhere", true},
		{"system", "stack", 2, 0, "fatal error: stack overflow", true},
		{"crash", "stray panic", -1, syscall.SIGABRT, "elsewhere", true},
		{"crash", "panic", -1, syscall.SIGABRT, "oh no", true},
		{"crash", "segv", -1, syscall.SIGABRT, "SIGSEGV: segmentation violation, sent by a process", true},
	} {
		t.Run(test.traceback+"/"+test.how, func(t *testing.T) {
			if test.how == "map writes" && (detector.Enabled || runtime.GOMAXPROCS(0) == 1) {
				t.Skip("the race detector finds it first, one CPU never")
			}
			t.Parallel()
			p := process.New(endUnder, test.how)
			p.Env = append(os.Environ(), "GOTRACEBACK="+test.traceback)
			p.Method, p.Stderr = process.Spawn, devNull(t)
			mustStart(t, p)
			if e := joinError(t, p); e.Code != test.code || e.Signal != test.signal || !strings.HasPrefix(e.Err, test.err) || (e.Stack != "") != test.stack || e.MemoryKill {
				t.Errorf("%v: %+v", e, *e)
			}
		})
	}
}

// A program that has the runtime's last words go elsewhere has them there, and its ends are told as well as can be.
func TestOwnCrashOutput(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "crash")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := process.New(crashesInto, f)
	p.Stderr = devNull(t)
	mustStart(t, p)
	if e := joinError(t, p); e.Code != 2 || e.Err == "" || e.Stack != "" {
		t.Errorf("%v: %+v", e, *e)
	}
	if b, err := os.ReadFile(f.Name()); err != nil || !strings.HasPrefix(string(b), "panic: mine") {
		t.Errorf("%q %v", b, err)
	}
}

var crashesInto = process.Register(func(ctx context.Context, f *os.File) error {
	if err := debug.SetCrashOutput(f, debug.CrashOptions{}); err != nil {
		return err
	}
	go panic("mine")
	return waitForEnd(ctx)
})

// daemonThatSaysSo closes ready once it is at work: one that is stopped before has nothing to end in good order.
var daemonThatSaysSo = process.Register(func(ctx context.Context, ready *os.File) error {
	fmt.Println("daemon")
	ready.Close()
	<-ctx.Done()
	fmt.Println("daemon stopped")
	return nil
})

func init() {
	mains["detachedDaemon"] = func() int {
		ready, w, err := os.Pipe()
		if err != nil {
			return exitCode(err)
		}
		p := process.New(daemonThatSaysSo, w)
		p.Daemon, p.Detach = true, true
		started := process.New(nothing, struct{}{})
		if err := errors.Join(p.Start(), started.Start(), started.Join(context.Background())); err != nil {
			fmt.Println(err)
		}
		w.Close()
		io.Copy(io.Discard, ready)
		// The one that has ended is none of the children any more, whether or not anybody joins it.
		if c := process.Children(); len(c) != 1 || c[0] != p {
			fmt.Println("children:", c)
		}
		return 0
	}
}

// A daemon is stopped at the parent's normal exit, also one that would survive the parent's death.
func TestDetachedDaemonIsStopped(t *testing.T) {
	cmd := program(t, "detachedDaemon")
	out := startProgram(t, cmd)
	if s := out.next(); s != "daemon" {
		t.Error(s)
	}
	if s := out.next(); s != "daemon stopped" {
		t.Error(s)
	}
	out.end()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

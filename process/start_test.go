//go:build linux

package process_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/process"
)

// A report is what a child sees of itself.
type report struct {
	Current, Parent process.Info
	HasParent       bool
	PID, PPID       int
	Args            []string
	Env             []string
	Dir             string
	Stdin           string
	Descriptors     []string
	CPUs            int
}

var describe = process.Register(func(ctx context.Context, depth int) error {
	if depth > 0 {
		p := process.New(describeAgain(), depth-1)
		if err := p.Start(); err != nil {
			return err
		}
		return p.Join(ctx)
	}
	r := report{
		Current: process.Current(),
		PID:     os.Getpid(), PPID: os.Getppid(),
		Args: os.Args, Env: os.Environ(),
		CPUs: process.CPUCount(),
	}
	r.Parent, r.HasParent = process.Parent()
	r.Dir, _ = os.Getwd()
	if in, err := io.ReadAll(os.Stdin); err != nil {
		r.Stdin = err.Error()
	} else {
		r.Stdin = string(in)
	}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, e := range entries {
		link, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil {
			r.Descriptors = append(r.Descriptors, e.Name()+" "+link)
		}
	}
	return json.NewEncoder(os.Stdout).Encode(r)
})

// describeAgain keeps describe from referring to itself in its initialisation.
var describeAgain func() *process.Func[int]

func init() { describeAgain = func() *process.Func[int] { return describe } }

func describeChild(t *testing.T, depth int, settings ...func(*process.Process)) report {
	t.Helper()
	var r report
	s := run(t, describe, depth, settings...)
	if err := json.Unmarshal([]byte(s), &r); err != nil {
		t.Fatalf("%v in %q", err, s)
	}
	return r
}

func TestChildKnowsItsFamily(t *testing.T) { eachWay(t, testChildKnowsItsFamily) }

func testChildKnowsItsFamily(t *testing.T) {
	var p *process.Process
	r := describeChild(t, 0, func(q *process.Process) {
		p = q
		p.Name = "reporter"
		p.Daemon = true
	})
	want := process.Info{Name: "reporter", PID: p.PID(), ParentPID: os.Getpid(), Method: currentWay.method, Daemon: true}
	if r.Current != want {
		t.Errorf("Current in the child = %+v, want %+v", r.Current, want)
	}
	if r.PID != p.PID() || r.PPID != os.Getpid() {
		t.Errorf("pids %d %d, want %d %d", r.PID, r.PPID, p.PID(), os.Getpid())
	}
	if !r.HasParent || r.Parent != process.Current() {
		t.Errorf("Parent in the child = %+v %t, want %+v", r.Parent, r.HasParent, process.Current())
	}
	if !slices.Equal(r.Args, os.Args) {
		t.Errorf("os.Args in the child = %q, want %q", r.Args, os.Args)
	}
	if wd, _ := os.Getwd(); r.Dir != wd {
		t.Errorf("directory of the child = %q, want %q", r.Dir, wd)
	}
	if r.Stdin != "" {
		t.Errorf("standard input of the child = %q, want none", r.Stdin)
	}
	if !slices.Equal(r.Env, os.Environ()) {
		t.Errorf("environment of the child = %q, want %q", r.Env, os.Environ())
	}
}

func TestMainProcess(t *testing.T) {
	if got, want := process.Current(), (process.Info{Name: "MainProcess", PID: os.Getpid(), ParentPID: os.Getppid()}); got != want {
		t.Errorf("Current = %+v, want %+v", got, want)
	}
	if p, ok := process.Parent(); ok {
		t.Errorf("Parent = %+v in the main process", p)
	}
}

func TestChildHasOnlyItsDescriptors(t *testing.T) { eachWay(t, testChildHasOnlyItsDescriptors) }

func testChildHasOnlyItsDescriptors(t *testing.T) {
	// The test's own must not leak into it.
	f, err := os.Open("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, d := range describeChild(t, 0).Descriptors {
		if strings.HasSuffix(d, "passwd") {
			t.Errorf("descriptor %s in the child", d)
		}
	}
}

func TestDefaultNames(t *testing.T) { eachWay(t, testDefaultNames) }

func testDefaultNames(t *testing.T) {
	p := process.New(describe, 1)
	q := process.New(describe, 0)
	out := output(t, p)
	mustStart(t, p)
	p.Stdout.Close()
	var r report
	if err := json.NewDecoder(out).Decode(&r); err != nil {
		t.Fatal(err)
	}
	join(t, p)
	if want := p.Name + ":1"; r.Current.Name != want || r.Parent.Name != p.Name {
		t.Errorf("grandchild is %q, child of %q; want %q", r.Current.Name, r.Parent.Name, want)
	}
	q.Stdout = devNull(t)
	mustStart(t, q)
	join(t, q)
	var a, b int
	if _, err := fmt.Sscanf(p.Name+" "+q.Name, "Process-%d Process-%d", &a, &b); err != nil || b != a+1 {
		t.Errorf("names %q and %q, want consecutive numbers", p.Name, q.Name)
	}
}

func TestSettings(t *testing.T) { eachWay(t, testSettings) }

func testSettings(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Run("Env", func(t *testing.T) {
		r := describeChild(t, 0, func(p *process.Process) {
			p.Env = []string{"A=1", "B=2", "A=3", "MULTIPROC_CHILD=1:3:5"}
		})
		if want := []string{"B=2", "A=3"}; !slices.Equal(r.Env, want) {
			t.Errorf("environment %q, want %q", r.Env, want)
		}
	})
	t.Run("Env empty", func(t *testing.T) {
		if r := describeChild(t, 0, func(p *process.Process) { p.Env = []string{} }); len(r.Env) != 0 {
			t.Errorf("environment %q, want none", r.Env)
		}
	})
	t.Run("Dir", func(t *testing.T) {
		r := describeChild(t, 0, func(p *process.Process) { p.Dir = dir })
		if r.Dir != dir || !slices.Contains(r.Env, "PWD="+dir) {
			t.Errorf("directory %q, environment %q", r.Dir, r.Env)
		}
	})
	t.Run("Stdin", func(t *testing.T) {
		name := filepath.Join(dir, "in")
		if err := os.WriteFile(name, []byte("hello"), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if r := describeChild(t, 0, func(p *process.Process) { p.Stdin = f }); r.Stdin != "hello" {
			t.Errorf("standard input %q", r.Stdin)
		}
	})
	t.Run("SysProcAttr", func(t *testing.T) {
		var pidfd int
		attr := &syscall.SysProcAttr{Setpgid: true, PidFD: &pidfd}
		p := process.New(stay, struct{}{})
		p.SysProcAttr = attr
		mustStart(t, p)
		if pgid, err := unix.Getpgid(p.PID()); err != nil || pgid != p.PID() {
			t.Errorf("process group %d, %v; want %d", pgid, err, p.PID())
		}
		if attr.PidFD != &pidfd {
			t.Error("Start changed SysProcAttr")
		}
		if err := unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0); err != nil {
			t.Error(err)
		}
		unix.Close(pidfd)
		if e := joinError(t, p); e.Signal != syscall.SIGKILL {
			t.Errorf("%v", e)
		}
	})
}

// Start must not make files blocking, which would end their deadlines.
func TestStartLeavesFilesAlone(t *testing.T) { eachWay(t, testStartLeavesFilesAlone) }

func testStartLeavesFilesAlone(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	p := process.New(nothing, struct{}{})
	p.Stdin = r
	mustStart(t, p)
	join(t, p)
	r.SetReadDeadline(time.Now().Add(-time.Second))
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read after Start: %v", err)
	}
}

var stay = process.Register(func(ctx context.Context, _ struct{}) error { return waitForEnd(ctx) })

func TestOrderOfCalls(t *testing.T) { eachWay(t, testOrderOfCalls) }

func testOrderOfCalls(t *testing.T) {
	p := process.New(stay, struct{}{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	for name, err := range map[string]error{
		"Join": p.Join(t.Context()), "Interrupt": p.Interrupt(), "Terminate": p.Terminate(), "Kill": p.Kill(),
	} {
		if err != process.ErrNotStarted {
			t.Errorf("%s before Start: %v", name, err)
		}
	}
	if p.Alive() || p.PID() != 0 || p.ExitCode() != -1 {
		t.Errorf("before Start: alive %t, pid %d, exit code %d", p.Alive(), p.PID(), p.ExitCode())
	}
	done := p.Done()

	mustStart(t, p)
	if err := p.Start(); err != process.ErrStarted {
		t.Errorf("second Start: %v", err)
	}
	if !p.Alive() || p.PID() == 0 || p.ExitCode() != -1 {
		t.Errorf("running: alive %t, pid %d, exit code %d", p.Alive(), p.PID(), p.ExitCode())
	}
	if err := p.Join(ctx); err != context.Canceled {
		t.Errorf("Join with an ended ctx: %v", err)
	}
	if err := p.Close(); err == nil {
		t.Error("Close of a running process succeeded")
	}
	if got := process.Children(); !slices.Contains(got, p) {
		t.Errorf("Children = %v", got)
	}
	select {
	case <-done:
		t.Error("Done before the end")
	default:
	}

	if err := p.Kill(); err != nil {
		t.Error(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			var e *process.ExitError
			if err := p.Join(t.Context()); !errors.As(err, &e) || e.Signal != syscall.SIGKILL {
				t.Errorf("Join: %v", err)
			}
		})
	}
	wg.Wait()
	<-done
	if p.Alive() || p.PID() == 0 || p.ExitCode() != -1 {
		t.Errorf("after the end: alive %t, pid %d, exit code %d", p.Alive(), p.PID(), p.ExitCode())
	}
	for name, err := range map[string]error{"Interrupt": p.Interrupt(), "Terminate": p.Terminate(), "Kill": p.Kill()} {
		if err != nil {
			t.Errorf("%s after the end: %v", name, err)
		}
	}
	if err := p.Start(); err != process.ErrStarted {
		t.Errorf("Start after the end: %v", err)
	}
	if err := p.Join(ctx); err != context.Canceled {
		t.Errorf("Join with an ended ctx after the end: %v", err)
	}
	if got := process.Children(); slices.Contains(got, p) {
		t.Errorf("Children after the end = %v", got)
	}
}

func TestClose(t *testing.T) { eachWay(t, testClose) }

func testClose(t *testing.T) {
	p := process.New(nothing, struct{}{})
	mustStart(t, p)
	join(t, p)
	done := p.Done()
	for range 2 {
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	<-done
	for name, err := range map[string]error{
		"Start": p.Start(), "Join": p.Join(t.Context()), "Interrupt": p.Interrupt(), "Terminate": p.Terminate(), "Kill": p.Kill(),
	} {
		if !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
	for name, use := range map[string]func(){
		"Alive": func() { p.Alive() }, "PID": func() { p.PID() }, "ExitCode": func() { p.ExitCode() }, "Done": func() { p.Done() },
	} {
		mustPanic(t, name+" after Close", "process: use of closed Process", use)
	}

	unused := process.New(nothing, struct{}{})
	if err := unused.Close(); err != nil {
		t.Error(err)
	}
	if err := unused.Start(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Start after Close: %v", err)
	}
}

func mustPanic(t *testing.T, what, want string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if got := fmt.Sprint(recover()); !strings.Contains(got, want) {
			t.Errorf("%s: panic %q, want one with %q", what, got, want)
		}
	}()
	f()
}

// What Start refuses can be put right, and started again.
func TestStartAfterFailure(t *testing.T) { eachWay(t, testStartAfterFailure) }

func testStartAfterFailure(t *testing.T) {
	p := process.New(nothing, struct{}{})
	for _, test := range []struct {
		name string
		set  func()
		want string
		is   error
	}{
		{"directory missing", func() { p.Dir = "/no/such/directory" }, "/no/such/directory", fs.ErrNotExist},
		{"directory missing, with all that there is to be opened", func() {
			p.Dir, p.CaptureStderr, p.Log = "/no/such/directory", true, slog.DiscardHandler
		}, "/no/such/directory", fs.ErrNotExist},
		{"NUL in the environment", func() { p.Env = []string{"A=\x00"} }, "NUL", nil},
		{"huge environment", func() {
			p.Env = slices.Repeat([]string{"A" + strings.Repeat("a", 100<<10) + "=1"}, 1)
			p.Env[0] += strings.Repeat("x", 64<<20)
		}, "too large", syscall.E2BIG},
		{"no such method", func() { p.Method = 17 }, "Method(17)", nil},
		{"limits", func() { p.Limits.Memory = -1 }, "Limits.Memory", nil},
		{"name too long", func() { p.Name = strings.Repeat("n", 100_000) }, "its name, of 100000 bytes, is too long", nil},
		{"closed file", func() { f, _ := os.Open(os.DevNull); f.Close(); p.Stderr = f }, "stderr", fs.ErrClosed},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.name == "huge environment" {
				needsInitialisation(t)
			}
			p.Name, p.Dir, p.Env, p.Method, p.Limits, p.Stderr = "tried", "", nil, 0, process.Limits{}, nil
			p.CaptureStderr, p.Log = false, nil
			test.set()
			before := descriptors(t)
			err := p.Start()
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "process: start ") {
				t.Errorf("Start: %v, want something about %q", err, test.want)
			}
			if test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("Start: %v is not %v", err, test.is)
			}
			if after := descriptors(t); after != before {
				t.Errorf("%d descriptors, %d before", after, before)
			}
		})
	}
	p.Name, p.Stderr = "tried", nil
	p.Dir, p.Env, p.Method, p.Limits = "", nil, 0, process.Limits{}
	mustStart(t, p)
	join(t, p)
}

func TestStartMethod(t *testing.T) {
	// The default is for the whole process, and can be set once: this is about a program of its own.
	out, err := program(t, "startMethod").CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

var tellMethod = process.Register(func(ctx context.Context, depth int) error {
	fmt.Println(process.Current().Method)
	if depth == 0 {
		return nil
	}
	p := process.New(tellMethodAgain(), depth-1)
	if err := p.Start(); err != nil {
		return err
	}
	return p.Join(ctx)
})

var tellMethodAgain func() *process.Func[int]

func init() {
	tellMethodAgain = func() *process.Func[int] { return tellMethod }
	mains["startMethod"] = func() int {
		if err := process.SetStartMethod(0); err == nil {
			fmt.Println("SetStartMethod(0) succeeded")
			return 1
		}
		if err := process.SetStartMethod(process.Fork); err != nil {
			fmt.Println(err)
			return 1
		}
		if err := process.SetStartMethod(process.Spawn); err == nil || !strings.Contains(err.Error(), "already set, to fork") {
			fmt.Println("second SetStartMethod:", err)
			return 1
		}
		if err := process.ForceStartMethod(process.Fork); err != nil {
			fmt.Println(err)
			return 1
		}
		r, w, err := os.Pipe()
		if err != nil {
			fmt.Println(err)
			return 1
		}
		p := process.New(tellMethod, 1)
		p.Stdout = w
		if err := p.Start(); err != nil {
			fmt.Println(err)
			return 1
		}
		w.Close()
		out, _ := io.ReadAll(r)
		if string(out) != "fork\nfork\n" { // the child's default is its parent's
			fmt.Printf("methods %q\n", out)
			return 1
		}
		return 0
	}
}

func TestCPUCount(t *testing.T) {
	if n := process.CPUCount(); n < 1 || n > runtime.NumCPU() {
		t.Errorf("CPUCount = %d, runtime.NumCPU = %d", n, runtime.NumCPU())
	}
	// A child that is pinned to one CPU, as taskset does it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	for i := 0; one.Count() == 0; i++ {
		if all.IsSet(i) {
			one.Set(i)
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		t.Fatal(err)
	}
	defer unix.SchedSetaffinity(0, &all)
	if r := describeChild(t, 0); r.CPUs != 1 {
		t.Errorf("CPUCount in a child with one CPU = %d", r.CPUs)
	}
}

// descriptors counts this process's open descriptors.
func descriptors(t testing.TB) int {
	t.Helper()
	settleWarm(t)
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

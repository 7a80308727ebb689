//go:build linux

package process_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/process"
)

// A generation is told how many more to start.
type generation struct {
	Below  int
	Detach bool // of the last one
	In     *os.File
}

// live starts the generations below it, and stays. The last one echoes what it reads, to the end of that.
var live = process.Register(func(ctx context.Context, g generation) error { return liveOn(ctx, g) })

var liveAgain func() *process.Func[generation]

func init() { liveAgain = func() *process.Func[generation] { return live } }

func liveOn(ctx context.Context, g generation) error {
	fmt.Println("here", g.Below)
	if g.Below == 0 {
		if g.In != nil {
			io.Copy(os.Stdout, g.In)
			return nil
		}
		<-ctx.Done()
		return nil
	}
	p := process.New(liveAgain(), generation{g.Below - 1, g.Detach, g.In})
	p.Detach = g.Detach && g.Below == 1
	if err := p.Start(); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

func init() {
	mains["family"] = func() int { return runFamily(generation{Below: 2}) }
	mains["familyDetached"] = func() int { return runFamily(generation{2, true, os.Stdin}) }
}

func runFamily(g generation) int {
	if err := liveOn(context.Background(), g); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// startProgram starts one of mains. What it writes can be read to the end of all processes that have its standard output.
func startProgram(t *testing.T, cmd *exec.Cmd) *lines {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	r.SetReadDeadline(time.Now().Add(deadline))
	cmd.Stdout = w
	if cmd.Stderr == nil {
		cmd.Stderr = os.Stderr
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	w.Close()
	return &lines{t: t, r: r}
}

// endPromptly has several families end, and checks the time that took. A machine that is busy with something else can delay any one
// of them, so it is the median that counts.
func endPromptly(t *testing.T, limit time.Duration, family func() time.Duration) {
	t.Helper()
	var times []time.Duration
	for range 5 {
		times = append(times, family())
	}
	slices.Sort(times)
	t.Logf("ended after %v", times)
	if median := times[len(times)/2]; median > limit {
		t.Errorf("the family ended %v after its parent was killed", median)
	}
}

func TestParentKilled(t *testing.T) { eachWay(t, testParentKilled) }

func testParentKilled(t *testing.T) {
	endPromptly(t, time.Second, func() time.Duration {
		cmd := program(t, "family")
		out := startProgram(t, cmd)
		for range 3 {
			out.next()
		}
		killed := time.Now()
		cmd.Process.Kill()
		out.end() // of child and grandchild
		return time.Since(killed)
	})
}

// Neither a child that is stopped survives, nor one that keeps its only CPU busy.
func TestParentKilledAndChildCannotLook(t *testing.T) { eachWay(t, testParentKilledAndChildCannotLook) }

func testParentKilledAndChildCannotLook(t *testing.T) {
	for _, name := range []string{"stopped", "busy"} {
		t.Run(name, func(t *testing.T) {
			endPromptly(t, 500*time.Millisecond, func() time.Duration {
				cmd := program(t, name)
				out := startProgram(t, cmd)
				out.next()
				killed := time.Now()
				cmd.Process.Kill()
				out.end()
				return time.Since(killed)
			})
		})
	}
}

var busy = process.Register(func(context.Context, struct{}) error {
	runtime.GOMAXPROCS(1)
	var spins [4]int
	for i := range spins {
		go func() {
			for {
				spins[i]++
			}
		}()
	}
	fmt.Println("busy")
	select {}
})

func init() {
	mains["stopped"] = func() int { return runChild(stopped) }
	mains["busy"] = func() int { return runChild(busy) }
}

func runChild(fn *process.Func[struct{}]) int {
	p := process.New(fn, struct{}{})
	if err := p.Start(); err != nil {
		fmt.Println(err)
		return 1
	}
	<-p.Done()
	return 0
}

var stopped = process.Register(func(context.Context, struct{}) error {
	fmt.Println("stopping")
	syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	select {}
})

func TestDetachedSurvivesParent(t *testing.T) { eachWay(t, testDetachedSurvivesParent) }

func testDetachedSurvivesParent(t *testing.T) {
	in, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	cmd := program(t, "familyDetached")
	cmd.Stdin = in
	out := startProgram(t, cmd)
	in.Close()
	for range 3 {
		out.next()
	}
	cmd.Process.Kill()
	cmd.Wait()
	// Its parent, which is not detached, ends too; the detached one answers still.
	fmt.Fprintln(w, "alive?")
	if s := out.next(); s != "alive?" {
		t.Error(s)
	}
	w.Close()
	out.end()
}

// At the normal exit, Main waits for children and stops daemons.
func TestNormalExit(t *testing.T) { eachWay(t, testNormalExit) }

func testNormalExit(t *testing.T) {
	in, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	cmd := program(t, "exit")
	cmd.Stdin = in
	out := startProgram(t, cmd)
	in.Close()
	seen := map[string]bool{}
	for range 4 {
		seen[out.next()] = true
	}
	if !seen["main"] || !seen["daemon"] || !seen["child"] || !seen["detached"] {
		t.Fatal(seen)
	}
	// run has returned; the child is waited for, and while it is, the daemon lives.
	fmt.Fprintln(w, "go on")
	if s := out.next(); s != "child read go on" {
		t.Error(s)
	}
	if s := out.next(); s != "daemon stopped" {
		t.Error(s)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 17 {
		t.Errorf("exit of the program: %v, want code 17", err)
	}
	// Main did not wait for the detached one, and did not stop it.
	fmt.Fprintln(w, "you too")
	if s := out.next(); s != "detached read you too" {
		t.Error(s)
	}
	out.end()
}

var readsOne = process.Register(func(_ context.Context, name string) error {
	fmt.Println(name)
	line, err := readLine(os.Stdin)
	fmt.Println(name, "read", line)
	return err
})

// readLine reads no byte beyond the line: the others read from the same pipe.
func readLine(r io.Reader) (string, error) {
	var b strings.Builder
	var c [1]byte
	for {
		if _, err := r.Read(c[:]); err != nil || c[0] == '\n' {
			return b.String(), err
		}
		b.WriteByte(c[0])
	}
}

var daemon = process.Register(func(ctx context.Context, _ struct{}) error {
	fmt.Println("daemon")
	<-ctx.Done()
	fmt.Println("daemon stopped")
	return nil
})

func init() {
	mains["exit"] = func() int {
		d := process.New(daemon, struct{}{})
		d.Daemon = true
		c := process.New(readsOne, "child")
		c.Stdin = os.Stdin
		if err := errors.Join(d.Start(), c.Start()); err != nil {
			fmt.Println(err)
			return 1
		}
		gate, w, err := os.Pipe()
		if err != nil {
			fmt.Println(err)
			return 1
		}
		keptOpen = w
		// The detached one must not read the child's line: it begins when the child has ended.
		x := process.New(readsAfter, gate)
		x.Detach = true
		x.Stdin = os.Stdin
		if err := x.Start(); err != nil {
			fmt.Println(err)
			return 1
		}
		gate.Close()
		fmt.Println("main")
		return 17
	}
}

var keptOpen *os.File // as long as the program lives

// readsAfter reads a line of its standard input when nobody has the other end of gate any more.
var readsAfter = process.Register(func(_ context.Context, gate *os.File) error {
	fmt.Println("detached")
	io.Copy(io.Discard, gate)
	line, err := readLine(os.Stdin)
	fmt.Println("detached read", line)
	return err
})

// A child waits for its own children, and stops its own daemons.
func TestNormalExitOfChild(t *testing.T) { eachWay(t, testNormalExitOfChild) }

func testNormalExitOfChild(t *testing.T) {
	in, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	p := process.New(hasChildren, struct{}{})
	out := &lines{t: t, r: output(t, p)}
	p.Stdin = in
	mustStart(t, p)
	p.Stdout.Close()
	in.Close()
	seen := map[string]bool{out.next(): true, out.next(): true, out.next(): true}
	if !seen["daemon"] || !seen["child"] || !seen["returning"] {
		t.Fatal(seen)
	}
	if !p.Alive() {
		t.Error("the child did not wait for its own")
	}
	fmt.Fprintln(w, "x")
	if s := out.next(); s != "child read x" {
		t.Error(s)
	}
	if s := out.next(); s != "daemon stopped" {
		t.Error(s)
	}
	out.end()
	if e := joinError(t, p); e.Err != "returned early" {
		t.Error(e)
	}
}

var hasChildren = process.Register(func(context.Context, struct{}) error {
	d := process.New(daemon, struct{}{})
	d.Daemon = true
	c := process.New(readsOne, "child")
	c.Stdin = os.Stdin
	if err := errors.Join(d.Start(), c.Start()); err != nil {
		return err
	}
	fmt.Println("returning")
	return errors.New("returned early")
})

// A child that is asked to end asks its own children, else it would wait for them.
func TestTerminateReachesGrandchildren(t *testing.T) { eachWay(t, testTerminateReachesGrandchildren) }

func testTerminateReachesGrandchildren(t *testing.T) {
	p := process.New(live, generation{Below: 1})
	out := &lines{t: t, r: output(t, p)}
	p.Grace = -1 // so that only a request can end them
	mustStart(t, p)
	p.Stdout.Close()
	out.next()
	out.next()
	if err := p.Terminate(); err != nil {
		t.Fatal(err)
	}
	out.end()
	join(t, p)
}

var stubborn = process.Register(func(ctx context.Context, listen bool) error {
	fmt.Println("ready")
	<-ctx.Done()
	fmt.Println(context.Cause(ctx))
	if listen {
		return ctx.Err()
	}
	select {}
})

func TestTerminateAndInterrupt(t *testing.T) { eachWay(t, testTerminateAndInterrupt) }

func testTerminateAndInterrupt(t *testing.T) {
	for _, test := range []struct {
		name  string
		stop  func(*process.Process) error
		cause string
	}{
		{"Terminate", (*process.Process).Terminate, "process: received signal 15 (terminated)"},
		{"Interrupt", (*process.Process).Interrupt, "process: received signal 2 (interrupt)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := process.New(stubborn, true)
			out := &lines{t: t, r: output(t, p)}
			mustStart(t, p)
			p.Stdout.Close()
			out.next()
			for range 3 {
				if err := test.stop(p); err != nil {
					t.Error(err)
				}
			}
			if s := out.next(); s != test.cause {
				t.Errorf("cause %q, want %q", s, test.cause)
			}
			if e := joinError(t, p); e.Code != 1 || e.Err != "context canceled" {
				t.Error(e)
			}
		})
		t.Run(test.name+", not heeded", func(t *testing.T) {
			p := process.New(stubborn, false)
			out := &lines{t: t, r: output(t, p)}
			p.Grace = 50 * time.Millisecond
			mustStart(t, p)
			p.Stdout.Close()
			out.next()
			asked := time.Now()
			if err := test.stop(p); err != nil {
				t.Error(err)
			}
			if e := joinError(t, p); e.Signal != syscall.SIGKILL {
				t.Error(e)
			}
			if d := time.Since(asked); d < p.Grace {
				t.Errorf("killed after %v, the grace period is %v", d, p.Grace)
			}
		})
	}
}

// An interrupt reaches the function also where SIGINT is ignored, as in a script's background job, and the signal
// itself stays ignored.
func TestInterruptWhereIgnored(t *testing.T) { eachWay(t, testInterruptWhereIgnored) }

func testInterruptWhereIgnored(t *testing.T) {
	cmd := program(t, "deaf")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func init() {
	mains["deaf"] = func() int {
		signal.Ignore(syscall.SIGINT)
		r, w, err := os.Pipe()
		if err != nil {
			fmt.Println(err)
			return 1
		}
		p := process.New(stubborn, true)
		p.Stdout = w
		if err := p.Start(); err != nil {
			fmt.Println(err)
			return 1
		}
		w.Close()
		l := bufio.NewScanner(r)
		l.Scan()
		syscall.Kill(p.PID(), syscall.SIGINT)
		p.Interrupt()
		p.Interrupt()
		l.Scan()
		if s := l.Text(); s != "process: received signal 15 (terminated)" {
			fmt.Println("cause:", s)
			return 1
		}
		<-p.Done()
		return 0
	}
}

// A *Process that nobody keeps, joins or closes is collected all the same.
func TestDroppedProcess(t *testing.T) { eachWay(t, testDroppedProcess) }

func testDroppedProcess(t *testing.T) {
	pid := func() int {
		p := process.New(nothing, struct{}{})
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		return p.PID()
	}()
	waitUntil(t, fmt.Sprintf("process %d is collected", pid), func() bool {
		return syscall.Kill(pid, 0) == syscall.ESRCH
	})
}

// waitUntil is for what happens in other processes and tells nobody.
func waitUntil(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// The program may be replaced or deleted while it runs.
func TestBinaryDeleted(t *testing.T) { eachWay(t, testBinaryDeleted) }

func testBinaryDeleted(t *testing.T) {
	copyTo := filepath.Join(t.TempDir(), "program")
	b, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(copyTo, b, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := program(t, "deleted")
	cmd.Path = copyTo
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func init() {
	mains["deleted"] = func() int {
		exe, err := os.Executable()
		if err == nil {
			err = os.Remove(exe)
		}
		if err == nil {
			p := process.New(nothing, struct{}{})
			if err = p.Start(); err == nil {
				err = p.Join(context.Background())
			}
		}
		if err != nil {
			fmt.Println(err)
			return 1
		}
		return 0
	}
}

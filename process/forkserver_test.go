//go:build linux

package process_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/pipe"
	"github.com/go-multiproc/multiproc/process"
)

// forkServer makes the method the default for the time of a test, with so many children ready.
func forkServer(t *testing.T, n int) {
	t.Helper()
	process.SetForkServer(process.ForkServerOptions{Warm: n})
	t.Cleanup(func() {
		process.DropReady()
		mustSet(t, process.Spawn)
	})
	mustSet(t, process.ForkServer)
	mustWarmUp(t)
}

func mustWarmUp(t *testing.T) {
	t.Helper()
	if err := process.WarmUp(within(t)); err != nil {
		t.Fatal(err)
	}
}

var tellPID = process.Register(func(_ context.Context, c *pipe.Conn) error {
	defer c.Close()
	return c.Send(os.Getpid())
})

// askPID has a child tell its pid, over a pipe end that moves to it.
func askPID(t *testing.T) (*process.Process, int) {
	t.Helper()
	ours, theirs, err := pipe.New()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	ours.SetDeadline(time.Now().Add(deadline))
	p := start(t, tellPID, theirs)
	var pid int
	if err := ours.Recv(&pid); err != nil {
		t.Fatalf("%v; the child: %v", err, p.Join(within(t)))
	}
	// The end that moved is there once.
	if b, err := ours.RecvBytes(); !errors.Is(err, io.EOF) {
		t.Errorf("after the child's message: %q %v", b, err)
	}
	join(t, p)
	return p, pid
}

// The child that a Start returns was there before.
func TestForkServerUsesWhatIsReady(t *testing.T) {
	forkServer(t, 3)
	ready := process.ReadyPIDs()
	if len(ready) != 3 {
		t.Fatalf("%d children are ready, want 3", len(ready))
	}
	for range ready {
		p, pid := askPID(t)
		if pid != p.PID() || !slices.Contains(ready, pid) {
			t.Errorf("the child is %d, and says it is %d; ready were %v", p.PID(), pid, ready)
		}
		ready = slices.DeleteFunc(ready, func(r int) bool { return r == pid })
		mustWarmUp(t)
	}
	if n := len(process.ReadyPIDs()); n != 3 {
		t.Errorf("%d children are ready in the end, want 3", n)
	}
}

// Those that wait are nobody's children yet.
func TestReadyChildrenAreNoChildren(t *testing.T) {
	forkServer(t, 2)
	if ps := process.Children(); len(ps) != 0 {
		t.Errorf("Children = %v", ps)
	}
}

// What was killed before it took its job is replaced, and nobody notices: the job, and the pipe end in it, goes to another.
func TestReadyChildKilledBeforeStart(t *testing.T) {
	n := 100
	if testing.Short() {
		n = 20
	}
	for _, test := range []struct {
		name string
		all  bool
	}{{"next", false}, {"all", true}} {
		t.Run(test.name, func(t *testing.T) {
			forkServer(t, 2)
			for range n {
				mustWarmUp(t)
				killed := process.SignalReady(syscall.SIGKILL, test.all)
				if _, pid := askPID(t); slices.Contains(killed, pid) {
					t.Errorf("%d was killed, and has answered", pid)
				}
			}
		})
	}
}

// The same while starts go on.
func TestReadyChildrenKilledAllTheTime(t *testing.T) {
	n := 300
	if testing.Short() {
		n = 50
	}
	forkServer(t, 2)
	stop := make(chan struct{})
	var killer sync.WaitGroup
	kills := 0
	killer.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Microsecond):
				kills += len(process.SignalReady(syscall.SIGKILL, false))
			}
		}
	})
	for range n {
		askPID(t)
	}
	close(stop)
	killer.Wait()
	if kills == 0 {
		t.Error("no child was killed")
	}
	t.Logf("%d kills, %d starts", kills, n)
}

// stopReady stops those that wait.
func stopReady(t *testing.T) []int {
	t.Helper()
	pids := process.SignalReady(syscall.SIGSTOP, true)
	for _, pid := range pids {
		if err := unix.Waitid(unix.P_PID, pid, nil, unix.WSTOPPED|unix.WNOWAIT, nil); err != nil {
			t.Fatal(err)
		}
	}
	return pids
}

// A child that is stopped does not stop Start. It does its job when it goes on.
func TestReadyChildStopped(t *testing.T) {
	forkServer(t, 1)
	stopped := stopReady(t)
	p := process.New(nothing, struct{}{})
	started := make(chan error)
	go func() { started <- p.Start() }()
	select {
	case err := <-started:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(deadline):
		t.Fatal("Start waits for a child that is stopped")
	}
	if p.PID() != stopped[0] {
		t.Fatalf("the child is %d, stopped was %d", p.PID(), stopped[0])
	}
	continueStopped(t, p)
	join(t, p)

	mustWarmUp(t)
	stopReady(t)
	p = start(t, stay, struct{}{})
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if e := joinError(t, p); e.Signal != syscall.SIGKILL {
		t.Error(e)
	}
}

// A Ctrl-C is not meant for those that wait, a SIGTERM ends them; others take their places.
func TestSignalsToReadyChildren(t *testing.T) {
	forkServer(t, 2)
	const n = 20
	spared := 0
	for range n {
		mustWarmUp(t)
		before := process.SignalReady(syscall.SIGINT, true)
		p := start(t, nothing, struct{}{})
		// On a busy machine a child may see the signal when it has a job already. It cannot know then that it came before.
		err := p.Join(within(t))
		var e *process.ExitError
		switch {
		case err == nil && slices.Contains(before, p.PID()):
			spared++
		case errors.As(err, &e) && e.Signal != syscall.SIGINT:
			t.Error(err)
		}
	}
	if spared < n/2 {
		t.Errorf("%d of %d jobs were done by a child that was interrupted before", spared, n)
	}
	mustWarmUp(t)
	told := process.SignalReady(syscall.SIGTERM, true)
	waitUntil(t, "they are replaced", func() bool {
		now := process.ReadyPIDs()
		return len(now) == 2 && !slices.ContainsFunc(now, func(pid int) bool { return slices.Contains(told, pid) })
	})
	askPID(t)
}

func TestManyStartsAtOnce(t *testing.T) { eachWay(t, testManyStartsAtOnce) }

func testManyStartsAtOnce(t *testing.T) {
	n := 200
	if testing.Short() {
		n = 40
	}
	join(t, start(t, nothing, struct{}{}))
	before := measure(t)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			p := process.New(nothing, struct{}{})
			if err := p.Start(); err != nil {
				t.Error(err)
			} else if err := p.Join(within(t)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	waitUntil(t, "nothing is left", func() bool {
		after := measure(t)
		return after.descriptors <= before.descriptors && after.goroutines <= before.goroutines && after.children <= before.children
	})
}

func init() {
	warmProgram := func(end func() int) func() int {
		return func() int {
			process.SetForkServer(process.ForkServerOptions{Warm: 4})
			if err := process.WarmUp(context.Background()); err != nil {
				fmt.Println(err)
				return 1
			}
			fmt.Println(len(process.ReadyPIDs()), "ready")
			return end()
		}
	}
	mains["warm"] = warmProgram(func() int { select {} })
	mains["warmReturns"] = warmProgram(func() int { return 5 })
	mains["warmExits"] = warmProgram(func() int { os.Exit(5); return 0 }) // what a program with Init does
	mains["warmPanics"] = warmProgram(func() int { panic("on purpose") })
	mains["warmChild"] = warmProgram(func() int {
		p := process.New(warmsUp, struct{}{})
		p.Method = process.ForkServer
		if err := p.Start(); err != nil {
			fmt.Println(err)
			return 1
		}
		<-p.Done()
		return 0
	})
}

var warmsUp = process.Register(func(ctx context.Context, _ struct{}) error {
	process.SetForkServer(process.ForkServerOptions{Warm: 3})
	if err := process.WarmUp(ctx); err != nil {
		return err
	}
	fmt.Println(len(process.ReadyPIDs()), "ready in the child")
	select {}
})

// No child that waits outlives the program, however that ends. They all have its standard output, which ends with the last of them.
func TestReadyChildrenEndWithTheProgram(t *testing.T) {
	for _, test := range []struct {
		name, program string
		ready         int // lines
		end           func(*exec.Cmd)
	}{
		{"killed", "warm", 1, func(cmd *exec.Cmd) { cmd.Process.Kill() }},
		{"terminated", "warm", 1, func(cmd *exec.Cmd) { cmd.Process.Signal(syscall.SIGTERM) }},
		{"interrupted", "warm", 1, func(cmd *exec.Cmd) { cmd.Process.Signal(syscall.SIGINT) }},
		{"returns", "warmReturns", 1, func(*exec.Cmd) {}},
		{"exits", "warmExits", 1, func(*exec.Cmd) {}},
		{"panics", "warmPanics", 1, func(*exec.Cmd) {}},
		{"killed, and those of a child", "warmChild", 2, func(cmd *exec.Cmd) { cmd.Process.Kill() }},
	} {
		t.Run(test.name, func(t *testing.T) {
			endPromptly(t, time.Second, func() time.Duration {
				cmd := program(t, test.program)
				cmd.Stderr = devNull(t)
				out := startProgram(t, cmd)
				if s := out.next(); s != "4 ready" {
					t.Fatal(s)
				}
				if test.ready == 2 {
					if s := out.next(); s != "3 ready in the child" {
						t.Fatal(s)
					}
				}
				began := time.Now()
				test.end(cmd)
				out.end()
				return time.Since(began)
			})
		})
	}
}

// atInit is what package initialisation has seen, which in a child of the method forkserver is over before the job comes.
var atInit = struct{ word, dir string }{os.Getenv(wordMarker), func() string { dir, _ := os.Getwd(); return dir }()}

const wordMarker = "PROCESS_TEST_WORD"

var tellSurroundings = process.Register(func(context.Context, struct{}) error {
	dir, err := os.Getwd()
	fmt.Printf("%s %s, %s %s\n", atInit.word, filepath.Base(atInit.dir), os.Getenv(wordMarker), filepath.Base(dir))
	return err
})

// What the parent changes about itself holds for the next child, as if that were executed then.
func TestForkServerFollowsItsParent(t *testing.T) {
	forkServer(t, 2)
	dir := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv(wordMarker, "hello")
	t.Chdir(dir)
	for range 3 {
		if got, want := run(t, tellSurroundings, struct{}{}), "hello elsewhere, hello elsewhere\n"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		mustWarmUp(t)
	}

	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	stdout := os.Stdout
	os.Stdout = w
	defer func() { os.Stdout = stdout }()
	p := start(t, tellSurroundings, struct{}{})
	if s := (&lines{t: t, r: r}).next(); s != "hello elsewhere, hello elsewhere" {
		t.Errorf("%q", s)
	}
	join(t, p)
}

// The fields of a Process take effect before the function, and after package initialisation, whether or not a child was ready.
func TestForkServerFields(t *testing.T) {
	for _, w := range ways[2:] {
		t.Run(w.name, func(t *testing.T) {
			t.Cleanup(process.DropReady)
			if err := w.prepare(within(t)); err != nil {
				t.Fatal(err)
			}
			defer mustSet(t, process.Spawn)
			here := filepath.Base(atInit.dir)
			dir := filepath.Join(t.TempDir(), "there")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			got := run(t, tellSurroundings, struct{}{}, func(p *process.Process) {
				p.Dir = dir
				p.Env = append(os.Environ(), wordMarker+"=late")
			})
			if want := fmt.Sprintf(" %s, late there\n", here); got != want {
				t.Errorf("%q, want %q", got, want)
			}
			// Relative to here, wherever a child is.
			t.Chdir(filepath.Dir(dir))
			got = run(t, tellSurroundings, struct{}{}, func(p *process.Process) { p.Dir = "there" })
			if want := fmt.Sprintf(" %s,  there\n", filepath.Base(filepath.Dir(dir))); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
}

func TestForkServerSession(t *testing.T) {
	for _, w := range ways[2:] {
		t.Run(w.name, func(t *testing.T) {
			t.Cleanup(process.DropReady)
			if err := w.prepare(within(t)); err != nil {
				t.Fatal(err)
			}
			defer mustSet(t, process.Spawn)
			p := process.New(stay, struct{}{})
			p.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
			mustStart(t, p)
			if sid, err := unix.Getsid(p.PID()); sid != p.PID() || err != nil {
				t.Errorf("session %d, %v; want %d", sid, err, p.PID())
			}
			p = process.New(stay, struct{}{})
			p.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pgid: 1 << 22}
			if err := p.Start(); err == nil {
				t.Error("started in a process group that does not exist")
				p.Kill()
			}
		})
	}
}

func TestForkServerRefuses(t *testing.T) {
	forkServer(t, 1)
	for _, test := range []struct {
		name string
		set  func(*process.Process)
		want string
	}{
		{"Credential", func(p *process.Process) {
			p.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1}}
		}, "SysProcAttr.Credential has to be there when a process is executed"},
		{"Cloneflags", func(p *process.Process) {
			p.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: syscall.CLONE_NEWPID}
		}, "SysProcAttr.Cloneflags has"},
		{"GOMAXPROCS", func(p *process.Process) { p.Env = append(os.Environ(), "GOMAXPROCS=1") }, "GOMAXPROCS differs in Env"},
		{"LD_PRELOAD", func(p *process.Process) { p.Env = append(os.Environ(), "LD_PRELOAD=x.so") }, "LD_PRELOAD differs in Env"},
		{"Env", func(p *process.Process) { p.Env = []string{"nonsense"} }, `"nonsense" in Env is not of the form key=value`},
		{"Dir", func(p *process.Process) { p.Dir = "/etc/passwd" }, "/etc/passwd: not a directory"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := process.New(nothing, struct{}{})
			test.set(p)
			before := process.ReadyPIDs()
			if err := p.Start(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Start: %v, want %q", err, test.want)
			}
			if after := process.ReadyPIDs(); !slices.Equal(before, after) {
				t.Errorf("ready are %v, before %v", after, before)
			}
		})
	}
}

// Children that nobody uses are let go.
func TestIdleChildrenAreLetGo(t *testing.T) {
	forkServer(t, 2)
	ready := process.ReadyPIDs()
	process.SetForkServer(process.ForkServerOptions{Warm: 2, MaxIdle: 20 * time.Millisecond})
	for _, pid := range ready {
		waitUntil(t, strconv.Itoa(pid)+" is gone", func() bool { return unix.Kill(pid, 0) == unix.ESRCH })
	}
	if left := process.ReadyPIDs(); len(left) > 0 {
		t.Errorf("ready: %v", left)
	}
	process.SetForkServer(process.ForkServerOptions{Warm: 2})
	askPID(t)
	mustWarmUp(t)
}

// Children that end before they are ready are not executed over and over again.
func TestChildrenThatEndBeforeTheyAreReady(t *testing.T) {
	forkServer(t, 2)
	t.Setenv(endEarlyMarker, "1")
	p := start(t, nothing, struct{}{})
	if e := joinError(t, p); e.Code != 7 {
		t.Error(e)
	}
	err := process.WarmUp(within(t))
	if err == nil || !strings.Contains(err.Error(), "exited with code 7 before it was ready") {
		t.Errorf("WarmUp: %v", err)
	}
	os.Unsetenv(endEarlyMarker)
	askPID(t)
	mustWarmUp(t)
}

// endEarlyMarker makes a process exit in its initialisation.
const endEarlyMarker = "PROCESS_TEST_END_EARLY"

func init() {
	if os.Getenv(endEarlyMarker) != "" {
		os.Exit(7)
	}
}

func TestWarmUpEndsWithItsContext(t *testing.T) {
	forkServer(t, 1)
	process.SetForkServer(process.ForkServerOptions{Warm: 50})
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := process.WarmUp(ctx); err != context.DeadlineExceeded {
		t.Errorf("WarmUp: %v", err)
	}
}

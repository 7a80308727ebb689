//go:build linux

package process_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/value"
)

// A program that has used up what it may have of the system gets errors that say so, loses nothing by them, and goes
// on when there is something to be had again.

// runScarce runs one of mains to its end, which has to be a good one.
func runScarce(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func TestNoDescriptorsLeft(t *testing.T) { eachWay(t, testNoDescriptorsLeft) }

func testNoDescriptorsLeft(t *testing.T) { runScarce(t, program(t, "no descriptors")) }

func init() {
	mains["no descriptors"] = func() int { return exitCode(noDescriptors()) }
	mains["no processes"] = func() int { return exitCode(noProcesses()) }
}

// exitCode tells of err, and is what a program exits with.
func exitCode(err error) int {
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

type filesAndCount struct {
	Count *value.Value[int64]
	Files []*os.File
}

var countUp = process.Register(func(_ context.Context, a filesAndCount) error {
	value.Add(a.Count, 1)
	return nil
})

// noDescriptors starts children with none left, with one, with two, … until that is enough.
func noDescriptors() error {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	count, err := value.New[int64](0)
	if err != nil {
		return err
	}
	file, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	start := func() (*process.Process, error) {
		p := process.New(countUp, filesAndCount{count, []*os.File{file, file}})
		p.Stdout = file
		return p, p.Start()
	}
	p, err := start() // what is set up once
	if err == nil {
		err = p.Join(ctx)
	}
	if err != nil {
		return err
	}

	// Children that are being made ready have descriptors for a while, which would be free again in the middle of the count.
	if err := stockUp(ctx); err != nil {
		return err
	}
	limit := unix.Rlimit{Cur: 100, Max: 100}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	var fillers []int
	fill := func() {
		for {
			fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return
			}
			fillers = append(fillers, fd)
		}
	}
	fill()
	refused := 0
	for free := range 40 {
		fill()
		for range free {
			unix.Close(fillers[len(fillers)-1])
			fillers = fillers[:len(fillers)-1]
		}
		before := openDescriptors()
		p, err := start()
		if err == nil {
			if err := p.Join(ctx); err != nil {
				return fmt.Errorf("with %d descriptors left: %w", free, err)
			}
			if refused == 0 {
				return errors.New("it took no descriptor to start a child, or the test found none to take away")
			}
			if n := count.Load(); n != 2 {
				return fmt.Errorf("%d children ran, 2 were started", n)
			}
			return joinWithout(ctx, fill)
		}
		refused++
		if !errors.Is(err, syscall.EMFILE) || !strings.Contains(err.Error(), "RLIMIT_NOFILE") {
			return fmt.Errorf("with %d descriptors left: %w", free, err)
		}
		if now := openDescriptors(); now != before {
			return fmt.Errorf("with %d descriptors left: %d are open, %d before", free, now, before)
		}
	}
	return errors.New("40 descriptors are not enough")
}

// joinWithout joins a child that has much to say when there is no descriptor left for what it is said in.
func joinWithout(ctx context.Context, fill func()) error {
	p := process.New(end, "long error")
	if err := p.Start(); err != nil {
		return err
	}
	fill()
	var e *process.ExitError
	if err := p.Join(ctx); !errors.As(err, &e) || e.Code != 1 || !strings.Contains(e.Err, "RLIMIT_NOFILE") && !strings.HasPrefix(e.Err, "0123456789") {
		return fmt.Errorf("a long error without descriptors: %w", err)
	}
	return nil
}

func TestNoProcessesLeft(t *testing.T) { eachWay(t, testNoProcessesLeft) }

func testNoProcessesLeft(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs a user of its own, whose processes are counted apart")
	}
	cmd := program(t, "no processes")
	cmd.Dir = "/"
	id := uint32(100_000 + os.Getpid()) // nobody else's, even while another run of this test is on
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: id, Gid: id}}
	runScarce(t, cmd)
}

// noProcesses starts children when the user may have no more processes, which to the kernel are threads.
func noProcesses() error {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	run := func() error {
		p := process.New(nothing, struct{}{})
		p.Stderr, _ = os.Open(os.DevNull)
		defer p.Stderr.Close()
		if err := p.Start(); err != nil {
			return err
		}
		return p.Join(ctx)
	}
	if err := run(); err != nil {
		return err
	}
	// The runtime of a Go program that gets no thread when it needs one gives up. So that this one does not: some to spare.
	var threads sync.WaitGroup
	for range 16 {
		threads.Go(func() {
			runtime.LockOSThread()
			unix.Nanosleep(&unix.Timespec{Nsec: int64(10 * time.Millisecond)}, nil)
			runtime.UnlockOSThread()
		})
	}
	threads.Wait()
	before := openDescriptors()

	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NPROC, &old); err != nil {
		return err
	}
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, spare := range []int{0, 1, 3} { // none, or not as many as a child has threads
		limit := unix.Rlimit{Cur: uint64(spare), Max: old.Max}
		if spare > 0 {
			limit.Cur += uint64(len(tasks))
		}
		if err := unix.Setrlimit(unix.RLIMIT_NPROC, &limit); err != nil {
			return err
		}
		refused := false
		for range 5 { // of ready ones there are fewer
			err := run()
			var e *process.ExitError
			switch {
			case err == nil:
			case errors.Is(err, syscall.EAGAIN) && strings.Contains(err.Error(), "RLIMIT_NPROC"):
				refused = true
			case errors.As(err, &e) && e.Code == 2: // the child got no threads
			default:
				return fmt.Errorf("room for %d: %w", spare, err)
			}
			if refused || spare > 0 {
				break
			}
		}
		if spare == 0 && !refused {
			return errors.New("nothing was refused")
		}
	}
	if err := unix.Setrlimit(unix.RLIMIT_NPROC, &old); err != nil {
		return err
	}
	process.DropReady() // they were executed under the limit, and keep it
	if err := run(); err != nil {
		return fmt.Errorf("when there is room again: %w", err)
	}
	if now := openDescriptors(); now > before {
		return fmt.Errorf("%d descriptors, %d before", now, before)
	}
	return nil
}

// Environments go up to what the kernel takes.
func TestLargeEnvironment(t *testing.T) { eachWay(t, testLargeEnvironment) }

func testLargeEnvironment(t *testing.T) {
	env := variables(1 << 20)
	if r := describeChild(t, 0, func(p *process.Process) { p.Env = env }); !slices.Equal(r.Env, env) {
		t.Errorf("%d variables in the child, want %d", len(r.Env), len(env))
	}
}

// A child that closes what it did not open, and uses the numbers for something else, harms itself at most.
func TestChildClosesOurDescriptors(t *testing.T) { eachWay(t, testChildClosesOurDescriptors) }

func testChildClosesOurDescriptors(t *testing.T) {
	for _, test := range []struct {
		how  string
		code int
		err  string
	}{
		{"nil", 0, ""},
		{"error", 1, "its function did not return"},
		{"exit", 7, "its function did not return"},
	} {
		t.Run(test.how, func(t *testing.T) {
			f, err := os.CreateTemp(t.TempDir(), "")
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			before := descriptors(t)
			p := process.New(closesSockets, closing{test.how, f})
			p.Stderr = devNull(t)
			mustStart(t, p)
			err = p.Join(within(t))
			var e *process.ExitError
			switch {
			case test.code == 0 && err != nil:
				t.Error(err)
			case test.code != 0 && (!errors.As(err, &e) || e.Code != test.code || !strings.Contains(e.Err, test.err)):
				t.Errorf("%v, want code %d and %q", err, test.code, test.err)
			}
			if b, err := os.ReadFile(f.Name()); len(b) > 0 || err != nil {
				t.Errorf("in the file that got the descriptor's number stands %q (%v)", b, err)
			}
			settled(t, before)
		})
	}
}

// settled waits until no more descriptors are open than before.
func settled(t *testing.T, before int) {
	t.Helper()
	waitUntil(t, "descriptors are given back", func() bool { return descriptors(t) <= before+1 }) // the one for devNull
}

type closing struct {
	How  string
	File *os.File
}

// closesSockets closes all sockets, of which one is ours, and gives their numbers to its file.
var closesSockets = process.Register(func(_ context.Context, c closing) error {
	var sockets []int
	for fd := range 100 {
		var st unix.Stat_t
		if unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFSOCK {
			sockets = append(sockets, fd)
		}
	}
	if len(sockets) == 0 {
		return errors.New("there is no socket")
	}
	raw, err := c.File.SyscallConn()
	if err != nil {
		return err
	}
	for _, fd := range sockets {
		if err := raw.Control(func(file uintptr) { err = unix.Dup2(int(file), fd) }); err != nil {
			return err
		}
	}
	switch c.How {
	case "error":
		return errors.New("not to be heard")
	case "exit":
		os.Exit(7)
	}
	return nil
})

// Package reexec lets a test binary run parts of itself in other processes.
//
// It stands below package process, whose foundations are tested with it: plain
// os/exec, a name in the environment, descriptors in ExtraFiles. A test package
// registers its helpers and calls [Main] from TestMain.
package reexec

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// envVar names the helper to run.
const envVar = "MULTIPROC_TEST_HELPER"

// nothing is a helper that every binary has.
const nothing = "-"

// A Helper is a function that runs in a process of its own, with what the test
// passed. Its result is the exit code.
type Helper func(args []string) int

// Main runs the helper that the environment names, or else the tests. It does
// not return.
func Main(m *testing.M, helpers map[string]Helper) {
	if name := os.Getenv(envVar); name != "" {
		if name == nothing {
			os.Exit(0)
		}
		f, ok := helpers[name]
		if !ok {
			fmt.Fprintf(os.Stderr, "reexec: no helper %q\n", name)
			os.Exit(125)
		}
		os.Exit(f(os.Args[1:]))
	}
	// Under the race detector every exit takes a second by default, to let
	// reports come out; the helpers exit often.
	os.Setenv("GORACE", strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=0"))
	os.Exit(m.Run())
}

// A Process is a helper that was started.
type Process struct {
	Cmd *exec.Cmd
	In  io.WriteCloser
	Out *bufio.Reader
	t   testing.TB
}

// Start runs a helper. Files are descriptors 3, 4, … there. The process is
// killed at the end of the test if it still runs.
func Start(t testing.TB, name string, files []*os.File, args ...string) *Process {
	t.Helper()
	return StartCmd(t, exec.Command("/proc/self/exe", args...), name, files)
}

// StartCmd is Start for a prepared command, which may be another binary.
func StartCmd(t testing.TB, cmd *exec.Cmd, name string, files []*os.File) *Process {
	t.Helper()
	cmd.Env = append(cmd.Environ(), envVar+"="+name)
	cmd.ExtraFiles = files
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &Process{Cmd: cmd, In: in, Out: bufio.NewReader(out), t: t}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			cmd.Process.Kill()
			cmd.Wait()
		}
	})
	return p
}

// Busy returns how long it takes at the moment to start a helper that does nothing and to see its end, in the
// median of a few: some milliseconds, and more where others want the CPUs, too. That is what a judgement of times may allow for.
func Busy(t testing.TB) time.Duration {
	t.Helper()
	var took []time.Duration
	for range 7 {
		began := time.Now()
		Start(t, nothing, nil).Done()
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// Line reads one line of what the helper prints.
func (p *Process) Line() string {
	p.t.Helper()
	s, err := p.Out.ReadString('\n')
	if err != nil {
		p.t.Fatalf("helper ended: %q, %v", s, err)
	}
	return strings.TrimSuffix(s, "\n")
}

// Say sends one line to the helper.
func (p *Process) Say(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.In, line+"\n"); err != nil {
		p.t.Fatal(err)
	}
}

// Kill kills the helper and waits until it is gone.
func (p *Process) Kill() {
	p.t.Helper()
	p.Cmd.Process.Kill()
	p.Cmd.Wait()
}

// Done closes the helper's standard input and waits for it to exit well.
func (p *Process) Done() {
	p.t.Helper()
	p.In.Close()
	io.Copy(io.Discard, p.Out)
	if err := p.Cmd.Wait(); err != nil {
		p.t.Fatalf("helper: %v", err)
	}
}

// WaitToBeTold returns, in a helper, when the test says something (Say) or wants it to end (Done).
func WaitToBeTold() { bufio.NewReader(os.Stdin).ReadString('\n') }

// UntilTold is, in a helper, a context that ends then.
func UntilTold() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		WaitToBeTold()
		cancel()
	}()
	return ctx
}

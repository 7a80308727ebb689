//go:build linux

package process_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// leader runs a program in the foreground of a terminal, under a leader of its session that only looks on: when a session's leader ends, the kernel hangs
// up the terminal, and throws away what was written to it and has not reached the reader yet, which on a busy machine may be all of it. The program's
// status can be read from status when it has ended. The leader stays until over is called.
func leader(t *testing.T, tty *os.File, argv []string, env ...string) (cmd *exec.Cmd, status io.Reader, over func()) {
	t.Helper()
	pipe := func() (r, w *os.File) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close(); w.Close() })
		return r, w
	}
	told, tells := pipe()
	waits, ends := pipe()
	cmd = program(t, "leader", argv...)
	cmd.Env = append(cmd.Env, env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.ExtraFiles = []*os.File{tells, waits}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	tty.Close() // so that the screen ends with the last who could write to it
	tells.Close()
	return cmd, told, func() { ends.Close() }
}

// checkStatus is checkEnd for what a leader says of the program's end.
func checkStatus(t *testing.T, from io.Reader, died syscall.Signal, code int) {
	t.Helper()
	var status syscall.WaitStatus
	if _, err := fmt.Fscan(from, &status); err != nil {
		t.Fatalf("how the program ended is not known: %v", err)
	}
	if status.Signaled() != (died != 0) || died != 0 && status.Signal() != died || died == 0 && status.ExitStatus() != code {
		t.Errorf("the program ended with code %d, signal %d; want code %d, signal %d", status.ExitStatus(), status.Signal(), code, died)
	}
}

func init() {
	mains["leader"] = func() int {
		const tells, waits = 3, 4
		for _, fd := range []int{tells, waits} {
			syscall.CloseOnExec(fd)
		}
		cmd := exec.Command(os.Args[1], os.Args[2:]...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Foreground: true, Ctty: 0}
		if err := cmd.Start(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		for _, f := range []*os.File{os.Stdin, os.Stdout, os.Stderr} {
			f.Close()
		}
		cmd.Wait()
		status := os.NewFile(tells, "status")
		fmt.Fprintln(status, uint32(cmd.ProcessState.Sys().(syscall.WaitStatus)))
		status.Close()
		io.Copy(io.Discard, os.NewFile(waits, "end"))
		return 0
	}
}

// Ctrl-C at a terminal ends the whole family, once each, and nobody prints a trace; whatever stands between the terminal and the
// program.
func TestCtrlC(t *testing.T) {
	program := buildProgram(t, "interrupted")
	goTool, goErr := exec.LookPath("go")
	told := []string{"Process-1 told: interrupt", "Process-1:1 told: interrupt", "Process-2 told: interrupt"}
	for _, test := range []struct {
		name    string
		script  string // for sh; $P is the program
		direct  []string
		presses int
		say     []string // in any order
		status  int      // of what was run; below zero a signal
	}{
		{name: "without a shell", direct: []string{program}, presses: 1, say: told, status: -2},
		{name: "twice", direct: []string{program, "stubborn"}, presses: 2, say: told, status: -2},
		{name: "job of a shell", script: `set -m; $P; echo "status $?"`, presses: 1, say: told, status: -2},
		{name: "job of a shell, twice", script: `set -m; $P stubborn; echo "status $?"`, presses: 2, say: told, status: -2},
		{name: "script", script: `$P`, presses: 1, say: told, status: -2},
		{name: "script with a trap", script: `trap 'echo trapped' INT; $P; echo "status $?"`, presses: 1, say: append([]string{"trapped", "status 130"}, told...)},
		{name: "script with a trap, twice", script: `trap 'echo trapped' INT; $P stubborn; echo "status $?"`, presses: 2, say: append([]string{"trapped", "status 130"}, told...)},
		{name: "pipe", script: `set -m; $P | cat; echo over`, presses: 1, status: -2}, // cat ends at once, and nothing can be said
		{name: "go run", direct: []string{goTool, "run", "./testdata/interrupted"}, presses: 1, say: append([]string{"signal: interrupt"}, told...), status: 1},
		{name: "go run, twice", direct: []string{goTool, "run", "./testdata/interrupted", "stubborn"}, presses: 2, say: append([]string{"signal: interrupt"}, told...), status: 1},
		{name: "aloof child", direct: []string{program, "aloof"}, presses: 1, say: []string{"Process-1 told: terminated", "Process-1:1 told: terminated", "Process-2 told: interrupt"}, status: -2},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			keyboard, tty := openTerminal(t)
			argv := test.direct
			if test.script != "" {
				argv = []string{"sh", "-c", test.script}
			} else if argv[0] == goTool && goErr != nil {
				t.Skip(goErr)
			}
			cmd, status, over := leader(t, tty, argv, "P="+program)
			defer over()
			screen := &lines{t: t, r: keyboard}
			for range 3 {
				if s := screen.next(); !strings.HasSuffix(s, " ready\r") {
					t.Fatalf("%q", s)
				}
			}
			press := func() {
				if _, err := io.WriteString(keyboard, "\x03"); err != nil {
					t.Error(err)
				}
			}
			press()
			var said []string
			if test.presses > 1 {
				for len(said) < len(told) {
					said = append(said, screen.next())
				}
				// The parent may not have heard the first when the second comes, and two signals that wait are one.
				ended := make(chan struct{})
				defer close(ended)
				go func() {
					for {
						io.WriteString(keyboard, "\x03")
						select {
						case <-ended:
							return
						case <-time.After(50 * time.Millisecond):
						}
					}
				}()
			}
			rest, err := io.ReadAll(keyboard)
			if err != nil && !errors.Is(err, syscall.EIO) { // which is how a terminal ends
				t.Errorf("the family did not end: %v", err)
				cmd.Process.Kill() // which hangs up
			}
			said = append(said, strings.SplitAfter(screen.b.String()+string(rest), "\n")...)
			var got []string
			for _, s := range said {
				s = strings.TrimSpace(strings.ReplaceAll(s, "^C", ""))
				if s == "Process-1:1 told: terminated" && !strings.HasPrefix(test.name, "aloof") {
					s = "Process-1:1 told: interrupt" // its parent was faster than the terminal
				}
				if s != "" {
					got = append(got, s)
				}
			}
			want := slices.Clone(test.say)
			slices.Sort(got)
			slices.Sort(want)
			if test.presses > 1 {
				got = slices.Compact(got) // a trap may be sprung each time
			}
			if !slices.Equal(got, want) {
				t.Errorf("the terminal shows\n%s\n(and ended with %v), want\n%s", strings.Join(got, "\n"), err, strings.Join(want, "\n"))
			}
			if test.status < 0 {
				checkStatus(t, status, syscall.Signal(-test.status), -1)
			} else {
				checkStatus(t, status, 0, test.status)
			}
			over()
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

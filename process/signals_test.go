//go:build linux

package process_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/process"
)

// tidy cleans up when it is told to end, and says how often it was told.
var tidy = process.Register(func(ctx context.Context, _ struct{}) error {
	told := make(chan os.Signal, 8)
	signal.Notify(told, syscall.SIGINT, syscall.SIGTERM)
	fmt.Println("child ready")
	<-ctx.Done()
	fmt.Printf("child: %v\n", <-told)
	return nil
})

// unheeding does not end when it is told to.
var unheeding = process.Register(func(ctx context.Context, _ struct{}) error {
	fmt.Println("child ready")
	<-ctx.Done()
	fmt.Println("child told")
	select {}
})

func parentOf(fn *process.Func[struct{}], grace time.Duration, run func(p *process.Process) int) func() int {
	return func() int {
		p := process.New(fn, struct{}{})
		p.Grace = grace
		if err := p.Start(); err != nil {
			fmt.Println(err)
			return 1
		}
		return run(p)
	}
}

func init() {
	forever := func(*process.Process) int { select {} }
	mains["tidy"] = parentOf(tidy, 0, forever)
	mains["unheeding"] = parentOf(unheeding, 200*time.Millisecond, forever)
	mains["unheedingForLong"] = parentOf(unheeding, time.Hour, forever)
	mains["returns"] = parentOf(tidy, 0, func(p *process.Process) int {
		<-p.Done()
		return 3 // the signal has the last word
	})
	mains["waits"] = parentOf(tidy, 0, func(*process.Process) int { return 0 })
	mains["handles"] = parentOf(unheeding, 0, func(p *process.Process) int {
		told := make(chan os.Signal, 8)
		signal.Notify(told, syscall.SIGINT)
		fmt.Println("handler ready")
		for range 2 {
			fmt.Printf("handler: %v\n", <-told)
		}
		p.Kill()
		return 4
	})
	mains["handlesAll"] = parentOf(unheeding, 0, func(p *process.Process) int {
		told := make(chan os.Signal, 8)
		signal.Notify(told)
		fmt.Println("handler ready")
		for s := range told {
			if s == syscall.SIGTERM {
				break
			}
		}
		fmt.Println("handler: terminated")
		p.Kill()
		return 4
	})
	mains["handlesOnce"] = func() int {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT)
		fmt.Println("handler ready")
		return parentOf(unheeding, 0, func(p *process.Process) int {
			<-ctx.Done()
			stop()
			fmt.Println("handler: stopped")
			select {}
		})()
	}
}

// Main stops the family on a signal, where the program does not do that itself.
func TestSignalsToMain(t *testing.T) { eachWay(t, testSignalsToMain) }

func testSignalsToMain(t *testing.T) {
	const (
		sigint  = syscall.SIGINT
		sigterm = syscall.SIGTERM
	)
	for _, test := range []struct {
		name  string
		ready int // lines
		steps []any
		died  syscall.Signal
		code  int
	}{
		{"tidy", 1, []any{sigint, "child: interrupt"}, sigint, -1},
		{"tidy", 1, []any{sigterm, "child: terminated"}, sigterm, -1},
		{"unheeding", 1, []any{sigterm, "child told"}, sigterm, -1},
		{"unheedingForLong", 1, []any{sigterm, "child told", sigterm}, sigterm, -1},
		{"unheedingForLong", 1, []any{sigint, "child told", sigterm}, sigint, -1},
		{"returns", 1, []any{sigterm, "child: terminated"}, sigterm, -1},
		{"waits", 1, []any{sigterm, "child: terminated"}, sigterm, -1},
		{"handles", 2, []any{sigint, "handler: interrupt", sigint, "handler: interrupt"}, 0, 4},
		{"handles", 2, []any{sigint, "handler: interrupt", sigterm, "child told", sigterm}, sigterm, -1},
		{"handlesAll", 2, []any{sigint, sigterm, "handler: terminated"}, 0, 4},
		{"handlesOnce", 2, []any{sigint, "handler: stopped", sigint}, sigint, -1},
	} {
		name := test.name
		for _, s := range test.steps {
			if s, ok := s.(syscall.Signal); ok {
				name += "," + s.String()
			}
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := program(t, test.name)
			out := startProgram(t, cmd)
			for range test.ready {
				out.next()
			}
			for _, step := range test.steps {
				switch step := step.(type) {
				case syscall.Signal:
					if err := cmd.Process.Signal(step); err != nil {
						t.Fatal(err)
					}
				case string:
					if got := out.next(); got != step {
						t.Fatalf("%q, want %q", got, step)
					}
				}
			}
			checkEnd(t, cmd, test.died, test.code)
			out.end()
		})
	}
}

func checkEnd(t *testing.T, cmd *exec.Cmd, died syscall.Signal, code int) {
	t.Helper()
	err := cmd.Wait()
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if died != 0 {
		if !status.Signaled() || status.Signal() != died {
			t.Errorf("the program ended with %v, want signal %v", err, died)
		}
	} else if status.ExitStatus() != code {
		t.Errorf("the program ended with %v, want code %d", err, code)
	}
}

// A terminal sends Ctrl-C to parent and children alike: each is told once.
func TestInterruptFromTerminal(t *testing.T) { eachWay(t, testInterruptFromTerminal) }

func testInterruptFromTerminal(t *testing.T) {
	const ctrlC = "\x03"
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name  string
		steps []string
		again bool // and a second Ctrl-C
	}{
		{"tidy", []string{"child ready", ctrlC, "^Cchild: interrupt"}, false},
		{"unheedingForLong", []string{"child ready", ctrlC, "^Cchild told"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			keyboard, tty := openTerminal(t)
			cmd, status, over := leader(t, tty, []string{"env", mainMarker + "=" + test.name, self})
			defer over()
			screen := &lines{t: t, r: keyboard}
			for _, step := range test.steps {
				if step == ctrlC {
					if _, err := io.WriteString(keyboard, ctrlC); err != nil {
						t.Fatal(err)
					}
					continue
				}
				if got := screen.next(); got != step+"\r" {
					t.Errorf("%q, want %q", got, step)
				}
			}
			// The parent may not have seen the first when the second comes, and two signals that wait are one.
			ended := make(chan struct{})
			defer close(ended)
			if test.again {
				go func() {
					for {
						io.WriteString(keyboard, ctrlC)
						select {
						case <-ended:
							return
						case <-time.After(20 * time.Millisecond):
						}
					}
				}()
			}
			checkStatus(t, status, syscall.SIGINT, -1)
			over()
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

// openTerminal makes a pseudo-terminal.
func openTerminal(t *testing.T) (keyboard, tty *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals: %v", err)
	}
	keyboard = os.NewFile(uintptr(fd), "ptmx")
	t.Cleanup(func() { keyboard.Close() })
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals: %v", err)
	}
	t.Cleanup(func() { tty.Close() })
	if err := keyboard.SetReadDeadline(time.Now().Add(deadline)); err != nil && !errors.Is(err, os.ErrNoDeadline) {
		t.Fatal(err)
	}
	return keyboard, tty
}

// listens says which signals end its ctx.
var listens = process.Register(func(ctx context.Context, _ struct{}) error {
	fmt.Println("ready")
	<-ctx.Done()
	var e *process.SignalError
	if !errors.As(context.Cause(ctx), &e) {
		return fmt.Errorf("the cause is %v", context.Cause(ctx))
	}
	fmt.Println(e.Signal)
	return nil
})

func TestStopSignals(t *testing.T) {
	for _, test := range []struct {
		name  string
		stop  []os.Signal
		sends []os.Signal
		want  string // which of them ends ctx
	}{
		{"default", nil, []os.Signal{os.Interrupt}, "interrupt"},
		{"SIGTERM by default", nil, []os.Signal{syscall.SIGTERM}, "terminated"},
		{"none", []os.Signal{}, []os.Signal{os.Interrupt, os.Interrupt, syscall.SIGTERM}, "terminated"},
		{"another", []os.Signal{syscall.SIGUSR1}, []os.Signal{os.Interrupt, syscall.SIGUSR1}, "user defined signal 1"},
		{"SIGTERM with another", []os.Signal{syscall.SIGHUP}, []os.Signal{syscall.SIGTERM}, "terminated"},
		{"both", []os.Signal{os.Interrupt, syscall.SIGQUIT}, []os.Signal{syscall.SIGQUIT}, "quit"},
	} {
		for _, method := range methods(t) {
			t.Run(test.name+"/"+method.String(), func(t *testing.T) {
				t.Parallel()
				p := process.New(listens, struct{}{})
				p.Method, p.StopSignals = method, test.stop
				out := &lines{t: t, r: output(t, p)}
				mustStart(t, p)
				p.Stdout.Close()
				out.next()
				for _, s := range test.sends {
					if err := p.Signal(s); err != nil {
						t.Error(err)
					}
				}
				if got := out.next(); got != test.want {
					t.Errorf("ended by %q, want %q", got, test.want)
				}
				join(t, p)
			})
		}
	}
}

// Interrupt reaches a child that is deaf to SIGINT all the same.
func TestInterruptOfDeafChild(t *testing.T) {
	p := process.New(listens, struct{}{})
	p.StopSignals = []os.Signal{}
	out := &lines{t: t, r: output(t, p)}
	mustStart(t, p)
	p.Stdout.Close()
	out.next()
	if err := p.Interrupt(); err != nil {
		t.Error(err)
	}
	if got := out.next(); got != "terminated" {
		t.Errorf("ended by %q", got)
	}
	join(t, p)
}

func TestBadStopSignals(t *testing.T) {
	for name, list := range map[string][]os.Signal{
		"SIGKILL": {syscall.SIGKILL}, "SIGSTOP": {syscall.SIGSTOP}, "0": {syscall.Signal(0)}, "65": {syscall.Signal(65)}, "nil": {nil},
	} {
		p := process.New(nothing, struct{}{})
		p.StopSignals = list
		if err := p.Start(); err == nil || !strings.Contains(err.Error(), "StopSignals") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSignal(t *testing.T) {
	p := process.New(handlesHangup, struct{}{})
	if err := p.Signal(syscall.SIGHUP); err != process.ErrNotStarted {
		t.Errorf("before Start: %v", err)
	}
	out := &lines{t: t, r: output(t, p)}
	mustStart(t, p)
	p.Stdout.Close()
	out.next()
	for range 2 {
		if err := p.Signal(syscall.SIGHUP); err != nil {
			t.Error(err)
		}
		if got := out.next(); got != "hangup" {
			t.Error(got)
		}
	}
	if err := p.Signal(nil); err == nil {
		t.Error("a signal that is none was sent")
	}
	if err := p.Signal(os.Kill); err != nil {
		t.Error(err)
	}
	if e := joinError(t, p); e.Signal != syscall.SIGKILL {
		t.Error(e)
	}
	if err := p.Signal(syscall.SIGHUP); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("after the end: %v", err)
	}
}

var handlesHangup = process.Register(func(ctx context.Context, _ struct{}) error {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	fmt.Println("ready")
	for s := range hangups {
		fmt.Println(s)
	}
	return nil
})

func init() {
	mains["shutdown"] = func() int {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		time.Sleep(1200 * time.Millisecond) // it is at work, and we look around: after a quarter of a second, half of one, and one
		fmt.Println("ready")
		<-ctx.Done()
		stop() // so that a second signal kills
		return 0
	}
}

// Main looks now and then whether the program handles a signal itself. One that is ignored just then stays ignored.
func TestIgnoredWhileLooked(t *testing.T) {
	if !process.IgnoredWhileLooked(syscall.SIGWINCH) {
		t.Error("the signal is not ignored any more")
	}
}

// A program that gives its handler up as soon as it was called is seen to have had one, without any child.
func TestHandlerThatIsGivenUpAtOnce(t *testing.T) {
	const programs = 40
	var wg sync.WaitGroup
	for range programs {
		cmd := program(t, "shutdown")
		out := startProgram(t, cmd)
		wg.Go(func() {
			if s := out.next(); s != "ready" {
				t.Errorf("%q", s)
			}
			cmd.Process.Signal(syscall.SIGTERM)
			if err := cmd.Wait(); err != nil {
				t.Errorf("it did not end in good order: %v", err)
			}
		})
	}
	wg.Wait()
}

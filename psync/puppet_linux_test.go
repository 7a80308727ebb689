package psync_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/reexec"
	"github.com/go-multiproc/multiproc/internal/verify"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/shm"
)

func init() { helpers["puppet"] = helperPuppet }

// Gifts are what a puppet is given: any of them may be nil.
type gifts struct {
	Event   *psync.Event
	Barrier *psync.Barrier
	Cond    *psync.Cond
	Mutex   *psync.Mutex
	RMutex  *psync.RMutex
	Once    *psync.Once
	Words   *shm.Segment
}

// A puppet is another process that does what it is told, line by line, and answers each
// line with one of its own when it is done. A line that starts with "go" is done in the
// background, and so is one that starts with "wait", where the puppet says when it waits.
type puppet struct {
	*reexec.Process
	t testing.TB
}

func newPuppet(t testing.TB, s gifts) *puppet {
	t.Helper()
	return puppetOf(t, exec.Command("/proc/self/exe"), s)
}

// puppetOf is newPuppet for a prepared command.
func puppetOf(t testing.TB, cmd *exec.Cmd, s gifts) *puppet {
	t.Helper()
	arg, files := reexec.Give(t, &s)
	cmd.Args = append(cmd.Args, arg, strconv.Itoa(len(files)))
	p := &puppet{reexec.StartCmd(t, cmd, "puppet", files), t}
	if l := p.Line(); l != "ready" {
		t.Fatal(l)
	}
	return p
}

// do tells the puppet to do something and returns what came of it.
func (p *puppet) do(line string) string {
	p.t.Helper()
	p.Say(line)
	return p.answer()
}

// answer is the next line that comes.
func (p *puppet) answer() string {
	p.t.Helper()
	type result struct {
		line string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		l, err := p.Out.ReadString('\n')
		done <- result{strings.TrimSuffix(l, "\n"), err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			p.t.Fatalf("puppet ended: %q, %v", r.line, r.err)
		}
		return r.line
	case <-time.After(patience):
		p.t.Fatal("puppet: no answer")
		return ""
	}
}

// must is do for what has to come to a certain end.
func (p *puppet) must(line, want string) {
	p.t.Helper()
	if got := p.do(line); got != want {
		p.t.Fatalf("%s: %q, want %q", line, got, want)
	}
}

// begins is do for something that the puppet can not end yet.
func (p *puppet) begins(line string) {
	p.t.Helper()
	p.must("go "+line, "begun")
}

// waits is begins, which returns when the puppet has come to wait.
func (p *puppet) waits(line string) {
	p.t.Helper()
	p.must("wait "+line, "waiting true")
}

func helperPuppet(args []string) int {
	var s *gifts
	n, _ := strconv.Atoi(args[1])
	if err := reexec.Take(args[0], n, &s); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("ready")
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		if line, ok := strings.CutPrefix(in.Text(), "go "); ok {
			fmt.Println("begun")
			go func() { fmt.Println(s.do(line)) }()
			continue
		}
		if line, ok := strings.CutPrefix(in.Text(), "wait "); ok {
			var answer string
			c := verify.Begin(func() error { answer = s.do(line); return nil })
			fmt.Println("waiting", c.Waits(nil))
			go func() {
				c.Await()
				fmt.Println(answer)
			}()
			continue
		}
		fmt.Println(s.do(in.Text()))
	}
	return 0
}

var errTold = errors.New("told to fail")

// do does one line: the thing, what to do with it, and for how many milliseconds.
func (s *gifts) do(line string) string {
	f := strings.Fields(line)
	ctx := context.Background()
	if len(f) > 2 {
		ms, _ := strconv.Atoi(f[2])
		c, cancel := context.WithTimeout(ctx, time.Duration(ms)*time.Millisecond)
		defer cancel()
		ctx = c
	}
	switch f[0] + " " + f[1] {
	case "event set":
		return fmt.Sprint(s.Event.Set())
	case "event clear":
		return fmt.Sprint(s.Event.Clear())
	case "event is":
		return fmt.Sprint(s.Event.IsSet())
	case "event wait":
		return fmt.Sprint(s.Event.Wait(ctx))
	case "barrier wait":
		i, err := s.Barrier.Wait(ctx)
		return fmt.Sprint(i, " ", err)
	case "barrier rounds":
		n, _ := strconv.Atoi(f[3])
		parties, _ := strconv.Atoi(f[4])
		return fmt.Sprint(s.rounds(ctx, n, parties))
	case "barrier reset":
		return fmt.Sprint(s.Barrier.Reset())
	case "barrier abort":
		return fmt.Sprint(s.Barrier.Abort())
	case "barrier close":
		return fmt.Sprint(s.Barrier.Close())
	case "lock lock":
		return fmt.Sprint(s.locker().Lock(ctx))
	case "lock unlock":
		return fmt.Sprint(s.locker().Unlock())
	case "cond signal":
		return fmt.Sprint(s.Cond.Signal())
	case "cond broadcast":
		return fmt.Sprint(s.Cond.Broadcast())
	case "cond waits": // takes the lock, says that it waits, waits, and unlocks
		l := s.locker()
		if err := l.Lock(ctx); err != nil {
			return err.Error()
		}
		fmt.Println("waits")
		err := s.Cond.Wait(ctx)
		return fmt.Sprint(err, " ", l.Unlock())
	case "cond buffer":
		n, _ := strconv.Atoi(f[4])
		return fmt.Sprint(s.buffer(ctx, f[3] == "1", n))
	case "cond consume":
		return fmt.Sprint(s.consume(ctx))
	case "cond produce":
		tell := s.Cond.Signal
		if f[3] == "broadcast" {
			tell = s.Cond.Broadcast
		}
		return fmt.Sprint(s.produce(ctx, tell))
	case "cond make":
		return fmt.Sprint(s.make(ctx))
	case "cond close":
		return fmt.Sprint(s.Cond.Close())
	case "rmutex lock":
		_, err := s.RMutex.Lock(ctx)
		return fmt.Sprint(err)
	case "once do", "once fail", "once hang":
		ran := false
		err := s.Once.Do(ctx, func() error {
			ran = true
			switch f[1] {
			case "fail":
				return errTold
			case "hang":
				fmt.Println("hangs")
				select {}
			}
			return nil
		})
		return fmt.Sprint(ran, " ", err)
	}
	return "what? " + line
}

func (s *gifts) locker() psync.Locker {
	if s.Mutex != nil {
		return s.Mutex
	}
	return s.Cond.Locker()
}

// crossing has v arrive in *p, in this process, as what was handed over to another one does.
func crossing(t testing.TB, v, p any) {
	t.Helper()
	m, err := handover.Marshal(v, "v")
	verify.Must(t, err)
	defer m.Sent()
	_, err = handover.Unmarshal(m.Data, dups(t, m.FDs), p)
	verify.Must(t, err)
}

// stop stops p, and returns when it has stopped.
func stop(t testing.TB, p *puppet) {
	t.Helper()
	verify.Must(t, p.Cmd.Process.Signal(syscall.SIGSTOP))
	var ws syscall.WaitStatus
	if _, err := syscall.Wait4(p.Cmd.Process.Pid, &ws, syscall.WUNTRACED, nil); err != nil || !ws.Stopped() {
		t.Fatalf("stopping: %v, %v", ws, err)
	}
}

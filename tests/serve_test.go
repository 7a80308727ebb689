package tests_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A demoServer is 'demo serve', in a process group of its own.
type demoServer struct {
	t       *testing.T
	cmd     *exec.Cmd
	out     *bufio.Reader
	address string
	stderr  bytes.Buffer
}

func startServer(t *testing.T, watch *tidy, mode string) *demoServer {
	t.Helper()
	name, err := buildDemo()
	if err != nil {
		t.Fatal(err)
	}
	s := &demoServer{t: t, cmd: exec.CommandContext(t.Context(), name, "serve", "--mode="+mode, "--workers=2", "--address=127.0.0.1:0")}
	s.cmd.Env, s.cmd.Stderr = watch.env(), &s.stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	r.SetReadDeadline(time.Now().Add(60 * time.Second))
	s.cmd.Stdout, s.out = w, bufio.NewReader(r)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if _, err := fmt.Sscanf(s.line(), "serving on %s mode "+mode, &s.address); err != nil {
		t.Fatal(err)
	}
	s.address = strings.TrimSuffix(s.address, ",")
	return s
}

func (s *demoServer) line() string {
	s.t.Helper()
	l, err := s.out.ReadString('\n')
	if err != nil {
		s.t.Fatalf("%q %v; standard error: %s", l, err, s.stderr.String())
	}
	return strings.TrimSuffix(l, "\n")
}

// started reads which worker was started.
func (s *demoServer) started() (name string, pid int) {
	s.t.Helper()
	l := s.line()
	if _, err := fmt.Sscanf(l, "started %s (pid %d)", &name, &pid); err != nil {
		s.t.Fatalf("%q: %v", l, err)
	}
	return name, pid
}

// A demoClient is 'demo client'.
type demoClient struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	stderr bytes.Buffer
}

// startClient connects a client, and has its first line answered.
func startClient(t *testing.T, watch *tidy, address string) *demoClient {
	t.Helper()
	name, err := buildDemo()
	if err != nil {
		t.Fatal(err)
	}
	c := &demoClient{cmd: exec.CommandContext(t.Context(), name, "client", address)}
	c.cmd.Env, c.cmd.Stderr = watch.env(), &c.stderr
	in, err := c.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.in, c.out = in, bufio.NewReader(out)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if got := c.ask(t, "hello"); got != "HELLO" {
		t.Fatalf("answer %q", got)
	}
	return c
}

func (c *demoClient) ask(t *testing.T, question string) (answer string) {
	t.Helper()
	fmt.Fprintln(c.in, question)
	l, err := c.out.ReadString('\n')
	if err != nil {
		t.Fatalf("answer %q, %v; standard error: %s", l, err, c.stderr.String())
	}
	_, answer, _ = strings.Cut(strings.TrimSuffix(l, "\n"), ": ")
	return answer
}

// Ctrl-C, which goes to the whole group, ends a server in good order while clients are connected; so does SIGTERM.
func TestServeStops(t *testing.T) {
	for _, mode := range []string{"goroutine", "process", "prefork"} {
		for _, stop := range []struct {
			name  string
			group bool
			sig   syscall.Signal
		}{
			{"Ctrl-C", true, syscall.SIGINT},
			{"SIGINT", false, syscall.SIGINT},
			{"SIGTERM", false, syscall.SIGTERM},
		} {
			t.Run(mode+" "+stop.name, func(t *testing.T) {
				watch := newTidy(t)
				s := startServer(t, watch, mode)
				if mode == "prefork" {
					s.started()
					s.started()
				}
				quits, stays := startClient(t, watch, s.address), startClient(t, watch, s.address)
				fmt.Fprintln(quits.in, "Q")
				if rest, err := io.ReadAll(quits.out); len(rest) > 0 || err != nil {
					t.Errorf("after Q: %q %v", rest, err)
				}
				if err := quits.cmd.Wait(); err != nil {
					t.Errorf("a client that quits: %v: %s", err, quits.stderr.String())
				}

				pid := s.cmd.Process.Pid
				if stop.group {
					pid = -pid
				}
				if err := syscall.Kill(pid, stop.sig); err != nil {
					t.Fatal(err)
				}
				if got := s.line(); got != "stopped" {
					t.Errorf("%q", got)
				}
				if err := s.cmd.Wait(); err != nil || s.stderr.Len() > 0 {
					t.Errorf("the server ended with %v, and said %q", err, s.stderr.String())
				}
				if err := stays.cmd.Wait(); err == nil || !strings.Contains(stays.stderr.String(), "the server has closed the connection") {
					t.Errorf("a client of a server that stops: %v, %q", err, stays.stderr.String())
				}
				watch.check(t)
			})
		}
	}
}

// A worker that is killed is replaced, and the clients of others do not notice.
func TestServeWorkerKilled(t *testing.T) {
	watch := newTidy(t)
	s := startServer(t, watch, "prefork")
	workers := map[string]int{}
	for range 2 {
		name, pid := s.started()
		workers[name] = pid
	}
	for range 5 {
		for name, pid := range workers {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			again, successor := s.started()
			if again != name || successor == pid {
				t.Errorf("%s (pid %d) was killed, and %s (pid %d) started", name, pid, again, successor)
			}
			workers[name] = successor
			c := startClient(t, watch, s.address)
			c.in.Close() // which is as good as a Q
			if err := c.cmd.Wait(); err != nil {
				t.Errorf("a client: %v: %s", err, c.stderr.String())
			}
		}
	}
	if err := s.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Wait(); err != nil {
		t.Error(err)
	}
	if n := strings.Count(s.stderr.String(), "signal 9 (killed)"); n != 10 {
		t.Errorf("the server told of %d deaths, want 10: %s", n, s.stderr.String())
	}
	watch.check(t)
}

// When a server is killed, nobody goes on serving.
func TestServeKilled(t *testing.T) {
	for _, mode := range []string{"process", "prefork"} {
		t.Run(mode, func(t *testing.T) {
			watch := newTidy(t)
			s := startServer(t, watch, mode)
			c := startClient(t, watch, s.address)
			s.cmd.Process.Kill()
			s.cmd.Wait()
			if err := c.cmd.Wait(); err == nil {
				t.Error("the client of a server that was killed ended well")
			}
			watch.check(t)
		})
	}
}

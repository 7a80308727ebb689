package tests_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// notifySocket is where systemd listens to what services say, and who said it.
type notifySocket struct {
	t    *testing.T
	path string
	conn *net.UnixConn
}

func newNotifySocket(t *testing.T) *notifySocket {
	t.Helper()
	dir, err := os.MkdirTemp("", "notify") // a short path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &notifySocket{t: t, path: filepath.Join(dir, "notify")}
	if s.conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.path, Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.conn.Close() })
	raw, err := s.conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1) })
	if err != nil {
		t.Fatal(err)
	}
	s.conn.SetReadDeadline(time.Now().Add(60 * time.Second))
	return s
}

func (s *notifySocket) receive() (state string, pid int) {
	s.t.Helper()
	b, oob := make([]byte, 100), make([]byte, 100)
	n, nOOB, _, _, err := s.conn.ReadMsgUnix(b, oob)
	if err != nil {
		s.t.Fatal(err)
	}
	ms, err := unix.ParseSocketControlMessage(oob[:nOOB])
	if err != nil || len(ms) != 1 {
		s.t.Fatalf("%d control messages, %v", len(ms), err)
	}
	cred, err := unix.ParseUnixCredentials(&ms[0])
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b[:n]), int(cred.Pid)
}

// The documented service does what systemd expects: it says when it is ready, and ends in each of the ways in
// which systemd ends services.
func TestServiceUnderSystemd(t *testing.T) {
	n := newNewcomer(t, "service", map[string]string{"main.go": documented(t, "docs/processes.md", "NOTIFY_SOCKET")})
	program := n.build()
	for _, test := range []struct {
		name   string
		sig    syscall.Signal
		all    bool // as with KillMode=control-group
		orders bool // the children come to their end in good order
	}{
		{"KillMode=mixed", syscall.SIGTERM, false, true},
		{"KillMode=control-group", syscall.SIGTERM, true, true},
		{"killed", syscall.SIGKILL, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			socket := newNotifySocket(t)
			cmd := n.command(program)
			cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+socket.path)
			cmd.Stderr = os.Stderr
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			r.SetReadDeadline(time.Now().Add(60 * time.Second))
			cmd.Stdout = w
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				cmd.Process.Kill()
				cmd.Wait()
			}()
			w.Close()
			if state, pid := socket.receive(); state != "READY=1" || pid != cmd.Process.Pid {
				t.Errorf("process %d says %q, want READY=1 from %d", pid, state, cmd.Process.Pid)
			}
			out := bufio.NewReader(r)
			for range 2 {
				if l, err := out.ReadString('\n'); err != nil || !strings.HasSuffix(l, " works\n") {
					t.Fatalf("%q %v", l, err)
				}
			}

			pids := []int{cmd.Process.Pid}
			if test.all {
				pids = nil
				for _, p := range marked(t, n.watch.mark) {
					var pid int
					fmt.Sscan(p, &pid)
					pids = append(pids, pid)
				}
				if len(pids) != 3 {
					t.Fatalf("processes %v, want 3", pids)
				}
			}
			for _, pid := range pids {
				if err := syscall.Kill(pid, test.sig); err != nil && err != syscall.ESRCH { // the first may have told the others
					t.Fatal(err)
				}
			}
			rest, err := io.ReadAll(out) // until the last of them is gone
			if err != nil {
				t.Fatal(err)
			}
			cmd.Wait()
			if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != test.sig {
				t.Errorf("the service ended with %v, want %v", cmd.ProcessState, test.sig)
			}
			var want []string
			if test.orders {
				want = []string{"first has come to an end", "second has come to an end"}
			}
			got := strings.Split(strings.TrimSpace(string(rest)), "\n")
			slices.Sort(got)
			if !slices.Equal(got, want) && !(want == nil && len(rest) == 0) {
				t.Errorf("in the end: %q, want %q", got, want)
			}
			n.watch.check(t)
		})
	}
}

// A listener that systemd has opened is passed on to a child, which does not think that it was meant for it.
func TestSocketActivation(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip(err)
	}
	n := newNewcomer(t, "activated", map[string]string{"main.go": `package main

import (
	"context"
	"fmt"
	"net"
	"os"

	"github.com/go-multiproc/multiproc/process"
)

var answer = process.Register(func(_ context.Context, l net.Listener) error {
	if os.Getenv("LISTEN_PID") == fmt.Sprint(os.Getpid()) {
		return fmt.Errorf("the child is meant")
	}
	if _, err := net.FileListener(os.NewFile(4, "")); err == nil {
		return fmt.Errorf("there is a second listener, as in the parent")
	}
	c, err := l.Accept()
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = fmt.Fprintln(c, "hello from", process.Current().Name)
	return err
})

func main() { process.Main(run) }

func run() int {
	if os.Getenv("LISTEN_PID") != fmt.Sprint(os.Getpid()) {
		fmt.Println("not for us")
		return 1
	}
	var ls []net.Listener
	for fd := range 2 {
		f := os.NewFile(uintptr(3+fd), "")
		l, err := net.FileListener(f)
		if err != nil {
			fmt.Println(err)
			return 1
		}
		f.Close()
		ls = append(ls, l)
	}
	p := process.New(answer, ls[0])
	p.Name = "worker"
	err := p.Start()
	if err == nil {
		err = p.Join(context.Background())
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}
`})
	program := n.build()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := n.command(sh, "-c", `LISTEN_PID=$$ LISTEN_FDS=2 exec "$0"`, program)
	cmd.ExtraFiles = []*os.File{f, f}
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(60 * time.Second))
	if b, err := io.ReadAll(c); string(b) != "hello from worker\n" || err != nil {
		t.Errorf("%q %v", b, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	n.watch.check(t)
}

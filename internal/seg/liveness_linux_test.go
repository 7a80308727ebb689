package seg_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/reexec"
	"github.com/go-multiproc/multiproc/internal/seg"
)

func init() {
	helpers["token"] = helperToken
	helpers["grow"] = helperGrow
}

// helperToken opens dir/name, prints its token, and stays until its input ends.
func helperToken(args []string) int {
	h, err := seg.Open(args[1], "test", "", seg.Options{Dir: args[0]})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(h.Mapping().Token())
	if len(args) > 2 {
		cmd := exec.Command("sleep", "60")
		if err := cmd.Start(); err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Println(cmd.Process.Pid)
	}
	reexec.WaitToBeTold()
	return 0
}

// helperGrow makes a segment of the size when told to.
func helperGrow(args []string) int {
	fmt.Println("ready")
	reexec.WaitToBeTold()
	n, _ := strconv.Atoi(args[0])
	_, err := seg.New(seg.Spec{Kind: "test", Data: n})
	fmt.Println(errors.Is(err, seg.ErrNoSpace), err)
	return 0
}

func named(t testing.TB) (dir string, h *seg.Handle) {
	t.Helper()
	dir = shmDir(t)
	h, err := seg.Create("s", seg.Spec{Kind: "test", Meta: 64}, seg.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close(nil) })
	return dir, h
}

// gone waits for a token's process to be seen as dead.
func gone(t *testing.T, m *seg.Mapping, token uint64) {
	t.Helper()
	start := time.Now()
	for m.Alive(token) {
		if time.Since(start) > 60*time.Second {
			t.Fatalf("still alive after %v", time.Since(start))
		}
	}
	t.Logf("seen as dead after %v", time.Since(start))
}

func TestAlive(t *testing.T) {
	tests := []struct {
		name  string
		attrs *syscall.SysProcAttr
		end   func(*reexec.Process)
	}{
		{"killed", nil, func(p *reexec.Process) { p.Cmd.Process.Kill() }},
		{"exits", nil, func(p *reexec.Process) { p.In.Close() }},
		{"killed in another pid namespace", &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID},
			func(p *reexec.Process) { p.Cmd.Process.Kill() }},
		{"killed in another user namespace", &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}, func(p *reexec.Process) { p.Cmd.Process.Kill() }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.attrs != nil {
				probe := exec.Command("true")
				probe.SysProcAttr = tt.attrs
				if err := probe.Run(); err != nil {
					t.Skipf("not permitted here: %v", err)
				}
			}
			dir, h := named(t)
			cmd := exec.Command("/proc/self/exe", dir, "s")
			cmd.SysProcAttr = tt.attrs
			p := reexec.StartCmd(t, cmd, "token", nil)
			line := p.Line()
			token, err := strconv.ParseUint(line, 10, 64)
			if err != nil {
				t.Fatal(line)
			}
			m := h.Mapping()
			if token == m.Token() {
				t.Fatalf("both have token %d", token)
			}
			if !m.Alive(token) {
				t.Error("dead while it lives")
			}
			p.Cmd.Process.Signal(syscall.SIGSTOP)
			if !m.Alive(token) {
				t.Error("dead while it is stopped")
			}
			p.Cmd.Process.Signal(syscall.SIGCONT)
			tt.end(p)
			gone(t, m, token)
		})
	}
}

// What a process starts inherits nothing that would keep it "alive".
func TestDeathIsSeenDespiteChildren(t *testing.T) {
	dir, h := named(t)
	p := reexec.Start(t, "token", nil, dir, "s", "with a child")
	token, _ := strconv.ParseUint(p.Line(), 10, 64)
	child, err := strconv.Atoi(p.Line())
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(child, syscall.SIGKILL)
	p.Cmd.Process.Kill()
	gone(t, h.Mapping(), token)
	if err := syscall.Kill(child, 0); err != nil {
		t.Errorf("the child is gone too: %v", err)
	}
}

func TestTokensAreNeverReused(t *testing.T) {
	dir, h := named(t)
	seen := map[uint64]bool{h.Mapping().Token(): true}
	for range 5 {
		p := reexec.Start(t, "token", nil, dir, "s")
		token, err := strconv.ParseUint(p.Line(), 10, 64)
		if err != nil || seen[token] {
			t.Errorf("token %d: %v; seen before: %v", token, err, seen)
		}
		seen[token] = true
		p.Kill()
	}
}

// A segment that a memory cgroup has no room for is an error, not an OOM kill.
func TestCgroupLimit(t *testing.T) {
	procs, limit := memoryCgroup(t)
	if err := os.WriteFile(limit, []byte(strconv.Itoa(96<<20)), 0o600); err != nil {
		t.Skipf("cgroups can not be limited here: %v", err)
	}
	p := reexec.Start(t, "grow", nil, strconv.Itoa(200<<20))
	p.Line()
	if err := os.WriteFile(procs, []byte(strconv.Itoa(p.Cmd.Process.Pid)), 0o600); err != nil {
		t.Skipf("processes can not be moved here: %v", err)
	}
	p.Say("")
	if l := p.Line(); !strings.HasPrefix(l, "true ") || !strings.Contains(l, "cgroup") {
		t.Errorf("200 MiB in a cgroup of 96 MiB: %s", l)
	}
	p.Done()
}

// memoryCgroup makes a cgroup below ours.
func memoryCgroup(t *testing.T) (procs, limit string) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Skip(err)
	}
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		dir, file := "/sys/fs/cgroup"+f[2], "memory.max"
		if f[1] == "memory" {
			dir, file = "/sys/fs/cgroup/memory"+f[2], "memory.limit_in_bytes"
		} else if f[1] != "" {
			continue
		}
		dir = filepath.Join(dir, fmt.Sprintf("multiproc-test-%d", os.Getpid()))
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		t.Cleanup(func() {
			for range 100 { // the kernel needs a moment after the last process
				if os.Remove(dir) == nil {
					return
				}
				time.Sleep(time.Millisecond)
			}
			t.Errorf("%s is left", dir)
		})
		if _, err := os.Stat(filepath.Join(dir, file)); err == nil {
			return filepath.Join(dir, "cgroup.procs"), filepath.Join(dir, file)
		}
	}
	t.Skip("no memory cgroup can be made here")
	return "", ""
}

package psync_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/psync"
)

// The test binary runs itself as fileLockHelper when this names a file.
const fileLockHelperVar = "PSYNC_TEST_FILELOCK"

func init() {
	if path := os.Getenv(fileLockHelperVar); path != "" {
		fileLockHelper(path)
		os.Exit(0)
	}
}

// fileLockHelper obeys commands from standard input, one a line, and answers
// each with "ok" or the error.
func fileLockHelper(path string) {
	ctx := context.Background()
	l, err := psync.NewFileLock(path)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var err error
		switch cmd, arg, _ := strings.Cut(in.Text(), " "); cmd {
		case "lock":
			err = l.Lock(ctx)
		case "unlock":
			err = l.Unlock()
		case "rlock":
			err = l.RLock(ctx)
		case "runlock":
			err = l.RUnlock()
		case "trylock":
			ok := false
			if ok, err = l.TryLock(); err == nil && !ok {
				fmt.Println("busy")
				continue
			}
		case "count":
			err = countUp(path, arg)
		default:
			panic("unknown command " + cmd)
		}
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println("ok")
	}
}

// countUp adds 1 to the number in the file path.count, under the lock on path,
// n times by each of 4 goroutines, each with a FileLock of its own.
func countUp(path, n string) error {
	times, err := strconv.Atoi(n)
	if err != nil {
		return err
	}
	const goroutines = 4
	errs := make(chan error, goroutines)
	var all sync.WaitGroup
	for range goroutines {
		all.Go(func() { errs <- countUpOne(path, times) })
	}
	all.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func countUpOne(path string, times int) error {
	l, err := psync.NewFileLock(path)
	if err != nil {
		return err
	}
	defer l.Close()
	for range times {
		if err := l.Lock(context.Background()); err != nil {
			return err
		}
		b, err := os.ReadFile(path + ".count")
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(string(b))
		if err != nil {
			return fmt.Errorf("two were inside: %w", err)
		}
		if err := os.WriteFile(path+".count", strconv.AppendInt(nil, int64(n+1), 10), 0o600); err != nil {
			return err
		}
		if err := l.Unlock(); err != nil {
			return err
		}
	}
	return nil
}

// A peer is another process that locks the same file.
type peer struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

// startPeer runs fileLockHelper on path.
func startPeer(t *testing.T, path string) *peer {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), fileLockHelperVar+"="+path)
	return startPeerCommand(t, cmd)
}

// startPeerCommand runs anything that answers a line with a line.
func startPeerCommand(t *testing.T, cmd *exec.Cmd) *peer {
	t.Helper()
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
	p := &peer{t: t, cmd: cmd, in: in, out: bufio.NewScanner(out)}
	t.Cleanup(func() {
		in.Close()
		cmd.Process.Kill()
		cmd.Wait()
	})
	return p
}

func (p *peer) send(cmd string) {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.in, cmd); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) answer() string {
	p.t.Helper()
	if !p.out.Scan() {
		p.t.Fatalf("peer is gone: %v", p.out.Err())
	}
	return p.out.Text()
}

// do runs a command that must succeed.
func (p *peer) do(cmd string) {
	p.t.Helper()
	p.send(cmd)
	if got := p.answer(); got != "ok" {
		p.t.Fatalf("%s: %s", cmd, got)
	}
}

// standsInKernel waits until somebody, of whatever process, waits in flock(2) for the file at path. A
// goroutine that waits has sent another one there, which may not have got so far. Where the
// kernel does not show who waits, it returns at once.
func standsInKernel(t *testing.T, path string) {
	t.Helper()
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		t.Fatalf("no inode of %s", path)
	}
	for begun := time.Now(); time.Since(begun) < patience; time.Sleep(time.Millisecond) { // nothing tells
		locks, err := os.ReadFile("/proc/locks")
		if err != nil {
			return
		}
		for line := range strings.Lines(string(locks)) { // "7: -> FLOCK  ADVISORY  WRITE 4711 00:1c:23 0 EOF"
			if strings.Contains(line, "-> FLOCK") && strings.Contains(line, fmt.Sprintf(":%d 0 EOF", st.Ino)) {
				return
			}
		}
	}
	t.Fatalf("nobody comes to wait for %s", path)
}

// patience is how long something that must happen is waited for, and watched how
// long something that must not.
const (
	patience = 60 * time.Second
	watched  = 20 * time.Millisecond
)

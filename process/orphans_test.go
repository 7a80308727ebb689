//go:build linux

package process_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/pipe"
	"github.com/go-multiproc/multiproc/process"
)

// When a child is killed that has children, they become orphans, which process 1 inherits dead. Nobody but an init collects those,
// since they could be children that another package waits for; and one that does takes nothing away from Join.
func TestOrphansOfProcessOne(t *testing.T) {
	for _, test := range []struct {
		name string
		main string
		want string
	}{
		{"the program is process 1", "orphans", "zombies: 1\n"},
		{"an init is process 1", "init", "zombies: 0\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cmd := program(t, test.main)
			ownProcesses(t, cmd)
			out, err := cmd.CombinedOutput()
			if errors.Is(err, unix.EPERM) {
				t.Skip(err)
			}
			if err != nil || string(out) != test.want {
				t.Errorf("%q %v, want %q", out, err, test.want)
			}
		})
	}
}

func init() {
	mains["orphans"] = func() int { return exitCode(makeOrphan()) }
	mains["init"] = func() int { return exitCode(collectAll()) }
}

// collectAll is an init: it starts the program, and collects everything until there is nothing more.
func collectAll() error {
	if err := isInit(); err != nil {
		return err
	}
	os.Setenv(mainMarker, "orphans")
	attr := &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}}
	program, err := syscall.ForkExec("/proc/self/exe", os.Args[:1], attr)
	if err != nil {
		return err
	}
	var programStatus unix.WaitStatus
	for {
		var status unix.WaitStatus
		switch pid, err := unix.Wait4(-1, &status, 0, nil); {
		case err == unix.ECHILD:
			if programStatus.ExitStatus() != 0 {
				return fmt.Errorf("the program ended with %v", programStatus)
			}
			return nil
		case err == unix.EINTR:
		case err != nil:
			return err
		case pid == program:
			programStatus = status
		}
	}
}

// makeOrphan kills a child that has a child, and tells how many zombies there are then.
func makeOrphan() error {
	if os.Getpid() == 1 {
		if err := isInit(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	ours, theirs, err := pipe.New()
	if err != nil {
		return err
	}
	p := process.New(hasChild, theirs)
	if err := p.Start(); err != nil {
		return err
	}
	var pid int // of the child's child
	if err := ours.Recv(&pid); err != nil {
		return err
	}
	if err := p.Kill(); err != nil {
		return err
	}
	var e *process.ExitError
	if err := p.Join(ctx); !errors.As(err, &e) || e.Signal != syscall.SIGKILL {
		return fmt.Errorf("Join: %w", err)
	}
	// The orphan is dead, or gone.
	for end := time.Now().Add(deadline); ; time.Sleep(time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || bytes.Contains(stat, []byte(") Z ")) {
			break
		}
		if time.Now().After(end) {
			return fmt.Errorf("the child's child lives on: %s", stat)
		}
	}
	// An init may be about to collect it.
	zombies := -1
	for end := time.Now().Add(time.Second); zombies != 0 && (os.Getppid() != 0 || zombies < 0) && time.Now().Before(end); time.Sleep(time.Millisecond) {
		stats, err := filepath.Glob("/proc/[0-9]*/stat")
		if err != nil {
			return err
		}
		zombies = 0
		for _, name := range stats {
			if b, _ := os.ReadFile(name); bytes.Contains(b, []byte(") Z ")) {
				zombies++
			}
		}
	}
	fmt.Println("zombies:", zombies)
	return nil
}

var hasChild = process.Register(func(ctx context.Context, c *pipe.Conn) error {
	p := process.New(stay, struct{}{})
	if err := p.Start(); err != nil {
		return err
	}
	if err := c.Send(p.PID()); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
})

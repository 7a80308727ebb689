//go:build linux

package process_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/go-multiproc/multiproc/process"
)

var tellGroup = process.Register(func(context.Context, struct{}) error {
	b, err := os.ReadFile("/proc/self/cgroup")
	fmt.Print(string(b))
	return err
})

// A child begins in a control group that its parent has made.
func TestControlGroup(t *testing.T) {
	dir, own := ownGroup(t)
	name := fmt.Sprintf("multiproc-test-%d", os.Getpid())
	group := filepath.Join(dir, name)
	if err := os.Mkdir(group, 0o700); errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := os.Remove(group); err != nil { // with a process in it, it cannot be
			t.Error(err)
		}
	}()
	f, err := os.Open(group)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := run(t, tellGroup, struct{}{}, func(p *process.Process) {
		p.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(f.Fd())}
	})
	if want := "0::" + filepath.Join(own, name) + "\n"; !strings.HasSuffix(got, want) {
		t.Errorf("the child is in %q, want %q", got, want)
	}
}

// ownGroup returns where this process's control group is, of version 2, as a directory and as the kernel names it.
func ownGroup(t *testing.T) (dir, name string) {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	_, name, _ = strings.Cut(string(groups), "0::")
	name = strings.TrimSpace(name)
	for line := range bytes.Lines(mounts) {
		if before, _, ok := bytes.Cut(line, []byte(" - cgroup2 ")); ok && name != "" {
			return filepath.Join(string(bytes.Fields(before)[4]), name), name
		}
	}
	t.Skip("no control groups of version 2")
	return "", ""
}

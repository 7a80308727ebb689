package tests_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// containerMarker makes this test the runtime of a container: it prepares what surrounds a program,
// and then becomes that program.
const containerMarker = "MULTIPROC_TESTS_CONTAINER"

func init() { roles[containerMarker] = runContainer }

// runContainer is process 1 of new namespaces. It leaves a program what the strictest settings leave it (docker run
// --read-only --shm-size=64k --tmpfs /tmp), and executes it.
func runContainer() error {
	tmp := os.TempDir()
	for _, m := range []struct {
		source, target, kind string
		flags                uintptr
		options              string
	}{
		{"", "/", "", unix.MS_REC | unix.MS_PRIVATE, ""},
		{"proc", "/proc", "proc", 0, ""},
		{"tmpfs", "/dev/shm", "tmpfs", 0, "size=64k"},
		{"tmpfs", tmp, "tmpfs", 0, "size=16m"},
	} {
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, m.options); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	readOnly, writable := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}, unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(-1, "/", unix.AT_RECURSIVE, &readOnly); err != nil {
		return os.NewSyscallError("mount_setattr", err)
	}
	for _, dir := range []string{tmp, "/dev/shm"} {
		if err := unix.MountSetattr(-1, dir, 0, &writable); err != nil {
			return os.NewSyscallError("mount_setattr", err)
		}
	}
	for _, dir := range []string{"/", "/tmp", filepath.Dir(tmp)} {
		if f, err := os.CreateTemp(dir, ""); !errors.Is(err, unix.EROFS) {
			return fmt.Errorf("%s can be written: %v %v", dir, f, err)
		}
	}
	if os.Getpid() != 1 {
		return fmt.Errorf("process %d, not 1", os.Getpid())
	}
	mark := os.Getenv(tidyMarker)
	os.Clearenv() // no HOME, no PATH
	return unix.Exec(os.Args[1], os.Args[1:], []string{"TMPDIR=" + tmp, tidyMarker + "=" + mark})
}

// container prepares a run of the demo as process 1 of a container.
func container(t *testing.T, watch *tidy, args ...string) *exec.Cmd {
	t.Helper()
	name, err := buildDemo()
	if err != nil {
		t.Fatal(err)
	}
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	make := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", args...)
		cmd.Env = append(watch.env(), containerMarker+"=1")
		cmd.SysProcAttr = attr
		return cmd
	}
	if out, err := make("/bin/true").CombinedOutput(); errors.Is(err, unix.EPERM) || bytes.Contains(out, []byte("operation not permitted")) {
		t.Skipf("no namespaces to be had here: %v %s", err, out)
	} else if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return make(append([]string{name}, args...)...)
}

// Everything that there is works as process 1, with a root that cannot be written and next to no shared memory.
func TestTourInContainer(t *testing.T) {
	watch := newTidy(t)
	out, err := container(t, watch).CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("FAILED")) {
		t.Errorf("%v\n%s", err, out)
	}
	watch.check(t)
}

// docker stop sends SIGTERM to process 1, which the kernel does not end by a signal: it has to exit.
func TestStopContainer(t *testing.T) {
	for _, test := range []struct {
		name string
		sig  syscall.Signal
		code int
	}{
		{"stop", syscall.SIGTERM, 128 + int(syscall.SIGTERM)},
		{"interrupt", syscall.SIGINT, 128 + int(syscall.SIGINT)},
		{"kill", syscall.SIGKILL, -1},
	} {
		t.Run(test.name, func(t *testing.T) {
			watch := newTidy(t)
			fifo := filepath.Join(t.TempDir(), "fifo")
			if err := syscall.Mkfifo(fifo, 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := container(t, watch, "logstats", fifo)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			w, err := os.OpenFile(fifo, os.O_WRONLY, 0) // when the container's worker reads
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			if err := cmd.Process.Signal(test.sig); err != nil {
				t.Fatal(err)
			}
			cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != test.code {
				t.Errorf("the container ended with %v, want code %d", cmd.ProcessState, test.code)
			}
			watch.check(t)
		})
	}
}

//go:build linux

package process_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/detector"
	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/value"
)

// An adversity befalls a program before it starts children, which have to work all the same. Each is tried in
// a process of its own, since most of what they do cannot be undone.
type adversity struct {
	name   string
	befall func() error                      // in the program; it fails unless it has come to pass
	set    func(t *testing.T, cmd *exec.Cmd) // how the program is started
	stops  string                            // what the error says when not everything goes on
}

var adversities = []adversity{
	{"none", func() error { return nil }, nil, ""},
	{"read-only root", readOnlyRoot, ownMounts, ""},
	{"small /dev/shm", smallSharedMemory, ownMounts, ""},
	{"read-only /dev/shm", readOnlySharedMemory, ownMounts, ""},
	{"no environment", noEnvironment, nil, ""},
	{"1 MB environment", manyVariables, func(_ *testing.T, cmd *exec.Cmd) { cmd.Env = append(cmd.Env, variables(1<<20)...) }, ""},
	{"1 MB environment, set later", setManyVariables, nil, ""},
	{"directory deleted", directoryDeleted, nil, ""},
	{"program deleted", programDeleted, nil, ""},
	{"program replaced", programReplaced, nil, ""},
	{"standard files closed", standardFilesClosed, nil, ""},
	{"started without standard files", func() error { return nil }, withoutStandardFiles, ""},
	{"no /proc", noProc, ownMounts, "/proc/self/"},
	{"another user", func() error { return unless(os.Getuid() != 0, "still root") }, anotherUser, ""},
	{"process 1", isInit, ownProcesses, ""},
	{"user namespace", func() error { return unless(os.Getuid() == 0, "not root in it") }, ownUsers, ""},
	{"pidfd calls unknown", func() error { return denied(unix.ENOSYS, pidfdCalls...) }, nil, ""},
	{"pidfd calls forbidden", func() error { return denied(unix.EPERM, pidfdCalls...) }, nil, ""},
	{"memory files forbidden", func() error { return denied(unix.EPERM, unix.SYS_MEMFD_CREATE) }, nil, "memfd_create: operation not permitted"},
	{"newer calls unknown", func() error { return denied(unix.ENOSYS, newerCalls...) }, nil, ""},
	{"no umask left", func() error { syscall.Umask(0o777); return nil }, nil, ""},
}

func TestAdversities(t *testing.T) { eachWay(t, testAdversities) }

func testAdversities(t *testing.T) {
	if detector.Enabled && (currentWay.method == process.Fork || currentWay.cold) {
		t.Skip("hundreds of processes, each of which takes long to begin with the race detector")
	}
	for _, a := range adversities {
		t.Run(a.name, func(t *testing.T) {
			cmd := program(t, "adversity", a.name)
			cmd.Path = copyOfProgram(t)
			cmd.Dir = t.TempDir()
			cmd.Env = append(cmd.Env, "TMPDIR="+t.TempDir())
			said, say, err := os.Pipe() // standard output may be closed
			if err != nil {
				t.Fatal(err)
			}
			defer said.Close()
			cmd.ExtraFiles = []*os.File{say}
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			if a.set != nil {
				a.set(t, cmd)
			}
			err = cmd.Start()
			say.Close()
			if errors.Is(err, unix.EPERM) {
				t.Skip(err)
			} else if err != nil {
				t.Fatal(err)
			}
			var verdict bytes.Buffer
			verdict.ReadFrom(said)
			if err := cmd.Wait(); err != nil || verdict.String() != "as ever\n" {
				t.Errorf("%v: %s%s", err, &verdict, &out)
			}
		})
	}
}

func init() {
	mains["adversity"] = func() int {
		syscall.CloseOnExec(3)
		say := os.NewFile(3, "verdict")
		for _, a := range adversities {
			if a.name == os.Args[1] {
				if err := a.befall(); err != nil {
					fmt.Fprintf(say, "it has not come to pass: %v\n", err)
					return 1
				}
				err := asEver()
				if a.stops == "" && err != nil || a.stops != "" && (err == nil || !strings.Contains(err.Error(), a.stops)) {
					fmt.Fprintf(say, "%v, want %q\n", err, a.stops)
					return 1
				}
				fmt.Fprintln(say, "as ever")
				return 0
			}
		}
		fmt.Fprintln(say, "no such adversity")
		return 1
	}
}

// asEver has children do what children do: one after the other, since the first may differ from the next.
func asEver() error {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	before := 0
	for round := range 2 {
		p := process.New(end, "error")
		if err := p.Start(); err != nil {
			return err
		}
		var e *process.ExitError
		if err := p.Join(ctx); !errors.As(err, &e) || !strings.Contains(e.Err, "open x") {
			return fmt.Errorf("a child that fails: %w", err)
		}
		count, err := value.New[int64](0)
		if err != nil {
			return err
		}
		lock, err := psync.NewMutex()
		if err != nil {
			return err
		}
		for _, size := range []int{0, 1 << 20} { // in the socket, and in a memory file
			p := process.New(ordinary, ordinaryJob{count, lock, make([]byte, size), 2})
			if err := p.Start(); err != nil {
				return err
			}
			if err := p.Join(ctx); err != nil {
				return err
			}
		}
		if n := count.Load(); n != 6 {
			return fmt.Errorf("children and their children added %d, want 6", n)
		}
		if err := errors.Join(count.Close(), lock.Close()); err != nil {
			return err
		}
		if process.UsesForkServer() {
			process.WarmUp(ctx) // so that those that wait have their descriptors; if there cannot be any, they have none
		}
		if round == 0 {
			before = openDescriptors()
		} else if now := openDescriptors(); now > before {
			return fmt.Errorf("%d descriptors, %d before", now, before)
		}
	}
	return nil
}

// openDescriptors counts without /proc.
func openDescriptors() (n int) {
	for fd := range 256 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			n++
		}
	}
	return n
}

type ordinaryJob struct {
	Count *value.Value[int64]
	Lock  *psync.Mutex
	Bytes []byte
	Below int
}

var ordinary = process.Register(func(ctx context.Context, j ordinaryJob) error {
	fmt.Println("an ordinary child") // to whatever is there
	if err := j.Lock.Lock(ctx); err != nil {
		return err
	}
	j.Count.Store(j.Count.Load() + 1)
	if err := j.Lock.Unlock(); err != nil || j.Below == 0 {
		return err
	}
	j.Below--
	p := process.New(ordinaryAgain(), j)
	if err := p.Start(); err != nil {
		return err
	}
	return p.Join(ctx)
})

var ordinaryAgain func() *process.Func[ordinaryJob]

func init() { ordinaryAgain = func() *process.Func[ordinaryJob] { return ordinary } }

// copyOfProgram gives this test another name, for programs that are deleted.
func copyOfProgram(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "program")
	if exe, err := os.Executable(); err == nil && os.Link(exe, name) == nil {
		return name
	}
	b, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o700); err != nil {
		t.Fatal(err)
	}
	return name
}

func unless(holds bool, what string) error {
	if !holds {
		return errors.New(what)
	}
	return nil
}

// ownMounts starts the program in a mount namespace of its own.
func ownMounts(_ *testing.T, cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
}

// ownProcesses makes the program the first one of a PID namespace, as it is in a container.
func ownProcesses(t *testing.T, cmd *exec.Cmd) {
	ownMounts(t, cmd)
	cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWPID
}

func isInit() error {
	if err := separateMounts(); err != nil {
		return err
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return os.NewSyscallError("mount(/proc)", err)
	}
	return unless(os.Getpid() == 1, "not process 1")
}

// ownUsers makes the program root in a user namespace that has no other user, as in a container without privileges.
func ownUsers(_ *testing.T, cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
}

// What a container's filter for system calls may be too old to know, or made to forbid.
var (
	pidfdCalls = []uintptr{unix.SYS_PIDFD_OPEN, unix.SYS_PIDFD_SEND_SIGNAL, unix.SYS_PIDFD_GETFD}
	newerCalls = append([]uintptr{unix.SYS_CLONE3, unix.SYS_CLOSE_RANGE, unix.SYS_FACCESSAT2, unix.SYS_OPENAT2,
		unix.SYS_EPOLL_PWAIT2, unix.SYS_MEMFD_SECRET, unix.SYS_FUTEX_WAITV}, pidfdCalls...)
)

func denied(errno unix.Errno, calls ...uintptr) error {
	if err := deny(errno, calls...); err != nil {
		return err
	}
	_, _, got := unix.Syscall6(calls[0], 0, 0, 0, 0, 0, 0)
	return unless(got == errno, fmt.Sprintf("system call %d: %v, want %v", calls[0], got, errno))
}

// separateMounts keeps what is done to them from the rest of the machine.
func separateMounts() error {
	return os.NewSyscallError("mount(private)", unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
}

func readOnlyRoot() error {
	if err := separateMounts(); err != nil {
		return err
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(-1, "/", unix.AT_RECURSIVE, &attr); err != nil {
		return os.NewSyscallError("mount_setattr", err)
	}
	os.Unsetenv("HOME")
	for _, dir := range []string{"/", "/tmp", "/dev/shm", os.TempDir()} {
		if f, err := os.CreateTemp(dir, ""); !errors.Is(err, unix.EROFS) && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s can be written: %v %v", dir, f, err)
		}
	}
	return nil
}

func smallSharedMemory() error {
	if err := mountSharedMemory("size=64k"); err != nil {
		return err
	}
	err := os.WriteFile("/dev/shm/filler", make([]byte, 1<<20), 0o600)
	return unless(errors.Is(err, unix.ENOSPC), fmt.Sprintf("a megabyte in 64 KB: %v", err))
}

func readOnlySharedMemory() error {
	if err := mountSharedMemory("ro"); err != nil {
		return err
	}
	err := os.WriteFile("/dev/shm/filler", nil, 0o600)
	return unless(errors.Is(err, unix.EROFS), fmt.Sprintf("it can be written: %v", err))
}

func mountSharedMemory(options string) error {
	if err := separateMounts(); err != nil {
		return err
	}
	var flags uintptr
	if options == "ro" {
		flags, options = unix.MS_RDONLY, ""
	}
	return os.NewSyscallError("mount(/dev/shm)", unix.Mount("tmpfs", "/dev/shm", "tmpfs", flags, options))
}

func noProc() error {
	if err := separateMounts(); err != nil {
		return err
	}
	if err := unix.Unmount("/proc", unix.MNT_DETACH); err != nil {
		return os.NewSyscallError("umount", err)
	}
	_, err := os.Stat("/proc/self")
	return unless(err != nil, "it is still there")
}

// variables makes an environment of so many bytes. The kernel takes at most 128 KB for a single one.
func variables(size int) (env []string) {
	for i := 0; size > 0; i++ {
		kv := fmt.Sprintf("PROCESS_TEST_FILLER_%d=", i)
		kv += strings.Repeat("x", min(size, 100<<10)-len(kv))
		env = append(env, kv)
		size -= min(size, 100<<10)
	}
	return env
}

func manyVariables() error {
	size := 0
	for _, kv := range os.Environ() {
		size += len(kv)
	}
	return unless(size >= 1<<20, fmt.Sprintf("the environment has %d bytes", size))
}

func setManyVariables() error {
	for _, kv := range variables(1 << 20) {
		k, v, _ := strings.Cut(kv, "=")
		if err := os.Setenv(k, v); err != nil {
			return err
		}
	}
	return manyVariables()
}

func noEnvironment() error {
	race := os.Getenv("GORACE")
	os.Clearenv()
	if race != "" {
		os.Setenv("GORACE", race) // else each process takes a second to exit
	}
	return unless(os.Getenv("HOME")+os.Getenv("PATH") == "", "something is left of it")
}

func directoryDeleted() error {
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	if err := os.Remove(dir); err != nil {
		return err
	}
	_, err = os.ReadDir(".")
	return unless(err != nil || os.Getenv("PWD") != "", "it is still there")
}

func programDeleted() error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	return os.Remove(exe)
}

func programReplaced() error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	other := exe + ".new"
	if err := os.WriteFile(other, []byte("#!/bin/sh\necho the new version; exit 9\n"), 0o700); err != nil {
		return err
	}
	return os.Rename(other, exe)
}

func standardFilesClosed() error {
	return errors.Join(os.Stdin.Close(), os.Stdout.Close(), os.Stderr.Close())
}

func withoutStandardFiles(t *testing.T, cmd *exec.Cmd) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip(err)
	}
	cmd.Args = append([]string{sh, "-c", `exec "$0" "$@" <&- >&- 2>&-`, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = sh
}

func anotherUser(t *testing.T, cmd *exec.Cmd) {
	if os.Getuid() != 0 {
		t.Skip("only root can change user")
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	cmd.Path, cmd.Dir = "/proc/self/exe", "/" // it has no access to the test's directories
}

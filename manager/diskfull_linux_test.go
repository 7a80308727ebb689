package manager_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/manager"
)

// inOwnMounts runs the test that calls it again in a process that may mount, where it returns true.
func inOwnMounts(t *testing.T) bool {
	t.Helper()
	return inOwnProcess(t, &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	})
}

// inOwnProcess runs the test that calls it again in a process like that, where it returns true.
func inOwnProcess(t *testing.T, attr *syscall.SysProcAttr) bool {
	t.Helper()
	const mark = "MULTIPROC_TEST_OWN_PROCESS"
	if os.Getenv(mark) != "" {
		return true
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), mark+"=1")
	cmd.SysProcAttr = attr
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EINVAL):
		t.Skipf("this system does not let anybody start a process like that: %v", err)
	case err == nil && strings.Contains(string(out), "--- SKIP: "+t.Name()):
		t.Skipf("%s", out)
	case err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()):
		t.Errorf("in a process of its own: %v\n%s", err, out)
	}
	return false
}

// fillDisk takes all space of a file system but that much, and returns a function that gives it back.
func fillDisk(t testing.TB, dir string, but int64) (free func()) {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "filler")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), 0, 0, int64(st.Bavail)*st.Bsize-but); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Error(err)
		}
	}
}

// On a full disk changes are refused, as a whole and with the reason; reading goes on; nothing that was acknowledged is lost, also not by a kill in that
// state; and it ends when there is room.
func TestDiskFull(t *testing.T) {
	if !inOwnMounts(t) {
		return
	}
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=48m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	ctx := testContext(t)
	manager.TuneJournal(t, 0, 10*time.Millisecond, 1<<20)
	o := manager.Options{Path: filepath.Join(dir, "path")}
	m, err := manager.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	d := mustOpen[*manager.Dict[int, string]](t)(manager.OpenDict[int, string](m, "d"))
	value := strings.Repeat("v", 10_000)
	acknowledged := 0
	fill := func() error {
		for {
			if err := d.Set(ctx, acknowledged, fmt.Sprint(acknowledged, value)); err != nil {
				return err
			}
			acknowledged++
		}
	}
	check := func(when string) {
		t.Helper()
		all, err := d.Snapshot(ctx)
		if err != nil {
			t.Fatalf("%s: reading: %v", when, err)
		}
		if len(all) != acknowledged {
			t.Errorf("%s: %d entries, and %d were acknowledged", when, len(all), acknowledged)
		}
		for i := range acknowledged {
			if all[i] != fmt.Sprint(i, value) {
				t.Fatalf("%s: entry %d is not what it was", when, i)
			}
		}
	}
	recovers := func() {
		t.Helper()
		for {
			err := d.Set(ctx, acknowledged, fmt.Sprint(acknowledged, value))
			if err == nil {
				acknowledged++
				return
			}
			if !errors.Is(err, manager.ErrJournal) {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond) // it looks for room by itself, from time to time
		}
	}
	for round := range 3 {
		free := fillDisk(t, dir, 2<<20)
		before := acknowledged
		err := fill()
		if !errors.Is(err, manager.ErrJournal) || !strings.Contains(err.Error(), "no space left") {
			t.Fatalf("round %d: %v", round, err)
		}
		if acknowledged-before < 50 {
			t.Errorf("only %d changes found room in 2 MiB", acknowledged-before)
		}
		check("full")
		if _, err := d.Delete(ctx, 0); !errors.Is(err, manager.ErrJournal) {
			t.Errorf("a deletion that cannot be kept: %v", err)
		}
		if _, err := manager.NewList[int](m); !errors.Is(err, manager.ErrJournal) {
			t.Errorf("a new object that cannot be kept: %v", err)
		}
		if s, err := m.Stats(ctx); err != nil || s.JournalError == "" {
			t.Errorf("%+v, %v", s, err)
		}
		if round == 1 {
			free()
			recovers()
			check("with room again")
			if s, err := m.Stats(ctx); err != nil || s.JournalError != "" {
				t.Errorf("%+v, %v", s, err)
			}
			continue
		}
		kill(t, m)
		if m, err = manager.Start(o); err != nil {
			t.Fatal(err)
		}
		d = mustOpen[*manager.Dict[int, string]](t)(manager.OpenDict[int, string](m, "d"))
		check("after a kill, still full")
		free()
		recovers()
		check("after a kill, with room again")
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
}

// A server starts on a disk whose last space it takes itself, be it up to the last page: for its reserve, its stage, its log.
func TestDiskJustFull(t *testing.T) {
	if !inOwnMounts(t) {
		return
	}
	ctx := testContext(t)
	const reserve = 1 << 20
	manager.TuneJournal(t, 0, 10*time.Millisecond, reserve)
	page := int64(os.Getpagesize())
	for _, room := range []int64{0, 1, 2, 3, 4, 10, 30, 33, 34, 35, 36, 37, 38, 40, 100} {
		dir := t.TempDir()
		if err := unix.Mount("none", dir, "tmpfs", 0, "size=4m"); err != nil {
			t.Fatal(err)
		}
		fillDisk(t, dir, reserve+page*room)
		o := manager.Options{Path: filepath.Join(dir, "path")}
		acknowledged := 0
		for i := range 3 {
			m, err := manager.Start(o)
			if err != nil {
				t.Fatalf("%d pages more than the reserve, start %d: %v", room, i+1, err)
			}
			d, err := manager.OpenDict[int, string](m, "d")
			if err == nil {
				if n, err := d.Len(ctx); err != nil || n != acknowledged {
					t.Fatalf("%d pages more than the reserve, start %d: %d entries (%v), and %d were acknowledged", room, i+1, n, err, acknowledged)
				}
				err = d.Set(ctx, acknowledged, "value")
			}
			switch {
			case err == nil:
				acknowledged++
			case !errors.Is(err, manager.ErrJournal):
				t.Fatalf("%d pages more than the reserve, start %d: %v", room, i+1, err)
			}
			kill(t, m)
		}
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Fatal(err)
		}
	}
}

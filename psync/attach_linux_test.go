package psync_test

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/seg"
)

func selfCommand(args ...string) *exec.Cmd { return exec.Command("/proc/self/exe", args...) }

// probe reports whether a process can be started with the attributes.
func probe(a *syscall.SysProcAttr) error {
	cmd := exec.Command("true")
	cmd.SysProcAttr = a
	return cmd.Run()
}

// attach is one more handle to the segment.
func attach(t testing.TB, s *shared) *seg.Handle {
	t.Helper()
	fd, err := s.h.Reopen()
	if err != nil {
		t.Fatal(err)
	}
	h, err := seg.Attach(fd, "", "test", "", false)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// attachFile is attach for a file that stays the caller's.
func attachFile(f *os.File) (*seg.Handle, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return seg.Attach(fd, "", "test", "", false)
}

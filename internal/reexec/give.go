package reexec

import (
	"encoding/hex"
	"os"
	"syscall"
	"testing"

	"github.com/go-multiproc/multiproc/internal/handover"
)

// Give packs v, which may have handles in it, for a helper: pass arg in the
// helper's arguments, and files to Start.
func Give(t testing.TB, v any) (arg string, files []*os.File) {
	t.Helper()
	m, err := handover.Marshal(v, "v")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Sent()
	for _, fd := range m.FDs {
		dup, err := syscall.Dup(fd)
		if err != nil {
			t.Fatal(err)
		}
		syscall.CloseOnExec(dup)
		f := os.NewFile(uintptr(dup), "handed over")
		t.Cleanup(func() { f.Close() })
		files = append(files, f)
	}
	return hex.EncodeToString(m.Data), files
}

// Take is the helper's side of Give: it fills *p. n is the number of files, all
// of which belong to arg.
func Take(arg string, n int, p any) error {
	data, err := hex.DecodeString(arg)
	if err != nil {
		return err
	}
	fds := make([]int, n)
	for i := range fds {
		fds[i] = 3 + i
		syscall.CloseOnExec(fds[i])
	}
	_, err = handover.Unmarshal(data, fds, p)
	return err
}

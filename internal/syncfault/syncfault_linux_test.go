package syncfault_test

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/go-multiproc/multiproc/internal/reexec"
	"github.com/go-multiproc/multiproc/internal/syncfault"
)

func TestMain(m *testing.M) {
	reexec.Main(m, map[string]reexec.Helper{"fail": fail})
}

func TestFail(t *testing.T) {
	p := reexec.Start(t, "fail", nil, t.TempDir())
	if line := p.Line(); line != "failed, and worked again" {
		t.Fatal(line)
	}
}

func fail(args []string) int {
	faults, err := syncfault.Install()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	f, err := os.Create(args[0] + "/file")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	faults.Fail(syscall.EIO)
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		fmt.Println("Sync returned", err)
		return 1
	}
	faults.Fail(0)
	if err := f.Sync(); err != nil || faults.Failed() != 1 || faults.Passed() != 1 {
		fmt.Println("Sync returned", err)
		return 1
	}
	fmt.Println("failed, and worked again")
	return 0
}

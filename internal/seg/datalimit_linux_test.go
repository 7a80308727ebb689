//go:build !race

// The race detector needs more memory of its own than the limit.

package seg_test

import (
	"fmt"
	"runtime/debug"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/reexec"
	"github.com/go-multiproc/multiproc/internal/seg"
)

func init() { helpers["close under a data limit"] = helperDataLimit }

// What stands in the place of a closed segment does not count as the process's
// data, of which it may have little left.
func TestCloseUnderDataLimit(t *testing.T) {
	p := reexec.Start(t, "close under a data limit", nil)
	if l := p.Line(); l != "went on" {
		t.Error(l)
	}
	p.Done()
}

func helperDataLimit([]string) int {
	const size = 256 << 20
	h, err := seg.New(seg.Spec{Kind: "test", Data: size})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	debug.SetGCPercent(-1)
	limit := &unix.Rlimit{Cur: 512 << 20, Max: 512 << 20}
	if err := unix.Setrlimit(unix.RLIMIT_DATA, limit); err != nil {
		fmt.Println(err)
		return 1
	}
	kept := h.DataForUser()
	kept[0] = 1
	for range 3 { // in three segments of the size there would be more than the limit
		h.Close(nil)
		if h, err = seg.New(seg.Spec{Kind: "test", Data: size}); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	if kept[0] != 0 {
		fmt.Println("a kept slice reads the old data")
	}
	more := make([]byte, 64<<20) // the runtime dies if it can not have it
	more[len(more)-1] = 1
	fmt.Println("went on")
	return 0
}

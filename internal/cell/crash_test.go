package cell_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/go-multiproc/multiproc/internal/reexec"
)

// writeHelper stores the byte to element i, as often as it is told.
func writeHelper(args []string) int {
	n := numbers(args)
	size, i, b, times := n[0], n[1], n[2], n[3]
	tb := inheritedTable(size)
	for range times {
		tb.put(i, byte(b))
	}
	return 0
}

// A writer is killed at every step of a write, and so is the one that takes up
// what it left. At each step, readers see the old element or the new one, and
// so does the next writer, to the same element and to one that shares the stripe.
func TestCrashPoints(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "cell.test")
	if out, err := exec.Command("go", "test", "-c", "-tags", "multiproc_crash", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	// dies runs a write that is to die, and reports whether it did.
	dies := func(t *testing.T, tb *table, label string, pass, i int, b byte) bool {
		cmd := exec.Command(bin, words(tb.size, i, int(b), 1)...)
		cmd.Env = append(os.Environ(), fmt.Sprintf("MULTIPROC_CRASH=%s:%d", label, pass))
		p := reexec.StartCmd(t, cmd, "write", tb.file(t))
		io.Copy(io.Discard, p.Out)
		p.Cmd.Wait()
		ws := p.Cmd.ProcessState.Sys().(syscall.WaitStatus)
		if !ws.Signaled() && ws.ExitStatus() != 0 {
			t.Fatal("the writer failed")
		}
		return ws.Signaled()
	}
	const old, new, other = 10, 20, 30
	// In the order of the steps: up to "cell.odd" the write has not happened.
	steps := []struct {
		label  string
		passes int // how often a write of any size gets there at least
		done   bool
	}{
		{"lock.taken", 1, false},
		{"cell.index", 1, false},
		{"cell.shadow", 1, false},
		{"cell.odd", 1, true},
		{"cell.data", 1, true},
		{"cell.even", 1, true},
		{"lock.released", 1, true},
	}
	for _, size := range []int{3, 12, 24, 100} {
		// Elements of 3 and 12 bytes share words.
		tb := newTable(t, size, 2)
		reset := func() {
			tb.put(0, old)
			tb.put(1, other)
		}
		check := func(t *testing.T, what string, i int, want byte) {
			t.Helper()
			if b, err := tb.get(i); err != nil || b != want {
				t.Errorf("%s: element %d is %d, %v; want %d", what, i, b, err, want)
			}
		}
		for _, s := range steps {
			t.Run(fmt.Sprintf("%d bytes/%s", size, s.label), func(t *testing.T) {
				reset()
				if !dies(t, tb, s.label, 1, 0, new) {
					t.Fatal("never reached")
				}
				now := byte(old)
				if s.done {
					now = new
				}
				check(t, "after the death", 0, now)
				check(t, "after the death", 1, other)
				tb.put(1, other+1)
				check(t, "after the neighbour was written", 0, now)
				check(t, "after the neighbour was written", 1, other+1)
				tb.put(0, new+1)
				check(t, "after the next write", 0, new+1)
				check(t, "after the next write", 1, other+1)
			})
		}
		// Within the copies: every word of the shadow, then every word of the data.
		for _, label := range []string{"cell.word", "cell.part"} {
			t.Run(fmt.Sprintf("%d bytes/%s", size, label), func(t *testing.T) {
				passes := 0
				for pass := 1; ; pass++ {
					reset()
					if !dies(t, tb, label, pass, 0, new) {
						break
					}
					passes++
					before, err := tb.get(0)
					if err != nil || before != old && before != new {
						t.Fatalf("pass %d: element is %d, %v", pass, before, err)
					}
					// The one that takes up dies too, in the middle of that.
					dies(t, tb, label, 1, 1, other+1)
					check(t, "after the second death", 0, before)
					dies(t, tb, "cell.completed", 1, 1, other+1)
					check(t, "after the third death", 0, before)
					tb.put(1, other+2)
					check(t, "after all", 0, before)
					check(t, "after all", 1, other+2)
				}
				if size%8 == 0 && label == "cell.word" && passes != size/8*2 {
					t.Errorf("died at %d words, want %d", passes, size/8*2)
				}
				if size%8 != 0 && label == "cell.part" && passes < 2 {
					t.Errorf("died at %d parts", passes)
				}
			})
		}
	}
	t.Run("shared stripe", func(t *testing.T) {
		// So many that elements 0 and 64 share a stripe.
		tb := newTable(t, 24, 1000)
		for _, label := range []string{"cell.shadow", "cell.odd", "cell.data"} {
			tb.put(0, old)
			tb.put(64, other)
			if !dies(t, tb, label, 1, 0, new) {
				t.Fatal("never reached")
			}
			now, err := tb.get(0)
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range []byte{other, other + 1} {
				if got, err := tb.get(64); err != nil || got != b {
					t.Errorf("%s: the other element is %d, %v; want %d", label, got, err, b)
				}
				if got, err := tb.get(0); err != nil || got != now {
					t.Errorf("%s: the element is %d, %v; want %d", label, got, err, now)
				}
				tb.put(64, other+1)
			}
		}
	})
	t.Run("completed", func(t *testing.T) {
		tb := newTable(t, 24, 2)
		tb.put(0, old)
		if !dies(t, tb, "cell.odd", 1, 0, new) || !dies(t, tb, "cell.completed", 1, 0, new+1) {
			t.Fatal("never reached")
		}
		if b, err := tb.get(0); err != nil || b != new {
			t.Errorf("element is %d, %v", b, err)
		}
	})
}

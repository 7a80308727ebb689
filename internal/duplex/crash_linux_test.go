//go:build multiproc_crash

package duplex_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/crash"
	"github.com/go-multiproc/multiproc/internal/duplex"
	"github.com/go-multiproc/multiproc/internal/reexec"
)

// A process that is killed at any step leaves its peer a stream that is right as far as it goes, and then its end: nobody waits for ever.
func TestCrashPoints(t *testing.T) {
	for _, tt := range []struct {
		label  string
		helper string // pour writes for ever, echo reads and writes
	}{
		{"duplex-copied-in", "pour"}, {"duplex-written", "pour"}, {"duplex-stalled", "pour"}, {"duplex-bell", "pour"},
		{"duplex-copied-out", "echo"}, {"duplex-read", "echo"}, {"duplex-asleep", "echo"}, {"duplex-written", "echo"}, {"duplex-bell", "echo"},
	} {
		for _, pass := range []int{1, 2, 7} {
			t.Run(fmt.Sprintf("%s at %s %d", tt.helper, tt.label, pass), func(t *testing.T) {
				fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
				if err != nil {
					t.Fatal(err)
				}
				m, err := duplex.Create(duplex.MinSize)
				if err != nil {
					t.Fatal(err)
				}
				memory, socket := os.NewFile(uintptr(dup(t, m.FD())), "memory"), os.NewFile(uintptr(fds[1]), "socket")
				cmd := exec.Command("/proc/self/exe", strconv.Itoa(duplex.MinSize), "sleeps")
				cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s:%d", crash.EnvVar, tt.label, pass))
				p := reexec.StartCmd(t, cmd, tt.helper, []*os.File{memory, socket})
				memory.Close()
				socket.Close()
				c := newConn(t, m, fds[0], duplex.Creator)
				done := make(chan error, 1)
				go func() { done <- follow(c, tt.helper == "echo") }()
				select {
				case err := <-done:
					if err != nil {
						t.Error(err)
					}
				case <-time.After(patience):
					t.Fatal("somebody waits for the dead")
				}
				p.Cmd.Wait()
				if s := p.Cmd.ProcessState.String(); s != "signal: killed" {
					t.Errorf("the helper did not get to where it was to die: %s", s)
				}
			})
		}
	}
}

// follow reads the numbers from 0 on to the end, which with ask it writes itself first, one at a time.
func follow(c *duplex.Conn, ask bool) error {
	b := make([]byte, 4)
	for i := uint32(0); ; i++ {
		if ask {
			binary.LittleEndian.PutUint32(b, i)
			if _, err := c.Write(b); err != nil {
				return nil // it is gone
			}
		}
		if readFull(c, b) != nil {
			return nil
		}
		if got := binary.LittleEndian.Uint32(b); got != i {
			return fmt.Errorf("number %d is %d", i, got)
		}
	}
}

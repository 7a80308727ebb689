package manager_test

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/manager"
)

// A server that may have few descriptors lets in whoever introduces himself, while connections that do not take all there are.
func TestStrangersTakeAllDescriptors(t *testing.T) {
	m := start(t, manager.Options{HelloTimeout: 10 * time.Minute})
	few := unix.Rlimit{Cur: 64, Max: 64}
	if err := unix.Prlimit(manager.ServerProcess(m).PID(), unix.RLIMIT_NOFILE, &few, nil); err != nil {
		t.Fatal(err)
	}
	for range 150 {
		c, err := net.Dial("unix", m.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	works(t, connect(t, m.Addr().String(), manager.Options{MaxMessage: 9 << 20})) // a connection of its own
	works(t, m)
}

package tests_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/value"
)

type inNamespace struct {
	Mutex, Value string // names
	Report       *os.File
}

// holdInNamespace opens the objects by name, takes the lock, says so, and keeps it.
var holdInNamespace = process.Register(func(ctx context.Context, a inNamespace) error {
	mu, err := psync.OpenMutex(a.Mutex)
	if err != nil {
		return err
	}
	n, err := value.Open[int64](a.Value)
	if err != nil {
		return err
	}
	if err := mu.LockOrRecover(ctx, nil); err != nil {
		return err
	}
	value.Add(n, 1)
	fmt.Fprintf(a.Report, "%d\n", os.Getpid())
	<-ctx.Done()
	return mu.Unlock()
})

// Two processes that are both number 1, each in a PID namespace of its own, are two: neither is
// taken for the other, dead or alive. In user namespaces, too.
func TestNamespacesShareNamedObjects(t *testing.T) {
	for name, attr := range map[string]*syscall.SysProcAttr{
		"pid": {Cloneflags: syscall.CLONE_NEWPID},
		"pid and user": {
			Cloneflags:  syscall.CLONE_NEWPID | syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			names := inNamespace{Mutex: fmt.Sprintf("ns-mutex-%d", os.Getpid()), Value: fmt.Sprintf("ns-value-%d", os.Getpid())}
			mu, err := psync.CreateMutex(names.Mutex)
			if err != nil {
				t.Fatal(err)
			}
			defer mu.Close()
			defer psync.Remove(names.Mutex)
			n, err := value.Create(names.Value, int64(0))
			if err != nil {
				t.Fatal(err)
			}
			defer n.Close()
			defer value.Remove(names.Value)
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			defer w.Close()
			names.Report = w

			start := func() *process.Process {
				p := process.New(holdInNamespace, names)
				p.SysProcAttr = attr
				if err := p.Start(); err != nil {
					if errors.Is(err, syscall.EPERM) {
						t.Skipf("no new namespaces here: %v", err)
					}
					t.Fatal(err)
				}
				t.Cleanup(func() { p.Kill(); p.Join(context.Background()) })
				return p
			}
			holds := func() {
				t.Helper()
				var pid int
				r.SetReadDeadline(time.Now().Add(60 * time.Second))
				if _, err := fmt.Fscanln(r, &pid); err != nil {
					t.Fatal(err)
				}
				if pid != 1 {
					t.Errorf("it is process %d in its namespace, not 1", pid)
				}
			}
			first := start()
			holds()
			second := start() // waits for the lock, which another "1" holds
			short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if err := mu.Lock(short); err != context.DeadlineExceeded {
				t.Fatalf("the lock of a live holder in another namespace: %v", err)
			}
			if got := n.Load(); got != 1 {
				t.Errorf("%d holders at once", got)
			}
			if err := first.Kill(); err != nil {
				t.Fatal(err)
			}
			holds() // the second recovered it
			if ok, err := mu.TryLock(); ok || err != nil {
				t.Errorf("TryLock while the second holds it: %v, %v", ok, err)
			}
			if err := second.Terminate(); err != nil {
				t.Fatal(err)
			}
			if err := second.Join(t.Context()); err != nil {
				t.Error(err)
			}
			if err := mu.Lock(t.Context()); err != nil {
				t.Errorf("after both: %v", err)
			} else if err := mu.Unlock(); err != nil {
				t.Error(err)
			}
		})
	}
}

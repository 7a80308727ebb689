//go:build linux

package process_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/pipe"
	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/value"
)

type shared struct {
	Conn   *pipe.Conn
	Counts []*value.Value[int64]
	Locks  map[string]*psync.Mutex
}

var useShared = process.Register(func(ctx context.Context, s shared) error {
	for i := range s.Counts {
		l := s.Locks["the lock"]
		if err := l.Lock(ctx); err != nil {
			return err
		}
		s.Counts[i].Store(s.Counts[i].Load() + 1)
		if err := l.Unlock(); err != nil {
			return err
		}
	}
	return s.Conn.Send("done")
})

// The toolkit's own handles, anywhere in the arguments. A pipe end moves: when Start fails, it has not.
func TestSharedObjectsInArguments(t *testing.T) { eachWay(t, testSharedObjectsInArguments) }

func testSharedObjectsInArguments(t *testing.T) {
	ours, theirs, err := pipe.New()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	lock, err := psync.NewMutex()
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	s := shared{Conn: theirs, Locks: map[string]*psync.Mutex{"the lock": lock}}
	for range 3 {
		v, err := value.New[int64](41)
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		s.Counts = append(s.Counts, v)
	}

	p := process.New(useShared, s)
	p.Dir = "/no/such/directory"
	if err := p.Start(); err == nil {
		t.Fatal("started")
	}
	if err := theirs.SendBytes([]byte("still here")); err != nil {
		t.Errorf("the pipe end after a Start that failed: %v", err)
	}
	if b, err := ours.RecvBytes(); string(b) != "still here" || err != nil {
		t.Errorf("%q %v", b, err)
	}

	p.Dir = ""
	mustStart(t, p)
	if err := theirs.SendBytes(nil); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("the pipe end after Start: %v", err)
	}
	var word string
	if err := ours.Recv(&word); word != "done" || err != nil {
		t.Errorf("%q %v", word, err)
	}
	join(t, p)
	for i, v := range s.Counts {
		if n := v.Load(); n != 42 {
			t.Errorf("value %d is %d, want 42", i, n)
		}
	}
}

// pipe.Wait waits for the ends of processes too.
func TestWaitForProcesses(t *testing.T) { eachWay(t, testWaitForProcesses) }

func testWaitForProcesses(t *testing.T) {
	conn, other, err := pipe.New()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	defer other.Close()
	long, short := start(t, stay, struct{}{}), start(t, nothing, struct{}{})
	ready, err := pipe.Wait[pipe.Waitable](within(t), conn, long, short)
	if err != nil || len(ready) != 1 || ready[0] != pipe.Waitable(short) {
		t.Errorf("ready: %v %v, want the short one", ready, err)
	}
	unstarted := process.New(nothing, struct{}{})
	both, err := pipe.Wait(within(t), long, unstarted)
	if err != nil || len(both) != 1 || both[0] != unstarted {
		t.Errorf("ready: %v %v, want the one that was not started, whose Join fails", both, err)
	}
	long.Kill()
	if both, err = pipe.Wait(within(t), long); err != nil || len(both) != 1 {
		t.Errorf("ready: %v %v", both, err)
	}
}

// In a PID namespace of its own a child is process 1, which is immune to its own signals.
func TestPIDNamespace(t *testing.T) {
	setting := func(p *process.Process) {
		p.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	}
	trial := process.New(nothing, struct{}{})
	setting(trial)
	if err := trial.Start(); errors.Is(err, unix.EPERM) {
		t.Skip("may not make PID namespaces")
	} else if err != nil {
		t.Fatal(err)
	}
	join(t, trial)
	r := describeChild(t, 0, setting)
	if r.PID != 1 || r.Current.PID != 1 || r.Parent.PID != os.Getpid() {
		t.Errorf("%+v %+v", r.Current, r.Parent)
	}

	cmd := program(t, "namespace")
	out := startProgram(t, cmd)
	if s := out.next(); s != "here 0" {
		t.Fatal(s)
	}
	cmd.Process.Kill()
	out.end()
}

// A child under another user.
func TestCredential(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can change user")
	}
	for _, size := range []int{10, 1 << 20} {
		p := process.New(userOf, make([]byte, size))
		out := &lines{t: t, r: output(t, p)}
		p.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		mustStart(t, p)
		p.Stdout.Close()
		if s, want := out.next(), fmt.Sprint("65534 ", size); s != want {
			t.Errorf("%q, want %q", s, want)
		}
		join(t, p)
	}
}

var userOf = process.Register(func(_ context.Context, b []byte) error {
	fmt.Println(os.Getuid(), len(b))
	return nil
})

func init() {
	mains["namespace"] = func() int {
		p := process.New(live, generation{})
		p.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
		if err := p.Start(); err != nil {
			fmt.Println(err)
			return 1
		}
		<-p.Done()
		return 0
	}
}

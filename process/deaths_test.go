//go:build linux

package process_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/pipe"
	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/psync"
)

// This is the grid of deaths: at each moment of a child's life, each of those who take part in it is killed.
//
//	test (remains) ── parent ─┬─ child
//	                          └─ children that are ready, under ForkServer
//
// At its moment a process says so and stops, until the test has killed whom it wants to kill. Who remains has to get the
// right error, promptly; a lock that the dead one held has to be recoverable; and nothing may be left.

// A moment is where a process stops.
type moment string

const (
	beforeStart   moment = "before start"           // the child: its packages are being initialised, its job waits for it
	argsWritten   moment = "arguments are written"  // the parent: in Start
	argsRead      moment = "arguments are read"     // the child: in the decoding of its arguments
	running       moment = "running"                // the child: in its function
	holdsLock     moment = "holding a lock"         // the child, or if that is to die, the parent
	childHasLock  moment = "the child holds a lock" // the child, while its parent dies
	exiting       moment = "exiting"                // its function has returned: in the text of its error
	waitsAtItsEnd moment = "waiting at its end"     // it has said its last word, and stops its daemon
)

// A victim is who is killed.
type victim string

const (
	child  victim = "child"
	parent victim = "parent"
	ready  victim = "warm child"
)

// deaths is the grid. What it says of the child's end is for those who are there to hear it.
var deaths = []struct {
	at        moment
	who       victim
	lockDies  bool // its holder does
	childErr  string
	childEnds bool // by the kill; else well
}{
	{beforeStart, child, false, "signal 9 (killed)", true},
	{beforeStart, parent, false, "", true},
	{beforeStart, ready, false, "", false},
	{argsWritten, parent, false, "", true},
	{argsWritten, ready, false, "", false},
	{argsRead, child, false, "signal 9 (killed)", true},
	{argsRead, parent, false, "", true},
	{argsRead, ready, false, "", false},
	{running, child, false, "signal 9 (killed)", true},
	{running, parent, false, "", true},
	{running, ready, false, "", false},
	{holdsLock, child, true, "signal 9 (killed)", true},
	{holdsLock, parent, true, "", true},
	{childHasLock, parent, true, "", true},
	{childHasLock, ready, false, "", false},
	{exiting, child, false, "signal 9 (killed)", true},
	{exiting, parent, false, "", true},
	{exiting, ready, false, "exited with code 1: last words", false},
	{waitsAtItsEnd, child, false, "signal 9 (killed): last words", true},
	{waitsAtItsEnd, parent, false, "", true},
	{waitsAtItsEnd, ready, false, "exited with code 1: last words", false},
}

func TestDeaths(t *testing.T) { eachWay(t, testDeaths) }

func testDeaths(t *testing.T) {
	var known []time.Duration // how long who remained waited for the news
	for _, d := range deaths {
		if d.who == ready && (currentWay.method != process.ForkServer || currentWay.cold) {
			continue
		}
		t.Run(string(d.at)+", "+string(d.who), func(t *testing.T) {
			s := newScene(t, d.at, d.who)
			pids := s.start()
			if d.at == beforeStart && d.who == ready {
				s.kill(pids[0])
			}
			s.tell("go on")
			var stopped int // the child's pid, or the parent's
			if !(d.at == beforeStart && d.who == ready) {
				stopped = s.stopped()
			}
			killed := time.Now()
			switch {
			case d.who == parent:
				s.kill(s.parent.PID())
				if e := joinError(t, s.parent); e.Signal != syscall.SIGKILL {
					t.Errorf("the parent: %v", e)
				}
				if d.at == beforeStart {
					s.openGate() // not even then does it run its function
				}
			case d.who == child:
				s.kill(stopped)
			case d.at != beforeStart: // the next start follows at once, when the kernel may not have buried it yet
				s.kill(another(pids, stopped))
				s.openGate()
			}

			if d.who != parent {
				r := s.report()
				known = append(known, time.Since(killed))
				switch {
				case d.childErr == "" && r.Join != "":
					t.Errorf("Join: %s", r.Join)
				case d.childErr != "" && !strings.HasSuffix(r.Join, d.childErr):
					t.Errorf("Join: %q, want %q", r.Join, d.childErr)
				case r.Afterwards != "":
					t.Errorf("afterwards: %s", r.Afterwards)
				}
				join(t, s.parent)
			}
			if d.childEnds && s.ran() && (d.at == beforeStart || d.at == argsRead) {
				t.Error("the child's function was called")
			}
			s.checkLock(d.lockDies)
			s.nothingLeft()
		})
	}
	slices.Sort(known)
	t.Logf("known after %v", known)
	if len(known) > 0 && known[len(known)/2] > time.Second {
		t.Errorf("half of the deaths were known after %v only", known[len(known)/2])
	}
}

// another returns one of pids that is not this.
func another(pids []int, this int) int {
	return pids[slices.IndexFunc(pids, func(pid int) bool { return pid != this })]
}

// A scene is where one of the deaths takes place.
type scene struct {
	t      *testing.T
	at     moment
	who    victim
	dir    string
	parent *process.Process
	said   *bufio.Reader // of who has stopped
	gate   *os.File
	conn   *pipe.Conn // to the parent
	alive  *os.File   // at its end when parent and child are gone
	lock   *psync.Mutex
}

// A playedPart is what parent and child are given.
type playedPart struct {
	At    moment
	Who   victim
	Way   string
	Stage stage
	Lock  *psync.Mutex
	Alive *os.File
	Conn  *pipe.Conn // the parent's
	Trap  trap       // the child's
}

// A stage is a directory in which processes say that they have stopped, and wait for the gate to open.
type stage string

func (s stage) said() string { return filepath.Join(string(s), "said") }
func (s stage) gate() string { return filepath.Join(string(s), "gate") }
func (s stage) ran() string  { return filepath.Join(string(s), "ran") }

// stop says that this process is where the test wants it, and returns when the gate opens.
func (s stage) stop() { s.stopFor(os.Getpid()) }

func (s stage) stopFor(pid int) {
	if f, err := os.OpenFile(s.said(), os.O_WRONLY, 0); err == nil {
		fmt.Fprintln(f, pid)
		f.Close()
	}
	fd, err := unix.Open(s.gate(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	for err == nil {
		if err = unix.Flock(fd, unix.LOCK_SH); err == unix.EINTR {
			err = nil
			continue
		}
		unix.Close(fd)
		return
	}
}

// A trap stops a process while it writes, or reads, arguments with the trap in them.
type trap struct {
	Stage            stage
	InParent, Inside bool // when it is written, when it is read
}

func (t trap) MarshalText() ([]byte, error) {
	if t.InParent {
		t.Stage.stop()
	}
	return fmt.Appendf(nil, "%t %s", t.Inside, t.Stage), nil
}

func (t *trap) UnmarshalText(b []byte) error {
	inside, dir, _ := strings.Cut(string(b), " ")
	t.Stage = stage(dir)
	if t.Inside = inside == "true"; t.Inside {
		t.Stage.stop()
	}
	return nil
}

// haltMarker stops a child before its packages are initialised.
const haltMarker = "PROCESS_TEST_HALT"

func init() {
	if dir := os.Getenv(haltMarker); dir != "" {
		stage(dir).stop()
	}
}

func newScene(t *testing.T, at moment, who victim) *scene {
	t.Helper()
	s := &scene{t: t, at: at, who: who, dir: t.TempDir()}
	dir := stage(s.dir)
	if err := syscall.Mkfifo(dir.said(), 0o600); err != nil {
		t.Fatal(err)
	}
	said, err := os.OpenFile(dir.said(), os.O_RDWR, 0) // which does not wait for the other side
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { said.Close() })
	said.SetReadDeadline(time.Now().Add(deadline))
	s.said = bufio.NewReader(said)
	if s.gate, err = os.Create(dir.gate()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.openGate)
	if err := unix.Flock(int(s.gate.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if s.lock, err = psync.NewMutex(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.lock.Close() })
	return s
}

// start starts the parent, and returns the children that it keeps ready.
func (s *scene) start() (pids []int) {
	s.t.Helper()
	ours, theirs, err := pipe.New()
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { ours.Close() })
	ours.SetDeadline(time.Now().Add(deadline))
	s.conn = ours
	r, w, err := os.Pipe()
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { r.Close() })
	r.SetReadDeadline(time.Now().Add(deadline))
	s.alive = r
	s.parent = process.New(playParent, playedPart{At: s.at, Who: s.who, Way: currentWay.name, Stage: stage(s.dir), Lock: s.lock, Alive: w, Conn: theirs})
	s.parent.Method = process.Spawn
	s.parent.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // by which all of them are found
	mustStart(s.t, s.parent)
	w.Close()
	if err := ours.Recv(&pids); err != nil {
		s.t.Fatalf("%v: %v", err, s.parent.Join(within(s.t)))
	}
	return pids
}

func (s *scene) tell(word string) {
	s.t.Helper()
	if err := s.conn.Send(word); err != nil {
		s.t.Fatal(err)
	}
}

// stopped waits until a process has stopped at its moment.
func (s *scene) stopped() (pid int) {
	s.t.Helper()
	l, err := s.said.ReadString('\n')
	if err == nil {
		pid, err = strconv.Atoi(strings.TrimSpace(l))
	}
	if err != nil {
		var r deathReport
		s.conn.SetDeadline(time.Now().Add(time.Second))
		s.t.Fatalf("nobody stopped: %v; the parent says %v %+v", err, s.conn.Recv(&r), r)
	}
	return pid
}

func (s *scene) kill(pid int) {
	s.t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) openGate() { s.gate.Close() }

func (s *scene) ran() bool {
	_, err := os.Stat(stage(s.dir).ran())
	return !errors.Is(err, fs.ErrNotExist)
}

// A deathReport is what a parent tells that remains.
type deathReport struct {
	Join       string // its error
	Afterwards string // what was wrong then
}

func (s *scene) report() (r deathReport) {
	s.t.Helper()
	if err := s.conn.Recv(&r); err != nil {
		s.t.Fatalf("the parent: %v, %v", err, s.parent.Join(within(s.t)))
	}
	return r
}

// checkLock sees whether the lock can be had, or recovered if its holder was killed.
func (s *scene) checkLock(died bool) {
	s.t.Helper()
	ctx := within(s.t)
	err := s.lock.Lock(ctx)
	if died {
		if !errors.Is(err, psync.ErrOwnerDied) {
			s.t.Errorf("Lock after its holder was killed: %v", err)
		}
		if err := s.lock.Recover(ctx, nil); err != nil {
			s.t.Errorf("Recover: %v", err)
		}
		err = s.lock.Lock(ctx)
	}
	if err != nil {
		s.t.Fatalf("Lock: %v", err)
	}
	if err := s.lock.Unlock(); err != nil {
		s.t.Error(err)
	}
}

// nothingLeft waits until all that the parent has started are gone.
func (s *scene) nothingLeft() {
	s.t.Helper()
	if b, err := io.ReadAll(s.alive); len(b) > 0 || err != nil {
		s.t.Errorf("of parent and child: %q %v", b, err)
	}
	group := strconv.Itoa(s.parent.PID())
	waitUntil(s.t, "all processes of the family are gone", func() bool { return len(groupMembers(s.t, group)) == 0 })
}

// groupMembers are the processes of a group that have not ended.
func groupMembers(t *testing.T, group string) (pids []string) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range stats {
		b, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		// After the command in parentheses: state, parent, group.
		f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		if f[2] == group && f[0] != "Z" && f[0] != "X" {
			pids = append(pids, f[0]+" "+name)
		}
	}
	return pids
}

// playParent runs in the parent.
var playParent = process.Register(func(ctx context.Context, c playedPart) error {
	w := ways[slices.IndexFunc(ways, func(w way) bool { return w.name == c.Way })]
	if err := w.prepare(ctx); err != nil {
		return err
	}
	warm := func() error {
		if w.method != process.ForkServer {
			return nil
		}
		return process.WarmUp(ctx)
	}
	once := func() error {
		p := process.New(nothing, struct{}{})
		if err := p.Start(); err != nil {
			return err
		}
		return p.Join(ctx)
	}
	if err := errors.Join(once(), warm()); err != nil { // what is set up once
		return err
	}
	before := openDescriptors()
	if err := c.Conn.Send(process.ReadyPIDs()); err != nil {
		return err
	}
	var word string
	if err := c.Conn.Recv(&word); err != nil {
		return err
	}

	if c.At == beforeStart && c.Who != ready {
		process.DropReady() // they are initialised
		os.Setenv(haltMarker, string(c.Stage))
	}
	if c.At == holdsLock && c.Who == parent {
		if err := c.Lock.Lock(ctx); err != nil {
			return err
		}
	}
	part := c
	part.Conn = nil
	part.Trap = trap{Stage: c.Stage, InParent: c.At == argsWritten, Inside: c.At == argsRead}
	p := process.New(playChild, part)
	if err := p.Start(); err != nil {
		return err
	}
	r := deathReport{}
	if err := p.Join(ctx); err != nil {
		r.Join = err.Error()
	}
	os.Unsetenv(haltMarker)
	afterwards := func() error {
		if err := once(); err != nil {
			return fmt.Errorf("another child: %w", err)
		}
		if err := warm(); err != nil {
			return err
		}
		for end := time.Now().Add(deadline); openDescriptors() > before; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				return fmt.Errorf("%d descriptors, %d before", openDescriptors(), before)
			}
		}
		if left := process.Children(); len(left) > 0 {
			return fmt.Errorf("children: %v", left)
		}
		return noZombies()
	}
	if err := afterwards(); err != nil {
		r.Afterwards = err.Error()
	}
	return c.Conn.Send(r)
})

// noZombies fails if this process has a child that has ended and was not collected.
func noZombies() error {
	var last error
	for end := time.Now().Add(deadline); time.Now().Before(end); time.Sleep(time.Millisecond) {
		var info unix.Siginfo
		switch err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil); {
		case err == unix.ECHILD, err == nil && info.Signo == 0:
			return nil
		default:
			last = fmt.Errorf("a child has ended and was not collected: %v %+v", err, info)
		}
	}
	return last
}

// playChild runs in the child.
var playChild = process.Register(func(ctx context.Context, c playedPart) error {
	if err := os.WriteFile(c.Stage.ran(), nil, 0o600); err != nil {
		return err
	}
	switch c.At {
	case running:
		c.Stage.stop()
	case holdsLock, childHasLock:
		if c.At == holdsLock && c.Who == parent {
			c.Stage.stop() // it is the parent who holds it
			return nil
		}
		if err := c.Lock.Lock(ctx); err != nil {
			return err
		}
		c.Stage.stop()
		return c.Lock.Unlock()
	case exiting:
		return lastWords{c.Stage}
	case waitsAtItsEnd:
		ours, theirs, err := pipe.New()
		if err != nil {
			return err
		}
		d := process.New(stopsAtItsEnd, playedPart{Stage: c.Stage, Conn: theirs})
		d.Daemon = true
		if err := d.Start(); err != nil {
			return err
		}
		if _, err := ours.RecvBytes(); err != nil { // before that it would just end
			return err
		}
		return errors.New("last words")
	}
	return nil
})

// lastWords is an error that stops the process in the middle of its end.
type lastWords struct{ stage stage }

func (l lastWords) Error() string {
	l.stage.stop()
	return "last words"
}

// stopsAtItsEnd says when it is told to end, which is when its parent waits for that.
var stopsAtItsEnd = process.Register(func(ctx context.Context, c playedPart) error {
	if err := c.Conn.SendBytes([]byte("here")); err != nil {
		return err
	}
	<-ctx.Done()
	c.Stage.stopFor(os.Getppid())
	return nil
})

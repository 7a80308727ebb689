//go:build linux

package process_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/detector"
	"github.com/go-multiproc/multiproc/process"
)

// held is memory that a child keeps.
var held struct {
	pieces [][]byte
	nodes  *node
	m      map[int][56]byte
}

type node struct {
	next *node
	_    [56]byte
}

// A diet is what a child does: take mib MiB in some way, then keep it or end well.
type diet struct {
	Way  string
	MiB  int
	Keep bool
}

const mib = 1 << 20

var eaters = map[string]func(bytes int){
	"pieces": func(bytes int) {
		for n := 0; n < bytes; n += mib {
			held.pieces = append(held.pieces, touched(mib))
		}
	},
	"one": func(bytes int) { held.pieces = append(held.pieces, touched(bytes)) },
	"growing": func(bytes int) {
		var b []byte
		for len(b) < bytes {
			b = append(b, make([]byte, mib)...)
		}
		held.pieces = append(held.pieces, b)
	},
	"nodes": func(bytes int) {
		for n := 0; n < bytes; n += 64 {
			held.nodes = &node{next: held.nodes}
		}
	},
	"map": func(bytes int) {
		held.m = map[int][56]byte{}
		for n := 0; n < bytes; n += 64 {
			held.m[n] = [56]byte{}
		}
	},
	"goroutines": func(bytes int) {
		for n := 0; n < bytes; n += 2 << 10 {
			go func() { select {} }()
		}
		runtime.GC() // they do not make it necessary by themselves
	},
	"garbage": func(bytes int) {
		for n := 0; n < 10*bytes; n += mib {
			held.pieces = [][]byte{touched(mib + n%7000)}
		}
	},
}

func touched(n int) []byte {
	b := make([]byte, n)
	for i := 0; i < n; i += 4096 {
		b[i] = 1
	}
	return b
}

var eat = process.Register(func(ctx context.Context, d diet) error {
	eaters[d.Way](d.MiB * mib)
	if d.Keep {
		<-ctx.Done()
	}
	runtime.KeepAlive(&held)
	return nil
})

// A child may take its limit, and not much more.
func TestMemoryLimit(t *testing.T) {
	const limit = 64
	for way := range eaters {
		for _, method := range methods(t) {
			if way != "pieces" && method != process.Spawn {
				continue
			}
			t.Run(way+"/"+method.String(), func(t *testing.T) {
				t.Parallel()
				if way == "goroutines" && detector.Enabled {
					t.Skip("the race detector takes 140 KiB for each")
				}
				// What grows by copying has old and new at once; a goroutine is more than its stack.
				within, beyond := limit, 2*limit
				switch way {
				case "growing", "map":
					within, beyond = limit/3, limit*5/4
				case "goroutines":
					within = limit / 3
				}
				p := process.New(eat, diet{way, within, false})
				p.Method, p.Limits.Memory = method, limit*mib
				mustStart(t, p)
				join(t, p)

				p = process.New(eat, diet{way, beyond, way != "garbage"})
				p.Method, p.Limits.Memory, p.Stderr = method, limit*mib, devNull(t)
				mustStart(t, p)
				if way == "garbage" { // which is nobody's
					join(t, p)
					return
				}
				e := joinError(t, p)
				if !e.MemoryKill || e.Code != 2 || !strings.Contains(e.Err, "out of memory") {
					t.Errorf("%+v\n%s", e, e.Stack)
				}
				if want := "crashed, beyond its memory limit: "; !strings.Contains(e.Error(), want) {
					t.Errorf("%q, want %q", e.Error(), want)
				}
			})
		}
	}
}

var idleBeyond = process.Register(func(ctx context.Context, _ struct{}) error {
	debug.SetGCPercent(-1)
	runtime.GC() // whatever was under way is over
	process.GuardMemory(1)
	<-ctx.Done()
	return nil
})

// A child that is beyond its limit and does nothing more, so that no collection tells of it, ends all the same.
func TestIdleBeyondMemoryLimit(t *testing.T) {
	p := process.New(idleBeyond, struct{}{})
	p.Stderr = devNull(t)
	mustStart(t, p)
	if e := joinError(t, p); e.Code != 2 || !strings.Contains(e.Err, "out of memory") {
		t.Errorf("%+v", e)
	}
}

// Without a limit nothing is beyond it.
func TestNoMemoryLimit(t *testing.T) {
	p := start(t, eat, diet{"pieces", 200, false})
	join(t, p)
}

// limitsHere are the limits of this process, as the kernel has them.
type limitsHere struct {
	Data, Files, CPU unix.Rlimit
	Nice             []int // of all threads
}

var showLimits = process.Register(func(ctx context.Context, depth int) error {
	if depth > 0 {
		p := process.New(showLimitsAgain(), depth-1)
		if err := p.Start(); err != nil {
			return err
		}
		return p.Join(ctx)
	}
	l, err := lookAtLimits()
	fmt.Printf("%d %d %d %d %d %v\n", l.Data.Cur, l.Files.Cur, l.Files.Max, l.CPU.Cur, l.CPU.Max, l.Nice)
	return err
})

var showLimitsAgain func() *process.Func[int]

func init() { showLimitsAgain = func() *process.Func[int] { return showLimits } }

func lookAtLimits() (l limitsHere, err error) {
	err = errors.Join(unix.Getrlimit(unix.RLIMIT_DATA, &l.Data), unix.Getrlimit(unix.RLIMIT_NOFILE, &l.Files), unix.Getrlimit(unix.RLIMIT_CPU, &l.CPU))
	seen := map[int]bool{}
	tasks, globErr := filepath.Glob("/proc/self/task/*")
	for _, task := range tasks {
		tid, _ := strconv.Atoi(filepath.Base(task))
		n, prioErr := unix.Getpriority(unix.PRIO_PROCESS, tid)
		if prioErr == nil && !seen[20-n] {
			seen[20-n] = true
			l.Nice = append(l.Nice, 20-n)
		}
	}
	return l, errors.Join(err, globErr)
}

// Limits hold in the child and in its own children.
func TestLimitsAreHandedOn(t *testing.T) {
	here, err := lookAtLimits()
	if err != nil {
		t.Fatal(err)
	}
	for _, method := range methods(t) {
		for depth := range 2 {
			t.Run(fmt.Sprintf("%v/%d", method, depth), func(t *testing.T) {
				s := run(t, showLimits, depth, func(p *process.Process) {
					p.Method = method
					p.Limits = process.Limits{Memory: 100 * mib, CPU: 2500 * time.Millisecond, OpenFiles: 77, Nice: 3}
					p.Grace = 1200 * time.Millisecond
				})
				var data uint64
				var rest string
				if _, err := fmt.Sscanf(s, "%d", &data); err != nil {
					t.Fatal(err)
				}
				_, rest, _ = strings.Cut(strings.TrimSpace(s), " ")
				if want := fmt.Sprintf("77 77 3 5 [%d]", here.Nice[0]+3); rest != want {
					t.Errorf("%q, want %q", rest, want)
				}
				if most := uint64((400 + 8*(runtime.GOMAXPROCS(0)+8)) * mib); data < 100*mib || data > most && !detector.Enabled {
					t.Errorf("RLIMIT_DATA is %d MiB", data/mib)
				}
			})
		}
	}
}

// threadsMarker has this program make threads from its initialisation on.
const threadsMarker = "PROCESS_TEST_THREADS"

func init() {
	if os.Getenv(threadsMarker) == "" {
		return
	}
	// A goroutine that ends while it is locked to its thread takes the thread with it, so that the next needs another.
	var again func(n int)
	again = func(n int) {
		runtime.LockOSThread()
		if n > 0 {
			go again(n - 1)
		}
	}
	go again(200)
}

// A thread that is being made while the others are given their nice value gets it too.
func TestNiceAmongNewThreads(t *testing.T) {
	here, err := lookAtLimits()
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		s := run(t, showLimits, 0, func(p *process.Process) {
			p.Env = append(os.Environ(), threadsMarker+"=1")
			p.Limits.Nice = 3
		})
		if want := fmt.Sprintf("[%d]", here.Nice[0]+3); !strings.HasSuffix(strings.TrimSpace(s), " "+want) {
			t.Fatalf("%q, want all threads at %s", s, want)
		}
	}
}

func TestBadLimits(t *testing.T) {
	for _, test := range []struct {
		limits process.Limits
		field  string
	}{
		{process.Limits{Memory: -1}, "Limits.Memory"},
		{process.Limits{CPU: -1}, "Limits.CPU"},
		{process.Limits{OpenFiles: -1}, "Limits.OpenFiles"},
		{process.Limits{OpenFiles: 3}, "Limits.OpenFiles"},
		{process.Limits{OpenFiles: 1 << 40}, "Limits.OpenFiles"},
		{process.Limits{Nice: -41}, "Limits.Nice"},
		{process.Limits{Nice: 100}, "Limits.Nice"},
	} {
		p := process.New(nothing, struct{}{})
		p.Limits = test.limits
		if err := p.Start(); err == nil || !strings.Contains(err.Error(), test.field) {
			t.Errorf("%+v: %v", test.limits, err)
		}
		// As after any error, it can be put right.
		p.Limits = process.Limits{}
		mustStart(t, p)
		join(t, p)
	}
}

// Without privileges, Start knows what it may not give.
func TestLimitsWithoutPrivileges(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	cmd := program(t, "unprivilegedLimits")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func init() {
	mains["unprivilegedLimits"] = func() int {
		unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 100, Max: 200})
		for field, l := range map[string]process.Limits{"OpenFiles": {OpenFiles: 300}, "Nice": {Nice: -1}} {
			p := process.New(nothing, struct{}{})
			p.Limits = l
			if err := p.Start(); err == nil || !strings.Contains(err.Error(), "Limits."+field) {
				fmt.Println(field, err)
				return 1
			}
		}
		p := process.New(nothing, struct{}{})
		p.Limits = process.Limits{OpenFiles: 150, Nice: 1}
		if err := errors.Join(p.Start(), p.Join(context.Background())); err != nil {
			fmt.Println(err)
			return 1
		}
		return 0
	}
}

var openMany = process.Register(func(context.Context, int) error {
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			return err
		}
		held.pieces = append(held.pieces, []byte(f.Name()))
		keptFiles = append(keptFiles, f)
	}
})

var keptFiles []*os.File

func TestOpenFilesLimit(t *testing.T) {
	p := process.New(openMany, 0)
	p.Limits.OpenFiles = 40
	mustStart(t, p)
	if e := joinError(t, p); !strings.Contains(e.Err, "too many open files") {
		t.Error(e)
	}
}

// spin takes processor time, and does this about the end of ctx.
var spin = process.Register(func(ctx context.Context, about string) error {
	if about == "deaf" {
		signal.Ignore(syscall.SIGXCPU)
	}
	for n := 0; ; n++ {
		if about == "heed" && n%1000 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
})

func TestCPULimit(t *testing.T) {
	if testing.Short() {
		t.Skip("a second of processor time is the least that there is")
	}
	for _, test := range []struct {
		about  string
		grace  time.Duration
		code   int
		signal syscall.Signal
		text   string
	}{
		{"heed", time.Minute, 1, 0, "exited with code 1: process: received signal 24 ("},
		{"disregard", time.Millisecond, -1, syscall.SIGXCPU, "was ended by signal 24 (CPU time limit exceeded), beyond its limit of processor time"},
		{"deaf", time.Millisecond, -1, syscall.SIGKILL, "was ended by signal 9 (killed), beyond its limit of processor time"},
	} {
		t.Run(test.about, func(t *testing.T) {
			t.Parallel()
			p := process.New(spin, test.about)
			p.Limits.CPU, p.Grace = 10*time.Millisecond, test.grace
			mustStart(t, p)
			e := joinError(t, p)
			if e.Code != test.code || e.Signal != test.signal || e.CPUKill != (test.signal != 0) || e.MemoryKill || !strings.Contains(e.Error(), test.text) {
				t.Errorf("%v: %+v", e, *e)
			}
		})
	}
}

// A limit that the parent has itself holds for the child, and is heard of in the same way.
func TestInheritedCPULimit(t *testing.T) {
	if testing.Short() {
		t.Skip("a second of processor time is the least that there is")
	}
	eachWay(t, func(t *testing.T) { join(t, start(t, limitItselfAndStart, struct{}{})) })
}

var limitItselfAndStart = process.Register(func(ctx context.Context, _ struct{}) error {
	if err := unix.Setrlimit(unix.RLIMIT_CPU, &unix.Rlimit{Cur: 1, Max: 60}); err != nil {
		return err
	}
	process.DropReady() // which were executed without it
	if process.UsesForkServer() {
		if err := process.WarmUp(ctx); err != nil {
			return err
		}
	}
	p := process.New(spin, "heed")
	if err := p.Start(); err != nil {
		return err
	}
	err := p.Join(ctx)
	if e := (*process.ExitError)(nil); !errors.As(err, &e) || e.Code != 1 || !strings.Contains(e.Err, "received signal 24 (") {
		return fmt.Errorf("the child of one with a limit ended with %v", err)
	}
	return nil
})

// A child that is killed by somebody else did not go beyond anything.
func TestKillIsNoLimit(t *testing.T) {
	p := process.New(end, "kill")
	p.Limits = process.Limits{CPU: time.Hour, Memory: 1 << 30}
	mustStart(t, p)
	if e := joinError(t, p); e.MemoryKill || e.CPUKill || e.Signal != syscall.SIGKILL {
		t.Errorf("%+v", e)
	}
}

// memoryCgroup makes a memory cgroup with a limit, in which a process is put that asks for the file it is to write its pid to.
func memoryCgroup(t *testing.T, limit int) (procs string) {
	t.Helper()
	for _, c := range []struct{ dir, limit string }{
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"},
		{"/sys/fs/cgroup", "memory.max"},
	} {
		dir := filepath.Join(c.dir, fmt.Sprintf("process-test-%d-%d", os.Getpid(), time.Now().UnixNano()))
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		t.Cleanup(func() {
			waitUntil(t, "the cgroup is empty", func() bool { return os.Remove(dir) == nil })
		})
		if os.WriteFile(filepath.Join(dir, c.limit), []byte(strconv.Itoa(limit)), 0) == nil {
			return filepath.Join(dir, "cgroup.procs")
		}
	}
	t.Skip("no memory cgroup can be made here")
	return ""
}

// The OOM killer of a cgroup kills the child: that is a memory kill. Another death by SIGKILL in the same cgroup is not.
func TestOOMKiller(t *testing.T) {
	procs := memoryCgroup(t, 200*mib)
	cmd := program(t, "oom", procs)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func init() {
	mains["oom"] = func() int {
		if err := os.WriteFile(os.Args[1], []byte(strconv.Itoa(os.Getpid())), 0); err != nil {
			fmt.Println(err)
			return 1
		}
		for i, want := range []bool{false, true, false, true} {
			p := process.New(eat, diet{"pieces", 1000, true})
			if !want {
				p = process.New(stay, struct{}{})
			}
			if err := p.Start(); err != nil {
				fmt.Println(err)
				return 1
			}
			if !want {
				syscall.Kill(p.PID(), syscall.SIGKILL)
			}
			var e *process.ExitError
			if err := p.Join(context.Background()); !errors.As(err, &e) || e.Signal != syscall.SIGKILL || e.MemoryKill != want {
				fmt.Printf("%d: %v, want %t\n", i, err, want)
				return 1
			}
		}
		return 0
	}
}

// A child is put in a cgroup of version 2 as it starts.
func TestCgroupFD(t *testing.T) {
	for _, root := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
		var fs unix.Statfs_t
		if unix.Statfs(root, &fs) != nil || fs.Type != unix.CGROUP2_SUPER_MAGIC {
			continue
		}
		name := fmt.Sprintf("process-test-%d", os.Getpid())
		dir := filepath.Join(root, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			continue
		}
		t.Cleanup(func() { waitUntil(t, "the cgroup is empty", func() bool { return os.Remove(dir) == nil }) })
		f, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		p := process.New(showCgroup, struct{}{})
		r := output(t, p)
		p.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(f.Fd())}
		mustStart(t, p)
		p.Stdout.Close()
		b, _ := io.ReadAll(r)
		join(t, p)
		if !strings.Contains(string(b), "/"+name+"\n") {
			t.Errorf("the child is in %s", b)
		}
		return
	}
	t.Skip("no cgroup can be made here")
}

var showCgroup = process.Register(func(context.Context, struct{}) error {
	b, err := os.ReadFile("/proc/self/cgroup")
	os.Stdout.Write(b)
	return err
})

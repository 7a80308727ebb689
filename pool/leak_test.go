//go:build linux

package pool_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/pool"
	"github.com/go-multiproc/multiproc/process"
)

// A footprint is what this process holds of the system.
type footprint struct{ descriptors, goroutines, children, mappings int }

func measure(t testing.TB) (f footprint) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	f.descriptors, f.goroutines = len(fds), runtime.NumGoroutine()
	tasks, _ := filepath.Glob("/proc/self/task/*/children")
	for _, path := range tasks {
		b, _ := os.ReadFile(path)
		f.children += len(strings.Fields(string(b)))
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	f.mappings = strings.Count(string(maps), "memfd:")
	return f
}

// Pools that end in whatever way leave nothing behind.
func TestNothingIsLeft(t *testing.T) {
	once := func(i int) {
		p, err := pool.New(pool.Options{Workers: 2, Grace: 20 * time.Millisecond, MaxTasksPerWorker: 30 * (i % 2)})
		if err != nil {
			t.Fatal(err)
		}
		ctx := within(t)
		if _, err := square.With(pool.TaskOptions{Chunk: 1}).Map(ctx, p, make([]int, 100)); err != nil {
			t.Fatal(err)
		}
		if f, err := opened.Apply(ctx, p, "/dev/null"); err == nil {
			f.Close()
		}
		if _, err := repeat.Apply(ctx, p, 1<<20); err != nil {
			t.Error(err)
		}
		killSelf.Apply(ctx, p, int(syscall.SIGKILL))
		switch i % 3 {
		case 0:
			p.Close()
		case 1:
			hang.Submit(ctx, p, 0)
			p.Terminate()
		case 2:
			block.Submit(ctx, p, 0)
			p.Close()
			p.Terminate()
		}
		if err := p.Join(ctx); err != nil {
			t.Fatalf("%v %+v", err, p.Stats())
		}
	}
	once(0) // what is set up once
	once(1)
	before := measure(t)
	for i := range 24 {
		once(i)
	}
	var after footprint
	for end := time.Now().Add(deadline); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		// Goroutines are gone a moment after their last word.
		after = measure(t)
		if after.descriptors <= before.descriptors && after.goroutines <= before.goroutines && after.children <= before.children && after.mappings <= before.mappings {
			return
		}
	}
	t.Errorf("before %+v, after %+v", before, after)
}

// A worker that runs task after task holds no more descriptors in the end, whatever came with them.
func TestHandlesOfTasksAreClosed(t *testing.T) {
	p := newPool(t, pool.Options{Workers: 1})
	ctx := within(t)
	null, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	var first int
	for i := range 200 {
		n, err := countFiles.Apply(ctx, p, null)
		if err != nil {
			t.Fatal(err)
		}
		if i == 20 {
			first = n
		}
		if i > 20 && n > first {
			t.Fatalf("%d descriptors at task 20, %d at task %d", first, n, i)
		}
	}
	if kept, err := keepFile.Apply(ctx, p, null); !kept || err != nil {
		t.Errorf("Keep: %v %v", kept, err)
	}
	if n, err := countFiles.Apply(ctx, p, null); n != first+1 || err != nil {
		t.Errorf("%d descriptors with one that was kept, %d before: %v", n, first, err)
	}
}

var countFiles = pool.Register(func(_ context.Context, f *os.File) (int, error) {
	if _, err := f.Stat(); err != nil {
		return 0, err
	}
	fds, err := os.ReadDir("/proc/self/fd")
	return len(fds), err
})

var keptFile *os.File

var keepFile = pool.Register(func(ctx context.Context, f *os.File) (bool, error) {
	keptFile = f
	return pool.Keep(ctx, f), nil
})

// sleepOn is a child that a task starts, and its worker's own.
var sleepOn = process.Register(func(context.Context, int) error { select {} })

var startChild = pool.Register(func(context.Context, int) (int, error) {
	c := process.New(sleepOn, 0)
	if err := c.Start(); err != nil {
		return 0, err
	}
	return c.PID(), nil
})

// runPool is a program that has a pool, says the pids of its workers and of their children, and stays, with its workers amid tasks that do not heed anything.
var runPool = process.Register(func(ctx context.Context, _ struct{}) error {
	p, err := pool.New(pool.Options{Workers: 2})
	if err != nil {
		return err
	}
	for range 2 {
		pid, err := startChild.Apply(ctx, p, 0)
		if err != nil {
			return err
		}
		fmt.Println(pid)
		f, err := hang.Submit(ctx, p, 0)
		if err != nil {
			return err
		}
		for !f.Running() {
			time.Sleep(time.Millisecond)
		}
	}
	for _, pid := range p.PIDs() {
		fmt.Println(pid)
	}
	select {}
})

// Workers, and what they have started, end with a parent that is killed: within a second, usually within a few milliseconds.
func TestParentKilled(t *testing.T) {
	var took []time.Duration
	for range 5 {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		c := process.New(runPool, struct{}{})
		c.Stdout = w
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		w.Close()
		lines := bufio.NewScanner(r)
		var pids []int
		for range 4 {
			var pid int
			if !lines.Scan() {
				t.Fatal("it has said too little")
			}
			fmt.Sscan(lines.Text(), &pid)
			if !alive(pid) {
				t.Fatalf("process %d is not there", pid)
			}
			pids = append(pids, pid)
		}
		r.Close()
		began := time.Now()
		c.Kill()
		c.Join(within(t))
		for _, pid := range pids {
			for alive(pid) {
				if time.Since(began) > deadline/2 {
					t.Fatalf("process %d is alive %v after its pool's program was killed", pid, time.Since(began))
				}
				time.Sleep(time.Millisecond)
			}
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	t.Logf("they were gone after %v", took)
	if took[2] > time.Second {
		t.Errorf("they were gone after %v", took)
	}
}

// leavePool is a program that comes to its normal end with a pool that nobody has closed, while a task runs that does not heed anything.
var leavePool = process.Register(func(ctx context.Context, _ struct{}) error {
	p, err := pool.New(pool.Options{Workers: 1, Grace: 50 * time.Millisecond})
	if err != nil {
		return err
	}
	f, err := hang.Submit(ctx, p, 0)
	if err != nil {
		return err
	}
	for !f.Running() {
		time.Sleep(time.Millisecond)
	}
	fmt.Println(p.PIDs()[0])
	return nil
})

// At the program's normal exit workers are stopped, and not waited for.
func TestProgramEnds(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c := process.New(leavePool, struct{}{})
	c.Stdout = w
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	defer c.Kill()
	if err := c.Join(within(t)); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscan(r, &pid); err != nil || alive(pid) {
		t.Errorf("worker %d is alive: %v, %v", pid, alive(pid), err)
	}
}

// alive reports whether a process is there and no zombie.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(state, "Z")
}

// An endless input takes constant memory.
func TestIMapTakesConstantMemory(t *testing.T) {
	n := 300_000
	if testing.Short() {
		n = 30_000
	}
	p := newPool(t, pool.Options{Workers: 2})
	var early, late runtime.MemStats
	i := 0
	for _, err := range square.IMap(within(t), p, func(yield func(int) bool) {
		for yield(1) {
		}
	}) {
		if err != nil {
			t.Fatal(err)
		}
		switch i++; i {
		case n / 10:
			runtime.GC()
			runtime.ReadMemStats(&early)
		case n:
			runtime.GC()
			runtime.ReadMemStats(&late)
		}
		if i >= n {
			break
		}
	}
	if late.HeapAlloc > early.HeapAlloc+4<<20 {
		t.Errorf("%d bytes after %d tasks, %d after %d", early.HeapAlloc, n/10, late.HeapAlloc, n)
	}
}

// Resize, and the end of idle workers.
func TestNumberOfWorkers(t *testing.T) {
	p := newPool(t, pool.Options{Workers: 1, IdleTime: 20 * time.Millisecond})
	ctx := within(t)
	if err := p.Resize(4); err != nil {
		t.Fatal(err)
	}
	if _, err := pause.With(pool.TaskOptions{Chunk: 1}).Map(ctx, p, []time.Duration{1e8, 1e8, 1e8, 1e8, 1e8, 1e8, 1e8, 1e8}); err != nil {
		t.Fatal(err)
	}
	if s := p.Stats(); s.Started != 4 {
		t.Errorf("%+v", s)
	}
	for len(p.PIDs()) > 0 {
		if ctx.Err() != nil {
			t.Fatalf("idle workers do not end: %+v", p.Stats())
		}
		time.Sleep(time.Millisecond)
	}
	if n, err := square.Apply(ctx, p, 6); n != 36 || err != nil || p.Stats().Died != 0 {
		t.Errorf("%d %v %+v", n, err, p.Stats())
	}
	if err := p.Resize(0); err == nil {
		t.Error("Resize(0)")
	}
}

type guarded struct {
	mu *sync.Mutex
	w  io.Writer
}

func (g *guarded) Write(b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.w.Write(b)
}

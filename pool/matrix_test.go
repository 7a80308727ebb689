//go:build linux

package pool_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/pool"
	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/value"
)

// This file is a table: every way for a worker to end or to fail, at every moment of its life, in pools of every state. Each cell has its own pool, and what has to come of it.

// detonate does what kind says to the process that calls it. It returns for kinds that are not about that.
func detonate(kind string) {
	switch kind {
	case "SIGKILL":
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "panic":
		panic("a bomb")
	case "panic elsewhere":
		go panic("a bomb")
		select {}
	case "os.Exit":
		os.Exit(3)
	case "fatal error":
		new(sync.Mutex).Unlock()
	case "memory":
		var kept [][]byte
		for {
			kept = append(kept, slices.Repeat([]byte{1}, 1<<20))
			runtime.KeepAlive(kept)
		}
	case "hang":
		select {}
	case "stop":
		syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	}
}

// inWorker reports whether this is a worker, and not the test.
func inWorker() bool {
	_, child := process.Parent()
	return child
}

// A charge goes off when it is decoded or encoded in a worker, or when the task says so.
type charge struct{ kind, when string }

func (c charge) MarshalText() ([]byte, error) {
	if c.when == "encoding" && inWorker() {
		if c.kind == "unencodable" {
			return nil, errors.New("it has no text")
		}
		detonate(c.kind)
	}
	return []byte(c.when + "|" + c.kind), nil
}

func (c *charge) UnmarshalText(b []byte) error {
	c.when, c.kind, _ = strings.Cut(string(b), "|")
	if c.when == "decoding" && inWorker() {
		if c.kind == "unencodable" {
			return errors.New("its text says nothing")
		}
		detonate(c.kind)
	}
	return nil
}

var carry = pool.Register(func(_ context.Context, c charge) (charge, error) {
	if c.when == "task" {
		detonate(c.kind)
	}
	return c, nil
})

// An armed bomb goes off in a worker that has nothing to do, or that is about to end.
type armed struct {
	Kind    string
	Trigger *os.File // goes off when that can be read; nil: when the task has ended
}

var arm = pool.Register(func(ctx context.Context, a armed) (int, error) {
	if a.Trigger != nil {
		pool.Keep(ctx, a.Trigger)
	}
	go func() {
		if a.Trigger != nil {
			a.Trigger.Read(make([]byte, 1))
		} else {
			<-ctx.Done()
		}
		detonate(a.Kind)
	}()
	return os.Getpid(), nil
})

// A fuse is an initialiser that fails in one of the workers.
type fuse struct {
	Kind    string
	Workers *value.Value[int64]
	Nth     int64
}

var light = process.Register(func(_ context.Context, f fuse) error {
	if value.Add(f.Workers, 1) < f.Nth {
		return nil
	}
	if f.Kind == "unencodable" {
		return errors.New("a bomb")
	}
	detonate(f.Kind)
	return nil
})

// saysSo checks what the error of a worker says of its end.
var saysSo = map[string]func(e *pool.WorkerDiedError) bool{
	"SIGKILL": func(e *pool.WorkerDiedError) bool {
		return e.Signal == syscall.SIGKILL && e.Code == -1 && !e.MemoryKill
	},
	"panic elsewhere": func(e *pool.WorkerDiedError) bool { return e.Err == "a bomb" && e.Code == 2 && e.Stack != "" },
	"os.Exit":         func(e *pool.WorkerDiedError) bool { return e.Code == 3 && e.Signal == 0 },
	"fatal error": func(e *pool.WorkerDiedError) bool {
		return e.Code == 2 && strings.Contains(e.Error(), "unlock of unlocked mutex")
	},
	"memory": func(e *pool.WorkerDiedError) bool { return e.MemoryKill },
	"hang":   func(e *pool.WorkerDiedError) bool { return errors.Is(e, context.DeadlineExceeded) },
}

var (
	kinds   = []string{"SIGKILL", "panic", "panic elsewhere", "os.Exit", "fatal error", "memory", "hang", "unencodable"}
	moments = []string{"initialiser", "first task", "decoding", "task", "encoding", "idle", "recycling"}
	states  = []string{"1 worker", "4 workers", "closing", "terminating"}
)

// A cell is a pool in which a bomb goes off.
type cell struct {
	*testing.T
	kind, moment, state string
	ctx                 context.Context
	options             pool.Options
	pool                *pool.Pool
	others              []*pool.Future[int]
}

func TestMatrix(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0) // what some of them say of their end would be all that one sees
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { null.Close() })
	for _, kind := range kinds {
		for _, moment := range moments {
			if why := impossible(kind, moment); why != "" {
				continue
			}
			for _, state := range states {
				t.Run(kind+"/"+moment+"/"+state, func(t *testing.T) {
					t.Parallel()
					if testing.Short() && (len(kind)+len(moment)+len(state))%5 != 0 {
						t.Skip("a fifth of the table is for -short")
					}
					c := &cell{T: t, kind: kind, moment: moment, state: state, ctx: within(t)}
					c.options = pool.Options{Workers: 1, Grace: 100 * time.Millisecond, Stderr: null}
					if state != "1 worker" {
						c.options.Workers = 4
					}
					if kind == "memory" {
						c.options.MemoryLimit = 48 << 20
					}
					switch moment {
					case "initialiser":
						c.initialiser()
					case "idle":
						c.idle()
					case "recycling":
						c.recycling()
					default:
						c.amidTask()
					}
				})
			}
		}
	}
}

// impossible says why there is no such cell.
func impossible(kind, moment string) string {
	switch {
	case kind == "unencodable" && (moment == "task" || moment == "first task" || moment == "idle" || moment == "recycling"):
		return "nothing is encoded then"
	case kind == "hang" && moment == "initialiser":
		return "it has no time limit"
	}
	return ""
}

// some submits tasks that must not be touched by what happens.
func (c *cell) some() {
	c.Helper()
	for i := range 30 {
		f, err := square.Submit(c.ctx, c.pool, i)
		if err != nil {
			c.Fatal(err)
		}
		c.others = append(c.others, f)
	}
}

// change brings the pool into its state, if that is not the one that it is in.
func (c *cell) change() {
	switch c.state {
	case "closing":
		c.pool.Close()
	case "terminating":
		c.pool.Terminate()
	}
}

// after checks what must hold in the end: the other tasks have their results, or the pool was terminated; it works on, or ends; and with it its workers.
func (c *cell) after() {
	c.Helper()
	for i, f := range c.others {
		v, err := f.Result(c.ctx)
		if i %= 30; (err != nil || v != i*i) && !(c.state == "terminating" && errors.Is(err, pool.ErrClosed)) {
			c.Fatalf("another task: %d, %v", v, err)
		}
	}
	if c.state == "1 worker" || c.state == "4 workers" {
		// Not longer than it takes to start one, and by a worker that was not hurt.
		if v, err := square.Apply(c.ctx, c.pool, 12); v != 144 || err != nil {
			c.Errorf("afterwards: %d, %v", v, err)
		}
		c.pool.Close()
	}
	pids := c.pool.PIDs()
	if err := c.pool.Join(c.ctx); err != nil {
		c.Fatalf("the pool does not end: %v; %+v %+v", err, c.pool.Stats(), c.pool.Workers())
	}
	for _, pid := range pids {
		if alive(pid) {
			c.Errorf("worker %d has outlived the pool", pid)
		}
	}
	if s := c.pool.Stats(); s.Done != s.Submitted || s.Waiting+s.Sent+s.Running != 0 || s.Workers != 0 {
		c.Errorf("%+v", s)
	}
}

// check checks the error of the task with which the bomb went off.
func (c *cell) check(task string, err error) {
	c.Helper()
	var dead *pool.WorkerDiedError
	var failed *pool.TaskError
	switch {
	case c.state == "terminating" && errors.Is(err, pool.ErrClosed):
	case c.kind == "panic":
		if !errors.As(err, &failed) || failed.Err != "a bomb" || !strings.Contains(failed.Stack, "detonate") || failed.Task != task {
			c.Errorf("error %v", err)
		}
	case c.kind == "unencodable":
		if !errors.As(err, &failed) || !strings.Contains(failed.Err, "its text says nothing") && !strings.Contains(failed.Err, "it has no text") || failed.Task != task {
			c.Errorf("error %v", err)
		}
	case !errors.As(err, &dead):
		c.Errorf("error %v", err)
	case !saysSo[c.kind](dead) || dead.PID == 0 || dead.Task != task:
		c.Errorf("%+v: %v", dead, err)
	}
}

// amidTask has it go off in a task: as the first thing that a worker ever does, while its arguments are decoded, in its function, while its result is encoded.
func (c *cell) amidTask() {
	c.pool = newPool(c, c.options)
	when := c.moment
	if when == "first task" {
		when = "task"
	} else {
		c.some()
	}
	task := carry
	if c.kind == "hang" {
		task = task.With(pool.TaskOptions{Timeout: 20 * time.Millisecond})
	}
	f, err := task.Submit(c.ctx, c.pool, charge{c.kind, when})
	if err != nil {
		c.Fatal(err)
	}
	c.some()
	if c.state == "terminating" {
		for !f.Running() && !isDone(f) {
			time.Sleep(100 * time.Microsecond)
		}
	}
	c.change()
	_, err = f.Result(c.ctx)
	c.check(task.Name(), err)
	c.after()
}

func isDone[T any](f *pool.Future[T]) bool {
	select {
	case <-f.Done():
		return true
	default:
		return false
	}
}

// idle has it go off in a worker that has nothing to do. That is nobody's loss. Who hangs is stopped, so that it does not take what it is sent.
func (c *cell) idle() {
	kind := c.kind
	if kind == "hang" {
		kind = "stop"
	}
	c.pool = newPool(c, c.options)
	c.some()
	for _, f := range c.others {
		f.Result(c.ctx)
	}
	r, w, err := os.Pipe()
	if err != nil {
		c.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	pid, err := arm.Apply(c.ctx, c.pool, armed{kind, r})
	if err != nil {
		c.Fatal(err)
	}
	w.Close()
	c.change()
	if c.state == "closing" || c.state == "terminating" {
		c.after()
		return
	}
	c.hurt(pid, kind)
	c.some()
	c.after()
}

// hurt waits until a bomb has gone off in a worker.
func (c *cell) hurt(pid int, kind string) {
	c.Helper()
	for state := ""; state != "gone" && (kind != "stop" || state != "T"); state = processState(pid) {
		if c.ctx.Err() != nil {
			c.Fatalf("worker %d is %q", pid, state)
		}
		time.Sleep(time.Millisecond)
	}
}

// processState is a process's state as /proc says it, "gone" if there is none or it is a zombie.
func processState(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "gone"
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	if rest[0] == 'Z' || rest[0] == 'X' {
		return "gone"
	}
	return rest[:1]
}

// recycling has it go off in a worker that is about to end, having done as many tasks as it may. It may still be the end of the task before, and of no other.
func (c *cell) recycling() {
	kind, task := c.kind, arm
	if kind == "hang" {
		kind, task = "stop", arm.With(pool.TaskOptions{Timeout: 50 * time.Millisecond}) // or it may stop with its result at hand, for ever
	}
	c.options.MaxTasksPerWorker = 3
	c.pool = newPool(c, c.options)
	c.some()
	var last []*pool.Future[int]
	for range 3 * c.options.Workers {
		f, err := task.Submit(c.ctx, c.pool, armed{Kind: kind})
		if err != nil {
			c.Fatal(err)
		}
		last = append(last, f)
	}
	c.change()
	var pids []int
	for _, f := range last {
		pid, err := f.Result(c.ctx)
		var dead *pool.WorkerDiedError
		switch {
		case err == nil:
			pids = append(pids, pid)
		case !errors.As(err, &dead) && !errors.Is(err, pool.ErrClosed):
			c.Errorf("error %v", err)
		}
	}
	if c.state != "closing" && c.state != "terminating" {
		for _, pid := range pids { // with a bomb that is late, it may have room for a task after all
			c.hurt(pid, kind)
		}
		c.some()
	}
	c.after()
}

// initialiser has it go off in one: of the first worker, which fails New, or of a later one in a pool that is on its way out.
func (c *cell) initialiser() {
	n, err := value.New[int64](0)
	if err != nil {
		c.Fatal(err)
	}
	defer n.Close()
	f := fuse{Kind: c.kind, Workers: n, Nth: 1}
	if c.state == "closing" || c.state == "terminating" {
		f.Nth = 2
	}
	c.options.Initializer = pool.Init(light, f)
	p, err := pool.New(c.options)
	var failed *pool.InitError
	if f.Nth == 1 {
		if p != nil || !errors.As(err, &failed) {
			c.Fatalf("New: %v", err)
		}
		// Who fails by itself will do so again. Who was killed may have been unlucky, but not for ever.
		if started := n.Load(); c.kind != "SIGKILL" && started != 1 || started > 10 {
			c.Errorf("%d workers were started", started)
		}
		return
	}
	if err != nil {
		c.Fatal(err)
	}
	c.pool = p
	// The first worker has enough to do for others to be started.
	var fs []*pool.Future[time.Duration]
	for range 8 {
		f, err := pause.Submit(c.ctx, p, 20*time.Millisecond)
		if err != nil && !errors.As(err, &failed) {
			c.Fatal(err)
		}
		if err == nil {
			fs = append(fs, f)
		}
	}
	c.change()
	for _, f := range fs {
		_, err := f.Result(c.ctx)
		if err != nil && !errors.As(err, &failed) && !errors.Is(err, pool.ErrClosed) {
			c.Errorf("error %v", err)
		}
	}
	c.after()
}

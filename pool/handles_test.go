//go:build linux

package pool_test

import (
	"context"
	"io"
	"net"
	"os"
	"testing"

	"github.com/go-multiproc/multiproc/array"
	"github.com/go-multiproc/multiproc/manager"
	"github.com/go-multiproc/multiproc/pipe"
	"github.com/go-multiproc/multiproc/pool"
	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/queue"
	"github.com/go-multiproc/multiproc/value"
)

// A toolbox is one of everything that a task can be given, deep inside.
type toolbox struct {
	Locks  map[string]*psync.Mutex
	Counts []*value.Value[int64]
	Deep   struct{ Numbers *array.Array[float64] }
	Jobs   *queue.Queue[string]
	Seen   *manager.Dict[string, int]
	Talk   *pipe.Conn
	Files  []*os.File
	Door   net.Listener
}

// use uses them all, and gives back those that can be used again, with one of its own making.
var use = pool.Register(func(ctx context.Context, b toolbox) (toolbox, error) {
	if err := b.Locks["a"].Lock(ctx); err != nil {
		return toolbox{}, err
	}
	value.Add(b.Counts[0], 1)
	b.Deep.Numbers.Store(1, 2.5)
	if err := b.Locks["a"].Unlock(); err != nil {
		return toolbox{}, err
	}
	if err := b.Jobs.Put(ctx, "from a task"); err != nil {
		return toolbox{}, err
	}
	if err := b.Seen.Set(ctx, "task", os.Getpid()); err != nil {
		return toolbox{}, err
	}
	if err := b.Talk.Send("hello"); err != nil {
		return toolbox{}, err
	}
	if _, err := b.Files[0].WriteString("written"); err != nil {
		return toolbox{}, err
	}
	c, err := net.Dial("tcp", b.Door.Addr().String())
	if err != nil {
		return toolbox{}, err
	}
	c.Close()
	made, err := value.New[int64](77)
	if err != nil {
		return toolbox{}, err
	}
	return toolbox{Locks: b.Locks, Counts: append(b.Counts, made), Jobs: b.Jobs, Seen: b.Seen, Files: b.Files}, nil
})

// Handles of every kind cross into a task and out of it, wherever they stand.
func TestEveryHandleCrosses(t *testing.T) {
	ctx := within(t)
	p := newPool(t, pool.Options{Workers: 2})
	fail := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var b toolbox
	mu, err := psync.NewMutex()
	fail(err)
	defer mu.Close()
	b.Locks = map[string]*psync.Mutex{"a": mu, "none": nil}
	n, err := value.New[int64](0)
	fail(err)
	defer n.Close()
	b.Counts = []*value.Value[int64]{n}
	b.Deep.Numbers, err = array.New[float64](3)
	fail(err)
	defer b.Deep.Numbers.Close()
	b.Jobs, err = queue.New[string](queue.Options{})
	fail(err)
	defer b.Jobs.Close()
	m, err := manager.Start(manager.Options{})
	fail(err)
	defer m.Shutdown(ctx)
	b.Seen, err = manager.NewDict[string, int](m)
	fail(err)
	here, there, err := pipe.New()
	fail(err)
	defer here.Close()
	b.Talk = there
	r, w, err := os.Pipe()
	fail(err)
	defer r.Close()
	b.Files = []*os.File{w}
	b.Door, err = net.Listen("tcp", "127.0.0.1:0")
	fail(err)
	defer b.Door.Close()

	got, err := use.Apply(ctx, p, b)
	fail(err)
	if n.Load() != 1 || b.Deep.Numbers.Load(1) != 2.5 || got.Counts[1].Load() != 77 {
		t.Errorf("%d, %v, %d", n.Load(), b.Deep.Numbers.Load(1), got.Counts[1].Load())
	}
	if s, err := b.Jobs.Get(ctx); s != "from a task" || err != nil {
		t.Errorf("%q %v", s, err)
	}
	if pid, ok, err := b.Seen.Get(ctx, "task"); pid == os.Getpid() || !ok || err != nil {
		t.Errorf("%d %v %v", pid, ok, err)
	}
	var hello string
	if err := here.Recv(&hello); hello != "hello" || err != nil {
		t.Errorf("%q %v", hello, err)
	}
	// The end that was given away has moved, and ended with the task.
	if err := here.Recv(&hello); err != io.EOF {
		t.Errorf("after the task: %q %v", hello, err)
	}
	w.Close()
	got.Files[0].Close()
	if all, err := io.ReadAll(r); string(all) != "written" || err != nil {
		t.Errorf("%q %v", all, err)
	}
	// What came back is the same as what went.
	fail(got.Locks["a"].Lock(ctx))
	if ok, err := mu.TryLock(); ok || err != nil {
		t.Error("the lock that came back is another one")
	}
	fail(got.Locks["a"].Unlock())
	value.Add(got.Counts[0], 1)
	if n.Load() != 2 || got.Locks["none"] != nil {
		t.Error("the value that came back is another one")
	}
}

// A task that is cancelled before it begins leaves the handles of its arguments where they were.
func TestHandlesOfATaskThatNeverRanStay(t *testing.T) {
	ctx := within(t)
	p := newPool(t, pool.Options{Workers: 1})
	busy, err := block.Submit(ctx, p, 0)
	if err != nil {
		t.Fatal(err)
	}
	here, there, err := pipe.New()
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	defer there.Close()
	f, err := use.Submit(ctx, p, toolbox{Talk: there})
	if err != nil {
		t.Fatal(err)
	}
	if !f.Cancel() {
		t.Fatal("it cannot be cancelled")
	}
	if err := there.Send("still here"); err != nil {
		t.Errorf("the pipe's end that did not go: %v", err)
	}
	var s string
	if err := here.Recv(&s); s != "still here" || err != nil {
		t.Errorf("%q %v", s, err)
	}
	busy.Cancel()
}

// Workers are started by every method, and replaced.
func TestMethods(t *testing.T) {
	for _, method := range []process.Method{process.Spawn, process.Fork, process.ForkServer} {
		t.Run(method.String(), func(t *testing.T) {
			n, err := value.New[int64](0)
			if err != nil {
				t.Fatal(err)
			}
			defer n.Close()
			p := newPool(t, pool.Options{Workers: 2, Method: method, Initializer: pool.Init(prepare, method.String()), MaxTasksPerWorker: 20})
			if _, err := killSelf.Apply(within(t), p, 9); err == nil {
				t.Error("no error of a task that killed its worker")
			}
			vs := make([]*value.Value[int64], 100)
			for i := range vs {
				vs[i] = n
			}
			if _, err := add.With(pool.TaskOptions{Chunk: 1}).Map(within(t), p, vs); err != nil || n.Load() != 100 {
				t.Errorf("%d, %v", n.Load(), err)
			}
			if s, err := getPrepared.Apply(within(t), p, 0); s != method.String() || err != nil {
				t.Errorf("%q %v", s, err)
			}
		})
	}
}

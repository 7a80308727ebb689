//go:build linux

package pool_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/pool"
	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/value"
)

type person struct {
	Name string
	Tags map[string]int
	At   time.Time
}

var errEmpty = pool.RegisterError(errors.New("nothing in it"))

var (
	square = pool.Register(func(_ context.Context, n int) (int, error) { return n * n, nil })
	greet  = pool.Register(func(_ context.Context, p person) (person, error) {
		p.Name = "hello " + p.Name
		return p, nil
	})
	pid    = pool.Register(func(_ context.Context, _ int) (int, error) { return os.Getpid(), nil })
	repeat = pool.Register(func(_ context.Context, n int) (string, error) { return strings.Repeat("x", n), nil })
	length = pool.Register(func(_ context.Context, s string) (int, error) { return len(s), nil })
	open   = pool.Register(func(_ context.Context, path string) (int, error) { _, err := os.Open(path); return 0, err })
	empty  = pool.Register(func(context.Context, int) (int, error) { return 0, fmt.Errorf("line 3: %w", errEmpty) })
	long   = pool.Register(func(_ context.Context, n int) (int, error) { return 0, errors.New(strings.Repeat("e", n)) })
	panics = pool.Register(func(_ context.Context, s string) (int, error) { panic("oh " + s) })
	block  = pool.Register(func(ctx context.Context, _ int) (int, error) { <-ctx.Done(); return 0, ctx.Err() })
	hang   = pool.Register(func(ctx context.Context, _ int) (int, error) { select {} })
	pause  = pool.Register(func(ctx context.Context, d time.Duration) (time.Duration, error) { time.Sleep(d); return d, nil })
	await  = pool.Register(func(_ context.Context, path string) (string, error) { // whatever its ctx says; "" is there at once
		for path != "" {
			if _, err := os.Stat(path); err == nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
		return path, nil
	})
	add    = pool.Register(func(_ context.Context, v *value.Value[int64]) (int64, error) { return value.Add(v, 1), nil })
	opened = pool.Register(func(_ context.Context, path string) (*os.File, error) { return os.Open(path) })
	bad    = pool.Register(func(context.Context, int) (any, error) { return make(chan int), nil })
	byName = pool.RegisterName("a name", func(_ context.Context, s string) (string, error) { return s + "!", nil })
)

func TestApply(t *testing.T) {
	executors(t, func(t *testing.T, e pool.Executor) {
		ctx := within(t)
		if n, err := square.Apply(ctx, e, 7); n != 49 || err != nil {
			t.Errorf("%v %v", n, err)
		}
		p := person{"ann", map[string]int{"a": 1}, time.Now().UTC().Round(0)}
		if got, err := greet.Apply(ctx, e, p); err != nil || got.Name != "hello ann" || got.Tags["a"] != 1 || !got.At.Equal(p.At) {
			t.Errorf("%v %v", got, err)
		}
		if s, err := byName.Apply(ctx, e, "named"); s != "named!" || err != nil {
			t.Errorf("%v %v", s, err)
		}
		n, err := pid.Apply(ctx, e, 0)
		if _, processes := e.(*pool.Pool); err != nil || (n != os.Getpid()) != processes {
			t.Errorf("pid %d %v", n, err)
		}
	})
}

func cubed(_ context.Context, n int) (int, error) { return n * n * n, nil }

var cubing = pool.Register(cubed)

// A task's name leads to its function.
func TestName(t *testing.T) {
	for _, c := range []struct{ name, prefix, suffix string }{
		{byName.Name(), "a name", "a name"},
		{cubing.Name(), "github.com/go-multiproc/multiproc/pool_test.cubed", "cubed"},
		{square.Name(), "github.com/go-multiproc/multiproc/pool_test.", ")"},
	} {
		if !strings.HasPrefix(c.name, c.prefix) || !strings.HasSuffix(c.name, c.suffix) {
			t.Errorf("%q", c.name)
		}
	}
	if !strings.Contains(square.Name(), "(pool_test.go:") {
		t.Errorf("%q", square.Name())
	}
}

func TestErrors(t *testing.T) {
	executors(t, func(t *testing.T, e pool.Executor) {
		ctx := within(t)
		_, err := open.Apply(ctx, e, "/no/such/file")
		var te *pool.TaskError
		if !errors.As(err, &te) || !errors.Is(err, fs.ErrNotExist) || !strings.Contains(te.Err, "open /no/such/file: no such file") {
			t.Errorf("%v", err)
		}
		if _, err = empty.Apply(ctx, e, 0); !errors.Is(err, errEmpty) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v", err)
		}
		_, err = panics.Apply(ctx, e, "dear")
		if !errors.As(err, &te) || te.Err != "oh dear" || !strings.Contains(te.Stack, "pool_test.go") {
			t.Errorf("%v, stack %q", err, te.Stack)
		}
		if _, err = long.Apply(ctx, e, 1<<20); err == nil || len(err.Error()) < 1<<20 {
			t.Errorf("%.100v", err)
		}
		// None of these was the end of a worker.
		if p, ok := e.(*pool.Pool); ok && p.Stats().Died > 0 {
			t.Errorf("%+v", p.Stats())
		}
	})
}

func TestWhatCannotCrossIsRefused(t *testing.T) {
	p := newPool(t, pool.Options{Workers: 1})
	_, err := bad.Apply(within(t), p, 0)
	var te *pool.TaskError
	if !errors.As(err, &te) || !strings.Contains(te.Err, "result: a chan int cannot be passed") {
		t.Errorf("%v", err)
	}
	if n, err := square.Apply(within(t), p, 3); n != 9 || err != nil || p.Stats().Died != 0 {
		t.Errorf("afterwards: %v %v", n, err)
	}
}

func TestMapKeepsOrder(t *testing.T) {
	executors(t, func(t *testing.T, e pool.Executor) {
		for _, n := range []int{0, 1, 2, 7, 8, 9, 1000, 100_000} {
			for _, chunk := range []int{0, 1, 3} {
				if n > 10_000 && chunk > 0 {
					continue
				}
				in := make([]int, n)
				for i := range in {
					in[i] = i
				}
				out, err := square.With(pool.TaskOptions{Chunk: chunk}).Map(within(t), e, in)
				if err != nil || len(out) != n {
					t.Fatalf("%d by %d: %d results, %v", n, chunk, len(out), err)
				}
				for i, v := range out {
					if v != i*i {
						t.Fatalf("%d by %d: out[%d] = %d", n, chunk, i, v)
					}
				}
			}
		}
	})
}

func TestMapOfStructsAndItsError(t *testing.T) {
	executors(t, func(t *testing.T, e pool.Executor) {
		in := make([]person, 50)
		for i := range in {
			in[i].Name = fmt.Sprint(i)
		}
		out, err := greet.Map(within(t), e, in)
		if err != nil || out[49].Name != "hello 49" {
			t.Errorf("%v", err)
		}
		_, err = open.With(pool.TaskOptions{Chunk: 1}).Map(within(t), e, []string{"/dev/null", "/no/a", "/no/b"})
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v", err)
		}
	})
}

func TestIMap(t *testing.T) {
	executors(t, func(t *testing.T, e pool.Executor) {
		endless := func(yield func(int) bool) {
			for i := 0; yield(i); i++ {
			}
		}
		for _, chunk := range []int{0, 5} {
			task := square.With(pool.TaskOptions{Chunk: chunk})
			i := 0
			for v, err := range task.IMap(within(t), e, endless) {
				if err != nil || v != i*i {
					t.Fatalf("%d: %d %v", i, v, err)
				}
				if i++; i == 3000 {
					break
				}
			}
			seen := map[int]bool{}
			for v, err := range task.IMapUnordered(within(t), e, slices.Values([]int{1, 2, 3, 4, 5, 6, 7})) {
				if err != nil {
					t.Fatal(err)
				}
				seen[v] = true
			}
			if len(seen) != 7 || !seen[49] {
				t.Errorf("%v", seen)
			}
		}
	})
}

func TestLargeArgumentsAndResults(t *testing.T) {
	p := newPool(t, pool.Options{Workers: 2})
	const n = 100 << 20
	s, err := repeat.Apply(within(t), p, n)
	if err != nil || len(s) != n {
		t.Fatalf("%d bytes, %v", len(s), err)
	}
	if l, err := length.Apply(within(t), p, s); l != n || err != nil {
		t.Errorf("%d %v", l, err)
	}
	// Between the ring's quarter and its end, and across it, many times.
	for n := 1; n < 1<<18; n = n*2 + 1 {
		fs := make([]*pool.Future[string], 40)
		for i := range fs {
			if fs[i], err = repeat.Submit(within(t), p, n); err != nil {
				t.Fatal(err)
			}
		}
		for _, f := range fs {
			if s, err := f.Result(within(t)); len(s) != n || err != nil {
				t.Fatalf("%d: %d %v", n, len(s), err)
			}
		}
	}
}

func TestHandles(t *testing.T) {
	p := newPool(t, pool.Options{Workers: 2})
	v, err := value.New[int64](0)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	vs := make([]*value.Value[int64], 100)
	for i := range vs {
		vs[i] = v
	}
	if _, err := add.Map(within(t), p, vs); err != nil {
		t.Fatal(err)
	}
	if n, err := add.Apply(within(t), p, v); n != 101 || err != nil || v.Load() != 101 {
		t.Errorf("%d %v", n, err)
	}
	f, err := opened.Apply(within(t), p, "/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 5)
	if _, err := f.Read(b); err != nil || string(b) != "Name:" {
		t.Errorf("%q %v", b, err)
	}
}

func TestFutures(t *testing.T) {
	executors(t, func(t *testing.T, e pool.Executor) {
		ctx := within(t)
		f, err := block.Submit(ctx, e, 0)
		if err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		g, _ := square.Submit(ctx, e, 5)
		called := make(chan int, 1)
		g.OnDone(func(g *pool.Future[int]) { n, _ := g.Result(ctx); called <- n })
		if n := <-called; n != 25 {
			t.Errorf("OnDone: %d", n)
		}
		done, pending, err := pool.Wait(short, []*pool.Future[int]{f, g}, pool.AllCompleted)
		var u *pool.UnfinishedError
		if !errors.As(err, &u) || !strings.Contains(err.Error(), "1 (of 2) futures unfinished") || !errors.Is(err, context.DeadlineExceeded) || len(done) != 1 || len(pending) != 1 {
			t.Errorf("%v", err)
		}
		for !f.Running() {
			select {
			case <-f.Done():
				t.Fatal("it has ended")
			case <-time.After(time.Millisecond):
			}
		}
		if !f.Cancel() {
			t.Error("Cancel of a running task said no")
		}
		if _, err := f.Result(ctx); !errors.Is(err, pool.ErrCancelled) {
			t.Errorf("%v", err)
		}
		if f.Cancel() {
			t.Error("Cancel of one that has ended said yes")
		}
		if p, ok := e.(*pool.Pool); ok && p.Stats().Died != 0 {
			t.Error("the worker was killed, although the task heeded its ctx")
		}
	})
}

// newGate returns what await waits for, and the function that lets it go on, as the end of the test does.
func newGate(t *testing.T) (path string, open func()) {
	path = filepath.Join(t.TempDir(), "open")
	open = func() {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(open)
	return path, open
}

func TestAsCompleted(t *testing.T) {
	executors(t, func(t *testing.T, e pool.Executor) {
		path, open := newGate(t)
		var fs []*pool.Future[string]
		for _, path := range []string{path, ""} {
			f, err := await.Submit(within(t), e, path)
			if err != nil {
				t.Fatal(err)
			}
			fs = append(fs, f)
		}
		var got []*pool.Future[string]
		for f, err := range pool.AsCompleted(within(t), fs) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, f)
			open()
		}
		if !slices.Equal(got, []*pool.Future[string]{fs[1], fs[0]}) {
			t.Errorf("%v of %v", got, fs)
		}
	})
}

func TestCancelOfWaiting(t *testing.T) {
	p := newPool(t, pool.Options{Workers: 1, Grace: time.Second})
	first, _ := block.Submit(within(t), p, 0)
	var rest []*pool.Future[int]
	for range 10 {
		f, err := hang.Submit(within(t), p, 0)
		if err != nil {
			t.Fatal(err)
		}
		rest = append(rest, f)
	}
	for _, f := range rest {
		if !f.Cancel() {
			t.Error("Cancel of a waiting task said no")
		}
		if _, err := f.Result(within(t)); err != pool.ErrCancelled {
			t.Errorf("%v", err)
		}
	}
	first.Cancel()
	if n, err := square.Apply(within(t), p, 2); n != 4 || err != nil {
		t.Errorf("%d %v", n, err)
	}
}

func TestKilledWorkerFailsItsTaskOnly(t *testing.T) {
	p := newPool(t, pool.Options{Workers: 2, Grace: 50 * time.Millisecond})
	f, err := hang.Submit(within(t), p, 0)
	if err != nil {
		t.Fatal(err)
	}
	for !f.Running() {
		time.Sleep(time.Millisecond)
	}
	others, err := square.MapAsync(within(t), p, make([]int, 10000))
	if err != nil {
		t.Fatal(err)
	}
	f.Cancel()
	_, err = f.Result(within(t))
	var dead *pool.WorkerDiedError
	if !errors.As(err, &dead) || !errors.Is(err, pool.ErrCancelled) || dead.Signal.String() != "killed" {
		t.Errorf("%v", err)
	}
	if _, err := others.Result(within(t)); err != nil {
		t.Error(err)
	}
}

func TestTimeout(t *testing.T) {
	executors(t, func(t *testing.T, e pool.Executor) {
		_, err := block.With(pool.TaskOptions{Timeout: 20 * time.Millisecond}).Apply(within(t), e, 0)
		var te *pool.TaskError
		if !errors.As(err, &te) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
	p := newPool(t, pool.Options{Workers: 1, Grace: 20 * time.Millisecond, TaskTimeout: 20 * time.Millisecond})
	_, err := hang.Apply(within(t), p, 0)
	var dead *pool.WorkerDiedError
	if !errors.As(err, &dead) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if n, err := square.Apply(within(t), p, 2); n != 4 || err != nil {
		t.Errorf("%d %v", n, err)
	}
}

func TestCloseRunsWhatWaits(t *testing.T) {
	executors(t, func(t *testing.T, e pool.Executor) {
		if err := e.Join(within(t)); err == nil {
			t.Error("Join of an open pool")
		}
		var fs []*pool.Future[int]
		for i := range 1000 {
			f, err := square.Submit(within(t), e, i)
			if err != nil {
				t.Fatal(err)
			}
			fs = append(fs, f)
		}
		e.Close()
		if _, err := square.Submit(within(t), e, 1); err != pool.ErrClosed {
			t.Errorf("%v", err)
		}
		if err := e.Join(within(t)); err != nil {
			t.Fatal(err)
		}
		for i, f := range fs {
			if n, err := f.Result(within(t)); n != i*i || err != nil {
				t.Fatalf("%d %v", n, err)
			}
		}
	})
}

func TestTerminate(t *testing.T) {
	executors(t, func(t *testing.T, e pool.Executor) {
		var fs []*pool.Future[int]
		for range 20 {
			f, err := block.Submit(within(t), e, 0)
			if err != nil {
				t.Fatal(err)
			}
			fs = append(fs, f)
		}
		for !slices.ContainsFunc(fs, (*pool.Future[int]).Running) {
			time.Sleep(time.Millisecond)
		}
		e.Terminate()
		for _, f := range fs {
			if _, err := f.Result(within(t)); !errors.Is(err, pool.ErrClosed) {
				t.Errorf("%v", err)
			}
		}
		if err := e.Join(within(t)); err != nil {
			t.Error(err)
		}
	})
}

var prepared string

var (
	prepare     = process.Register(func(_ context.Context, s string) error { prepared = s; return nil })
	failPrepare = process.Register(func(_ context.Context, s string) error { return fmt.Errorf("no %s: %w", s, fs.ErrNotExist) })
	diePrepare  = process.Register(func(_ context.Context, s string) error { panic(s) })
	getPrepared = pool.Register(func(context.Context, int) (string, error) { return prepared, nil })
)

func TestInitializer(t *testing.T) {
	p := newPool(t, pool.Options{Workers: 2, Initializer: pool.Init(prepare, "ready")})
	got, err := getPrepared.With(pool.TaskOptions{Chunk: 1}).Map(within(t), p, make([]int, 20))
	if err != nil || slices.ContainsFunc(got, func(s string) bool { return s != "ready" }) {
		t.Errorf("%q %v", got, err)
	}
	for name, fn := range map[string]*process.Func[string]{"returns an error": failPrepare, "panics": diePrepare} {
		_, err := pool.New(pool.Options{Initializer: pool.Init(fn, "matter")})
		var e *pool.InitError
		if !errors.As(err, &e) || !strings.Contains(err.Error(), "matter") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMaxTasksPerWorker(t *testing.T) {
	p := newPool(t, pool.Options{Workers: 2, MaxTasksPerWorker: 10})
	var fs []*pool.Future[int]
	for range 200 {
		f, err := pid.Submit(within(t), p, 0)
		if err != nil {
			t.Fatal(err)
		}
		fs = append(fs, f)
	}
	by := map[int]int{}
	for _, f := range fs {
		n, err := f.Result(within(t))
		if err != nil {
			t.Fatal(err)
		}
		by[n]++
	}
	for pid, n := range by {
		if n > 10 {
			t.Errorf("worker %d ran %d tasks", pid, n)
		}
	}
	if p.Stats().Died != 0 {
		t.Errorf("%+v", p.Stats())
	}
}

func TestLongTasksStrandNoOthers(t *testing.T) {
	p := newPool(t, pool.Options{Workers: 2})
	path, open := newGate(t)
	// Both workers learn that await is short.
	for range 2 {
		if _, err := await.With(pool.TaskOptions{Chunk: 1}).Map(within(t), p, make([]string, 2000)); err != nil {
			t.Fatal(err)
		}
	}
	f, err := await.Submit(within(t), p, path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := await.With(pool.TaskOptions{Chunk: 1}).Map(within(t), p, make([]string, 2000)); err != nil {
		t.Fatalf("tasks wait behind a long one: %v", err)
	}
	if isDone(f) {
		t.Error("the long one has ended too soon")
	}
	open()
	if _, err := f.Result(within(t)); err != nil {
		t.Error(err)
	}
}

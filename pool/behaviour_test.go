//go:build linux

package pool_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/pool"
)

// bounded are both kinds of executors, with one worker, and room for two tasks that wait.
func bounded(t *testing.T, test func(t *testing.T, e pool.Executor)) {
	t.Run("processes", func(t *testing.T) { test(t, newPool(t, pool.Options{Workers: 1, Prefetch: 1, Backlog: 2})) })
	t.Run("goroutines", func(t *testing.T) {
		g := pool.NewGoroutines(1, pool.GoroutineOptions{Backlog: 2})
		t.Cleanup(func() { g.Terminate(); g.Join(context.Background()) })
		test(t, g)
	})
}

// Where the backlog is full, who submits waits: until there is room, until its ctx ends, or until the pool does.
func TestBacklog(t *testing.T) {
	bounded(t, func(t *testing.T, e pool.Executor) {
		ctx := within(t)
		first, err := block.Submit(ctx, e, 0)
		if err != nil {
			t.Fatal(err)
		}
		for !first.Running() {
			if ctx.Err() != nil {
				t.Fatal("it does not run")
			}
			time.Sleep(time.Millisecond)
		}
		var waiting []*pool.Future[int]
		for range 2 {
			f, err := square.Submit(ctx, e, 3)
			if err != nil {
				t.Fatal(err)
			}
			waiting = append(waiting, f)
		}
		short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		defer cancel()
		if _, err := square.Submit(short, e, 3); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "2 tasks wait, and no more may") {
			t.Errorf("with a full backlog: %v", err)
		}
		if s := e.Stats(); s.Waiting != 2 || s.Submitted != 3 || s.Running != 1 {
			t.Errorf("%+v", s)
		}
		// Several wait for room; those that have given up keep none from the others.
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				if n, err := square.Apply(ctx, e, 4); n != 16 || err != nil {
					t.Errorf("one that waited for room: %d, %v", n, err)
				}
			})
			wg.Go(func() {
				short, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
				defer cancel()
				square.Submit(short, e, 4)
			})
		}
		if !waiting[0].Cancel() { // room for one
			t.Error("Cancel of a waiting task said no")
		}
		first.Cancel()
		wg.Wait()
		if n, err := waiting[1].Result(ctx); n != 9 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		// Maps go through, however small the backlog.
		if out, err := square.With(pool.TaskOptions{Chunk: 1}).Map(ctx, e, make([]int, 500)); len(out) != 500 || err != nil {
			t.Errorf("%d, %v", len(out), err)
		}
		n := 0
		for _, err := range square.IMap(ctx, e, func(yield func(int) bool) {
			for i := range 500 {
				if !yield(i) {
					return
				}
			}
		}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != 500 {
			t.Errorf("IMap: %d", n)
		}
		// The end of the pool is the end of waiting for room.
		second, err := block.Submit(ctx, e, 0)
		if err != nil {
			t.Fatal(err)
		}
		refused := make(chan error)
		go func() {
			for {
				if _, err := block.Submit(ctx, e, 0); err != nil {
					refused <- err
					return
				}
			}
		}()
		for e.Stats().Waiting < 2 {
			time.Sleep(time.Millisecond)
		}
		e.Terminate()
		if err := <-refused; err != pool.ErrClosed {
			t.Errorf("after Terminate: %v", err)
		}
		if _, err := second.Result(ctx); !errors.Is(err, pool.ErrClosed) {
			t.Errorf("%v", err)
		}
	})
}

// Progress tells of all tasks in the end, by both kinds.
func TestProgress(t *testing.T) {
	var mu sync.Mutex
	last := pool.Stats{}
	inside := 0
	reached := make(chan pool.Stats, 1)
	progress := func(s pool.Stats) {
		mu.Lock()
		defer mu.Unlock()
		if inside++; inside > 1 {
			t.Error("two calls at a time")
		}
		if s.Done < last.Done || s.Done+s.Waiting+s.Sent != s.Submitted || s.Running > 2 {
			t.Errorf("%+v after %+v", s, last)
		}
		last = s
		inside--
		if s.Done == 301 {
			reached <- s
		}
	}
	for name, e := range map[string]pool.Executor{
		"processes":  newPool(t, pool.Options{Workers: 2, Progress: progress}),
		"goroutines": pool.NewGoroutines(2, pool.GoroutineOptions{Progress: progress}),
	} {
		t.Run(name, func(t *testing.T) {
			mu.Lock()
			last = pool.Stats{}
			mu.Unlock()
			ctx := within(t)
			if _, err := square.With(pool.TaskOptions{Chunk: 2}).Map(ctx, e, make([]int, 600)); err != nil {
				t.Fatal(err)
			}
			open.Apply(ctx, e, "/no/such/file")
			select {
			case s := <-reached:
				if s.Failed != 1 || s.Submitted != 301 || s.Elements != 601 || s.ElementsDone != 601 {
					t.Errorf("%+v", s)
				}
			case <-ctx.Done():
				t.Fatalf("no call for the last task: %+v", e.Stats())
			}
			e.Terminate()
			if err := e.Join(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}

// A pool says of each worker what it has done and does, and in its log who died and who took its place.
func TestWorkersAndLog(t *testing.T) {
	var mu sync.Mutex
	var out bytes.Buffer
	p := newPool(t, pool.Options{Workers: 1, Name: "carver", Log: slog.New(slog.NewTextHandler(&guarded{&mu, &out}, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	ctx := within(t)
	if ws := p.Workers(); len(ws) != 0 {
		t.Errorf("before there is work: %+v", ws)
	}
	for range 3 {
		if _, err := pause.Apply(ctx, p, 5*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	panics.Apply(ctx, p, "dear")
	ws := p.Workers()
	if len(ws) != 1 {
		t.Fatalf("%+v", ws)
	}
	w := ws[0]
	if w.Name != "carver-1" || w.PID != p.PIDs()[0] || w.State != "ready" || w.Replaces != "" || w.Done != 4 || w.Failed != 1 || w.Sent != 0 || w.Task != "" || w.Running != 0 {
		t.Errorf("%+v", w)
	}
	if w.Busy < 15*time.Millisecond || w.Busy > w.Started || w.MemoryPeak < 1<<20 {
		t.Errorf("busy %v of %v, %d bytes at most", w.Busy, w.Started, w.MemoryPeak)
	}
	f, err := block.Submit(ctx, p, 0)
	if err != nil {
		t.Fatal(err)
	}
	for !f.Running() {
		time.Sleep(time.Millisecond)
	}
	if w := p.Workers()[0]; w.Task != block.Name() || w.Sent != 1 || w.Running == 0 {
		t.Errorf("%+v", w)
	}
	if s := p.Stats(); s.Running != 1 || s.Sent != 1 {
		t.Errorf("%+v", s)
	}
	f.Cancel()
	f.Result(ctx)
	killSelf.Apply(ctx, p, int(syscall.SIGKILL))
	if _, err := square.Apply(ctx, p, 2); err != nil {
		t.Fatal(err)
	}
	if ws := p.Workers(); len(ws) != 1 || ws[0].Name != "carver-2" || ws[0].Replaces != "carver-1" || ws[0].Done != 1 {
		t.Errorf("%+v", ws)
	}
	p.Close()
	if err := p.Join(ctx); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, want := range []string{
		`level=DEBUG msg="a worker of a pool has started" worker=carver-1`,
		`level=WARN msg="a worker of a pool died" worker=carver-1`, `failed=1`, `signal 9`,
		`level=INFO msg="a worker of a pool has taken the place of one that died" worker=carver-2`, `replaces=carver-1`,
		`level=DEBUG msg="a worker of a pool has ended" worker=carver-2`,
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in the log:\n%s", want, out.String())
		}
	}
}

var (
	nestedPool  *pool.Pool
	nestedGroup *pool.Goroutines

	inner     = pool.Register(func(ctx context.Context, n int) (int, error) { return n + 1, nil })
	outer     = pool.Register(func(ctx context.Context, n int) (int, error) { return inner.Apply(ctx, nestedGroup, n) })
	outerPool = pool.Register(func(ctx context.Context, n int) (int, error) { return inner.Apply(ctx, nestedPool, n) })
	outerLost = pool.Register(func(_ context.Context, n int) (int, error) { return inner.Apply(context.Background(), nestedGroup, n) })
	outerMap  = pool.Register(func(ctx context.Context, n int) (int, error) {
		_, err := outerLost.Map(ctx, nestedGroup, []int{1, 2, n})
		return n + 1, err
	})
	outerStream = pool.Register(func(ctx context.Context, n int) (int, error) {
		for v, err := range outer.IMapUnordered(context.Background(), nestedGroup, func(yield func(int) bool) { yield(n) }) {
			return v, err
		}
		return 0, errors.New("no result")
	})
	outerWait = pool.Register(func(ctx context.Context, n int) (int, error) {
		f, err := outer.Submit(ctx, nestedGroup, n)
		if err != nil {
			return 0, err
		}
		if _, _, err := pool.Wait(context.Background(), []*pool.Future[int]{f}, pool.AllCompleted); err != nil {
			return 0, err
		}
		return f.Result(ctx)
	})
	ownPool = pool.Register(func(ctx context.Context, n int) (int, error) {
		p, err := pool.New(pool.Options{Workers: 1})
		if err != nil {
			return 0, err
		}
		defer p.Terminate()
		return inner.Apply(ctx, p, n)
	})
)

// A task that submits to its own executor does not wait for itself: a goroutine gives its place away, with whatever ctx it waits; a worker process has no such pool, and hears so.
func TestNested(t *testing.T) {
	g := pool.NewGoroutines(1, pool.GoroutineOptions{Backlog: 1})
	nestedGroup = g
	defer g.Terminate()
	for name, task := range map[string]*pool.Task[int, int]{"its ctx": outer, "another ctx": outerLost, "Map": outerMap, "IMap": outerStream, "Wait": outerWait} {
		if n, err := task.Apply(within(t), g, 3); n != 4 || err != nil {
			t.Errorf("%s: %d %v", name, n, err)
		}
		fs := make([]*pool.Future[int], 20)
		for i := range fs {
			var err error
			if fs[i], err = task.Submit(within(t), g, i); err != nil {
				t.Fatal(err)
			}
		}
		for i, f := range fs {
			if n, err := f.Result(within(t)); n != i+1 || err != nil {
				t.Errorf("%s, %d: %d %v", name, i, n, err)
			}
		}
	}
	if s := g.Stats(); s.Running != 0 || s.Waiting != 0 {
		t.Errorf("%+v", s)
	}
	p := newPool(t, pool.Options{Workers: 1})
	nestedPool = p
	if _, err := outerPool.Apply(within(t), p, 3); err == nil || !strings.Contains(err.Error(), "there is no pool in this process") {
		t.Errorf("%v", err)
	}
	if n, err := ownPool.Apply(within(t), p, 3); n != 4 || err != nil {
		t.Errorf("a pool of its own: %d %v", n, err)
	}
}

// A pool that is made smaller while its workers start has no more of them in the end than it was told.
func TestResizeWhileWorkersStart(t *testing.T) {
	ctx := within(t)
	p := newPool(t, pool.Options{Workers: 4})
	var fs []*pool.Future[int]
	for range 4 {
		f, err := block.Submit(ctx, p, 0)
		if err != nil {
			t.Fatal(err)
		}
		fs = append(fs, f)
	}
	if s := p.Stats(); s.Workers != 4 {
		t.Fatalf("%+v", s)
	}
	if err := p.Resize(1); err != nil {
		t.Fatal(err)
	}
	for s := p.Stats(); s.Running == 0 || s.Workers > 1; s = p.Stats() {
		if ctx.Err() != nil {
			t.Fatalf("%+v", s)
		}
		time.Sleep(time.Millisecond)
	}
	for _, f := range fs {
		f.Cancel()
	}
	if n, err := square.Apply(ctx, p, 5); n != 25 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if s := p.Stats(); s.Died != 0 || s.Workers != 1 {
		t.Errorf("%+v", s)
	}
}

// A pool that is made smaller stops workers that are busy when they have finished what they run, and runs elsewhere what they had not begun.
func TestResizeOfABusyPool(t *testing.T) {
	ctx := within(t)
	p := newPool(t, pool.Options{Workers: 3})
	var fs []*pool.Future[int]
	for range 3 {
		f, err := block.Submit(ctx, p, 0)
		if err != nil {
			t.Fatal(err)
		}
		fs = append(fs, f)
	}
	for p.Stats().Running < 3 {
		if ctx.Err() != nil {
			t.Fatalf("%+v", p.Stats())
		}
		time.Sleep(time.Millisecond)
	}
	rest, err := square.MapAsync(ctx, p, make([]int, 100))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Resize(1); err != nil {
		t.Fatal(err)
	}
	if s := p.Stats(); s.Workers != 1 || s.Running != 3 {
		t.Errorf("%+v", s)
	}
	for _, f := range fs {
		f.Cancel()
		if _, err := f.Result(ctx); !errors.Is(err, pool.ErrCancelled) {
			t.Errorf("%v", err)
		}
	}
	if _, err := rest.Result(ctx); err != nil {
		t.Error(err)
	}
	for len(p.PIDs()) > 1 {
		if ctx.Err() != nil {
			t.Fatalf("%+v", p.Workers())
		}
		time.Sleep(time.Millisecond)
	}
	if s := p.Stats(); s.Died != 0 || s.Workers != 1 {
		t.Errorf("%+v", s)
	}
}

// sentAhead submits a task that waits until it may go on, and one that is sent to p's only worker while that has the first.
func sentAhead(t *testing.T, p *pool.Pool, o pool.TaskOptions) (first, second *pool.Future[string], goOn func()) {
	t.Helper()
	ctx := within(t)
	for {
		// It learns that they are short, and is sent several. On a busy machine they may take long all the same, or the worker seem to be late.
		if _, err := await.With(pool.TaskOptions{Chunk: 1}).Map(ctx, p, make([]string, 2000)); err != nil {
			t.Fatalf("no second one is ever sent ahead: %v", err)
		}
		path, open := newGate(t)
		var err error
		if first, err = await.Submit(ctx, p, path); err != nil {
			t.Fatal(err)
		}
		if second, err = await.With(o).Submit(ctx, p, ""); err != nil {
			t.Fatal(err)
		}
		if p.Stats().Sent == 2 {
			return first, second, open
		}
		open()
		if _, err := second.Result(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// The clock of a time limit starts when the worker begins, however long the task has waited there.
func TestTimeLimitStartsWithTheTask(t *testing.T) {
	ctx := within(t)
	const limit, grace = 20 * time.Millisecond, time.Second // a worker may have to wait for its CPU for nearly as long
	p := newPool(t, pool.Options{Workers: 1, Grace: grace})
	first, second, goOn := sentAhead(t, p, pool.TaskOptions{Timeout: limit})
	time.Sleep(limit + grace + 200*time.Millisecond) // longer than it may take
	goOn()
	if _, err := second.Result(ctx); err != nil {
		t.Errorf("one that has waited behind a long one: %v", err)
	}
	if _, err := first.Result(ctx); err != nil || p.Stats().Died > 0 {
		t.Errorf("%v, %+v", err, p.Stats())
	}
}

// With a grace period below zero nobody is killed: neither for its time limit, nor for being cancelled.
func TestNoGrace(t *testing.T) {
	ctx := within(t)
	p := newPool(t, pool.Options{Workers: 1, Grace: -1})
	path, open := newGate(t)
	if d, err := pause.With(pool.TaskOptions{Timeout: time.Millisecond}).Apply(ctx, p, 200*time.Millisecond); d == 0 || err != nil {
		t.Errorf("one that does not heed its time limit: %v, %v", d, err)
	}
	f, err := await.Submit(ctx, p, path)
	if err != nil {
		t.Fatal(err)
	}
	for !f.Running() {
		if ctx.Err() != nil {
			t.Fatal("it does not run")
		}
		time.Sleep(time.Millisecond)
	}
	if !f.Cancel() {
		t.Error("Cancel of a running task said no")
	}
	open()
	if s, err := f.Result(ctx); s != path || err != nil {
		t.Errorf("one that does not heed that it is cancelled: %v, %v", s, err)
	}
	if s := p.Stats(); s.Died != 0 || s.Started != 1 {
		t.Errorf("%+v", s)
	}
}

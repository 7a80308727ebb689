package pool

import (
	"context"
	"runtime/debug"
	"sync"
)

// Goroutines is an [Executor] whose tasks run in goroutines of this process. It comes from [NewGoroutines], and is safe for concurrent use.
//
// It is a [Pool] but for what only processes can do: arguments and results are not copied but given as they are, handles are not closed when a task returns; a crash
// is everybody's; a task that does not heed its ctx cannot be stopped, so that Cancel and a time limit end the ctx and no more, and Join waits for it; nothing is retried. A panic is a [*TaskError] here as there. A task's error wraps the error itself.
//
// A task may submit tasks to the executor that it runs in, and wait for them: with its own ctx, or one that comes from it, it gives its place to another while it waits.
type Goroutines struct {
	mu       sync.Mutex
	limit    int
	backlog  backlog
	active   int // goroutines
	blocked  int // of those, that wait for others
	under    map[*job]struct{}
	closed   bool
	finished chan struct{}
}

// NewGoroutines makes an executor of n goroutines, which are started when there is work. It panics if n is below one.
func NewGoroutines(n int) *Goroutines {
	if n < 1 {
		panic("pool: NewGoroutines needs at least one goroutine")
	}
	return &Goroutines{limit: n, under: map[*job]struct{}{}, finished: make(chan struct{})}
}

// Close says that no more tasks come. Those that were submitted still run. A second call does nothing.
func (g *Goroutines) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	g.endIfDoneLocked()
	return nil
}

// Terminate ends the ctx of all tasks that run, and does not run those that wait: they have [ErrClosed]. A second call does nothing.
func (g *Goroutines) Terminate() error {
	g.mu.Lock()
	g.closed = true
	jobs := g.backlog.clear()
	for j := range g.under {
		if j.reason == nil {
			j.reason = ErrClosed
		}
		j.ctx.end(context.Canceled)
	}
	g.endIfDoneLocked()
	g.mu.Unlock()
	for _, j := range jobs {
		j.complete(outcome{err: ErrClosed})
	}
	return nil
}

// Join waits until all tasks of an executor that was closed or terminated have ended. It returns ctx's error if ctx ends first, and an error at once if it is still open.
func (g *Goroutines) Join(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	g.mu.Lock()
	closed := g.closed
	g.mu.Unlock()
	if !closed {
		return errOpen
	}
	select {
	case <-g.finished:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *Goroutines) endIfDoneLocked() {
	if g.closed && g.active == 0 && g.backlog.n == 0 {
		select {
		case <-g.finished:
		default:
			close(g.finished)
		}
	}
}

func (g *Goroutines) submit(jobs ...*job) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return ErrClosed
	}
	for _, j := range jobs {
		g.backlog.push(j)
	}
	g.startLocked()
	return nil
}

func (g *Goroutines) startLocked() {
	for n := g.backlog.n; n > 0 && g.active-g.blocked < g.limit; n-- {
		g.active++
		go g.run()
	}
}

// run runs tasks until there are none, or others have taken its place.
func (g *Goroutines) run() {
	g.mu.Lock()
	for {
		j := g.backlog.peek()
		if j == nil || g.active-g.blocked > g.limit {
			g.active--
			g.startLocked()
			g.endIfDoneLocked()
			g.mu.Unlock()
			return
		}
		g.backlog.pop(j)
		j.place = sent
		j.ctx = &taskContext{parent: context.Background(), pool: g}
		g.under[j] = struct{}{}
		g.mu.Unlock()

		o := g.call(j)

		g.mu.Lock()
		j.place = over
		delete(g.under, j)
		if o.err != nil && j.reason != nil {
			o.err.(*TaskError).is = append(o.err.(*TaskError).is, j.reason)
		}
		g.mu.Unlock()
		j.complete(o)
		g.mu.Lock()
	}
}

func (g *Goroutines) call(j *job) (o outcome) {
	returned := false
	defer func() {
		ended := j.ctx.finish()
		if returned {
			return
		}
		e := &TaskError{Task: j.entry.id.Name, Err: "it called runtime.Goexit"}
		if v := recover(); v != nil {
			p := panicked{v, taskStack(debug.Stack())}
			e.Err, e.Stack = p.Error(), p.stack
			if err, ok := v.(error); ok {
				e.is = append(e.is, err)
			}
		} else {
			// The goroutine is about to end, and run with it.
			g.mu.Lock()
			j.place = over
			delete(g.under, j)
			g.mu.Unlock()
			j.complete(outcome{err: e})
			go g.run()
			return
		}
		if ended != nil {
			e.is = append(e.is, ended)
		}
		o = outcome{err: e}
	}()
	if j.timeout > 0 {
		j.ctx.limit(j.timeout)
	}
	v, err := j.direct(j.ctx)
	returned = true
	if err == nil {
		return outcome{value: v}
	}
	f := failureOf(err, "")
	e := &TaskError{Task: j.entry.id.Name, Err: f.Err, is: []error{err}}
	if ended := j.ctx.Err(); ended != nil {
		e.is = append(e.is, ended)
	}
	return outcome{err: e}
}

func (g *Goroutines) cancel(j *job) bool   { return g.end(j, true) }
func (g *Goroutines) withdraw(j *job) bool { return g.end(j, false) }

func (g *Goroutines) end(j *job, runningToo bool) bool {
	g.mu.Lock()
	switch j.place {
	case waiting:
		g.backlog.remove(j)
		g.endIfDoneLocked()
		g.mu.Unlock()
		j.complete(outcome{err: ErrCancelled})
		return true
	case sent:
		if runningToo {
			if j.reason == nil {
				j.reason = ErrCancelled
			}
			j.ctx.end(context.Canceled)
		}
		g.mu.Unlock()
		return runningToo
	}
	g.mu.Unlock()
	return false
}

func (g *Goroutines) running(j *job) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return j.place == sent
}

func (g *Goroutines) blocking(delta int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.blocked += delta
	g.startLocked()
}

func (g *Goroutines) help(*job, func() bool) {}
func (g *Goroutines) width() int             { return g.limit }
func (g *Goroutines) encodes() bool          { return false }
func (g *Goroutines) same(pool any) bool     { return pool == any(g) }
func (g *Goroutines) defaults() TaskOptions  { return TaskOptions{} }

package pool

import (
	"context"
	"math"
	"reflect"
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

// Goroutines is an [Executor] whose tasks run in goroutines of this process. It comes from [NewGoroutines], and is safe for concurrent use.
//
// It is a [Pool] but for what only processes can do: arguments and results are not copied but given as they are, handles are not closed when a task returns; a crash
// is everybody's; a task that does not heed its ctx cannot be stopped, so that Cancel and a time limit end the ctx and no more, and Join waits for it; nothing is retried. A panic is a [*TaskError] here as there. A task's error wraps the error itself.
//
// A task may submit tasks to the executor that it runs in, and wait for them: it gives its place to another while it waits. Goroutines that it starts do that for it if they wait with its ctx, or one that
// comes from it.
type Goroutines struct {
	limit    int
	options  GoroutineOptions
	reporter reporter

	mu       sync.Mutex
	backlog  backlog
	room     room
	active   int // goroutines
	blocked  int // of those, that wait for others
	under    map[*job]struct{}
	closed   bool
	stats    Stats
	finished chan struct{}
}

// GoroutineOptions are settings of [NewGoroutines]; they are as the fields of [Options] that have these names. The zero value of each works.
type GoroutineOptions struct {
	TaskTimeout time.Duration // of tasks that do not say otherwise; their ctx ends then. Zero is none
	Backlog     int           // how many tasks may wait, at most; who submits waits for room. Zero is no limit
	Progress    func(Stats)   // is called when tasks have ended, from one goroutine at a time
}

// NewGoroutines makes an executor of n goroutines, which are started when there is work. It panics if n is below one. Of options, the first counts.
func NewGoroutines(n int, options ...GoroutineOptions) *Goroutines {
	if n < 1 {
		panic("pool: NewGoroutines needs at least one goroutine")
	}
	g := &Goroutines{limit: n, under: map[*job]struct{}{}, finished: make(chan struct{})}
	if len(options) > 0 {
		g.options = options[0]
	}
	if g.options.Backlog < 0 {
		panic("pool: GoroutineOptions.Backlog cannot be below zero")
	}
	g.room.limit = g.options.Backlog
	g.reporter = reporter{call: g.options.Progress, stats: g.Stats}
	return g
}

// Stats returns counts of what it has done and has to do.
func (g *Goroutines) Stats() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.stats
	s.Waiting, s.Sent, s.Running, s.Workers = uint64(g.backlog.n), uint64(len(g.under)), uint64(len(g.under)), g.active
	return s
}

// Close says that no more tasks come. Those that were submitted still run. A second call does nothing.
func (g *Goroutines) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	g.room.open()
	g.endIfDoneLocked()
	return nil
}

// Terminate ends the ctx of all tasks that run, and does not run those that wait: they have [ErrClosed]. A second call does nothing.
func (g *Goroutines) Terminate() error {
	g.mu.Lock()
	g.closed = true
	g.room.open()
	jobs := g.backlog.clear()
	for _, j := range jobs {
		g.stats.end(j, true)
	}
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
	if len(jobs) > 0 {
		g.reporter.report()
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

func (g *Goroutines) submit(ctx context.Context, jobs ...*job) (n int, err error) {
	for {
		g.mu.Lock()
		if g.closed {
			g.mu.Unlock()
			return n, ErrClosed
		}
		for n < len(jobs) && g.room.isFree(&g.backlog) {
			g.backlog.push(jobs[n])
			g.stats.Submitted++
			g.stats.Elements += uint64(jobs[n].elements)
			n++
		}
		g.startLocked()
		if n == len(jobs) {
			g.mu.Unlock()
			return n, nil
		}
		freed := g.room.wait()
		g.mu.Unlock()
		if err := g.awaitRoom(ctx, freed); err != nil {
			return n, err
		}
	}
}

func (g *Goroutines) awaitRoom(ctx context.Context, freed chan struct{}) error {
	defer g.standBack(ctx)()
	select {
	case <-freed:
		return nil
	case <-ctx.Done():
		g.mu.Lock()
		defer g.mu.Unlock()
		g.room.leave(freed, &g.backlog)
		return fullError(g.options.Backlog, ctx)
	}
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
			g.room.freed(&g.backlog)
			g.active--
			g.startLocked()
			g.endIfDoneLocked()
			g.mu.Unlock()
			return
		}
		g.backlog.pop(j)
		g.room.freed(&g.backlog)
		j.place = sent
		j.ctx = &taskContext{parent: context.Background(), pool: g}
		g.under[j] = struct{}{}
		g.mu.Unlock()

		o := g.call(j)

		g.end(j, o)
		g.mu.Lock()
	}
}

// end tells of the end of a job that has run.
func (g *Goroutines) end(j *job, o outcome) {
	g.mu.Lock()
	j.place = over
	delete(g.under, j)
	g.stats.end(j, o.err != nil)
	if o.err != nil && j.reason != nil {
		o.err.(*TaskError).is = append(o.err.(*TaskError).is, j.reason)
	}
	g.mu.Unlock()
	j.complete(o)
	g.reporter.report()
}

func (g *Goroutines) call(j *job) (o outcome) {
	returned := false
	defer func() {
		ended := j.ctx.finish()
		if returned {
			return
		}
		e := &TaskError{Task: j.entry.title, Err: "it called runtime.Goexit"}
		if v := recover(); v != nil {
			p := panicked{v, taskStack(debug.Stack())}
			e.Err, e.Stack = p.Error(), p.stack
			if err, ok := v.(error); ok {
				e.is = append(e.is, err)
			}
		} else {
			// The goroutine is about to end, and run with it.
			g.end(j, outcome{err: e})
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
	e := &TaskError{Task: j.entry.title, Err: f.Err, is: []error{err}}
	if ended := j.ctx.Err(); ended != nil {
		e.is = append(e.is, ended)
	}
	return outcome{err: e}
}

func (g *Goroutines) cancel(j *job) bool   { return g.callOff(j, true) }
func (g *Goroutines) withdraw(j *job) bool { return g.callOff(j, false) }

func (g *Goroutines) callOff(j *job, runningToo bool) bool {
	g.mu.Lock()
	switch j.place {
	case waiting:
		g.backlog.remove(j)
		g.room.freed(&g.backlog)
		g.stats.end(j, true)
		g.endIfDoneLocked()
		g.mu.Unlock()
		j.complete(outcome{err: ErrCancelled})
		g.reporter.report()
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

// standBack gives the place of a task that is about to wait to another one: else tasks that wait for tasks of their own executor would hold all places, and none were left for those that they wait for. A
// task that waits with a ctx that is not its own is known by the stack, which is only looked at when all places are taken.
func (g *Goroutines) standBack(ctx context.Context) (release func()) {
	g.mu.Lock()
	c, ok := ctx.Value(taskKey{}).(*taskContext)
	if ok && c.pool != any(g) {
		g.mu.Unlock()
		return doNothing
	}
	if !ok {
		if full := g.active-g.blocked >= g.limit; !full || !onTaskStack() {
			g.mu.Unlock()
			return doNothing
		}
		c = new(taskContext)
	}
	if c.waits++; c.waits == 1 {
		g.blocked++
		g.startLocked()
	}
	g.mu.Unlock()
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if c.waits--; c.waits == 0 {
			g.blocked--
		}
	}
}

// onTaskStack reports whether the caller was called by a task in a goroutine.
func onTaskStack() bool {
	var pcs [64]uintptr
	for skip := 2; ; skip += len(pcs) {
		n := runtime.Callers(skip, pcs[:])
		frames := runtime.CallersFrames(pcs[:n])
		for {
			f, more := frames.Next()
			if f.Func != nil && f.Func.Entry() == callEntry {
				return true
			}
			if !more {
				break
			}
		}
		if n < len(pcs) {
			return false
		}
	}
}

var callEntry = reflect.ValueOf((*Goroutines).call).Pointer()

func (g *Goroutines) help(*job, func() bool) {}
func (g *Goroutines) width() int             { return g.limit }
func (g *Goroutines) most(int) int           { return math.MaxInt }
func (g *Goroutines) encodes() bool          { return false }
func (g *Goroutines) defaults() TaskOptions  { return TaskOptions{Timeout: g.options.TaskTimeout} }

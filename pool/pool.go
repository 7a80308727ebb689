package pool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"sync"
	"time"

	"github.com/go-multiproc/multiproc/internal/registered"
	"github.com/go-multiproc/multiproc/internal/standard"
	"github.com/go-multiproc/multiproc/process"
)

// Options are settings of a [Pool]. The zero value of each field works.
type Options struct {
	// Workers is how many worker processes there are, at most. Zero is [process.CPUCount].
	Workers int

	// Method is how they are started. Zero is the default of package process.
	Method process.Method

	// Initializer is run by each worker before its first task. See [Init].
	Initializer Initializer

	// MaxTasksPerWorker is how many tasks (for a map, chunks) a worker is given before another takes its place. Zero is no limit.
	MaxTasksPerWorker int

	// Retries and TaskTimeout are for tasks that do not say otherwise: see [TaskOptions]. Zero is none.
	Retries     int
	TaskTimeout time.Duration

	// Grace is the time from the end of a task's ctx, because it was cancelled, its time is over, or the pool is terminated, until its worker is killed. So is a worker that does not end when it was told to, and
	// one that for so long, and at least a second, does not begin what it was sent, being stopped by a signal for one, which costs no task. Zero is process.DefaultGrace; below zero none of them is killed.
	Grace time.Duration

	// MemoryLimit is for each worker, in bytes: see [process.Limits]. Zero is none.
	MemoryLimit int64

	// Stderr is the workers' standard error. Nil is what os.Stderr is when New is called; their standard output is what os.Stdout is then. The last lines of their standard error are in each [WorkerDiedError] all the same.
	Stderr *os.File

	// Prefetch is how many tasks a worker is sent before it has finished the first, at most. Zero is as many as it will take about a millisecond for,
	// by what tasks of that kind took before, and never more than 1024. One is none: the next task is sent when the result has come.
	Prefetch int

	// Backlog is how many tasks (for a map, chunks) may wait to be sent to a worker, at most: Submit and its like then wait until there is room, or their ctx ends, and
	// so the memory that waiting tasks take is bounded. Zero is no limit. What comes back from a worker that died may exceed it.
	Backlog int

	// IdleTime is after how long a worker that has nothing to do is stopped. Zero is never. Another is started when there is work.
	IdleTime time.Duration

	// Progress, if it is set, is called when tasks have ended: in this process, from one goroutine at a time, with what is newest. Calls that would come
	// while it runs are left out, but the last.
	Progress func(Stats)

	// Log, if it is set, is told of workers that died, as a warning, and of those that have taken their places; on level debug also of those that start and end as they should.
	Log *slog.Logger

	// Name is for workers' names, Name-1 and so on. Empty is "worker".
	Name string
}

// An Initializer prepares workers: it comes from [Init]. The zero value does nothing.
type Initializer struct{ fn, args any }

// Init makes an initialiser of a function from process.Register and its arguments, in which handles can be. They must stay usable as long as workers are started.
//
// What the function leaves behind, in variables of a package for example, its worker's tasks find. If it returns an error, or its process dies, the pool fails: New does if
// it is the first worker, else all tasks, with an [InitError].
func Init[A any](fn *process.Func[A], args A) Initializer {
	if fn == nil {
		panic("pool: Init needs a function from process.Register")
	}
	return Initializer{fn, args}
}

// A Pool is an [Executor] whose tasks run in worker processes. It comes from [New], is safe for concurrent use, and belongs to the process that made it: it cannot be passed to another one.
type Pool struct {
	options Options
	had     standard.Variables // when the pool was made
	ids     []registered.Identity

	mu        sync.Mutex
	backlog   backlog
	workers   []*worker // that are not gone
	starting  int
	idle      int // ready ones that have nothing to do
	sentJobs  int
	closed    bool
	failed    error // all tasks have it
	room      room
	vacant    []vacancy // places of workers that are gone, and that nobody has taken yet
	deaths    int       // of workers, in a row, that were not ready before; 0 again when a task ends
	names     int
	estimates map[*entry]time.Duration // of one element
	stealing  *time.Timer
	stealSet  bool
	watching  *time.Timer
	watchSet  bool
	stats     Stats
	clock     time.Time // of the last look
	bells     []*worker // to ring once the lock is free

	finished chan struct{}
	reporter reporter
}

// New makes a pool. Its workers are started when there is work for them, but if there is an initialiser the first one now, so that New fails if that does.
//
// It returns process.ErrNoMain in a program that has called neither process.Main nor process.Init.
func New(o Options) (*Pool, error) {
	for _, setting := range []struct {
		name  string
		value int
	}{{"Workers", o.Workers}, {"MaxTasksPerWorker", o.MaxTasksPerWorker}, {"Prefetch", o.Prefetch}, {"Backlog", o.Backlog}, {"Retries", o.Retries}} {
		if setting.value < 0 {
			return nil, fmt.Errorf("pool: Options.%s is %d, and cannot be below zero", setting.name, setting.value)
		}
	}
	if o.Workers == 0 {
		o.Workers = process.CPUCount()
	}
	if o.Prefetch == 0 || o.Prefetch > slots {
		o.Prefetch = slots
	}
	if o.Grace == 0 {
		o.Grace = process.DefaultGrace
	}
	if o.Name == "" {
		o.Name = "worker"
	}
	p := &Pool{options: o, had: standard.Now(), room: room{limit: o.Backlog}, ids: identities(), estimates: map[*entry]time.Duration{}, finished: make(chan struct{})}
	p.reporter = reporter{call: o.Progress, stats: p.Stats}
	p.stealing = time.AfterFunc(time.Hour, p.stealTime)
	p.stealing.Stop()
	p.watching = time.AfterFunc(time.Hour, p.watchTime)
	p.watching.Stop()
	if o.Initializer.fn == nil {
		if !registered.Begun() {
			return nil, process.ErrNoMain
		}
		return p, nil
	}
	for {
		p.mu.Lock()
		w := p.newWorkerLocked()
		p.mu.Unlock()
		err := w.start()
		if err == nil {
			<-w.settled
			p.mu.Lock()
			err = p.failed
			settled := w.state != gone
			p.mu.Unlock()
			if err == nil && !settled {
				continue // it was killed, which the next one may be spared
			}
		}
		if err != nil {
			p.Terminate()
			return nil, err
		}
		return p, nil
	}
}

// Close says that no more tasks come: Submit returns [ErrClosed] from now on. Those that were submitted still run, then the workers end. A second call does nothing.
func (p *Pool) Close() error {
	p.mu.Lock()
	defer p.unlock()
	p.closed = true
	p.room.open()
	p.endIfDoneLocked()
	return nil
}

// Terminate ends the pool: tasks that wait are not run, the ctx of those that run ends, and workers that still run after the grace period are killed. All tasks that do
// not come to a result any more have an error that is [ErrClosed]. A second call does nothing.
func (p *Pool) Terminate() error {
	p.mu.Lock()
	p.closed = true
	p.room.open()
	jobs := p.backlog.clear()
	for _, w := range p.workers {
		for _, j := range w.recallLocked(w.outstanding) {
			j.place = over
			jobs = append(jobs, j)
		}
		for _, e := range w.order {
			if j := w.job(e); j != nil && j.reason == nil {
				j.reason = ErrClosed
			}
		}
		w.terminateLocked()
	}
	p.endIfDoneLocked()
	p.unlock()
	p.finish(jobs, ErrClosed)
	return nil
}

// Join waits until a pool that was closed or terminated has come to its end, all its workers gone. It returns ctx's error if ctx ends first, and an error at once if the pool is still open.
func (p *Pool) Join(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p.mu.Lock()
	closed := p.closed
	p.mu.Unlock()
	if !closed {
		return errOpen
	}
	select {
	case <-p.finished:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Resize changes how many workers there are, at most. Those that are too many end when they have finished what they have been sent.
func (p *Pool) Resize(workers int) error {
	if workers <= 0 {
		return errors.New("pool: Resize needs at least one worker")
	}
	p.mu.Lock()
	defer p.unlock()
	if p.closed {
		return ErrClosed
	}
	p.options.Workers = workers
	n := p.staffLocked()
	for _, w := range p.workers {
		if n <= workers {
			break
		}
		if w.state == ready && w.outstanding == 0 {
			w.stopLocked()
			n--
		}
	}
	for _, w := range p.workers {
		if n <= workers {
			break
		}
		if w.state == ready {
			p.backlog.pushFront(w.recallLocked(w.outstanding))
			w.stopLocked()
			n--
		}
	}
	p.dispatchLocked()
	return nil
}

// PIDs returns the process ids of the workers that run.
func (p *Pool) PIDs() []int {
	p.mu.Lock()
	defer p.mu.Unlock()
	var pids []int
	for _, w := range p.workers {
		if w.pid != 0 {
			pids = append(pids, w.pid)
		}
	}
	return pids
}

func (p *Pool) submit(ctx context.Context, jobs ...*job) (n int, err error) {
	if p == nil {
		return 0, errNoPool
	}
	for {
		p.mu.Lock()
		if err := p.refusalLocked(); err != nil {
			p.mu.Unlock()
			return n, err
		}
		for n < len(jobs) && p.room.isFree(&p.backlog) {
			p.backlog.push(jobs[n])
			p.stats.Submitted++
			p.stats.Elements += uint64(jobs[n].elements)
			n++
			if p.room.limit > 0 {
				p.dispatchLocked()
			}
		}
		if n == len(jobs) {
			p.dispatchLocked()
			p.unlock()
			return n, nil
		}
		freed := p.room.wait()
		p.unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			p.mu.Lock()
			p.room.leave(freed, &p.backlog)
			p.mu.Unlock()
			return n, fullError(p.options.Backlog, ctx)
		}
	}
}

func (p *Pool) refusalLocked() error {
	if p.failed != nil {
		return p.failed
	}
	if p.closed {
		return ErrClosed
	}
	return nil
}

// unlock rings the bells that are due after it has given the lock back.
func (p *Pool) unlock() {
	if len(p.bells) == 0 {
		p.mu.Unlock()
		return
	}
	if len(p.bells) == 1 {
		w := p.bells[0]
		p.bells = p.bells[:0]
		p.mu.Unlock()
		w.bell()
		return
	}
	bells := p.bells
	p.bells = nil
	p.mu.Unlock()
	for _, w := range bells {
		w.bell()
	}
}

// finish completes jobs that never came to a result. It is called without the lock.
func (p *Pool) finish(jobs []*job, err error) {
	if len(jobs) == 0 {
		return
	}
	p.mu.Lock()
	for _, j := range jobs {
		p.stats.end(j, true)
	}
	p.mu.Unlock()
	for _, j := range jobs {
		j.args.drop()
		j.complete(outcome{err: err})
	}
	p.reporter.report()
}

// fail ends the pool for a reason that holds for all workers.
func (p *Pool) fail(err error) {
	p.mu.Lock()
	if p.failed != nil {
		err = p.failed
	}
	p.failed = err
	p.room.open()
	jobs := p.backlog.clear()
	p.unlock()
	p.finish(jobs, err)
}

// endIfDoneLocked lets the workers of a closed pool go when there is nothing left to do.
func (p *Pool) endIfDoneLocked() {
	if !p.closed || p.backlog.n > 0 || p.sentJobs > 0 {
		return
	}
	p.stealing.Stop()
	p.watching.Stop()
	for _, w := range p.workers {
		w.stopLocked()
	}
	if len(p.workers) == 0 {
		select {
		case <-p.finished:
		default:
			close(p.finished)
		}
	}
}

func (p *Pool) cancel(j *job) bool   { return p.end(j, true) }
func (p *Pool) withdraw(j *job) bool { return p.end(j, false) }

// end cancels a job, or if it runs only on demand.
func (p *Pool) end(j *job, runningToo bool) bool {
	p.mu.Lock()
	switch j.place {
	case waiting:
		p.backlog.remove(j)
	case sent:
		w := j.worker
		if !w.takeBackLocked(j) {
			if !runningToo {
				p.mu.Unlock()
				return false
			}
			j.cancelled = true
			if j.reason == nil {
				j.reason = ErrCancelled
				attempt := j.generation
				if p.options.Grace >= 0 {
					time.AfterFunc(p.options.Grace, func() { p.killFor(j, attempt) })
				}
				h := taskHeader{slot: j.slot, generation: j.generation}
				b := make([]byte, 1+headerSize)
				b[0] = frameCancel
				h.put(b[1:])
				go w.control.WriteFrame(b, nil) // a few bytes; but nothing may hold up the pool
			}
			p.mu.Unlock()
			return true
		}
		j.place = over
	case fresh, over:
		p.mu.Unlock()
		return false
	}
	p.room.freed(&p.backlog)
	p.dispatchLocked()
	p.endIfDoneLocked()
	p.unlock()
	p.finish([]*job{j}, ErrCancelled)
	return true
}

// killFor kills the worker that still runs j.
func (p *Pool) killFor(j *job, generation uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if j.place == sent && j.generation == generation {
		j.worker.kill()
	}
}

func (p *Pool) running(j *job) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return j.place == sent && j.worker.board.states[j.slot].Load() == stateWord(j.generation, running)
}

func (p *Pool) help(j *job, ended func() bool) {
	p.mu.Lock()
	var w *worker
	if j.place == sent {
		w = j.worker
	}
	p.mu.Unlock()
	if w != nil {
		w.help(ended)
	}
}

func (p *Pool) width() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.options.Workers
}

// most is as many as go through a ring. Larger chunks go over the socket, through the kernel and memory that is new each time; and small ones overlap, the results of some being taken while others are worked
// on. Where each costs a part of a worker's life there should be few.
func (p *Pool) most(size int) int {
	if p.options.MaxTasksPerWorker > 0 {
		return math.MaxInt
	}
	return (inline - headerSize) / max(size, 1)
}

func (p *Pool) standBack(context.Context) func() { return doNothing }
func (p *Pool) encodes() bool                    { return true }
func (p *Pool) defaults() TaskOptions {
	return TaskOptions{Timeout: p.options.TaskTimeout, Retries: p.options.Retries}
}

var errNoPool = errors.New("pool: there is no pool in this process; a pool belongs to the process that made it, and a task that needs one makes its own")

func doNothing() {}

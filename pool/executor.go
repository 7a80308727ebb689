package pool

import (
	"context"
	"time"
)

// An Executor runs tasks: a [Pool] in worker processes, a [Goroutines] in this one. A program switches by one line.
type Executor interface {
	// Close says that no more tasks come. Those that were submitted still run. It does not wait: Join does.
	Close() error

	// Join waits until an executor that was closed, or terminated, has come to its end. It returns ctx's error if ctx ends first, and an error at once if it is still open.
	Join(ctx context.Context) error

	// Terminate ends everything: tasks that wait are not run, the ctx of those that run ends. It does not wait: Join does.
	Terminate() error

	// Stats returns counts of what it has done and has to do.
	Stats() Stats

	submit(ctx context.Context, jobs ...*job) (n int, err error) // takes jobs in their order, n of them if there is an error; waits for room, until ctx ends
	cancel(j *job) bool
	withdraw(j *job) bool // cancels a job that has not begun
	running(j *job) bool
	help(j *job, ended func() bool)                 // does what the caller can do for its result, who is about to wait for it
	width() int                                     // how many tasks run side by side, at most
	most(size int) int                              // how many elements of so many bytes a chunk should have, at most
	standBack(ctx context.Context) (release func()) // lets others run in the place of a task of the same executor that is about to wait
	encodes() bool                                  // arguments travel, else they are given as they are
	defaults() TaskOptions                          // for zero fields
}

// An outcome is how a task ended.
type outcome struct {
	data  []byte // of a result that travelled; valid during the call of complete
	fds   []int  // whose owner complete is
	value any    // of a result that did not travel
	err   error
}

// A job is one task, or one chunk of a map, on its way.
type job struct {
	entry    *entry
	args     *message                            // if arguments travel
	direct   func(ctx *taskContext) (any, error) // if they do not
	complete func(outcome)                       // called once
	many     bool                                // arguments are a slice
	elements int                                 // in it, else 1
	timeout  time.Duration                       // 0 is none
	retries  int                                 // left
	priority int

	// The executor's, under its lock.
	place      place
	worker     *worker
	slot       uint32
	generation uint64
	estimate   time.Duration
	cancelled  bool
	reason     error // why the pool kills its worker
	timer      *time.Timer
	ctx        *taskContext // in a pool of goroutines, while it runs
}

// size is how many bytes of arguments travel.
func (j *job) size() int {
	if j.args == nil {
		return 0
	}
	return len(j.args.data)
}

// recordSize is what the job takes of a ring.
func (j *job) recordSize() int {
	if j.isExternal() {
		return headerSize
	}
	return headerSize + len(j.args.data)
}

// isExternal reports whether the arguments travel over the socket.
func (j *job) isExternal() bool {
	return headerSize+len(j.args.data) > inline || len(j.args.fds()) > 0
}

type place uint8

const (
	fresh   place = iota // not submitted
	waiting              // in the backlog
	sent                 // to a worker, or running in a goroutine
	over
)

// A backlog is the jobs that wait, by priority and then by age.
type backlog struct {
	lanes []lane // highest priority first
	n     int    // that are not over
}

type lane struct {
	priority int
	jobs     []*job // from first on; those that are over remain until they are met
	first    int
}

func (b *backlog) lane(priority int) *lane {
	for i := range b.lanes {
		switch l := &b.lanes[i]; {
		case l.priority == priority:
			return l
		case l.priority < priority:
			b.lanes = append(b.lanes, lane{})
			copy(b.lanes[i+1:], b.lanes[i:])
			b.lanes[i] = lane{priority: priority}
			return &b.lanes[i]
		}
	}
	b.lanes = append(b.lanes, lane{priority: priority})
	return &b.lanes[len(b.lanes)-1]
}

func (b *backlog) push(j *job) {
	j.place, j.worker = waiting, nil
	l := b.lane(j.priority)
	l.jobs = append(l.jobs, j)
	b.n++
}

// pushFront puts jobs that were here before where they stood, in their order.
func (b *backlog) pushFront(jobs []*job) {
	for i := len(jobs) - 1; i >= 0; i-- {
		j := jobs[i]
		j.place, j.worker = waiting, nil
		l := b.lane(j.priority)
		if l.first == 0 {
			// Room for more of them, so that a long lane is not moved for each.
			room := len(l.jobs)/2 + 16
			l.jobs = append(make([]*job, room, room+len(l.jobs)+16), l.jobs...)
			l.first = room
		}
		l.first--
		l.jobs[l.first] = j
		b.n++
	}
}

// peek returns the next job, nil if there is none.
func (b *backlog) peek() *job {
	for i := range b.lanes {
		l := &b.lanes[i]
		for l.first < len(l.jobs) {
			if j := l.jobs[l.first]; j != nil && j.place == waiting {
				return j
			}
			l.drop()
		}
	}
	return nil
}

// pop takes j, which peek has returned.
func (b *backlog) pop(j *job) {
	b.lane(j.priority).drop()
	b.n--
}

func (l *lane) drop() {
	l.jobs[l.first] = nil
	if l.first++; l.first == len(l.jobs) {
		l.first, l.jobs = 0, l.jobs[:0]
		if cap(l.jobs) > 1<<16 {
			l.jobs = nil
		}
	} else if l.first > 1024 && l.first > len(l.jobs)/2 {
		l.jobs = l.jobs[:copy(l.jobs, l.jobs[l.first:])]
		clear(l.jobs[len(l.jobs):cap(l.jobs)])
		l.first = 0
	}
}

// remove takes out a job that is not to be run. It stays in its lane until it is met, as over.
func (b *backlog) remove(j *job) {
	j.place = over
	b.n--
}

// clear removes all, and returns them.
func (b *backlog) clear() (jobs []*job) {
	for j := b.peek(); j != nil; j = b.peek() {
		b.pop(j)
		j.place = over
		jobs = append(jobs, j)
	}
	return jobs
}

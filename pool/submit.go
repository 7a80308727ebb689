package pool

import (
	"context"
	"fmt"
	"sync"
)

// Submit gives the task to e, and returns at once, unless e has a Backlog that is full: then it waits for room. An error says why it cannot run: e is closed, in cannot be passed to another process (with the path to what cannot), or ctx has
// ended. What becomes of it later is the future's to tell. ctx is for this call only.
func (t *Task[In, Out]) Submit(ctx context.Context, e Executor, in In) (*Future[Out], error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if isNil(e) {
		return nil, errNoPool
	}
	f := &Future[Out]{executor: e}
	j := &f.job
	f.cancelAll = func() bool { return e.cancel(j) }
	f.isRunning = func() bool { return e.running(j) }
	t.prepare(j, e)
	j.elements = 1
	if e.encodes() {
		var err error
		if j.args, err = t.in.encode(nil, &in, "in"); err != nil {
			return nil, fmt.Errorf("pool: submit %s: %w", t.Name(), err)
		}
	} else {
		j.direct = func(ctx *taskContext) (any, error) { return t.fn(ctx, in) }
	}
	j.complete = func(o outcome) {
		var v Out
		if o.err == nil && j.direct != nil {
			v, _ = o.value.(Out)
		} else if o.err == nil {
			if _, err := t.out.decode(o.data, o.fds, &v); err != nil {
				o.err = &TaskError{Task: t.Name(), Err: fmt.Sprintf("its result cannot be decoded: %v", err)}
			}
		}
		f.finish(v, o.err)
	}
	if _, err := e.submit(ctx, j); err != nil {
		j.args.drop()
		return nil, err
	}
	return f, nil
}

// prepare sets what all jobs of the task have.
func (t *Task[In, Out]) prepare(j *job, e Executor) {
	o, d := t.options, e.defaults()
	j.entry, j.priority = t.entry, o.Priority
	j.timeout, j.retries = o.Timeout, o.Retries
	if j.timeout == 0 {
		j.timeout = d.Timeout
	}
	if j.retries == 0 {
		j.retries = d.Retries
	}
	j.timeout, j.retries = max(j.timeout, 0), max(j.retries, 0)
}

// Apply runs the task, and returns its result. If ctx ends first the task is cancelled, and Apply returns ctx's error without waiting for its end.
func (t *Task[In, Out]) Apply(ctx context.Context, e Executor, in In) (Out, error) {
	f, err := t.Submit(ctx, e, in)
	if err != nil {
		var zero Out
		return zero, err
	}
	return f.resultOrCancel(ctx)
}

func (f *Future[Out]) resultOrCancel(ctx context.Context) (Out, error) {
	v, err := f.Result(ctx)
	if err != nil && ctx.Err() != nil && !f.ended() {
		f.Cancel()
	}
	return v, err
}

// Map runs the task for each element of in, and returns the results in the same order. If one fails, Map returns its error, and elements that have not begun are not run; those that
// run are left to end. If ctx ends, all are cancelled.
//
// The elements travel in chunks ([TaskOptions.Chunk]), which are retried, timed and lost as one.
func (t *Task[In, Out]) Map(ctx context.Context, e Executor, in []In) ([]Out, error) {
	f, err := t.MapAsync(ctx, e, in)
	if err != nil {
		return nil, err
	}
	return f.resultOrCancel(ctx)
}

// MapAsync is [Task.Map] that does not wait for results. in must not be changed until the future has ended. ctx is for this call only.
func (t *Task[In, Out]) MapAsync(ctx context.Context, e Executor, in []In) (*Future[[]Out], error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if isNil(e) {
		return nil, errNoPool
	}
	chunk := t.options.Chunk
	if chunk <= 0 {
		// Four parts for each worker: the last ones to end leave the others idle for an eighth of the time or less.
		parts := chunksPerWorker * e.width()
		chunk = max(min((len(in)+parts-1)/parts, e.most(max(t.in.size, t.out.size))), 1)
	}
	m := &mapping[In, Out]{task: t, executor: e, in: in, chunk: chunk}
	m.jobs = make([]job, (len(in)+chunk-1)/chunk)
	m.left = len(m.jobs)
	m.future = &Future[[]Out]{executor: e, cancelAll: m.cancel, isRunning: m.running, withdraw: m.recall}
	if len(in) == 0 {
		m.future.finish([]Out{}, nil)
		return m.future, nil
	}
	m.out = t.out.unfilled(len(in))
	submitting, stop := context.WithCancel(ctx)
	defer stop()
	m.stop = stop
	// In portions, so that the workers have something to do while the rest is encoded.
	const portion = 64
	batch, size := make([]*job, 0, portion), 0
	for i := range m.jobs {
		if m.hasFailed() {
			m.giveUpFrom(i-len(batch), batch)
			return m.future, nil
		}
		err := m.prepare(i)
		if err == nil {
			batch = append(batch, &m.jobs[i])
			size += m.jobs[i].size()
			if len(batch) == portion || size >= inline || i == len(m.jobs)-1 {
				size = 0
				var n int
				n, err = e.submit(submitting, batch...)
				batch = append(batch[:0], batch[n:]...)
				if err != nil && m.hasFailed() {
					m.giveUpFrom(i+1-len(batch), batch)
					return m.future, nil
				}
			}
		} else {
			err = fmt.Errorf("pool: map %s: %w", t.Name(), err)
		}
		if err != nil {
			for _, j := range batch {
				j.args.drop()
			}
			m.cancel()
			return nil, err
		}
	}
	if m.hasFailed() {
		m.recall() // what was submitted while complete had the rest recalled
	}
	return m.future, nil
}

const chunksPerWorker = 4

func isNil(e Executor) bool {
	switch e := e.(type) {
	case nil:
		return true
	case *Pool:
		return e == nil
	case *Goroutines:
		return e == nil
	}
	return false
}

// A mapping is a Map under way.
type mapping[In, Out any] struct {
	task     *Task[In, Out]
	executor Executor
	in       []In
	out      []Out
	chunk    int
	jobs     []job
	future   *Future[[]Out]
	stop     func() // ends the wait for room of who submits

	mu     sync.Mutex
	left   int
	err    error // of the first part, by place, that failed by itself
	failed int   // its number
}

func (m *mapping[In, Out]) part(i int) (from, to int) {
	return i * m.chunk, min((i+1)*m.chunk, len(m.in))
}

func (m *mapping[In, Out]) prepare(i int) error {
	j, t := &m.jobs[i], m.task
	t.prepare(j, m.executor)
	from, to := m.part(i)
	j.elements, j.many = to-from, m.chunk > 1
	j.complete = func(o outcome) { m.complete(i, o) }
	if !m.executor.encodes() {
		j.direct = func(ctx *taskContext) (any, error) {
			for k := from; k < to; k++ {
				v, err := t.fn(ctx, m.in[k])
				if err != nil {
					return nil, err
				}
				m.out[k] = v
				if err := ctx.Err(); err != nil && k < to-1 {
					return nil, err
				}
			}
			return nil, nil
		}
		return nil
	}
	var root string // for errors, which numbers have none of
	if !t.in.flat {
		if root = fmt.Sprintf("in[%d]", from); j.many {
			root = fmt.Sprintf("in[%d:%d]", from, to)
		}
	}
	var err error
	if j.many {
		j.args, err = t.in.encodeMany(m.in[from:to], root)
	} else {
		j.args, err = t.in.encode(nil, &m.in[from], root)
	}
	return err
}

func (m *mapping[In, Out]) complete(i int, o outcome) {
	err := o.err
	if err == nil && m.jobs[i].direct == nil {
		from, to := m.part(i)
		if m.jobs[i].many {
			err = m.task.out.decodeInto(m.out[from:to], o.data, o.fds)
		} else {
			_, err = m.task.out.decode(o.data, o.fds, &m.out[from])
		}
		if err != nil {
			err = &TaskError{Task: m.task.Name(), Err: fmt.Sprintf("its result cannot be decoded: %v", err)}
		}
	}
	m.mu.Lock()
	m.left--
	first := err != nil && m.err == nil
	if first || err != nil && i < m.failed && err != ErrCancelled {
		m.err, m.failed = err, i
	}
	left := m.left
	m.mu.Unlock()
	if first && err != ErrCancelled && left > 0 {
		m.stop()
		go m.recall() // which comes back here
	}
	if left > 0 {
		return
	}
	if m.err != nil {
		m.future.finish(nil, m.err)
		return
	}
	m.future.finish(m.out, nil)
}

// cancel cancels all parts, the last ones first: else one that had not begun would, in the place of one that was cancelled before it.
func (m *mapping[In, Out]) cancel() bool {
	some := false
	for i := len(m.jobs) - 1; i >= 0; i-- {
		if m.jobs[i].complete != nil && m.executor.cancel(&m.jobs[i]) {
			some = true
		}
	}
	return some
}

func (m *mapping[In, Out]) hasFailed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err != nil
}

// giveUpFrom ends the parts from number i on, which were not submitted: a part before them has failed. Of those that are in batch arguments are encoded.
func (m *mapping[In, Out]) giveUpFrom(i int, batch []*job) {
	for _, j := range batch {
		j.args.drop()
	}
	m.recall()
	for ; i < len(m.jobs); i++ {
		m.complete(i, outcome{err: ErrCancelled})
	}
}

// recall cancels the parts that have not begun.
func (m *mapping[In, Out]) recall() {
	for i := len(m.jobs) - 1; i >= 0; i-- {
		m.executor.withdraw(&m.jobs[i])
	}
}

func (m *mapping[In, Out]) running() bool {
	for i := range m.jobs {
		if m.executor.running(&m.jobs[i]) {
			return true
		}
	}
	return false
}

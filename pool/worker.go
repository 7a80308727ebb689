package pool

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"syscall"
	"time"

	"github.com/go-multiproc/multiproc/internal/crash"
	"github.com/go-multiproc/multiproc/internal/mem"
	"github.com/go-multiproc/multiproc/internal/standard"
	"github.com/go-multiproc/multiproc/internal/wire"
	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/shm"
)

// A worker is the parent's view of one. Its fields are guarded by the pool's lock, unless they say otherwise.
type worker struct {
	pool    *Pool
	name    string
	process *process.Process
	pid     int
	conn    *wire.Conn // bells, and what is too large for the rings
	control *wire.Conn // to the worker: cancellations
	board   *board

	state       workerState
	stopped     bool // it was told to end
	killed      bool
	jobs        [slots]*job
	generations [slots]uint64
	free        []uint32 // slots
	order       []errand // oldest first; may hold some that are not outstanding any more
	outstanding int
	load        time.Duration // estimate of what is outstanding
	given       int           // tasks, ever
	progress    time.Time     // when it last had a result, or work after it had none
	idling      *time.Timer
	leaving     *time.Timer // kills it if it does not end by itself
	stalled     bool        // it did not begin a task when it should have
	began       time.Time   // when it was started
	replaces    vacancy
	stats       WorkerStats // of it Done, Failed and Busy

	settled    chan struct{} // closed when it is ready, or will never be
	settleOnce sync.Once

	outMu   sync.Mutex
	outbox  []*message // arguments for the socket, in their order
	sending bool

	takeMu   sync.Mutex // held by who takes results; above the pool's lock
	spinner  wire.Spinner
	finishes []finish // of drain, used again
	helped   bool     // somebody other than the reader has taken results not long ago
}

// An errand is a job that was sent, by its slot: that may have another one by now.
type errand struct {
	slot       uint32
	generation uint64
}

// job returns the job if it is outstanding, else nil.
func (w *worker) job(e errand) *job {
	if j := w.jobs[e.slot]; j != nil && j.generation == e.generation {
		return j
	}
	return nil
}

// A vacancy is the place of a worker that is gone.
type vacancy struct {
	name string
	died bool // it did not end as it was told to
}

type workerState uint8

const (
	starting workerState = iota
	ready
	ending // it has got its last record
	gone
)

// A finish is a result that was taken.
type finish struct {
	job     *job
	outcome outcome
	failed  bool
}

// maxDeaths is how many workers in a row may be killed before they are ready, if meanwhile none ends a task.
const maxDeaths = 10

// newWorkerLocked enters a worker in the pool. It is to be started without the lock.
func (p *Pool) newWorkerLocked() *worker {
	p.names++
	w := &worker{pool: p, name: fmt.Sprintf("%s-%d", p.options.Name, p.names), settled: make(chan struct{}), began: time.Now()}
	if len(p.vacant) > 0 {
		w.replaces, p.vacant = p.vacant[0], p.vacant[1:]
	}
	p.workers = append(p.workers, w)
	p.starting++
	p.stats.Started++
	return w
}

// start starts the process. If that fails, so do the tasks that wait and have nobody else to run them.
func (w *worker) start() error {
	p := w.pool
	err := w.execute()
	if err == nil {
		go w.read()
		return nil
	}
	err = fmt.Errorf("pool: %w", err)
	p.mu.Lock()
	p.starting--
	w.state = gone
	p.removeLocked(w)
	var jobs []*job
	if len(p.workers) == 0 {
		jobs = p.backlog.clear()
	}
	p.endIfDoneLocked()
	p.unlock()
	w.settle()
	p.finish(jobs, err)
	return err
}

func (w *worker) execute() error {
	segment, err := shm.New(boardSize)
	if err != nil {
		return err
	}
	conn, theirs, err := wire.Pair()
	if err != nil {
		segment.Close()
		return err
	}
	control, theirControl, err := wire.Pair()
	if err != nil {
		segment.Close()
		conn.Close()
		theirs.Close()
		return err
	}
	o := &w.pool.options
	args := workerArgs{Data: &socket{theirs}, Control: &socket{theirControl}, Board: segment, Tasks: w.pool.ids}
	if o.Initializer.fn != nil {
		args.Initializer = &parcel{init: o.Initializer}
	}
	c := process.New(work, args)
	c.Name, c.Daemon, c.Method, c.Grace, c.CaptureStderr = w.name, true, o.Method, o.Grace, true
	c.Stderr, c.Limits.Memory = o.Stderr, o.MemoryLimit
	board := newBoard(segment)
	w.pool.mu.Lock()
	w.process, w.conn, w.control, w.board = c, conn, control, board
	w.free = make([]uint32, slots)
	for i := range w.free {
		w.free[i] = uint32(slots - 1 - i)
	}
	closed := w.pool.closed && w.pool.backlog.n == 0 || w.stopped
	w.pool.mu.Unlock()
	err = errors.New("the pool was closed")
	if !closed {
		err = standard.Start(c, w.pool.had)
		crash.At("pool.started")
	}
	if err != nil {
		w.pool.mu.Lock()
		w.process, w.conn, w.control = nil, nil, nil
		w.pool.mu.Unlock()
		for _, c := range []*wire.Conn{conn, theirs, control, theirControl} {
			c.Close()
		}
		segment.Close()
		return err
	}
	w.pool.mu.Lock()
	w.pid = c.PID()
	if w.stopped { // meanwhile
		go c.Terminate()
	}
	w.pool.mu.Unlock()
	return nil
}

func (w *worker) settle() { w.settleOnce.Do(func() { close(w.settled) }) }

// hasRoom reports whether j can be sent now.
func (w *worker) hasRoom(j *job) bool {
	return len(w.free) > 0 && w.board.tasks.fits(j.recordSize())
}

// sendLocked sends a job to a worker that has room for it.
func (w *worker) sendLocked(j *job) {
	p := w.pool
	slot := w.free[len(w.free)-1]
	w.free = w.free[:len(w.free)-1]
	w.generations[slot]++
	j.place, j.worker, j.slot, j.generation = sent, w, slot, w.generations[slot]
	w.jobs[slot] = j
	w.trimLocked()
	w.order = append(w.order, errand{slot, j.generation})
	if w.outstanding == 0 {
		p.idle--
		w.progress = p.clock
		if w.idling != nil {
			w.idling.Stop()
		}
	}
	w.outstanding++
	p.sentJobs++
	p.watchLocked()
	if j.estimate > 0 {
		w.load += j.estimate
	}
	w.given++
	h := taskHeader{slot: slot, task: uint32(j.entry.Index), generation: j.generation, timeout: int64(j.timeout), many: j.many}
	w.board.queue(slot, j.generation)
	crash.At("pool.queued")
	n, tag := j.recordSize(), uint32(tagTask)
	if j.isExternal() {
		tag = tagExternal
	}
	b := w.board.tasks.reserve(n)
	h.put(b)
	if tag == tagTask {
		copy(b[headerSize:], j.args.data)
	}
	w.board.tasks.commit(tag, n)
	crash.At("pool.sent")
	w.wakeLocked()
	if tag == tagExternal {
		w.post(j.args)
	}
	if j.timeout > 0 && p.options.Grace >= 0 {
		generation := j.generation
		j.timer = time.AfterFunc(j.timeout+p.options.Grace, func() { p.timeOver(j, generation) })
	}
	if limit := p.options.MaxTasksPerWorker; limit > 0 && w.given >= limit {
		w.stopLocked()
	}
}

// trimLocked keeps order from growing without end.
func (w *worker) trimLocked() {
	for len(w.order) > 0 && w.job(w.order[0]) == nil {
		w.order = w.order[1:]
	}
	if len(w.order) > 4*slots {
		kept := make([]errand, 0, slots)
		for _, e := range w.order {
			if w.job(e) != nil {
				kept = append(kept, e)
			}
		}
		w.order = kept
	}
}

// timeOver kills the worker that runs j if j's time and the grace period are over.
func (p *Pool) timeOver(j *job, generation uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if j.place != sent || j.generation != generation {
		return
	}
	w := j.worker
	left := j.timeout + p.options.Grace
	if w.board.states[j.slot].Load() == stateWord(generation, running) {
		// The worker runs one task at a time, so that since is about this one.
		left -= time.Duration(now() - int64(w.board.since.Load()))
	}
	if left > 0 {
		j.timer.Reset(left)
		return
	}
	if j.reason == nil {
		j.reason = context.DeadlineExceeded
	}
	w.kill()
}

// post has arguments written to the socket, behind those before.
func (w *worker) post(m *message) {
	w.outMu.Lock()
	defer w.outMu.Unlock()
	m.hold()
	w.outbox = append(w.outbox, m)
	if !w.sending {
		w.sending = true
		go w.sendOut()
	}
}

func (w *worker) sendOut() {
	for {
		w.outMu.Lock()
		if len(w.outbox) == 0 {
			w.sending = false
			w.outMu.Unlock()
			return
		}
		m := w.outbox[0]
		w.outbox = w.outbox[1:]
		w.outMu.Unlock()
		crash.At("pool.posting")
		err := w.conn.WriteFrame(m.data, m.fds())
		m.letGo()
		if err != nil && !errors.Is(err, syscall.EPIPE) {
			w.kill() // it would wait for the rest
		}
	}
}

// wakeLocked has the bell rung if the worker waits for it.
func (w *worker) wakeLocked() {
	if w.board.wantsBell() {
		w.pool.bells = append(w.pool.bells, w)
	}
}

// bell wakes the worker.
func (w *worker) bell() { w.board.bell() }

// takeBackLocked takes j back from w, and reports whether the worker has not begun it.
func (w *worker) takeBackLocked(j *job) bool {
	if !w.board.takeBack(j.slot, j.generation) {
		return false
	}
	crash.At("pool.recalled")
	w.takeLocked(j.slot)
	return true
}

// recallLocked takes back up to n jobs, the youngest first, and returns them in their order.
func (w *worker) recallLocked(n int) []*job {
	var jobs []*job
	for i := len(w.order) - 1; i >= 0 && n > 0; i-- {
		j := w.job(w.order[i])
		if j == nil {
			continue
		}
		if !w.takeBackLocked(j) {
			break // all before it have begun, too
		}
		jobs = append(jobs, j)
		n--
	}
	for i, k := 0, len(jobs)-1; i < k; i, k = i+1, k-1 {
		jobs[i], jobs[k] = jobs[k], jobs[i]
	}
	return jobs
}

// takeLocked takes the job of a slot out of the worker's.
func (w *worker) takeLocked(slot uint32) *job {
	j := w.jobs[slot]
	w.jobs[slot] = nil
	w.free = append(w.free, slot)
	w.outstanding--
	w.pool.sentJobs--
	if j.estimate > 0 {
		w.load = max(w.load-j.estimate, 0)
	}
	if j.timer != nil {
		j.timer.Stop()
		j.timer = nil
	}
	if w.outstanding == 0 {
		w.load = 0
		w.order = w.order[:0]
		w.idleLocked()
		w.leaveLocked()
	}
	return j
}

func (w *worker) idleLocked() {
	if w.state != ready {
		return
	}
	w.pool.idle++
	if d := w.pool.options.IdleTime; d > 0 {
		if w.idling == nil {
			w.idling = time.AfterFunc(d, w.idleOver)
		} else {
			w.idling.Reset(d)
		}
	}
}

func (w *worker) idleOver() {
	w.pool.mu.Lock()
	defer w.pool.unlock()
	if w.state == ready && w.outstanding == 0 {
		w.stopLocked()
	}
}

// stopLocked lets the worker end once it has done what it was sent.
func (w *worker) stopLocked() {
	if w.state == ready {
		if w.outstanding == 0 {
			w.pool.idle--
		}
		w.state = ending
	}
	if w.stopped || w.state != ending {
		if !w.stopped && w.state == starting && w.pid != 0 {
			go w.process.Terminate() // there is nothing any more to be prepared for
		}
		w.stopped = true
		return
	}
	w.stopped = true
	if w.board.tasks.reserve(8) == nil {
		w.process.Terminate() // no room: it is not one that reads
		return
	}
	w.board.tasks.commit(tagStop, 8)
	crash.At("pool.stopping")
	w.wakeLocked()
	w.leaveLocked()
}

// leaveLocked gives a worker that has been told to end, and has done all that it was sent, the grace period to do so: what a program has in it (exit handlers of C libraries, goroutines that
// do not let go) must not keep the pool from ending.
func (w *worker) leaveLocked() {
	if w.state == ending && w.stopped && w.outstanding == 0 && w.leaving == nil && w.pool.options.Grace >= 0 {
		w.leaving = time.AfterFunc(w.pool.options.Grace, w.kill)
	}
}

// terminateLocked ends the worker, and what it runs.
func (w *worker) terminateLocked() {
	if w.state == ready {
		if w.outstanding == 0 {
			w.pool.idle--
		}
		w.state = ending
	}
	w.stopped, w.killed = true, true
	if w.pid != 0 {
		go w.process.Terminate()
	}
}

// kill kills the process. What it was doing is settled when it is gone.
func (w *worker) kill() { go w.process.Kill() }

// read takes what the worker sends until it is gone.
func (w *worker) read() {
	var err error
	for err == nil {
		if err = w.takeAll(); err == nil {
			err = w.receive()
		}
	}
	if errors.Is(err, errDamaged) {
		w.kill()
	}
	w.died()
}

var errDamaged = errors.New("pool: what a worker sends makes no sense")

// takeAll takes results until it is the worker's turn to ring the bell.
func (w *worker) takeAll() error {
	w.takeMu.Lock()
	defer w.takeMu.Unlock()
	defer w.spinner.Done()
	results := &w.board.results
	for {
		w.board.parentWaits.Store(nobodySleeps)
		if err := w.drain(); err != nil {
			return err
		}
		// Where callers look for their results themselves, two of us would spin for one.
		if !w.helped && w.spinner.Spin(results.ready) {
			continue
		}
		w.helped = false
		if w.board.standDown() {
			return nil
		}
	}
}

// helpTime is how long a caller sleeps for its result in a system call of its own, which ends a few microseconds after the bell. Channels do for what takes longer.
const helpTime = time.Millisecond

// help takes results in the place of the reader, for a short while: the caller waits for one, and to be woken by the reader takes longer than many a task. The reader sleeps
// meanwhile, without a bell.
func (w *worker) help(ended func() bool) {
	if !w.takeMu.TryLock() {
		return
	}
	defer w.takeMu.Unlock()
	defer w.spinner.Done()
	w.helped = true
	results := &w.board.results
	for {
		w.board.parentWaits.Store(nobodySleeps)
		if w.drain() != nil {
			w.kill() // the reader will find out why
			return
		}
		if !ended() {
			if w.spinner.Spin(results.ready) {
				continue
			}
			w.board.parentWaits.Store(callerSleeps)
			if !results.ready() {
				mem.Wait(w.board.parentWaits, callerSleeps, helpTime)
			}
			if results.ready() {
				continue
			}
		}
		if w.board.standDown() {
			return
		}
	}
}

// receive waits for a bell, and takes results that come over the socket.
func (w *worker) receive() error {
	b, fds, err := w.conn.ReadFrame(1 << 20)
	if err != nil {
		return err
	}
	closeAll(fds)
	var h resultHeader
	switch {
	case len(b) == 1 && b[0] == frameBell:
	case len(b) == 1 && b[0] == frameReady:
		return w.isReady()
	case len(b) > 1 && b[0] == frameReady:
		f := taskError("", b[1:])
		w.pool.fail(&InitError{Err: f.Err, is: f.is})
		return errors.New("its initialiser failed")
	case len(b) == 1+resultSize && b[0] == frameResult && h.get(b[1:]):
		data, fds, err := w.conn.ReadFrame(math.MaxInt)
		if err != nil {
			return err
		}
		w.pool.mu.Lock()
		w.pool.clock = time.Now()
		j := w.resultLocked(&h)
		w.pool.dispatchLocked()
		w.pool.endIfDoneLocked()
		w.pool.unlock()
		if j == nil {
			closeAll(fds)
			return nil
		}
		w.complete(finish{j, outcome{data: data, fds: fds}, h.failed})
	default:
		return errDamaged
	}
	return nil
}

func (w *worker) isReady() error {
	p := w.pool
	p.mu.Lock()
	if w.state != starting {
		p.mu.Unlock()
		return errDamaged
	}
	p.starting--
	p.deaths = 0
	w.state = ready
	w.idleLocked()
	switch {
	case w.killed:
		w.terminateLocked()
	case w.stopped:
		w.stopped = false
		w.stopLocked()
	case p.staffLocked() > p.options.Workers: // Resize, meanwhile
		w.stopLocked()
	}
	p.dispatchLocked()
	p.endIfDoneLocked()
	p.unlock()
	w.settle()
	p.logStart(w)
	return nil
}

// resultLocked takes the job that a result is of, nil if there is none.
func (w *worker) resultLocked(h *resultHeader) *job {
	j := w.jobs[h.slot]
	if j == nil || j.generation != h.generation {
		return nil
	}
	w.takeLocked(h.slot)
	j.place = over
	p := w.pool
	p.deaths = 0 // workers do work here
	w.progress = p.clock
	w.stalled = false
	took := time.Duration(max(h.took, 0))
	p.learnLocked(j, took)
	p.stats.end(j, h.failed)
	w.stats.Done++
	w.stats.Busy += took
	if h.failed {
		w.stats.Failed++
	}
	return j
}

// drain takes the results that are in the ring.
func (w *worker) drain() error {
	results := &w.board.results
	for results.ready() {
		done := w.finishes[:0]
		w.pool.mu.Lock()
		w.pool.clock = time.Now()
		var failure error
		for len(done) < 128 {
			tag, b, err := results.next()
			if tag == 0 {
				failure = err
				break
			}
			var h resultHeader
			if tag != tagResult || !h.get(b) {
				failure = errDamaged
				break
			}
			if j := w.resultLocked(&h); j != nil {
				done = append(done, finish{j, outcome{data: b[resultSize:]}, h.failed})
			}
		}
		w.pool.dispatchLocked()
		w.pool.endIfDoneLocked()
		w.pool.unlock()
		crash.At("pool.taken")
		for _, f := range done {
			w.complete(f)
		}
		results.release()
		crash.At("pool.released")
		w.board.madeRoom()
		clear(done)
		w.finishes = done
		w.pool.reporter.report()
		if failure != nil {
			return fmt.Errorf("%w: %w", errDamaged, failure)
		}
	}
	return nil
}

// complete tells of the end of a job.
func (w *worker) complete(f finish) {
	j := f.job
	j.args.sent() // it ran: handles that move have moved
	if f.failed {
		closeAll(f.outcome.fds)
		err := taskError(j.entry.title, f.outcome.data)
		if j.reason != nil {
			err.is = append(err.is, j.reason)
		}
		f.outcome = outcome{err: err}
	}
	j.complete(f.outcome)
}

// died settles what a worker leaves behind that is gone, or cannot be spoken to any more.
func (w *worker) died() {
	p := w.pool
	p.mu.Lock()
	stopped := w.stopped
	p.mu.Unlock()
	if !stopped {
		w.process.Kill() // it has closed its socket: nothing else can be done with it
	} else {
		w.process.Terminate() // it ends by itself, and has its grace period
	}
	exitErr := w.process.Join(context.Background())
	w.takeMu.Lock()
	w.drain() // all that it had finished
	w.takeMu.Unlock()

	var exit *process.ExitError
	if !errors.As(exitErr, &exit) {
		exit = &process.ExitError{Name: w.name, PID: w.pid, Err: "it ended before its task did: by os.Exit(0), for one"}
	}
	type lost struct {
		job *job
		err error
	}
	var failed []lost
	var back []*job
	p.mu.Lock()
	was := w.state
	if was == ready && w.outstanding == 0 {
		p.idle--
	}
	w.state = gone // takeLocked does not count it as idle
	for _, e := range w.order {
		j := w.job(e)
		if j == nil {
			continue
		}
		if w.takeBackLocked(j) {
			back = append(back, j) // it had not begun
			continue
		}
		w.takeLocked(e.slot)
		switch {
		case j.reason != nil:
			failed = append(failed, lost{j, diedRunning(j.entry.title, exit, j.reason)})
		case j.retries > 0 && !(p.closed && w.killed):
			j.retries--
			p.stats.Retried++
			back = append(back, j)
			continue
		default:
			failed = append(failed, lost{j, diedRunning(j.entry.title, exit, nil)})
		}
		j.place = over
		p.stats.end(j, true)
	}
	var failure error
	if was == starting {
		p.starting--
		p.deaths++
		// One that was killed may have been unlucky. One that fails by itself will do so again.
		if p.failed == nil && !stopped && (exitErr != nil && exit.Signal == 0 || p.deaths >= maxDeaths) {
			failure = &InitError{Err: exit.Error(), is: []error{exit}}
		}
	}
	unexpected := !w.stopped
	if unexpected {
		p.stats.Died++
	}
	for _, t := range []*time.Timer{w.idling, w.leaving} {
		if t != nil {
			t.Stop()
		}
	}
	if len(p.vacant) <= p.options.Workers {
		p.vacant = append(p.vacant, vacancy{w.name, unexpected})
	}
	p.backlog.pushFront(back)
	if failure == nil {
		p.dispatchLocked()
	}
	p.unlock()

	if failure != nil {
		p.fail(failure)
	}
	for _, f := range failed {
		f.job.args.sent()
		f.job.complete(outcome{err: f.err})
	}
	p.logEnd(w, unexpected, exit, len(failed), len(back))
	w.settle()
	if len(failed) > 0 {
		p.reporter.report()
	}
	w.conn.Close()
	w.control.Close()
	w.board.segment.Close()
	p.mu.Lock()
	p.removeLocked(w)
	p.endIfDoneLocked()
	p.unlock()
}

func (p *Pool) removeLocked(w *worker) {
	for i, other := range p.workers {
		if other == w {
			p.workers = append(p.workers[:i:i], p.workers[i+1:]...)
			return
		}
	}
}

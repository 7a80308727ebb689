package pool

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-multiproc/multiproc/internal/crash"
	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/registered"
	"github.com/go-multiproc/multiproc/internal/wire"
	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/shm"
)

// This file is the worker's end of the conversation, worker.go the parent's.
//
//	parent                                worker
//	state word QUEUED, task into ring     RUNNING by compare-and-swap, arguments, the function
//	bell, if the worker waits             result into ring
//	takes the result                      bell, if the parent waits
//
// The worker's bell is a futex. The parent's is a frame on the socket, so that hundreds of workers cost it no threads, and because the end of that
// stream is how it learns that a worker is gone. Neither end rings while the other is awake, so that a stream of short tasks needs no system calls.

// workerArgs is what a worker is started with.
type workerArgs struct {
	Data, Control *socket
	Board         *shm.Segment
	Tasks         []registered.Identity
	Initializer   *parcel
}

var work = process.RegisterName("multiproc/pool worker", serve)

// A server is the state of a worker.
type server struct {
	ctx   context.Context
	conn  *wire.Conn
	board *board
	ids   []registered.Identity
	found []*entry // by the parent's numbers, as far as they were asked for

	current  atomic.Pointer[taskContext]
	stopping atomic.Bool

	sendMu  sync.Mutex   // frames that belong together
	spinner wire.Spinner // of the wait for tasks
	scratch []byte       // for results
	last    time.Time    // when the last task ended, and the next one may have begun
	took    time.Duration
	passed  time.Time // when this goroutine passed Go's scheduler; see pass

	delayed *time.Timer // of a bell
	armed   atomic.Bool
}

// A frame is what came over the socket.
type frame struct {
	data []byte
	fds  []int
}

const (
	// shortTask is how long a task may take for its result to wait for others before the bell is rung, bellDelay for how long it may wait.
	shortTask = 10 * time.Microsecond
	bellDelay = 100 * time.Microsecond

	// passEach is how often a worker passes Go's scheduler, if a task took passAfter at least: more often than each 10 ms, if tasks take half of that.
	passEach  = 5 * time.Millisecond
	passAfter = time.Millisecond
)

func serve(ctx context.Context, args workerArgs) error {
	// What a terminal sends on Ctrl-C goes to the whole group; what becomes of the workers is the parent's decision.
	signal.Ignore(syscall.SIGINT)
	s := &server{ctx: ctx, conn: args.Data.conn, board: newBoard(args.Board), ids: args.Tasks, found: make([]*entry, len(args.Tasks))}
	s.delayed = time.AfterFunc(time.Hour, s.ringDelayed)
	defer s.delayed.Stop()
	if err := args.Initializer.run(ctx); err != nil {
		f := failureOf(err, "")
		s.conn.WriteFrame(append([]byte{frameReady}, f.encode()...), nil)
		return nil
	}
	crash.At("pool.worker.initialised")
	if err := s.conn.WriteFrame([]byte{frameReady}, nil); err != nil {
		return nil // the parent is gone
	}
	crash.At("pool.worker.ready")
	go s.obey(args.Control.conn)
	stop := context.AfterFunc(ctx, func() {
		s.stopping.Store(true)
		if c := s.current.Load(); c != nil {
			c.end(context.Canceled)
		}
		if s.board.wantsBell() {
			s.board.bell()
		}
	})
	defer stop()
	return s.loop()
}

// obey does what the parent says while a task runs.
func (s *server) obey(control *wire.Conn) {
	for {
		b, fds, err := control.ReadFrame(64)
		if err != nil {
			return
		}
		closeAll(fds)
		var h taskHeader
		if len(b) != 1+headerSize || b[0] != frameCancel || !h.get(b[1:]) {
			continue
		}
		if c := s.current.Load(); c != nil && c.slot == h.slot && c.generation == h.generation {
			c.end(context.Canceled)
		}
	}
}

func (s *server) loop() error {
	for {
		tag, b, err := s.board.tasks.next()
		switch {
		case err != nil:
			return err
		case s.stopping.Load():
			return nil
		case tag == 0:
			if s.board.parentWaits.Load() != nobodySleeps {
				s.ring()
			}
			s.wait()
			continue
		case tag == tagStop:
			crash.At("pool.worker.stopped")
			s.ring()
			return nil
		case tag != tagTask && tag != tagExternal:
			return fmt.Errorf("pool: a record of kind %d among tasks", tag)
		}
		var h taskHeader
		if !h.get(b) {
			return errors.New("pool: a record of a task that is none")
		}
		if s.board.parentWaits.Load() != nobodySleeps {
			// There are results that the parent has not been told of. They must not wait for the end of a long task.
			if s.took > shortTask {
				s.ring()
			} else if !s.armed.Swap(true) {
				s.delayed.Reset(bellDelay)
			}
		}
		s.pass()
		if err := s.task(&h, b[headerSize:], tag == tagExternal); err != nil {
			if s.stopping.Load() {
				return nil
			}
			return err
		}
	}
}

// pass has a goroutine that runs one task after the other, and sleeps in a futex in between, pass Go's scheduler now and then, which otherwise believes that it has run all the time. When that is 10 ms, the
// runtime (of Go 1.26) interrupts it in the middle of a task, after a long sleep at once, and wakes another thread to see whether there is something to do for it: of the two, either may get the task. Where that is
// the other, and the kernel has woken it on the CPU of another worker, the one that the task was on stays idle until the kernel looks for work, for up to 4 ms. With as many workers as CPUs that was a
// twentieth of the time of tasks of 4 ms. Between two tasks it is nearly always the same thread that goes on.
//
// Where tasks are short it is left alone: the other thread is woken all the same, and disturbs who passes messages each few microseconds.
func (s *server) pass() {
	if s.took < passAfter {
		return
	}
	now := s.last
	if now.IsZero() {
		now = time.Now()
	}
	if now.Sub(s.passed) > passEach {
		s.passed = now
		runtime.Gosched()
	}
}

// wait returns when there may be a task.
func (s *server) wait() {
	tasks := &s.board.tasks
	tasks.release()
	s.last = time.Time{}
	defer s.spinner.Done()
	if s.spinner.Spin(func() bool { return tasks.ready() || s.stopping.Load() }) {
		return
	}
	s.board.awaitTask(s.stopping.Load)
}

// external returns the arguments of the next task that has them on the socket.
func (s *server) external() (frame, error) {
	data, fds, err := s.conn.ReadFrame(math.MaxInt)
	return frame{data, fds}, err
}

// task runs a task, unless it was taken back. An error is the end of the worker.
func (s *server) task(h *taskHeader, data []byte, external bool) error {
	// The ctx is known before the task counts as running, else a cancellation could miss it.
	ctx := &taskContext{parent: s.ctx, slot: h.slot, generation: h.generation}
	s.current.Store(ctx)
	defer s.current.Store(nil)
	if h.timeout > 0 {
		s.board.since.Store(uint64(now()))
	}
	crash.At("pool.worker.taken")
	mine := s.board.begin(h.slot, h.generation)
	crash.At("pool.worker.begun")
	release := s.board.tasks.release
	var fds []int
	if external {
		f, err := s.external()
		if err != nil {
			return err
		}
		data, fds = f.data, f.fds
	}
	if !mine {
		closeAll(fds)
		release()
		return nil
	}
	if s.stopping.Load() {
		ctx.end(context.Canceled)
	}
	if h.timeout > 0 {
		ctx.limit(time.Duration(h.timeout))
	}
	if s.last.IsZero() {
		s.last = time.Now()
	}
	began := s.last
	m, err := s.call(ctx, h, data, fds, release)
	crash.At("pool.worker.ran")
	s.last = time.Now()
	s.took = s.last.Sub(began)
	r := resultHeader{slot: h.slot, generation: h.generation, took: int64(s.took)}
	if err == nil {
		err = s.reply(&r, m)
	}
	if err != nil && !s.conn.Closed() {
		var f failure
		if p, ok := err.(*panicked); ok {
			f = p.failure()
		} else {
			f = failureOf(err, "")
		}
		r.failed = true
		if err := s.reply(&r, &message{data: f.encode()}); err != nil {
			return err
		}
	}
	if ctx.arrived != nil {
		ctx.mu.Lock()
		ctx.arrived.Close()
		ctx.mu.Unlock()
	}
	return nil
}

// call runs the function.
func (s *server) call(ctx *taskContext, h *taskHeader, data []byte, fds []int, release func()) (m *message, err error) {
	defer release() // what the arguments stood in, if they were read there or could not be
	if int(h.task) >= len(s.found) {
		closeAll(fds)
		return m, fmt.Errorf("it has the number %d, the worker was told of %d tasks", h.task, len(s.found))
	}
	e := s.found[h.task]
	if e == nil {
		found, err := tasks.Find(s.ids[h.task])
		if err != nil {
			closeAll(fds)
			return m, err
		}
		e = found.Value
		s.found[h.task] = e
	}
	defer func() {
		if v := recover(); v != nil {
			m, err = nil, &panicked{v, taskStack(debug.Stack())}
		}
		ended := ctx.finish()
		if err != nil && ended != nil && !errors.Is(err, ended) {
			err = fmt.Errorf("%w: %w", ended, err) // else who set the time limit could not tell what it led to
		}
	}()
	m, err = e.call(ctx, data, fds, h.many, release, s.scratch)
	if err == nil && m.handles == nil && cap(m.data) <= inline && cap(m.data) > cap(s.scratch) {
		s.scratch = m.data[:0:len(m.data)]
	}
	return m, err
}

// A panicked is what a task panicked with.
type panicked struct {
	value any
	stack string
}

func (p *panicked) Error() string { return fmt.Sprint(p.value) }

func (p *panicked) failure() failure {
	if err, ok := p.value.(error); ok {
		return failureOf(err, p.stack)
	}
	return failure{Err: fmt.Sprint(p.value), Stack: p.stack}
}

// taskStack cuts what stands above the panic: this package's own calls.
func taskStack(stack []byte) string {
	s := string(stack)
	head, rest, ok := strings.Cut(s, "\n")
	if at := strings.Index(rest, "\npanic("); ok && at >= 0 {
		return head + rest[at:]
	}
	return s
}

// reply sends a result. An error is of this result alone, and nothing was sent; a connection that has failed is closed.
func (s *server) reply(h *resultHeader, m *message) error {
	n := resultSize + len(m.data)
	if n > inline || len(m.fds()) > 0 {
		return s.replyExternally(h, m)
	}
	results := &s.board.results
	for {
		if b := results.reserve(n); b != nil {
			h.put(b)
			copy(b[resultSize:], m.data)
			crash.At("pool.worker.written")
			results.commit(tagResult, n)
			crash.At("pool.worker.replied")
			m.sent()
			return nil
		}
		s.board.awaitRoom(n, s.ring)
	}
}

func (s *server) replyExternally(h *resultHeader, m *message) error {
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	b := make([]byte, 1+resultSize)
	b[0] = frameResult
	h.put(b[1:])
	err := s.conn.WriteFrame(b, nil)
	crash.At("pool.worker.announced")
	if err == nil {
		err = s.conn.WriteFrame(m.data, m.fds())
	}
	if err != nil {
		m.drop()
		s.conn.Close()
		return err
	}
	crash.At("pool.worker.delivered")
	m.sent()
	return nil
}

// maxFDs is how many descriptors may be in flight: the kernel counts them against RLIMIT_NOFILE, and a frame that is half sent is the end of a worker.
const maxFDs = 512

// ring wakes the parent if it waits for results.
func (s *server) ring() {
	s.board.ring(func() {
		s.sendMu.Lock()
		defer s.sendMu.Unlock()
		s.conn.WriteFrame([]byte{frameBell}, nil) // if it fails the parent is gone, or knows
	})
}

func (s *server) ringDelayed() {
	s.armed.Store(false)
	s.ring()
}

// A parcel carries an initialiser to a worker: which function, and its arguments.
type parcel struct {
	init Initializer

	function, args []byte // in the worker
	fds            []int
}

// HandOver is for the toolkit's use.
func (p *parcel) HandOver(e *handover.Encoder) error {
	m, err := handover.Marshal(p.init.args, "Initializer")
	if err != nil {
		return err
	}
	e.OnSent(m.Sent)
	e.OnDrop(m.Drop)
	if err := e.Put(registered.Describe(p.init.fn)); err != nil {
		m.Drop()
		return err
	}
	if err := e.Put(m.Data); err != nil {
		return err
	}
	if err := e.Put(len(m.FDs)); err != nil {
		return err
	}
	for _, fd := range m.FDs {
		e.FD(fd, nil)
	}
	return nil
}

// TakeOver is for the toolkit's use.
func (p *parcel) TakeOver(d *handover.Decoder) error {
	var n int
	for _, v := range []any{&p.function, &p.args, &n} {
		if err := d.Get(v); err != nil {
			return err
		}
	}
	for range n {
		fd, err := d.FD()
		if err != nil {
			closeAll(p.fds)
			return err
		}
		p.fds = append(p.fds, fd)
	}
	return nil
}

// run runs the initialiser.
func (p *parcel) run(ctx context.Context) error {
	if p == nil {
		return nil
	}
	call, err := registered.Prepare(p.function, p.args, p.fds)
	if err != nil {
		return fmt.Errorf("the initialiser: %w", err)
	}
	if err := call(ctx); err != nil {
		return fmt.Errorf("the initialiser: %w", err)
	}
	return nil
}

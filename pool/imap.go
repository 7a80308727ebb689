package pool

import (
	"context"
	"iter"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// windowChunks is how many chunks for each worker IMap has under way, if TaskOptions.Window does not say otherwise: enough for tasks of a few microseconds, which are sent dozens at a time.
const windowChunks = 64

// IMap runs the task for the elements of in, and yields the results in their order, each as soon as it and all before it are there. It reads in only so far ahead
// ([TaskOptions.Window]) that an endless input takes constant memory. It does that in a goroutine of its own, so that an input that takes its time, a channel for one ([Channel]), holds up no result.
//
// The error of a task stands in its result's place, and the iteration goes on; an error of a whole chunk in the place of all its elements. If ctx ends all is cancelled, and ctx's error is
// the last to be yielded. An error that keeps tasks from being submitted is the last, too. Who stops early leaves tasks that run to end by themselves; the others are not run. An input that is in the middle of finding its next element
// is not waited for then: it ends when it has that.
func (t *Task[In, Out]) IMap(ctx context.Context, e Executor, in iter.Seq[In]) iter.Seq2[Out, error] {
	return t.stream(ctx, e, in, true)
}

// IMapUnordered is [Task.IMap] that yields results in the order in which they come.
func (t *Task[In, Out]) IMapUnordered(ctx context.Context, e Executor, in iter.Seq[In]) iter.Seq2[Out, error] {
	return t.stream(ctx, e, in, false)
}

// Channel is what is received from c until it is closed, as an input of IMap.
func Channel[T any](c <-chan T) iter.Seq[T] {
	return func(yield func(T) bool) {
		for v := range c {
			if !yield(v) {
				return
			}
		}
	}
}

// A flight is a chunk under way.
type flight[Out any] struct {
	one      *Future[Out] // if the chunk is one element
	many     *Future[[]Out]
	elements int
}

// A stream is an iteration.
type stream[In, Out any] struct {
	task     *Task[In, Out]
	executor Executor
	ordered  bool
	chunk    int
	places   chan struct{}     // taken by flights; as many as the window has
	flights  chan *flight[Out] // next ones to be yielded: all that were launched, or those that have ended; never full
	quit     chan struct{}     // closed: nobody wants any more
	reading  atomic.Bool       // the input is asked for its next element

	mu    sync.Mutex
	under map[*flight[Out]]struct{} // those under way, if they are not ordered: else they are in flights
	last  *flight[Out]              // that is being yielded

	done     chan struct{} // closed when there will be no more flights; the rest is set before
	launched int           // flights
	err      error         // why
	panic    *inputPanic
}

// An inputPanic is what an input has panicked with.
type inputPanic struct{ value any }

func (t *Task[In, Out]) stream(ctx context.Context, e Executor, in iter.Seq[In], ordered bool) iter.Seq2[Out, error] {
	return func(yield func(Out, error) bool) {
		if isNil(e) {
			var zero Out
			yield(zero, errNoPool)
			return
		}
		s := &stream[In, Out]{
			task: t, executor: e, ordered: ordered, chunk: max(t.options.Chunk, 1),
			quit: make(chan struct{}), done: make(chan struct{}), under: map[*flight[Out]]struct{}{},
		}
		window := windowChunks * e.width()
		if t.options.Window > 0 {
			window = (t.options.Window + s.chunk - 1) / s.chunk
		}
		s.places, s.flights = make(chan struct{}, window), make(chan *flight[Out], window)
		launching, stop := context.WithCancel(ctx)
		go s.launch(launching, in)
		defer s.end(ctx, stop)
		s.yield(ctx, yield)
	}
}

// launch submits chunks as long as there is room for them.
func (s *stream[In, Out]) launch(ctx context.Context, in iter.Seq[In]) {
	returned := false
	defer func() {
		if !returned {
			if v := recover(); v != nil {
				s.panic = &inputPanic{v}
				select {
				case <-s.quit:
					panic(v) // as in any goroutine: who could be told is gone
				default:
				}
			}
		}
		close(s.done)
	}()
	var chunk []In
	if !s.read() {
		returned = true
		return
	}
	for v := range in {
		s.reading.Store(false)
		chunk = append(chunk, v)
		if len(chunk) == s.chunk {
			if !s.submit(ctx, chunk) {
				returned = true
				return
			}
			if s.chunk == 1 {
				chunk = chunk[:0] // it was encoded, or copied
			} else {
				chunk = nil
			}
		}
		if !s.read() {
			returned = true
			return
		}
	}
	s.reading.Store(false)
	if len(chunk) > 0 {
		s.submit(ctx, chunk)
	}
	returned = true
}

// read says that the input is going to be asked, and reports whether it is to be. Of this and end, which closes quit and then looks at reading, one sees what the other has done: else end would
// wait for an input that has nothing to give.
func (s *stream[In, Out]) read() bool {
	s.reading.Store(true)
	select {
	case <-s.quit:
		return false
	default:
		return true
	}
}

// submit submits a chunk when there is room for it, and reports whether there is a point in another.
func (s *stream[In, Out]) submit(ctx context.Context, chunk []In) bool {
	select {
	case <-s.quit:
		return false
	default:
	}
	select {
	case s.places <- struct{}{}:
	case <-s.quit:
		return false
	}
	f := &flight[Out]{elements: len(chunk)}
	var err error
	if s.chunk == 1 {
		f.one, err = s.task.Submit(ctx, s.executor, chunk[0])
	} else {
		f.many, err = s.task.MapAsync(ctx, s.executor, chunk)
	}
	if err != nil {
		s.err = err
		return false
	}
	s.launched++
	if s.ordered {
		s.flights <- f
		return true
	}
	s.mu.Lock()
	s.under[f] = struct{}{}
	s.mu.Unlock()
	f.observe(func() { s.flights <- f })
	return true
}

// yield yields results until there are no more, or nobody wants them.
func (s *stream[In, Out]) yield(ctx context.Context, yield func(Out, error) bool) {
	var zero Out
	done := s.done
	for yielded := 0; ; yielded++ {
		f, err := s.next(ctx, &done, yielded)
		if f == nil {
			if err != nil {
				yield(zero, err)
			}
			return
		}
		s.last = f
		goOn, err := f.yield(ctx, yield)
		if err != nil {
			yield(zero, err)
			return
		}
		if !s.ordered {
			s.mu.Lock()
			delete(s.under, f)
			s.mu.Unlock()
		}
		if !goOn {
			return
		}
		<-s.places
	}
}

// next returns the next flight to be yielded, nil if there is none any more. done becomes nil when there will be no further ones.
func (s *stream[In, Out]) next(ctx context.Context, done *chan struct{}, yielded int) (*flight[Out], error) {
	select {
	case f := <-s.flights:
		return f, nil
	default:
	}
	defer s.executor.standBack(ctx)()
	for {
		if *done == nil {
			if s.launched == yielded {
				if s.panic != nil {
					panic(s.panic.value)
				}
				return nil, s.err
			}
		}
		select {
		case f := <-s.flights:
			return f, nil
		case <-*done:
			*done = nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// end calls off what is under way, and waits for launch, unless the input keeps it.
func (s *stream[In, Out]) end(ctx context.Context, stop func()) {
	close(s.quit)
	stop()
	if !s.reading.Load() {
		<-s.done
	}
	var under []*flight[Out]
	if s.ordered {
		if s.last != nil {
			under = append(under, s.last) // if ctx ended while it was waited for
		}
		for len(s.flights) > 0 {
			under = append(under, <-s.flights)
		}
	} else {
		s.mu.Lock()
		under = slices.Collect(maps.Keys(s.under))
		s.mu.Unlock()
	}
	// First those that have not begun: else they would, in the places of those that are cancelled before them.
	for _, f := range slices.Backward(under) {
		f.withdraw(s.executor)
	}
	if ctx.Err() != nil {
		for _, f := range under {
			f.cancel()
		}
	}
}

func (f *flight[Out]) observe(call func()) {
	if f.one != nil {
		f.one.observe(call)
	} else {
		f.many.observe(call)
	}
}

func (f *flight[Out]) cancel() {
	if f.one != nil {
		f.one.Cancel()
	} else {
		f.many.Cancel()
	}
}

func (f *flight[Out]) withdraw(e Executor) {
	if f.one != nil {
		e.withdraw(&f.one.job)
	} else {
		f.many.withdraw()
	}
}

// yield yields what the flight came to. The error is ctx's, if that ends before.
func (f *flight[Out]) yield(ctx context.Context, yield func(Out, error) bool) (goOn bool, err error) {
	if f.one != nil {
		v, err := f.one.Result(ctx)
		if err != nil && !f.one.ended() {
			return false, err
		}
		return yield(v, err), nil
	}
	vs, err := f.many.Result(ctx)
	if err != nil && !f.many.ended() {
		return false, err
	}
	for i := range f.elements {
		var v Out
		if err == nil {
			v = vs[i]
		}
		if !yield(v, err) {
			return false, nil
		}
	}
	return true, nil
}

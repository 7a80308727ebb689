package pool

import (
	"context"
	"iter"
)

// windowChunks is how many chunks for each worker IMap has under way, if TaskOptions.Window does not say otherwise: enough for tasks of a few microseconds, which are sent dozens at a time.
const windowChunks = 64

// IMap runs the task for the elements of in, and yields the results in their order, each as soon as it and all before it are there. It reads in only so far ahead
// ([TaskOptions.Window]), so that an endless input takes constant memory, and reads it in the goroutine of the caller.
//
// The error of a task stands in its result's place, and the iteration goes on; an error of a whole chunk in the place of all its elements. If ctx ends all is cancelled, and ctx's error is
// the last to be yielded; so is an error that keeps tasks from being submitted. Who stops early leaves tasks that run to end by themselves; the others are not run.
func (t *Task[In, Out]) IMap(ctx context.Context, e Executor, in iter.Seq[In]) iter.Seq2[Out, error] {
	return t.stream(ctx, e, in, true)
}

// IMapUnordered is [Task.IMap] that yields results in the order in which they come.
func (t *Task[In, Out]) IMapUnordered(ctx context.Context, e Executor, in iter.Seq[In]) iter.Seq2[Out, error] {
	return t.stream(ctx, e, in, false)
}

// A flight is a chunk under way.
type flight[Out any] struct {
	one      *Future[Out] // if the chunk is one element
	many     *Future[[]Out]
	elements int
}

func (t *Task[In, Out]) stream(ctx context.Context, e Executor, in iter.Seq[In], ordered bool) iter.Seq2[Out, error] {
	return func(yield func(Out, error) bool) {
		var zero Out
		if isNil(e) {
			yield(zero, errNoPool)
			return
		}
		chunk := max(t.options.Chunk, 1)
		window := windowChunks * e.width()
		if t.options.Window > 0 {
			window = (t.options.Window + chunk - 1) / chunk
		}
		next, stop := iter.Pull(in)
		defer stop()

		under := map[*flight[Out]]struct{}{}
		defer func() { // of those that are left
			for f := range under {
				if ctx.Err() != nil {
					f.cancel()
				} else {
					f.withdraw(e)
				}
			}
		}()
		var order []*flight[Out]
		ended := make(chan *flight[Out], window)
		drained := false
		for {
			for !drained && len(under) < window {
				f, err := t.launch(ctx, e, next, chunk)
				if err != nil {
					yield(zero, err)
					return
				}
				if f == nil {
					drained = true
					break
				}
				under[f] = struct{}{}
				if ordered {
					order = append(order, f)
				} else {
					f.observe(func() { ended <- f })
				}
			}
			if len(under) == 0 {
				return
			}
			var f *flight[Out]
			if ordered {
				f, order[0] = order[0], nil
				order = order[1:]
			} else if f = awaitAny(ctx, e, ended); f == nil {
				yield(zero, ctx.Err())
				return
			}
			goOn, err := f.yield(ctx, yield)
			if err != nil {
				yield(zero, err)
				return
			}
			delete(under, f)
			if !goOn {
				return
			}
		}
	}
}

// launch submits the next chunk, nil if there is none.
func (t *Task[In, Out]) launch(ctx context.Context, e Executor, next func() (In, bool), chunk int) (*flight[Out], error) {
	if chunk == 1 {
		v, ok := next()
		if !ok {
			return nil, nil
		}
		f, err := t.Submit(ctx, e, v)
		return &flight[Out]{one: f, elements: 1}, err
	}
	var vs []In
	for len(vs) < chunk {
		v, ok := next()
		if !ok {
			break
		}
		vs = append(vs, v)
	}
	if len(vs) == 0 {
		return nil, nil
	}
	f, err := t.MapAsync(ctx, e, vs)
	return &flight[Out]{many: f, elements: len(vs)}, err
}

// awaitAny returns the next flight that has ended, nil if ctx ends first.
func awaitAny[Out any](ctx context.Context, e Executor, ended chan *flight[Out]) *flight[Out] {
	select {
	case f := <-ended:
		return f
	default:
	}
	defer e.standBack(ctx)()
	select {
	case f := <-ended:
		return f
	case <-ctx.Done():
		return nil
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

package pool

import (
	"context"
	"iter"
)

// A Condition says what [Wait] waits for.
type Condition int

const (
	AllCompleted   Condition = iota // all futures
	FirstCompleted                  // one of them
	FirstError                      // one that failed, or all
)

// AsCompleted yields each of the futures when its task has ended, in the order in which they end; those that have ended already come first. The error is nil, but for the last
// time if ctx ends: then it is an [*UnfinishedError], with a nil future. A future that is in fs twice is yielded twice.
func AsCompleted[Out any](ctx context.Context, fs []*Future[Out]) iter.Seq2[*Future[Out], error] {
	return func(yield func(*Future[Out], error) bool) {
		ended := make(chan *Future[Out], len(fs))
		for _, f := range fs {
			f.observe(func() { ended <- f })
		}
		release := standBack(ctx, fs)
		defer release()
		for n := range fs {
			select {
			case f := <-ended:
				if !yield(f, nil) {
					return
				}
				continue
			default:
			}
			select {
			case f := <-ended:
				if !yield(f, nil) {
					return
				}
			case <-ctx.Done():
				yield(nil, &UnfinishedError{Unfinished: len(fs) - n, Of: len(fs), Err: ctx.Err()})
				return
			}
		}
	}
}

// Wait waits for what c says, and returns which futures have ended then and which have not, both in the order of fs. If ctx ends first, the error is an
// [*UnfinishedError]; the lists are right all the same. The errors of tasks are their futures' to tell.
func Wait[Out any](ctx context.Context, fs []*Future[Out], c Condition) (done, pending []*Future[Out], err error) {
	ended := make(chan *Future[Out], len(fs))
	for _, f := range fs {
		f.observe(func() { ended <- f })
	}
	release := standBack(ctx, fs)
	defer release()
	for n := 0; n < len(fs) && err == nil; {
		select {
		case f := <-ended:
			n++
			if c == FirstCompleted || c == FirstError && f.failed() {
				n = len(fs)
			}
		default:
			select {
			case f := <-ended:
				n++
				if c == FirstCompleted || c == FirstError && f.failed() {
					n = len(fs)
				}
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
	}
	for _, f := range fs {
		if f.ended() {
			done = append(done, f)
		} else {
			pending = append(pending, f)
		}
	}
	if err != nil {
		if len(pending) == 0 {
			return done, pending, nil // they were faster after all
		}
		err = &UnfinishedError{Unfinished: len(pending), Of: len(fs), Err: err}
	}
	return done, pending, err
}

// standBack gives the place of a task that is about to wait to others of its pool.
func standBack[Out any](ctx context.Context, fs []*Future[Out]) (release func()) {
	if len(fs) == 0 {
		return doNothing
	}
	return fs[0].executor.standBack(ctx)
}

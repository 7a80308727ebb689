package pipe

import (
	"context"
	"errors"

	"github.com/go-multiproc/multiproc/internal/waitable"
)

// Waitable is what Wait can wait for: *Conn, *Listener, *process.Process and *queue.Queue. Use it as Wait's type argument to mix them.
type Waitable interface {
	// Waiter is for Wait only.
	Waiter() waitable.Source
}

// Wait blocks until at least one of ws is ready, and returns all that are, in the order given. A Conn is ready when there is something to
// receive: a message, the beginning of one, or the end of the stream; a Listener when Accept would return at once, a
// process when it has ended, a queue when it has a message. What is closed is ready, so that the call that follows says so. Being ready is no reservation: if others
// receive from the same thing, they may be faster.
//
// When ctx ends first, its error is returned as it is. Waiting takes nothing from anybody, leaves deadlines alone, and costs
// nothing while nothing happens. With no ws it waits for ctx; if that cannot end either, that is an error.
//
//	for {
//		ready, err := pipe.Wait[pipe.Waitable](ctx, conn, listener, child)
//		…
//	}
func Wait[W Waitable](ctx context.Context, ws ...W) (ready []W, err error) {
	sources := make([]waitable.Source, len(ws))
	for i, w := range ws {
		sources[i] = w.Waiter()
	}
	indices, err := waitFor(ctx, sources)
	if err != nil {
		return nil, err
	}
	ready = make([]W, len(indices))
	for i, at := range indices {
		ready[i] = ws[at]
	}
	return ready, nil
}

// waitFor returns the indices of the sources that are ready, in ascending order, once there is one.
func waitFor(ctx context.Context, sources []waitable.Source) ([]int, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(sources) == 0 {
		if ctx.Done() == nil {
			return nil, errors.New("pipe: waiting for nothing, with a context that cannot end, would never return")
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	w, err := newWaiter(sources)
	if err != nil {
		return nil, err
	}
	defer w.close()
	return w.wait(ctx)
}

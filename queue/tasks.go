package queue

import (
	"context"

	"github.com/go-multiproc/multiproc/internal/eventcount"
	"github.com/go-multiproc/multiproc/internal/lock"
)

// taskDone says that one message that this process took is dealt with.
func (q *core) taskDone() error {
	idle, err := q.r.TaskDone()
	if idle {
		q.idle.Broadcast()
	}
	return err
}

// join waits until all messages are dealt with.
func (q *core) join(ctx context.Context) error {
	if err := q.begin(ctx); err != nil {
		return err
	}
	if n, _ := q.r.Unfinished(false); n == 0 {
		return nil
	}
	dead := 0
	look := func(findDead bool) (bool, error) {
		n, d := q.r.Unfinished(findDead)
		if n != 0 && d != 0 {
			return false, died(d)
		}
		return n == 0, nil
	}
	if _, err := look(true); err != nil {
		return err
	}
	err := q.idle.Wait(ctx, eventcount.Wanted{
		Try: func() (bool, error) {
			if dead != 0 {
				return look(true)
			}
			return look(false)
		},
		Dead: func() {
			_, dead = q.r.Unfinished(true)
			q.sweep()
		},
		Handle: q.h,
	})
	return explain(err)
}

// writeOff counts what the dead owe as dealt with.
func (q *core) writeOff(ctx context.Context) (int, error) {
	if err := q.begin(ctx); err != nil {
		return 0, err
	}
	if err := q.consumers.Lock(ctx, lock.Scoped); err != nil {
		return 0, explain(err)
	}
	n := q.r.WriteOff()
	err := q.consumers.Unlock()
	q.idle.Broadcast()
	return n, explain(err)
}

package queue

import (
	"context"

	"github.com/go-multiproc/multiproc/internal/lock"
)

// The locks of the two sides, which no code of a user ever runs under: tests hold them as a
// process does that is in the middle of a Put or a Get.
const (
	Producers = "producers"
	Consumers = "consumers"
)

// Enter takes the lock of a side, and returns what gives it back.
func Enter[T any](q *Queue[T], side string) (leave func()) {
	l := q.core.producers
	if side == Consumers {
		l = q.core.consumers
	}
	if err := l.Lock(context.Background(), lock.Scoped); err != nil {
		panic(err)
	}
	return func() {
		if err := l.Unlock(); err != nil {
			panic(err)
		}
	}
}

// DieInPut does what a process has done that is killed in Put, before the message is there.
func DieInPut(q *Queue[[]byte], b []byte) {
	leave := Enter(q, Producers)
	w := q.core.r.Writer()
	if _, err := w.Add(b); err != nil {
		panic(err)
	}
	leave()
}

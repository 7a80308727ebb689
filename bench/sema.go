package main

import (
	"context"
	"sync"

	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/psync"
)

var semaGroup = group{
	name:        "sema",
	experiments: semaExperiments,
	comparisons: []comparison{
		{what: "Semaphore acquire+release, uncontended", ours: "semaphore", against: "Python s.acquire(), s.release()", theirs: "python semaphore", faster: 8},
		{what: "", ours: "semaphore", against: "Python with s:", theirs: "python with semaphore", faster: 8},
		{what: "", ours: "semaphore", against: "Mutex lock+unlock", theirs: "mutex"},
		{what: "Semaphore, counting", ours: "counting", against: "Python s.acquire(), s.release()", theirs: "python semaphore"},
		{what: "two processes in turn, round trip", ours: "turns", against: "Python, two semaphores", theirs: "python turns"},
		{what: "RWMutex rlock+runlock, uncontended", ours: "rlock", against: "sync.RWMutex", theirs: "sync rlock"},
		{what: "RWMutex lock+unlock, uncontended", ours: "rw lock", against: "Mutex lock+unlock", theirs: "mutex"},
	},
}

// permits are the semaphores by which two processes take turns.
type permits struct {
	Rounds     int
	Ping, Pong *psync.Semaphore
}

var answerInChild = process.Register(func(ctx context.Context, p permits) error {
	for range p.Rounds {
		if err := p.Ping.Acquire(ctx); err != nil {
			return err
		}
		if err := p.Pong.Release(); err != nil {
			return err
		}
	}
	return nil
})

// turns has two processes take turns.
func (p permits) turns(ctx context.Context) (figures, error) {
	child := process.New(answerInChild, p)
	if err := child.Start(); err != nil {
		return nil, err
	}
	turn := func() error {
		if err := p.Ping.Release(); err != nil {
			return err
		}
		return p.Pong.Acquire(ctx)
	}
	if err := turn(); err != nil { // it has started
		return nil, err
	}
	ns, err := perOp(p.Rounds-1, func() error {
		for range p.Rounds - 1 {
			if err := turn(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return figures{"turns": ns}, child.Join(ctx)
}

func semaExperiments(context.Context) ([]experiment, func(), error) {
	var close []func() error
	cleanUp := func() {
		for _, f := range close {
			f()
		}
	}
	semaphore := func(n int, opts ...psync.SemaphoreOptions) *psync.Semaphore {
		s, err := psync.NewSemaphore(n, opts...)
		if err != nil {
			panic(err) // no memory for a page
		}
		close = append(close, s.Close)
		return s
	}
	counting := psync.SemaphoreOptions{Counting: true}
	three, counter := semaphore(3), semaphore(3, counting)
	p := permits{Rounds: 20_000, Ping: semaphore(0, counting), Pong: semaphore(0, counting)}
	mu, err := psync.NewMutex()
	if err != nil {
		return nil, nil, err
	}
	rw, err := psync.NewRWMutex()
	if err != nil {
		return nil, nil, err
	}
	close = append(close, mu.Close, rw.Close)
	var plain sync.RWMutex
	pairs := func(figure string, enter func(ctx context.Context) error, leave func() error) experiment {
		return experiment{figure, func(ctx context.Context) (figures, error) {
			const n = 2_000_000
			ns, err := perOp(n, func() error {
				for range n {
					if err := enter(ctx); err != nil {
						return err
					}
					if err := leave(); err != nil {
						return err
					}
				}
				return nil
			})
			return figures{figure: ns}, err
		}}
	}
	return []experiment{
		{"semaphore", func(ctx context.Context) (figures, error) { // as the loop in sema.py, without a detour
			const n = 2_000_000
			ns, err := perOp(n, func() error {
				for range n {
					if err := three.Acquire(ctx); err != nil {
						return err
					}
					if err := three.Release(); err != nil {
						return err
					}
				}
				return nil
			})
			return figures{"semaphore": ns}, err
		}},
		python("sema.py"),
		pairs("counting", counter.Acquire, counter.Release),
		pairs("mutex", mu.Lock, mu.Unlock),
		pairs("rlock", rw.RLock, rw.RUnlock),
		pairs("sync rlock", func(context.Context) error { plain.RLock(); return nil }, func() error { plain.RUnlock(); return nil }),
		pairs("rw lock", rw.Lock, rw.Unlock),
		{"turns", p.turns},
	}, cleanUp, nil
}

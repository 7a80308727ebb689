package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/queue"
	"github.com/go-multiproc/multiproc/value"
)

// What programs use Redis for when they have nothing but Redis: a number, a lock, a queue. Dicts stand in the groups of the manager.
var redisGroup = group{
	name:        "redis",
	rounds:      5,
	experiments: redisExperiments,
	comparisons: []comparison{
		{what: "add to a shared number", ours: "add", against: "Redis INCR", theirs: "incr"},
		{what: "lock and unlock", ours: "lock", against: "Redis SET NX PX, DEL", theirs: "setnx"},
		{what: "8 bytes through a queue", ours: "queue", against: "Redis LPUSH, BRPOP", theirs: "list"},
		{what: "8 bytes through a queue, 100 at once", ours: "queue 100", against: "Redis LPUSH, BLMPOP of 100", theirs: "list 100"},
		{what: "a queue there, another one back", ours: "trip", against: "Redis LPUSH, BRPOP, twice", theirs: "list trip"},
	},
}

// An errand is what a child does with lists: sends N messages, so many at once, or sends back what it receives.
type errand struct {
	Socket string
	N      int
	Batch  int
	Echo   bool
}

var runErrand = process.Register(func(ctx context.Context, e errand) error {
	r := redis.NewClient(&redis.Options{Network: "unix", Addr: e.Socket})
	defer r.Close()
	if e.Echo {
		for range e.N {
			said, err := r.BRPop(ctx, 0, "there").Result()
			if err == nil {
				err = r.LPush(ctx, "back", said[1]).Err()
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	messages := make([]any, e.Batch)
	for i := range messages {
		messages[i] = "12345678"
	}
	for range e.N / e.Batch {
		if err := r.LPush(ctx, "list", messages...).Err(); err != nil {
			return err
		}
	}
	return nil
})

func redisExperiments(ctx context.Context) (_ []experiment, cleanUp func(), err error) {
	r, stop, err := startRedis(ctx)
	if err != nil {
		return nil, nil, err
	}
	v, err := value.New[int64](0)
	if err != nil {
		stop()
		return nil, nil, err
	}
	mu, err := psync.NewMutex()
	if err != nil {
		stop()
		return nil, nil, err
	}
	cleanUp = func() { v.Close(); mu.Close(); stop() }

	looped := func(name string, n int, f func(ctx context.Context) error) experiment {
		return experiment{name, func(ctx context.Context) (figures, error) {
			ns, err := perOp(n, func() error {
				for range n {
					if err := f(ctx); err != nil {
						return err
					}
				}
				return nil
			})
			return figures{name: ns}, err
		}}
	}
	// lists times n messages from a child, the first of which begins the time.
	lists := func(name string, n, batch int) experiment {
		return experiment{name, func(ctx context.Context) (figures, error) {
			p := process.New(runErrand, errand{Socket: r.Options().Addr, N: n, Batch: batch})
			if err := p.Start(); err != nil {
				return nil, err
			}
			receive := func() (int, error) {
				if batch == 1 {
					return 1, r.BRPop(ctx, 0, "list").Err()
				}
				_, messages, err := r.BLMPop(ctx, 0, "right", int64(batch), "list").Result()
				return len(messages), err
			}
			got, err := receive()
			if err != nil {
				return nil, err
			}
			ns, err := perOp(n-got, func() error {
				for got < n {
					k, err := receive()
					if err != nil {
						return err
					}
					got += k
				}
				return nil
			})
			return figures{name: ns}, errors.Join(err, p.Join(ctx))
		}}
	}
	stream := func(name string, n, batch int) experiment {
		return experiment{name, func(ctx context.Context) (figures, error) {
			q, err := queue.New[[]byte](queue.Options{})
			if err != nil {
				return nil, err
			}
			defer q.Close()
			s, buf := streaming{Size: 8, N: n, Bytes: q}, make([][]byte, batch)
			if batch > 1 {
				s.Batch = batch
			}
			return s.take(ctx, name, func() (int, error) { return q.GetMany(ctx, buf) })
		}}
	}
	trips := queueTrips("trip", 8, 20_000, false)
	return []experiment{
		looped("add", 5_000_000, func(context.Context) error { value.Add(v, 1); return nil }),
		looped("incr", 5_000, func(ctx context.Context) error { return r.Incr(ctx, "number").Err() }),
		looped("lock", 2_000_000, func(ctx context.Context) error { return errors.Join(mu.Lock(ctx), mu.Unlock()) }),
		looped("setnx", 5_000, func(ctx context.Context) error {
			got, err := r.SetNX(ctx, "lock", "me", 10_000_000_000).Result()
			if err != nil || !got {
				return fmt.Errorf("locked %t: %w", got, err)
			}
			return r.Del(ctx, "lock").Err()
		}),
		stream("queue", 200_000, 1), lists("list", 5_000, 1),
		stream("queue 100", 200_000, 100), lists("list 100", 100_000, 100),
		trips,
		{"list trip", func(ctx context.Context) (figures, error) {
			const n = 3_000
			p := process.New(runErrand, errand{Socket: r.Options().Addr, N: n + 1, Echo: true})
			if err := p.Start(); err != nil {
				return nil, err
			}
			trip := func() error {
				if err := r.LPush(ctx, "there", "12345678").Err(); err != nil {
					return err
				}
				return r.BRPop(ctx, 0, "back").Err()
			}
			if err := trip(); err != nil { // it has started
				return nil, err
			}
			ns, err := perOp(n, func() error {
				for range n {
					if err := trip(); err != nil {
						return err
					}
				}
				return nil
			})
			return figures{"list trip": ns}, errors.Join(err, p.Join(ctx))
		}},
	}, cleanUp, nil
}

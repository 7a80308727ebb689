package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/go-multiproc/multiproc/manager"
	"github.com/go-multiproc/multiproc/pipe"
	"github.com/go-multiproc/multiproc/process"
)

var managerGroup = group{
	name:        "manager",
	experiments: managerExperiments,
	comparisons: []comparison{
		{what: "Dict.Get", ours: "rings get", against: "Redis HGET, go-redis, Unix socket", theirs: "redis get", faster: 5},
		{what: "Dict.Set", ours: "rings set", against: "Redis HSET", theirs: "redis set", faster: 5},
		{what: "Dict.Get over the socket", ours: "socket get", against: "Redis HGET", theirs: "redis get", faster: 2},
		{ours: "socket get", against: "Python Manager().dict()", theirs: "python get", faster: 4},
		{what: "Dict.Set over the socket", ours: "socket set", against: "Redis HSET", theirs: "redis set", faster: 2},
		{ours: "socket set", against: "Python Manager().dict()", theirs: "python set", faster: 4},
		{what: "Get and Set, 16 goroutines", ours: "rings 16", against: "Redis, 16 goroutines", theirs: "redis 16", faster: 3},
		{what: "… over the socket", ours: "socket 16", against: "Redis, 16 goroutines", theirs: "redis 16", faster: 2},
		{what: "Get and Set, 4 processes", ours: "rings 4", against: "Redis, 4 processes", theirs: "redis 4", faster: 3},
		{what: "… over the socket", ours: "socket 4", against: "Redis, 4 processes", theirs: "redis 4", faster: 1.5},
		{what: "BatchSet of 1,000, per entry", ours: "rings batch", against: "a Redis pipeline of 1,000 HSET", theirs: "redis batch", faster: 2},
		{what: "… over the socket", ours: "socket batch", against: "a Redis pipeline of 1,000 HSET", theirs: "redis batch", faster: 2},
	},
}

// A keyed is what is compared: a store of numbers under keys, on another process.
type keyed interface {
	get(ctx context.Context) error
	set(ctx context.Context, n int) error
	setMany(ctx context.Context, entries map[string]int) error
}

type ourDict struct{ *manager.Dict[string, int] }

func (d ourDict) get(ctx context.Context) error        { _, _, err := d.Get(ctx, "key"); return err }
func (d ourDict) set(ctx context.Context, n int) error { return d.Set(ctx, "key", n) }
func (d ourDict) setMany(ctx context.Context, entries map[string]int) error {
	return d.BatchSet(ctx, entries)
}

type redisHash struct{ *redis.Client }

func (r redisHash) get(ctx context.Context) error {
	_, err := r.HGet(ctx, "hash", "key").Int()
	return err
}
func (r redisHash) set(ctx context.Context, n int) error { return r.HSet(ctx, "hash", "key", n).Err() }
func (r redisHash) setMany(ctx context.Context, entries map[string]int) error {
	p := r.Pipeline()
	for k, v := range entries {
		p.HSet(ctx, "hash", k, v)
	}
	_, err := p.Exec(ctx)
	return err
}

// getAndSet does n operations, half of them gets.
func getAndSet(ctx context.Context, k keyed, n int) error {
	for i := range n / 2 {
		if err := k.set(ctx, i); err != nil {
			return err
		}
		if err := k.get(ctx); err != nil {
			return err
		}
	}
	return nil
}

// A managerClient is a process that does as many operations as it is told.
type managerClient struct {
	Dict   *manager.Dict[string, int]
	Redis  string // the path of its socket, if it is a client of Redis
	Orders *pipe.Conn
}

var runClient = process.RegisterName("bench manager client", func(ctx context.Context, c managerClient) error {
	var k keyed = ourDict{c.Dict}
	if c.Redis != "" {
		k = redisHash{redis.NewClient(&redis.Options{Network: "unix", Addr: c.Redis})}
	}
	for {
		var n int
		if c.Orders.Recv(&n) != nil {
			return nil
		}
		if err := getAndSet(ctx, k, n); err != nil {
			return err
		}
		if err := c.Orders.Send(n); err != nil {
			return err
		}
	}
})

// A crew is some client processes.
type crew struct {
	orders    []*pipe.Conn
	processes []*process.Process
}

func newCrew(n int, c managerClient) (*crew, error) {
	w := new(crew)
	for range n {
		ours, theirs, err := pipe.New()
		if err != nil {
			return w, err
		}
		c.Orders = theirs
		p := process.New(runClient, c)
		if err := p.Start(); err != nil {
			return w, err
		}
		w.orders, w.processes = append(w.orders, ours), append(w.processes, p)
	}
	return w, w.work(2) // they are up, and connected
}

// work has each do n operations.
func (w *crew) work(n int) error {
	for _, o := range w.orders {
		if err := o.Send(n); err != nil {
			return err
		}
	}
	for i, o := range w.orders {
		var done int
		if err := o.Recv(&done); err != nil {
			return errors.Join(err, w.processes[i].Join(context.Background()))
		}
	}
	return nil
}

func (w *crew) end() {
	for _, o := range w.orders {
		o.Close()
	}
	for _, p := range w.processes {
		p.Join(context.Background())
	}
}

func managerExperiments(ctx context.Context) (_ []experiment, _ func(), err error) {
	var ends undoing
	defer ends.runIf(&err)
	m, err := manager.Start(manager.Options{})
	if err != nil {
		return nil, nil, err
	}
	ends = append(ends, func() { m.Close() })
	dict := func(m *manager.Manager) (*manager.Dict[string, int], error) {
		d, err := manager.OpenDict[string, int](m, "hash")
		if err == nil {
			ends = append(ends, func() { d.Close() })
		}
		return d, err
	}
	rings, err := dict(m)
	if err != nil {
		return nil, nil, err
	}
	overSocket, err := manager.Connect(ctx, "unix", m.Addr().String(), manager.Options{NoRings: true})
	if err != nil {
		return nil, nil, err
	}
	ends = append(ends, func() { overSocket.Close() })
	socket, err := dict(overSocket)
	if err != nil {
		return nil, nil, err
	}

	var experiments []experiment
	for _, side := range []struct {
		name string
		dict *manager.Dict[string, int]
	}{{"rings", rings}, {"socket", socket}} {
		c, err := newCrew(4, managerClient{Dict: side.dict})
		ends = append(ends, c.end)
		if err != nil {
			return nil, nil, err
		}
		experiments = append(experiments, keyedExperiments(side.name, ourDict{side.dict}, c, 1)...)
	}
	client, stop, err := startRedis(ctx)
	if err != nil {
		// The rows beside it say so.
		experiments = append(experiments, experiment{"redis", func(context.Context) (figures, error) { return nil, err }})
	} else {
		ends = append(ends, stop)
		c, err := newCrew(4, managerClient{Redis: client.Options().Addr})
		ends = append(ends, c.end)
		if err != nil {
			return nil, nil, err
		}
		experiments = append(experiments, keyedExperiments("redis", redisHash{client}, c, 1)...)
	}
	// Those that are compared run one after the other, whatever else there is.
	each := len(experiments) / 3
	if client != nil {
		var inTurn []experiment
		for i := range each {
			for side := range 3 {
				inTurn = append(inTurn, experiments[side*each+i])
			}
		}
		experiments = inTurn
	}
	return append(experiments, python("manager.py")), ends.run, nil
}

// keyedExperiments measures one side, with so many times the usual number of calls.
func keyedExperiments(name string, k keyed, c *crew, times int) []experiment {
	n := 20_000 * times
	entries := map[string]int{}
	for i := range 1000 {
		entries[fmt.Sprint("key ", i)] = i
	}
	measure := func(what string, n int, f func(ctx context.Context) error) experiment {
		figure := name + " " + what
		return experiment{figure, func(ctx context.Context) (figures, error) {
			ns, err := perOp(n, func() error { return f(ctx) })
			return figures{figure: ns}, err
		}}
	}
	return []experiment{
		measure("set", n, func(ctx context.Context) error {
			for i := range n {
				if err := k.set(ctx, i); err != nil {
					return err
				}
			}
			return nil
		}),
		measure("get", n, func(ctx context.Context) error {
			for range n {
				if err := k.get(ctx); err != nil {
					return err
				}
			}
			return nil
		}),
		measure("16", 16*2_000*times, func(ctx context.Context) error {
			var work sync.WaitGroup
			var failed error
			var once sync.Once
			for range 16 {
				work.Go(func() {
					if err := getAndSet(ctx, k, 2_000*times); err != nil {
						once.Do(func() { failed = err })
					}
				})
			}
			work.Wait()
			return failed
		}),
		measure("4", 4*4_000*times, func(context.Context) error { return c.work(4_000 * times) }),
		measure("batch", 20*times*len(entries), func(ctx context.Context) error {
			for range 20 * times {
				if err := k.setMany(ctx, entries); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/array"
	"github.com/go-multiproc/multiproc/internal/sys"
	"github.com/go-multiproc/multiproc/manager"
	"github.com/go-multiproc/multiproc/pipe"
	"github.com/go-multiproc/multiproc/pool"
	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/queue"
)

// How costs grow: with the size of a message, with the number of processes, with the number of keys, and how they
// shrink when several things go at once.
var growthGroup = group{
	name:        "growth",
	rounds:      3,
	experiments: growthExperiments,
	series: []series{
		{"message-size", "A message from one process to another", "bytes in a message", "time per message", messageSizes, []line{
			{"queue, Put and Get", "queue size"},
			{"queue, Reserve and Lease, no copy", "lease size"},
			{"pipe", "pipe size"},
			{"two copies, nothing else", "copies size"},
			{"Python Queue", "python queue size"},
			{"Python Connection", "python pipe size"},
		}},
		{"processes-lock", "Processes that fight for one lock", "processes", "time per lock and unlock", crowds, []line{
			{"psync.Mutex", "mutex crowd"},
			{"test-and-set loop", "tas crowd"},
			{"Python Lock", "python lock crowd"},
		}},
		{"processes-queue", "One queue with as many producers as consumers", "producers, and as many consumers", "time per message of 8 bytes", crowds, []line{
			{"queue", "queue crowd"},
			{"Python Queue", "python queue crowd"},
		}},
		{"processes-manager", "Client processes that get keys of one dict", "clients", "time per call", crowds, []line{
			{"manager", "manager crowd"},
			{"manager, socket alone", "socket crowd"},
			{"Redis", "redis crowd"},
			{"Python Manager().dict()", "python manager crowd"},
		}},
		{"workers", "A pool's tasks that do nothing, one at a time", "workers", "time per task", crowds, []line{
			{"pool", "pool workers"},
			{"Python Pool", "python pool workers"},
		}},
		{"batch", "What goes together", "things at once", "time per thing", batches, []line{
			{"queue, PutMany and GetMany", "queue batch"},
			{"manager, BatchSet", "dict batch"},
			{"Redis, HSET in a pipeline", "redis batch"},
			{"Redis, one HSET of all", "redis one"},
			{"pool, chunks of a Map", "pool batch"},
			{"Python Pool.map, chunksize", "python pool batch"},
		}},
		{"keys", "Getting a random key of a dict", "keys in it", "time per call", keyCounts, []line{
			{"manager", "dict keys"},
			{"Redis", "redis keys"},
			{"Python Manager().dict()", "python dict keys"},
		}},
	},
}

// growth.py has the same.
var (
	messageSizes = []int{8, 64, 512, 4 << 10, 32 << 10, 256 << 10, 1 << 20}
	crowds       = []int{1, 2, 4, 8}
	batches      = []int{1, 4, 16, 64, 256, 1024}
	keyCounts    = []int{1, 1000, 30_000, 1_000_000}
)

// A streaming is N messages of Size bytes that a child sends.
type streaming struct {
	Size, N int
	Bytes   *queue.Queue[[]byte]
	Lease   bool
	Conn    *pipe.Conn
	Buffer  *array.Array[byte]
	Flags   *array.Array[uint32]
	Batch   int
}

var sendStream = process.Register(func(ctx context.Context, s streaming) error {
	m := make([]byte, s.Size)
	batch := slices.Repeat([][]byte{m}, max(s.Batch, 1))
	for i := 0; i < s.N; i++ {
		var err error
		switch {
		case s.Conn != nil:
			err = s.Conn.SendBytes(m)
		case s.Flags != nil:
			slot := i % s.Flags.Len()
			flag := &s.Flags.Slice()[slot]
			until(flag, 0)
			copy(s.Buffer.Slice()[slot*s.Size:], m)
			atomic.StoreUint32(flag, 1)
		case s.Batch > 0:
			_, err = s.Bytes.PutMany(ctx, batch)
			i += s.Batch - 1
		case s.Lease:
			var r *queue.Reservation
			if r, err = queue.Reserve(ctx, s.Bytes, s.Size); err == nil {
				err = r.Commit()
			}
		default:
			err = s.Bytes.Put(ctx, m)
		}
		if err != nil {
			return err
		}
	}
	return nil
})

// take times what a child sends, from the first message on. receive returns how many it got.
func (s streaming) take(ctx context.Context, figure string, receive func() (int, error)) (figures, error) {
	p := process.New(sendStream, s)
	if err := p.Start(); err != nil {
		return nil, err
	}
	got, err := receive()
	if err != nil {
		return nil, err
	}
	ns, err := perOp(s.N-got, func() error {
		for got < s.N {
			k, err := receive()
			if err != nil {
				return err
			}
			got += k
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return figures{figure: ns}, p.Join(ctx)
}

// streams are the experiments of messages of one size.
func streams(size int) []experiment {
	n := max(100, min(100_000, 64<<20/size))
	ring := queue.Options{Bytes: max(1<<20, 8*size)}
	own := make([]byte, size)
	withQueue := func(figure string, s streaming, receive func(context.Context, *queue.Queue[[]byte]) (int, error)) experiment {
		return experiment{figure, func(ctx context.Context) (figures, error) {
			q, err := queue.New[[]byte](ring)
			if err != nil {
				return nil, err
			}
			defer q.Close()
			s.Bytes = q
			return s.take(ctx, figure, func() (int, error) { return receive(ctx, q) })
		}}
	}
	one := [][]byte{own}
	return []experiment{
		withQueue(at("queue size", size), streaming{Size: size, N: n}, func(ctx context.Context, q *queue.Queue[[]byte]) (int, error) {
			return q.GetMany(ctx, one) // into the same memory each time
		}),
		withQueue(at("lease size", size), streaming{Size: size, N: n, Lease: true}, func(ctx context.Context, q *queue.Queue[[]byte]) (int, error) {
			l, err := q.Lease(ctx)
			if err != nil {
				return 0, err
			}
			return 1, l.Ack()
		}),
		{at("pipe size", size), func(ctx context.Context) (figures, error) {
			r, w, err := pipe.NewOneWay()
			if err != nil {
				return nil, err
			}
			defer r.Close()
			return streaming{Size: size, N: n, Conn: w}.take(ctx, at("pipe size", size), func() (int, error) {
				_, err := r.RecvBytesInto(own)
				return 1, err
			})
		}},
		{at("copies size", size), func(ctx context.Context) (figures, error) {
			slots := max(8, min(1024, 1<<20/size))
			buffer, err := array.NewRaw[byte](slots * size)
			if err != nil {
				return nil, err
			}
			defer buffer.Close()
			flags, err := array.NewRaw[uint32](slots)
			if err != nil {
				return nil, err
			}
			defer flags.Close()
			i := 0
			return streaming{Size: size, N: n, Buffer: buffer, Flags: flags}.take(ctx, at("copies size", size), func() (int, error) {
				flag := &flags.Slice()[i%slots]
				until(flag, 1)
				copy(own, buffer.Slice()[i%slots*size:])
				atomic.StoreUint32(flag, 0)
				i++
				return 1, nil
			})
		}},
	}
}

// batchStream is messages of 8 bytes, so many at once.
func batchStream(batch int) experiment {
	name := at("queue batch", batch)
	return experiment{name, func(ctx context.Context) (figures, error) {
		q, err := queue.New[[]byte](queue.Options{})
		if err != nil {
			return nil, err
		}
		defer q.Close()
		buf := make([][]byte, batch)
		n := 200_000 / batch * batch
		return streaming{Size: 8, N: n, Batch: batch, Bytes: q}.take(ctx, name, func() (int, error) { return q.GetMany(ctx, buf) })
	}}
}

// A member is one of several processes that do the same at the same time.
type member struct {
	Does  string
	N     int
	Index int
	All   *psync.Barrier
	Times *array.Array[int64] // for each member when it began and when it ended, by the clock of the machine

	Mutex *psync.Mutex
	Words *array.Array[uint64]
	Bytes *queue.Queue[[]byte]
	Dict  *manager.Dict[string, int]
	Redis string // the socket of a server
}

func (m member) do(ctx context.Context) (func() error, error) {
	switch m.Does {
	case "lock":
		return func() error {
			if err := m.Mutex.Lock(ctx); err != nil {
				return err
			}
			m.Words.Slice()[16]++
			return m.Mutex.Unlock()
		}, nil
	case "tas":
		words := m.Words.Slice()
		return func() error {
			for tries := 0; !atomic.CompareAndSwapUint64(&words[0], 0, 1); {
				for atomic.LoadUint64(&words[0]) != 0 {
					if sys.Pause(1); tries > 1000 {
						sys.Yield()
					}
					tries++
				}
			}
			words[16]++
			atomic.StoreUint64(&words[0], 0)
			return nil
		}, nil
	case "put":
		message := make([]byte, 8)
		return func() error { return m.Bytes.Put(ctx, message) }, nil
	case "get":
		return func() error { _, err := m.Bytes.Get(ctx); return err }, nil
	case "dict":
		return func() error { _, _, err := m.Dict.Get(ctx, "key"); return err }, nil
	case "redis":
		client := redis.NewClient(&redis.Options{Network: "unix", Addr: m.Redis})
		return func() error { return client.HGet(ctx, "hash", "key").Err() }, nil
	}
	return nil, fmt.Errorf("nobody does %q", m.Does)
}

var joinIn = process.Register(func(ctx context.Context, m member) error {
	f, err := m.do(ctx)
	if err != nil {
		return err
	}
	if m.Does == "dict" || m.Does == "redis" { // connect
		if err := f(); err != nil {
			return err
		}
	}
	if _, err := m.All.Wait(ctx); err != nil {
		return err
	}
	m.Times.Store(2*m.Index, clock())
	for range m.N {
		if err := f(); err != nil {
			return err
		}
	}
	m.Times.Store(2*m.Index+1, clock())
	return nil
})

// clock is the same in all processes.
func clock() int64 {
	var t unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return t.Nano()
}

// together has each of these begin at the same time, and returns the time from the first one's beginning to the last one's end, for each of n things.
func together(ctx context.Context, figure string, n int, members []member) (figures, error) {
	all, err := psync.NewBarrier(len(members))
	if err != nil {
		return nil, err
	}
	defer all.Close()
	clocks, err := array.NewRaw[int64](2 * len(members))
	if err != nil {
		return nil, err
	}
	defer clocks.Close()
	var running []*process.Process
	for i, m := range members {
		m.Index, m.All, m.Times = i, all, clocks
		p := process.New(joinIn, m)
		if err := p.Start(); err != nil {
			return nil, err
		}
		running = append(running, p)
	}
	for _, p := range running {
		if err := p.Join(ctx); err != nil {
			return nil, err
		}
	}
	first, last := clocks.Load(0), clocks.Load(1)
	for i := range members {
		first, last = min(first, clocks.Load(2*i)), max(last, clocks.Load(2*i+1))
	}
	return figures{figure: float64(last-first) / float64(n)}, nil
}

// crowd is size processes that do the same, n times in all.
func crowd(name string, size, n int, m member) experiment {
	name = at(name, size)
	return experiment{name, func(ctx context.Context) (figures, error) {
		m.N = n / size
		return together(ctx, name, n/size*size, slices.Repeat([]member{m}, size))
	}}
}

func growthExperiments(ctx context.Context) (_ []experiment, _ func(), err error) {
	var ends undoing
	defer ends.runIf(&err)
	var all []experiment
	for _, size := range messageSizes {
		all = append(all, streams(size)...)
	}
	for _, n := range batches {
		all = append(all, batchStream(n))
	}

	mu, err := psync.NewMutex()
	if err != nil {
		return nil, nil, err
	}
	words, err := array.NewRaw[uint64](32)
	if err != nil {
		return nil, nil, err
	}
	ends = append(ends, func() { mu.Close(); words.Close() })
	for _, n := range crowds {
		all = append(all,
			crowd("mutex crowd", n, 4_000_000, member{Does: "lock", Mutex: mu, Words: words}),
			crowd("tas crowd", n, 4_000_000, member{Does: "tas", Words: words}),
			experiment{at("queue crowd", n), func(ctx context.Context) (figures, error) {
				q, err := queue.New[[]byte](queue.Options{})
				if err != nil {
					return nil, err
				}
				defer q.Close()
				const messages = 400_000
				puts, gets := member{Does: "put", N: messages / n, Bytes: q}, member{Does: "get", N: messages / n, Bytes: q}
				return together(ctx, at("queue crowd", n), messages, slices.Repeat([]member{puts, gets}, n))
			}})
	}
	managers, close, err := managerGrowth(ctx)
	ends = append(ends, close)
	if err != nil {
		return nil, nil, err
	}
	all = append(all, managers...)
	redises, close, err := redisGrowth(ctx)
	ends = append(ends, close)
	if err != nil {
		return nil, nil, err
	}
	all = append(all, redises...)
	pools, close, err := poolGrowth(ctx)
	ends = append(ends, close)
	if err != nil {
		return nil, nil, err
	}
	all = append(all, pools...)
	for _, what := range []string{"messages", "locks", "queues", "managers", "pools", "keys"} {
		all = append(all, python("growth.py", what))
	}
	return all, ends.run, nil
}

func key(i int) string { return "key:" + strconv.Itoa(i) }

// randomly times gets of keys, in an order that the processor cannot foresee.
func randomly(name string, keys int, get func(ctx context.Context, key string) error) experiment {
	name = at(name, keys)
	const n = 3000
	wanted := make([]string, n)
	rng := rand.New(rand.NewPCG(1, uint64(keys)))
	for i := range wanted {
		wanted[i] = key(rng.IntN(keys))
	}
	return experiment{name, func(ctx context.Context) (figures, error) {
		ns, err := perOp(n, func() error {
			for _, k := range wanted {
				if err := get(ctx, k); err != nil {
					return err
				}
			}
			return nil
		})
		return figures{name: ns}, err
	}}
}

// inBatches times n things that are done so many at once.
func inBatches(name string, batch int, f func(ctx context.Context, first, batch int) error) experiment {
	name = at(name, batch)
	n := max(batch*4, min(20_000, 3000*batch)) / batch * batch
	return experiment{name, func(ctx context.Context) (figures, error) {
		ns, err := perOp(n, func() error {
			for i := 0; i < n; i += batch {
				if err := f(ctx, i, batch); err != nil {
					return err
				}
			}
			return nil
		})
		return figures{name: ns}, err
	}}
}

func managerGrowth(ctx context.Context) (all []experiment, cleanUp func(), err error) {
	m, err := manager.Start(manager.Options{})
	if err != nil {
		return nil, func() {}, err
	}
	plain, err := manager.Start(manager.Options{NoRings: true})
	if err != nil {
		m.Shutdown(ctx)
		return nil, func() {}, err
	}
	cleanUp = func() { m.Shutdown(ctx); plain.Shutdown(ctx) }
	one, err := manager.NewDict[string, int](m)
	if err != nil {
		return nil, cleanUp, err
	}
	socket, err := manager.NewDict[string, int](plain)
	if err != nil {
		return nil, cleanUp, err
	}
	for _, d := range []*manager.Dict[string, int]{one, socket} {
		if err := d.Set(ctx, "key", 1); err != nil {
			return nil, cleanUp, err
		}
	}
	for _, n := range crowds {
		all = append(all,
			crowd("manager crowd", n, 40_000, member{Does: "dict", Dict: one}),
			crowd("socket crowd", n, 16_000, member{Does: "dict", Dict: socket}))
	}
	for _, n := range batches {
		all = append(all, inBatches("dict batch", n, func(ctx context.Context, first, batch int) error {
			entries := make(map[string]int, batch)
			for i := range batch {
				entries[key(first+i)] = i
			}
			return one.BatchSet(ctx, entries)
		}))
	}
	for _, keys := range keyCounts {
		d, err := manager.NewDict[string, int](m)
		if err != nil {
			return nil, cleanUp, err
		}
		for first := 0; first < keys; first += 10_000 {
			entries := make(map[string]int, 10_000)
			for i := first; i < min(first+10_000, keys); i++ {
				entries[key(i)] = i
			}
			if err := d.BatchSet(ctx, entries); err != nil {
				return nil, cleanUp, err
			}
		}
		all = append(all, randomly("dict keys", keys, func(ctx context.Context, k string) error {
			_, ok, err := d.Get(ctx, k)
			if err == nil && !ok {
				err = fmt.Errorf("%s is not there", k)
			}
			return err
		}))
	}
	return all, cleanUp, nil
}

func redisGrowth(ctx context.Context) (all []experiment, cleanUp func(), err error) {
	r, cleanUp, err := startRedis(ctx)
	if _, ok := errors.AsType[missing](err); ok {
		return []experiment{{"redis", func(context.Context) (figures, error) { return nil, err }}}, func() {}, nil
	}
	if err != nil {
		return nil, func() {}, err
	}
	if err := r.HSet(ctx, "hash", "key", 1).Err(); err != nil {
		return nil, cleanUp, err
	}
	for _, n := range crowds {
		all = append(all, crowd("redis crowd", n, 16_000, member{Does: "redis", Redis: r.Options().Addr}))
	}
	for _, n := range batches {
		all = append(all, inBatches("redis one", n, func(ctx context.Context, first, batch int) error {
			entries := make([]any, 0, 2*batch)
			for i := range batch {
				entries = append(entries, key(first+i), i)
			}
			return r.HSet(ctx, "batch", entries...).Err()
		}), inBatches("redis batch", n, func(ctx context.Context, first, batch int) error {
			p := r.Pipeline()
			for i := range batch {
				p.HSet(ctx, "batch", key(first+i), i)
			}
			_, err := p.Exec(ctx)
			return err
		}))
	}
	for _, keys := range keyCounts {
		hash := at("hash", keys)
		for first := 0; first < keys; first += 10_000 {
			var entries []any
			for i := first; i < min(first+10_000, keys); i++ {
				entries = append(entries, key(i), i)
			}
			if err := r.HSet(ctx, hash, entries...).Err(); err != nil {
				return nil, cleanUp, err
			}
		}
		all = append(all, randomly("redis keys", keys, func(ctx context.Context, k string) error {
			_, err := r.HGet(ctx, hash, k).Int()
			return err
		}))
	}
	return all, cleanUp, nil
}

func poolGrowth(ctx context.Context) (all []experiment, cleanUp func(), err error) {
	var pools []*pool.Pool
	cleanUp = func() {
		for _, p := range pools {
			p.Terminate()
			p.Join(ctx)
		}
	}
	mapping := func(name string, p *pool.Pool, chunk, n int) experiment {
		in := make([]int, n)
		return experiment{name, func(ctx context.Context) (figures, error) {
			ns, err := perOp(n, func() error {
				_, err := sameTask.With(pool.TaskOptions{Chunk: chunk}).Map(ctx, p, in)
				return err
			})
			return figures{name: ns}, err
		}}
	}
	for _, workers := range crowds {
		p, err := pool.New(pool.Options{Workers: workers})
		if err != nil {
			return nil, cleanUp, err
		}
		pools = append(pools, p)
		if _, err := sameTask.With(pool.TaskOptions{Chunk: 1}).Map(ctx, p, make([]int, 1000)); err != nil {
			return nil, cleanUp, err
		}
		all = append(all, mapping(at("pool workers", workers), p, 1, 20_000))
		if workers == 2 {
			for _, chunk := range batches {
				all = append(all, mapping(at("pool batch", chunk), p, chunk, min(200_000, 20_000*chunk)))
			}
		}
	}
	return all, cleanUp, nil
}

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-multiproc/multiproc/array"
	"github.com/go-multiproc/multiproc/internal/sys"
	"github.com/go-multiproc/multiproc/pipe"
	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/queue"
)

var queueGroup = group{
	name:        "queue",
	experiments: queueExperiments,
	comparisons: []comparison{
		{what: "8 bytes, one process to another", ours: "queue bytes", against: "5 million a second", theirs: "5M/s", ask: 1},
		{what: "", ours: "queue bytes many", against: "the same by PutMany, GetMany", theirs: "queue bytes"},
		{what: "two int64s", ours: "queue pair", against: "Python Queue of a tuple", theirs: "python pair", faster: 50},
		{what: "a struct, as CBOR", ours: "queue record", against: "Python Queue of a dict", theirs: "python record", faster: 10},
		{what: "1 MiB", ours: "queue mib", against: "two copies over a bare shared buffer", theirs: "bare mib", ask: 1.25},
		{what: "1 MiB by Reserve and Lease, all words read", ours: "queue lease", against: "pipe, all words read", theirs: "pipe mib", faster: 2},
		{what: "round trip, both hot", ours: "queue hot", against: "1 µs", theirs: "µs", ask: 1},
		{what: "", ours: "queue hot", against: "Python SimpleQueue", theirs: "python round trip"},
		{what: "round trip, both asleep", ours: "queue asleep", against: "bare futex ping-pong", theirs: "bare asleep", ask: 1.5},
		{what: "", ours: "queue asleep on one CPU", against: "the same, both on one CPU", theirs: "bare asleep on one CPU", ask: 1.5},
		{what: "", ours: "queue asleep on two CPUs", against: "the same, each on its own", theirs: "bare asleep on two CPUs", ask: 1.5},
		{what: "8 bytes, 4 processes to 4", ours: "queue 4x4", against: "one to another", theirs: "queue bytes", ask: 2},
		{what: "mean share of a producer", ours: "queue mean", against: "the least", theirs: "queue least", ask: 2, unit: "messages"},
	},
}

const (
	mib      = 1 << 20
	mibs     = 300     // messages of 1 MiB in one measurement
	streamed = 600_000 // small ones
)

// A course is what a child does in a measurement.
type course struct {
	N      int
	Bytes  *queue.Queue[[]byte]
	Back   *queue.Queue[[]byte]
	Pairs  *queue.Queue[[2]int64]
	Record *queue.Queue[record]
	Conn   *pipe.Conn
	Buffer *array.Array[byte]
	Words  *array.Array[uint32] // of a bare futex, or flags of Buffer
	Counts *array.Array[uint64]
	Number int
}

var (
	putBytes = process.Register(func(ctx context.Context, c course) error {
		m := make([]byte, 8)
		for range c.N {
			if err := c.Bytes.Put(ctx, m); err != nil {
				return err
			}
		}
		return nil
	})
	putBytesMany = process.Register(func(ctx context.Context, c course) error {
		ms := make([][]byte, 100)
		for i := range ms {
			ms[i] = make([]byte, 8)
		}
		for range c.N / len(ms) {
			if _, err := c.Bytes.PutMany(ctx, ms); err != nil {
				return err
			}
		}
		return nil
	})
	putPairs = process.Register(func(ctx context.Context, c course) error {
		for i := range int64(c.N) {
			if err := c.Pairs.Put(ctx, [2]int64{i, 2}); err != nil {
				return err
			}
		}
		return nil
	})
	putRecords = process.Register(func(ctx context.Context, c course) error {
		for range c.N {
			if err := c.Record.Put(ctx, theRecord); err != nil {
				return err
			}
		}
		return nil
	})
	putMiBs = process.Register(func(ctx context.Context, c course) error {
		m := make([]byte, mib)
		fill(m)
		for range c.N {
			if err := c.Bytes.Put(ctx, m); err != nil {
				return err
			}
		}
		return nil
	})
	copyMiBs = process.Register(func(ctx context.Context, c course) error {
		m := make([]byte, mib)
		fill(m)
		slots := c.Words.Slice()
		for i := range c.N {
			flag := &slots[i%len(slots)]
			until(flag, 0)
			copy(c.Buffer.Slice()[i%len(slots)*mib:], m)
			atomic.StoreUint32(flag, 1)
		}
		return nil
	})
	reserveMiBs = process.Register(func(ctx context.Context, c course) error {
		for range c.N {
			r, err := queue.Reserve(ctx, c.Bytes, mib)
			if err != nil {
				return err
			}
			fill(r.Bytes())
			if err := r.Commit(); err != nil {
				return err
			}
		}
		return nil
	})
	sendMiBs = process.Register(func(ctx context.Context, c course) error {
		m := make([]byte, mib)
		for range c.N {
			fill(m)
			if err := c.Conn.SendBytes(m); err != nil {
				return err
			}
		}
		return nil
	})
	echoQueue = process.Register(func(ctx context.Context, c course) error {
		for {
			b, err := c.Bytes.Get(ctx)
			if errors.Is(err, queue.ErrClosed) {
				return nil
			}
			if err == nil {
				err = c.Back.Put(ctx, b)
			}
			if err != nil {
				return err
			}
		}
	})
	echoFutex = process.Register(func(ctx context.Context, c course) error {
		there, back := &c.Words.Slice()[0], &c.Words.Slice()[32]
		for i := range uint32(c.N) {
			for atomic.LoadUint32(there) != i+1 {
				sys.FutexWait(there, i, time.Second)
			}
			atomic.StoreUint32(back, i+1)
			sys.FutexWake(back, 1)
		}
		return nil
	})
	putForever = process.Register(func(ctx context.Context, c course) error {
		m := make([]byte, 8)
		for {
			if err := c.Bytes.Put(ctx, m); errors.Is(err, queue.ErrClosed) {
				return nil
			} else if err != nil {
				return err
			}
			array.Add(c.Counts, 8*c.Number, 1)
		}
	})
	getForever = process.Register(func(ctx context.Context, c course) error {
		for {
			if _, err := c.Bytes.Get(ctx); errors.Is(err, queue.ErrClosed) {
				return nil
			} else if err != nil {
				return err
			}
		}
	})
)

// until waits until the flag is v, and lets others run when that takes long.
func until(flag *uint32, v uint32) {
	for tries := 0; atomic.LoadUint32(flag) != v; tries++ {
		if sys.Pause(2); tries > 100 {
			sys.Yield()
		}
	}
}

// fill writes every word of b.
func fill(b []byte) {
	for i := 0; i+8 <= len(b); i += 8 {
		binary.NativeEndian.PutUint64(b[i:], uint64(i))
	}
}

// sum reads every word of b.
func sum(b []byte) {
	var s uint64
	for i := 0; i+8 <= len(b); i += 8 {
		s += binary.NativeEndian.Uint64(b[i:])
	}
	sink.Store(s)
}

func queueExperiments(ctx context.Context) ([]experiment, func(), error) {
	// stream times n messages from a child, the first of which begins the time.
	stream := func(name string, n int, child *process.Func[course], o queue.Options, c func(course) course, get func(context.Context, course) (int, error)) experiment {
		return experiment{name, func(ctx context.Context) (figures, error) {
			q, err := queue.New[[]byte](o)
			if err != nil {
				return nil, err
			}
			defer q.Close()
			co := course{N: n, Bytes: q}
			if c != nil {
				co = c(co)
			}
			p := process.New(child, co)
			if err := p.Start(); err != nil {
				return nil, err
			}
			done, err := get(ctx, co)
			if err != nil {
				return nil, err
			}
			ns, err := perOp(n-done, func() error {
				for done < n {
					k, err := get(ctx, co)
					if err != nil {
						return err
					}
					done += k
				}
				return nil
			})
			if err != nil {
				return nil, err
			}
			return figures{name: ns}, p.Join(ctx)
		}}
	}
	one := func(ctx context.Context, c course) (int, error) {
		_, err := c.Bytes.Get(ctx)
		return 1, err
	}
	buf := make([][]byte, 256)
	many := func(ctx context.Context, c course) (int, error) { return c.Bytes.GetMany(ctx, buf) }
	own := make([]byte, mib)
	large := queue.Options{Bytes: 8 * mib}

	pairs, err := queue.New[[2]int64](queue.Options{})
	if err != nil {
		return nil, nil, err
	}
	records, err := queue.New[record](queue.Options{})
	if err != nil {
		return nil, nil, err
	}
	buffer, err := array.NewRaw[byte](8 * mib) // as large as the ring
	if err != nil {
		return nil, nil, err
	}
	cleanUp := func() { pairs.Close(); records.Close(); buffer.Close() }

	return []experiment{
		stream("queue bytes", streamed, putBytes, queue.Options{}, nil, one),
		stream("queue bytes many", streamed, putBytesMany, queue.Options{}, nil, many),
		stream("queue pair", streamed, putPairs, queue.Options{}, func(c course) course { c.Pairs = pairs; return c },
			func(ctx context.Context, c course) (int, error) { _, err := pairs.Get(ctx); return 1, err }),
		stream("queue record", streamed/10, putRecords, queue.Options{}, func(c course) course { c.Record = records; return c },
			func(ctx context.Context, c course) (int, error) { _, err := records.Get(ctx); return 1, err }),
		python("queues.py"),
		stream("queue mib", mibs, putMiBs, large, nil,
			func(ctx context.Context, c course) (int, error) { return c.Bytes.GetMany(ctx, buf[:1]) }),
		{"bare mib", func(ctx context.Context) (figures, error) {
			flags, err := array.NewRaw[uint32](8)
			if err != nil {
				return nil, err
			}
			defer flags.Close()
			p := process.New(copyMiBs, course{N: mibs, Buffer: buffer, Words: flags})
			if err := p.Start(); err != nil {
				return nil, err
			}
			slots := flags.Slice()
			until(&slots[0], 1)
			ns, err := perOp(mibs, func() error {
				for i := range mibs {
					flag := &slots[i%len(slots)]
					until(flag, 1)
					copy(own, buffer.Slice()[i%len(slots)*mib:])
					atomic.StoreUint32(flag, 0)
				}
				return nil
			})
			if err != nil {
				return nil, err
			}
			return figures{"bare mib": ns}, p.Join(ctx)
		}},
		stream("queue lease", mibs, reserveMiBs, large, nil, func(ctx context.Context, c course) (int, error) {
			l, err := c.Bytes.Lease(ctx)
			if err != nil {
				return 0, err
			}
			sum(l.Value())
			return 1, l.Ack()
		}),
		{"pipe mib", func(ctx context.Context) (figures, error) {
			r, w, err := pipe.NewOneWay()
			if err != nil {
				return nil, err
			}
			defer r.Close()
			p := process.New(sendMiBs, course{N: mibs, Conn: w})
			if err := p.Start(); err != nil {
				return nil, err
			}
			receive := func() error {
				if _, err := r.RecvBytesInto(own); err != nil {
					return err
				}
				sum(own)
				return nil
			}
			if err := receive(); err != nil {
				return nil, err
			}
			ns, err := perOp(mibs-1, func() error {
				for range mibs - 1 {
					if err := receive(); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				return nil, err
			}
			return figures{"pipe mib": ns}, p.Join(ctx)
		}},
		queueRoundTrips("queue hot", 200_000),
		asleepTrip(anywhere), asleepTrip(oneCPU), asleepTrip(twoCPUs),
		{"queue 4x4", fourByFour},
		{"constants", func(context.Context) (figures, error) { return figures{"5M/s": 200, "µs": 1000}, nil }},
	}, cleanUp, nil
}

// thereAndBack makes a queue for each direction.
func thereAndBack(o queue.Options) (to, back *queue.Queue[[]byte], closeBoth func(), err error) {
	if to, err = queue.New[[]byte](o); err != nil {
		return nil, nil, nil, err
	}
	if back, err = queue.New[[]byte](o); err != nil {
		to.Close()
		return nil, nil, nil, err
	}
	return to, back, func() { to.Close(); back.Close() }, nil
}

// queueRoundTrips times messages to a child and back.
func queueRoundTrips(name string, n int) experiment {
	return experiment{name, func(ctx context.Context) (figures, error) {
		to, back, closeBoth, err := thereAndBack(queue.Options{})
		if err != nil {
			return nil, err
		}
		defer closeBoth()
		p := process.New(echoQueue, course{Bytes: to, Back: back})
		if err := p.Start(); err != nil {
			return nil, err
		}
		m := make([]byte, 8)
		trip := func() error {
			if err := to.Put(ctx, m); err != nil {
				return err
			}
			_, err := back.Get(ctx)
			return err
		}
		if err := trip(); err != nil {
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
		if err != nil {
			return nil, err
		}
		if err := to.Shutdown(); err != nil {
			return nil, err
		}
		return figures{name: ns}, p.Join(ctx)
	}}
}

// fourByFour lets four processes put, and four take, for a while. The shares are counted while
// all of them run.
func fourByFour(ctx context.Context) (figures, error) {
	const sides, duration = 4, time.Second
	q, err := queue.New[[]byte](queue.Options{})
	if err != nil {
		return nil, err
	}
	defer q.Close()
	counts, err := array.NewRaw[uint64](8 * sides) // each on a cache line of its own
	if err != nil {
		return nil, err
	}
	defer counts.Close()
	var ps []*process.Process
	for i := range sides {
		c := course{Bytes: q, Counts: counts, Number: i}
		ps = append(ps, process.New(putForever, c), process.New(getForever, c))
	}
	for _, p := range ps {
		if err := p.Start(); err != nil {
			return nil, err
		}
	}
	for i := range sides {
		for counts.Load(8*i) == 0 {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			time.Sleep(time.Millisecond)
		}
	}
	var before, after [sides]uint64
	for i := range sides {
		before[i] = counts.Load(8 * i)
	}
	began := time.Now()
	time.Sleep(duration)
	total, least := uint64(0), ^uint64(0)
	for i := range sides {
		after[i] = counts.Load(8*i) - before[i]
		total += after[i]
		least = min(least, after[i])
	}
	elapsed := time.Since(began)
	if err := q.Shutdown(); err != nil {
		return nil, err
	}
	for _, p := range ps {
		if err := p.Join(ctx); err != nil {
			return nil, err
		}
	}
	if least == 0 {
		return nil, fmt.Errorf("a producer got no share at all: %v", after)
	}
	return figures{
		"queue 4x4":  float64(elapsed.Nanoseconds()) / float64(total),
		"queue mean": float64(total) / sides, "queue least": float64(least),
	}, nil
}

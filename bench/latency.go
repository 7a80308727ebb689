package main

import (
	"context"
	"errors"
	"fmt"

	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/array"
	"github.com/go-multiproc/multiproc/internal/eventcount"
	"github.com/go-multiproc/multiproc/internal/sys"
	"github.com/go-multiproc/multiproc/internal/wire"
	"github.com/go-multiproc/multiproc/manager"
	"github.com/go-multiproc/multiproc/pipe"
	"github.com/go-multiproc/multiproc/pool"
	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/queue"
)

// The percentiles of single round trips. "Both hot" is how a busy conversation goes: who waits tries for some microseconds before it
// sleeps, and the answer comes in time. "Both asleep" is what a message costs that comes after a pause: here nobody tries, so
// that each side has to be woken each time.
var latencyGroup = group{
	name:        "latency",
	rounds:      5,
	experiments: latencyExperiments,
	latencies:   latencyRows(),
}

// sizes are those of the messages in the table of percentiles, and how often each is sent in a round.
var sizes = []struct {
	name  string
	bytes int
	trips int
}{{"8 B", 8, 20_000}, {"4 KiB", 4 << 10, 10_000}, {"1 MiB", 1 << 20, 150}}

func latencyRows() (rows []latency) {
	for _, s := range sizes {
		rows = append(rows,
			latency{"queue, " + s.name + " there and back, both hot", "", at("queue hot", s.bytes)},
			latency{"", "Python SimpleQueue", at("python queue", s.bytes)})
		if s.bytes == 8 {
			rows = append(rows, latency{"", "two words of shared memory", "bare words"})
		}
		rows = append(rows, latency{"queue, " + s.name + " there and back, both asleep", "", at("queue asleep", s.bytes)})
		if s.bytes == 8 {
			rows = append(rows, latency{"", "bare futexes", "bare futexes"})
		}
	}
	for _, s := range sizes {
		rows = append(rows,
			latency{"pipe, " + s.name + " there and back, both hot", "", at("pipe hot", s.bytes)},
			latency{"", "Python Connection", at("python pipe", s.bytes)})
		if s.bytes == 8 {
			rows = append(rows, latency{"", "spin-then-read in bare system calls", "bare socket"})
		}
		rows = append(rows, latency{"pipe, " + s.name + " there and back, both asleep", "", at("pipe asleep", s.bytes)})
	}
	return append(rows,
		latency{"manager, get of a key", "", "dict get"},
		latency{"", "this library, socket alone", "socket get"},
		latency{"", "Redis HGET through go-redis", "redis get"},
		latency{"", "Python Manager().dict()", "python get"},
		latency{"manager, set of a key", "", "dict set"},
		latency{"", "this library, socket alone", "socket set"},
		latency{"", "Redis HSET through go-redis", "redis set"},
		latency{"", "Python Manager().dict()", "python set"},
		latency{"pool, Apply of a task that does nothing", "", "apply"},
		latency{"", "Python Pool.apply", "python apply"},
	)
}

// A talk is what a child answers in.
type talk struct {
	Queue, Back *queue.Queue[[]byte]
	Conn        *pipe.Conn
	Words       *array.Array[uint64]
	Asleep      bool
	Size        int
}

var (
	answerQueue = process.Register(func(ctx context.Context, t talk) error {
		eventcount.NoSpin.Store(t.Asleep)
		into := [][]byte{make([]byte, t.Size)}
		for {
			_, err := t.Queue.GetMany(ctx, into)
			if errors.Is(err, queue.ErrClosed) {
				return nil
			}
			if err == nil {
				err = t.Back.Put(ctx, into[0])
			}
			if err != nil {
				return err
			}
		}
	})
	answerConn = process.Register(func(_ context.Context, t talk) error {
		wire.NoSpin.Store(t.Asleep)
		buf := make([]byte, t.Size)
		for {
			n, err := t.Conn.RecvBytesInto(buf)
			if err != nil {
				return unlessEOF(err)
			}
			if err := t.Conn.SendBytes(buf[:n]); err != nil {
				return err
			}
		}
	})
	// answerWords says the number that it is told, until that is the largest.
	answerWords = process.Register(func(_ context.Context, t talk) error {
		there, back := &t.Words.Slice()[0], &t.Words.Slice()[16]
		for said := uint64(0); said != ^uint64(0); {
			said = other(there, said)
			atomic.StoreUint64(back, said)
		}
		return nil
	})
)

// other waits until the word is not seen any more.
func other(word *uint64, seen uint64) uint64 {
	for tries := 0; ; tries++ {
		if v := atomic.LoadUint64(word); v != seen {
			return v
		}
		if sys.Pause(1); tries > 1000 {
			sys.Yield()
		}
	}
}

// queueTrips measures round trips of messages of one size.
func queueTrips(name string, size, n int, asleep bool) experiment {
	return experiment{name, func(ctx context.Context) (figures, error) {
		o := queue.Options{Bytes: max(1<<20, 4*size)}
		to, back, closeBoth, err := thereAndBack(o)
		if err != nil {
			return nil, err
		}
		defer closeBoth()
		p := process.New(answerQueue, talk{Queue: to, Back: back, Asleep: asleep, Size: size})
		if err := p.Start(); err != nil {
			return nil, err
		}
		eventcount.NoSpin.Store(asleep)
		defer eventcount.NoSpin.Store(false)
		message, into := make([]byte, size), [][]byte{make([]byte, size)}
		found, err := timeEach(name, n, func() error {
			if err := to.Put(ctx, message); err != nil {
				return err
			}
			_, err := back.GetMany(ctx, into)
			if err == nil && len(into[0]) != size {
				err = fmt.Errorf("%d bytes came back, want %d", len(into[0]), size)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		if err := to.Shutdown(); err != nil {
			return nil, err
		}
		return found, p.Join(ctx)
	}}
}

// pipeTrips measures round trips of messages of one size.
func pipeTrips(name string, size, n int, asleep bool) experiment {
	return experiment{name, func(ctx context.Context) (figures, error) {
		mine, childs, err := pipe.New()
		if err != nil {
			return nil, err
		}
		defer mine.Close()
		p := process.New(answerConn, talk{Conn: childs, Asleep: asleep, Size: size})
		if err := p.Start(); err != nil {
			return nil, err
		}
		wire.NoSpin.Store(asleep)
		defer wire.NoSpin.Store(false)
		message, into := make([]byte, size), make([]byte, size)
		found, err := timeEach(name, n, func() error {
			if err := mine.SendBytes(message); err != nil {
				return err
			}
			got, err := mine.RecvBytesInto(into)
			if err == nil && got != size {
				err = fmt.Errorf("%d bytes came back, want %d", got, size)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		mine.Close()
		return found, p.Join(ctx)
	}}
}

// bareTrips are round trips by nothing but what the kernel and the processor have: words, futexes, a socket.
func bareTrips() []experiment {
	return []experiment{
		{"bare words", func(ctx context.Context) (figures, error) {
			words, err := array.NewRaw[uint64](32)
			if err != nil {
				return nil, err
			}
			defer words.Close()
			p := process.New(answerWords, talk{Words: words})
			if err := p.Start(); err != nil {
				return nil, err
			}
			there, back, said := &words.Slice()[0], &words.Slice()[16], uint64(0)
			found, err := timeEach("bare words", 20_000, func() error {
				atomic.StoreUint64(there, said+1)
				said = other(back, said)
				return nil
			})
			atomic.StoreUint64(there, ^uint64(0))
			return found, errors.Join(err, p.Join(ctx))
		}},
		{"bare futexes", func(ctx context.Context) (figures, error) {
			const n = 10_000
			words, err := array.NewRaw[uint32](64)
			if err != nil {
				return nil, err
			}
			defer words.Close()
			p := process.New(echoFutex, course{N: n + n/10 + 1, Words: words})
			if err := p.Start(); err != nil {
				return nil, err
			}
			there, back, said := &words.Slice()[0], &words.Slice()[32], uint32(0)
			found, err := timeEach("bare futexes", n, func() error {
				atomic.StoreUint32(there, said+1)
				sys.FutexWake(there, 1)
				for atomic.LoadUint32(back) != said+1 {
					sys.FutexWait(back, said, time.Second)
				}
				said++
				return nil
			})
			return found, errors.Join(err, p.Join(ctx))
		}},
		{"bare socket", func(ctx context.Context) (figures, error) {
			mine, childs, err := socketPair(0)
			if err != nil {
				return nil, err
			}
			p := process.New(echoBareSmall, childs)
			err = p.Start()
			childs.Close()
			if err != nil {
				mine.Close()
				return nil, err
			}
			fd := int(mine.Fd())
			if err := unix.SetNonblock(fd, true); err != nil { // File.Fd has changed it
				return nil, err
			}
			buf := make([]byte, 4+8)
			found, err := timeEach("bare socket", 20_000, func() error {
				if err := bareSend(fd, buf); err != nil {
					return err
				}
				eof, err := bareReceive(fd, buf)
				if eof {
					err = errors.New("the child has ended")
				}
				return err
			})
			runtime.KeepAlive(mine)
			mine.Close()
			return found, errors.Join(err, p.Join(ctx))
		}},
	}
}

func latencyExperiments(ctx context.Context) (_ []experiment, _ func(), err error) {
	var ends undoing
	defer ends.runIf(&err)
	dict := func(o manager.Options) *manager.Dict[string, int] {
		if err != nil {
			return nil
		}
		var m *manager.Manager
		if m, err = manager.Start(o); err != nil {
			return nil
		}
		ends = append(ends, func() { m.Shutdown(ctx) })
		var d *manager.Dict[string, int]
		if d, err = manager.NewDict[string, int](m); err == nil {
			err = d.Set(ctx, "key", 1)
		}
		return d
	}
	d, socket := dict(manager.Options{}), dict(manager.Options{NoRings: true})
	if err != nil {
		return nil, nil, err
	}
	p, err := pool.New(pool.Options{Workers: 2})
	if err != nil {
		return nil, nil, err
	}
	ends = append(ends, func() { p.Terminate(); p.Join(ctx) })

	var all []experiment
	for _, s := range sizes {
		all = append(all,
			queueTrips(at("queue hot", s.bytes), s.bytes, s.trips, false),
			queueTrips(at("queue asleep", s.bytes), s.bytes, min(s.trips, 5000), true),
			pipeTrips(at("pipe hot", s.bytes), s.bytes, s.trips, false),
			pipeTrips(at("pipe asleep", s.bytes), s.bytes, min(s.trips, 5000), true))
	}
	all = append(all, bareTrips()...)
	calls := func(name string, f func(i int) error) experiment {
		return experiment{name, func(context.Context) (figures, error) {
			i := 0
			return timeEach(name, 5000, func() error { i++; return f(i) })
		}}
	}
	all = append(all,
		calls("socket set", func(i int) error { return socket.Set(ctx, "key", i) }),
		calls("socket get", func(int) error { _, _, err := socket.Get(ctx, "key"); return err }),
		calls("dict set", func(i int) error { return d.Set(ctx, "key", i) }),
		calls("dict get", func(int) error { _, _, err := d.Get(ctx, "key"); return err }),
		calls("apply", func(i int) error { _, err := sameTask.Apply(ctx, p, i); return err }),
		python("latency.py"))
	r, stop, err := startRedis(ctx)
	if _, ok := errors.AsType[missing](err); ok {
		why := err
		all = append(all, experiment{"redis", func(context.Context) (figures, error) { return nil, why }})
		return all, ends.run, nil
	}
	if err != nil {
		return nil, nil, err
	}
	ends = append(ends, stop)
	if err := r.HSet(ctx, "hash", "key", 1).Err(); err != nil {
		return nil, nil, err
	}
	return append(all,
		calls("redis set", func(i int) error { return r.HSet(ctx, "hash", "key", i).Err() }),
		calls("redis get", func(int) error { _, err := r.HGet(ctx, "hash", "key").Int(); return err }),
	), ends.run, nil
}

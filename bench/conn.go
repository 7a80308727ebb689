package main

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/wire"
	"github.com/go-multiproc/multiproc/pipe"
	"github.com/go-multiproc/multiproc/process"
)

var connGroup = group{
	name:        "conn",
	experiments: connExperiments,
	comparisons: []comparison{
		{what: "round trip, 64 bytes", ours: "bytes", against: "Python send_bytes, recv_bytes", theirs: "python bytes", ask: 0.25},
		{what: "", ours: "bytes", against: "spin-then-read in bare system calls", theirs: "bare", ask: 1.5},
		{what: "round trip, an object", ours: "objects", against: "Python send, recv", theirs: "python objects", ask: 0.25},
		{what: "8 connections at once, a round trip", ours: "eight", against: "the same without spinning", theirs: "eight parked", ask: 1},
		{what: "", ours: "eight", against: "8 os.Files without frames", theirs: "eight files"},
		{what: "CPU time of 100 idle connections", ours: "idle", against: "one second", theirs: "second", ask: 0.01},
		{what: "a message of 1 MiB", ours: "mib", against: "Python send_bytes, recv_bytes", theirs: "python mib", faster: 3},
		{what: "a message of 1 MiB, into one buffer", ours: "mib into", against: "Python send_bytes, recv_bytes", theirs: "python mib"},
		{what: "a message of 1 MiB, one-way pipe", ours: "mib one way", against: "Python Pipe(duplex=False)", theirs: "python mib one way"},
	},
}

// A record is an object as programs send it to each other; pipe.py has the same.
type record struct {
	ID     int
	Name   string
	Values []int
}

var theRecord = record{1, "something", []int{1, 2, 3}}

var (
	echoBytes   = process.Register(func(_ context.Context, conns []*pipe.Conn) error { return echo(conns) })
	echoObjects = process.Register(func(_ context.Context, c *pipe.Conn) error {
		for {
			var r record
			if err := c.Recv(&r); err != nil {
				return unlessEOF(err)
			}
			if err := c.Send(r); err != nil {
				return err
			}
		}
	})
	// swallow receives messages, says so after so many, and begins again. Each is in memory of its own, as in Python.
	swallow = process.Register(func(_ context.Context, c *pipe.Conn) error {
		return swallowAll(c, func() error { _, err := c.RecvBytes(); return err })
	})
	// swallowOneWay receives from the first one, and says so on the second one.
	swallowOneWay = process.Register(func(_ context.Context, c [2]*pipe.Conn) error {
		return swallowAll(c[1], func() error { _, err := c[0].RecvBytes(); return err })
	})
	// swallowInto receives them all into one buffer.
	swallowInto = process.Register(func(_ context.Context, c *pipe.Conn) error {
		buf := make([]byte, 1<<20)
		return swallowAll(c, func() error { _, err := c.RecvBytesInto(buf); return err })
	})
	echoBare = process.Register(func(_ context.Context, f *os.File) error {
		defer runtime.KeepAlive(f)
		return bareEcho(int(f.Fd()), frame)
	})
	// echoBareSmall is for messages of 8 bytes.
	echoBareSmall = process.Register(func(_ context.Context, f *os.File) error {
		defer runtime.KeepAlive(f)
		return bareEcho(int(f.Fd()), 4+8)
	})
	echoParked = process.Register(func(ctx context.Context, conns []*pipe.Conn) error {
		wire.NoSpin.Store(true)
		return echo(conns)
	})
	echoFiles = process.Register(func(_ context.Context, files []*os.File) error {
		return each(files, func(f *os.File) error {
			buf := make([]byte, frame)
			for {
				if _, err := io.ReadFull(f, buf); err != nil {
					return unlessEOF(err)
				}
				if _, err := f.Write(buf); err != nil {
					return err
				}
			}
		})
	})
)

func swallowAll(c *pipe.Conn, receive func() error) error {
	for {
		for range swallowed {
			if err := receive(); err != nil {
				return unlessEOF(err)
			}
		}
		if err := c.SendBytes(nil); err != nil {
			return err
		}
	}
}

// echo sends back what it receives, on all connections at once.
func echo(conns []*pipe.Conn) error {
	return each(conns, func(c *pipe.Conn) error {
		buf := make([]byte, 64)
		for {
			n, err := c.RecvBytesInto(buf)
			if err != nil {
				return unlessEOF(err)
			}
			if err := c.SendBytes(buf[:n]); err != nil {
				return err
			}
		}
	})
}

const (
	swallowed = 200    // messages of 1 MiB in one measurement
	frame     = 4 + 64 // bytes on the wire for a message of 64
)

func connExperiments(ctx context.Context) (_ []experiment, _ func(), err error) {
	var ends, joins undoing
	defer ends.runIf(&err)
	ends = append(ends, func() { joins.run() }) // the last: children end when their connections do
	start := func(p *process.Process) {
		if err == nil {
			err = p.Start()
		}
		joins = append(joins, func() { p.Join(ctx) })
	}
	pair := func() (mine, childs *pipe.Conn) {
		if err == nil {
			mine, childs, err = pipe.New()
			ends = append(ends, func() { mine.Close() })
		}
		return mine, childs
	}
	sockets := func(flags int) (mine, childs *os.File) {
		if err == nil {
			mine, childs, err = socketPair(flags)
			ends = append(ends, func() { mine.Close(); childs.Close() })
		}
		return mine, childs
	}

	bytes, bytesChild := pair()
	start(process.New(echoBytes, []*pipe.Conn{bytesChild}))
	objects, objectsChild := pair()
	start(process.New(echoObjects, objectsChild))
	large, largeChild := pair()
	start(process.New(swallow, largeChild))
	reused, reusedChild := pair()
	start(process.New(swallowInto, reusedChild))
	var oneWay, oneWayChild *pipe.Conn
	if err == nil {
		if oneWayChild, oneWay, err = pipe.NewOneWay(); err == nil {
			ends = append(ends, func() { oneWay.Close() })
		}
	}
	oneWayDone, oneWayDoneChild := pair()
	start(process.New(swallowOneWay, [2]*pipe.Conn{oneWayChild, oneWayDoneChild}))
	bare, bareChild := sockets(0)
	start(process.New(echoBare, bareChild))
	pairs := func(n int) (mine, childs []*pipe.Conn) {
		for range n {
			m, c := pair()
			mine, childs = append(mine, m), append(childs, c)
		}
		return mine, childs
	}
	eight, eightChild := pairs(8)
	start(process.New(echoBytes, eightChild))
	parked, parkedChild := pairs(8)
	start(process.New(echoParked, parkedChild))
	var files, filesChild []*os.File
	for range 8 {
		m, c := sockets(unix.SOCK_NONBLOCK)
		files, filesChild = append(files, m), append(filesChild, c)
	}
	start(process.New(echoFiles, filesChild))
	idle, idleChild := pairs(100)
	start(process.New(echoBytes, idleChild))
	if err != nil {
		return nil, nil, err
	}
	// The copies of the sockets that the children have are enough.
	bareChild.Close()
	for _, f := range filesChild {
		f.Close()
	}

	const n = 20_000
	timed := func(name string, n int, f func() error) experiment {
		return experiment{name, func(context.Context) (figures, error) {
			ns, err := perOp(n, f)
			return figures{name: ns}, err
		}}
	}
	return []experiment{
		timed("bytes", n, func() error { return roundTrips(bytes, n) }),
		timed("bare", n, func() error { return bareRoundTrips(int(bare.Fd()), n) }),
		timed("objects", n, func() error {
			for range n {
				if err := objects.Send(theRecord); err != nil {
					return err
				}
				var r record
				if err := objects.Recv(&r); err != nil {
					return err
				}
			}
			return nil
		}),
		pythonSeconds("python bytes", n/4, "pipe.py", "bytes"),
		pythonSeconds("python objects", n/4, "pipe.py", "objects"),
		pythonSeconds("python mib", swallowed, "pipe.py", "stream"),
		pythonSeconds("python mib one way", swallowed, "pipe.py", "oneway"),
		timed("eight", 8*n/4, func() error {
			return each(eight, func(c *pipe.Conn) error { return roundTrips(c, n/4) })
		}),
		timed("eight parked", 8*n/4, func() error {
			wire.NoSpin.Store(true)
			defer wire.NoSpin.Store(false)
			return each(parked, func(c *pipe.Conn) error { return roundTrips(c, n/4) })
		}),
		timed("eight files", 8*n/4, func() error {
			return each(files, func(f *os.File) error {
				buf := make([]byte, frame)
				for range n / 4 {
					if _, err := f.Write(buf); err != nil {
						return err
					}
					if _, err := io.ReadFull(f, buf); err != nil {
						return err
					}
				}
				return nil
			})
		}),
		timed("mib", swallowed, func() error { return feed(large, large) }),
		timed("mib into", swallowed, func() error { return feed(reused, reused) }),
		timed("mib one way", swallowed, func() error { return feed(oneWay, oneWayDone) }),
		{"idle", func(context.Context) (figures, error) { return idleTime(idle) }},
	}, ends.run, nil
}

// feed sends what a swallower takes for one measurement, and waits until it says so.
func feed(c, done *pipe.Conn) error {
	message := make([]byte, 1<<20)
	for range swallowed {
		if err := c.SendBytes(message); err != nil {
			return err
		}
	}
	_, err := done.RecvBytes()
	return err
}

func roundTrips(c *pipe.Conn, n int) error {
	buf := make([]byte, 64)
	for range n {
		if err := c.SendBytes(buf); err != nil {
			return err
		}
		if _, err := c.RecvBytesInto(buf); err != nil {
			return err
		}
	}
	return nil
}

// idleTime is the CPU time that this process uses within a second in which goroutines wait
// at all connections, which had traffic just before.
func idleTime(conns []*pipe.Conn) (figures, error) {
	var waiting sync.WaitGroup
	for _, c := range conns {
		if err := roundTrips(c, 10); err != nil {
			return nil, err
		}
		waiting.Go(func() { c.RecvBytes() }) // ends with the deadline
	}
	before, err := cpuTime()
	if err != nil {
		return nil, err
	}
	time.Sleep(time.Second)
	after, err := cpuTime()
	if err != nil {
		return nil, err
	}
	for _, c := range conns {
		c.SetReadDeadline(time.Now())
	}
	waiting.Wait()
	for _, c := range conns {
		c.SetReadDeadline(time.Time{})
	}
	return figures{"idle": float64(after - before), "second": 1e9}, nil
}

func cpuTime() (time.Duration, error) {
	var u unix.Rusage
	err := unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}

// each runs f for all of them at once, and returns an error of one of them.
func each[T any](all []T, f func(T) error) error {
	errs := make([]error, len(all))
	var running sync.WaitGroup
	for i, x := range all {
		running.Go(func() { errs[i] = f(x) })
	}
	running.Wait()
	return errors.Join(errs...)
}

func unlessEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

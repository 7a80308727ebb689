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
	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/queue"
)

// What a round trip costs between two that sleep is decided by the kernel, when it chooses a CPU for who is woken: about 7 µs if both are
// on one CPU, and 40 if not, on a virtual machine whose CPUs are woken through its host. It changes its mind every 10 to 100 ms. So two
// measurements one after the other, each with processes of its own, say how often each of them was on one CPU, and nothing about what was
// to be compared. Here both are made by the same two processes, in turn, a slice of less than 5 ms each. That is done on one CPU, where the work
// of the two sides is nearly all there is; on two, where waking is; and wherever the kernel likes.
//
// On one CPU, who is woken often runs at once, in the middle of its waker's system call, and has answered before that one comes
// to sleep: a third of the round trips had nobody asleep on one side. Threads of the class for batch work do not do so. That both have slept
// each time is counted.

// A place is where the two processes of a measurement run.
type place int

const (
	anywhere place = iota
	oneCPU
	twoCPUs
)

const (
	asleepTrips  = 5000
	asleepSlice  = 100
	asleepLeast  = 0.9 // of the round trips; it is 0.94 to 1, since a CPU that the host has not let sleep is woken at once
	queueSlept   = 0   // in couple.Slept
	futexesSlept = 1
)

// A couple is what a child needs to be woken by a queue and by a word in turn.
type couple struct {
	To, Back *queue.Queue[[]byte]
	Words    *array.Array[uint32]
	Slept    *array.Array[uint64] // how often the child did, for each of the two
	CPU      int                  // -1: any
}

// asleepTrip measures messages to a child and back beside a bare word, when both sides sleep each time.
func asleepTrip(p place) experiment {
	name := [...]string{anywhere: "asleep", oneCPU: "asleep on one CPU", twoCPUs: "asleep on two CPUs"}[p]
	return experiment{name, func(ctx context.Context) (figures, error) {
		mine, childs, err := p.cpus()
		if err != nil {
			return nil, err
		}
		words, err := array.NewRaw[uint32](64)
		if err != nil {
			return nil, err
		}
		defer words.Close()
		slept, err := array.NewRaw[uint64](2)
		if err != nil {
			return nil, err
		}
		defer slept.Close()
		to, back, closeBoth, err := thereAndBack(queue.Options{})
		if err != nil {
			return nil, err
		}
		defer closeBoth()
		child := process.New(answerAsleep, couple{To: to, Back: back, Words: words, Slept: slept, CPU: childs})
		if err := child.Start(); err != nil {
			return nil, err
		}
		b, err := goToBed(mine)
		if err != nil {
			return nil, err
		}
		defer b.leave()

		m := make([]byte, 8)
		queueSlice := func() error {
			for range asleepSlice {
				if err := to.Put(ctx, m); err != nil {
					return err
				}
				if _, err := back.Get(ctx); err != nil {
					return err
				}
			}
			return nil
		}
		there, said, n := &words.Slice()[0], &words.Slice()[32], uint32(0)
		futexSlice := func() error {
			for range asleepSlice {
				atomic.StoreUint32(there, n+1)
				sys.FutexWake(there, 1)
				if err := sleepWhile(ctx, said, n); err != nil {
					return err
				}
				n++
			}
			return nil
		}
		var took [2]time.Duration
		var times [2]uint64
		for trips := -asleepSlice; trips < asleepTrips; trips += asleepSlice {
			for i, slice := range []func() error{queueSlice, futexSlice} {
				began, before := time.Now(), b.sleeps()
				if err := slice(); err != nil {
					return nil, err
				}
				if trips >= 0 { // the first is to warm up
					took[i] += time.Since(began)
					times[i] += b.sleeps() - before
				}
			}
		}
		if err := to.Shutdown(); err != nil {
			return nil, err
		}
		if err := child.Join(ctx); err != nil {
			return nil, err
		}
		for i, side := range []string{queueSlept: "queue", futexesSlept: "futexes"} {
			// The child counts the slice that warms up as well.
			here, there := float64(times[i])/asleepTrips, float64(slept.Slice()[i])/(asleepTrips+asleepSlice)
			if here < asleepLeast || there < asleepLeast {
				return nil, missing(fmt.Sprintf("%s by %s: only %.0f %% of the round trips found one side asleep, and %.0f %% the other", name, side, 100*here, 100*there))
			}
		}
		return figures{
			"queue " + name: float64(took[queueSlept].Nanoseconds()) / asleepTrips,
			"bare " + name:  float64(took[futexesSlept].Nanoseconds()) / asleepTrips,
		}, nil
	}}
}

var answerAsleep = process.Register(func(ctx context.Context, c couple) error {
	b, err := goToBed(c.CPU)
	if err != nil {
		return err
	}
	defer b.leave()
	there, back, slept := &c.Words.Slice()[0], &c.Words.Slice()[32], c.Slept.Slice()
	for n := uint32(0); ; {
		before := b.sleeps()
		for i := range asleepSlice {
			m, err := c.To.Get(ctx)
			if i == 0 && errors.Is(err, queue.ErrClosed) {
				return nil
			}
			if err == nil {
				err = c.Back.Put(ctx, m)
			}
			if err != nil {
				return err
			}
		}
		between := b.sleeps()
		for range asleepSlice {
			if err := sleepWhile(ctx, there, n); err != nil {
				return err
			}
			n++
			atomic.StoreUint32(back, n)
			sys.FutexWake(back, 1)
		}
		slept[queueSlept] += between - before
		slept[futexesSlept] += b.sleeps() - between
	}
})

// sleepWhile sleeps until the word is not n any more.
func sleepWhile(ctx context.Context, word *uint32, n uint32) error {
	for atomic.LoadUint32(word) == n {
		rawFutexWait(word, n, time.Second)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// cpus are those for this process and its child.
func (p place) cpus() (mine, childs int, err error) {
	if p == anywhere {
		return -1, -1, nil
	}
	var may unix.CPUSet
	if err := unix.SchedGetaffinity(0, &may); err != nil {
		return 0, 0, err
	}
	first, last := -1, -1
	for cpu := range 64 * len(may) {
		if may.IsSet(cpu) {
			if first < 0 {
				first = cpu
			}
			last = cpu
		}
	}
	switch {
	case p == oneCPU:
		return last, last, nil
	case first == last:
		return 0, 0, missing("there is one CPU only")
	}
	return first, last, nil // neighbours may be one core
}

// A bed is a thread that a goroutine has for itself, on one CPU.
type bed struct {
	cpus  unix.CPUSet
	class unix.SchedAttr
	spins bool
}

func goToBed(cpu int) (*bed, error) {
	b := &bed{spins: !eventcount.NoSpin.Swap(true)}
	runtime.LockOSThread()
	class, err := unix.SchedGetAttr(0, 0)
	if err == nil {
		b.class = *class
		err = unix.SchedGetaffinity(0, &b.cpus)
	}
	if err == nil {
		class.Policy = unix.SCHED_BATCH
		err = unix.SchedSetAttr(0, class, 0)
	}
	if err == nil && cpu >= 0 {
		var only unix.CPUSet
		only.Set(cpu)
		err = unix.SchedSetaffinity(0, &only)
	}
	if err != nil {
		b.leave()
		return nil, err
	}
	return b, nil
}

// sleeps is how often the thread has slept so far.
func (b *bed) sleeps() uint64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
		return 0
	}
	return uint64(u.Nvcsw)
}

func (b *bed) leave() {
	eventcount.NoSpin.Store(!b.spins)
	if unix.SchedSetaffinity(0, &b.cpus) == nil && unix.SchedSetAttr(0, &b.class, 0) == nil {
		runtime.UnlockOSThread() // a thread that is not as it was ends with its goroutine
	}
}

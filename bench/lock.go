package main

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/go-multiproc/multiproc/array"
	"github.com/go-multiproc/multiproc/internal/sys"
	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/psync"
)

var lockGroup = group{
	name:        "lock",
	experiments: lockExperiments,
	comparisons: []comparison{
		{what: "Mutex lock+unlock, uncontended", ours: "mutex", against: "compare-and-swap pair", theirs: "cas pair", ask: 2.5},
		{what: "", ours: "mutex", against: "Python with lock:", theirs: "python with", faster: 8},
		{what: "", ours: "mutex", against: "Python lock.acquire(), lock.release()", theirs: "python calls"},
		{what: "Mutex, two processes, empty section", ours: "mutex empty", against: "test-and-set loop", theirs: "tas empty", ask: 3},
		{what: "Mutex, two processes, 0.5 µs in and out", ours: "mutex work", against: "test-and-set loop", theirs: "tas work", ask: 1.5},
	},
}

func lockExperiments(ctx context.Context) ([]experiment, func(), error) {
	mu, err := psync.NewMutex()
	if err != nil {
		return nil, nil, err
	}
	words, err := array.NewRaw[uint64](64)
	if err != nil {
		return nil, nil, err
	}
	half := spinsFor(500 * time.Nanosecond)
	cleanUp := func() { mu.Close(); words.Close() }
	return []experiment{
		{"mutex", func(ctx context.Context) (figures, error) {
			const n = 2_000_000
			ns, err := perOp(n, func() error {
				for range n {
					if err := mu.Lock(ctx); err != nil {
						return err
					}
					if err := mu.Unlock(); err != nil {
						return err
					}
				}
				return nil
			})
			return figures{"mutex": ns}, err
		}},
		{"cas pair", func(context.Context) (figures, error) {
			const n = 2_000_000
			word := &words.Slice()[0]
			ns, err := perOp(n, func() error {
				for range n {
					atomic.CompareAndSwapUint64(word, 0, 1)
					atomic.CompareAndSwapUint64(word, 1, 0)
				}
				return nil
			})
			return figures{"cas pair": ns}, err
		}},
		python("lock.py"),
		contention("mutex empty", mu, words, fight{Rounds: 300_000}),
		contention("tas empty", mu, words, fight{Rounds: 300_000, TestAndSet: true}),
		contention("mutex work", mu, words, fight{Rounds: 150_000, Work: half}),
		contention("tas work", mu, words, fight{Rounds: 150_000, Work: half, TestAndSet: true}),
	}, cleanUp, nil
}

// A fight is what each of two processes does: Rounds times take the lock, work, give it
// back, work.
type fight struct {
	Rounds     int
	Work       int // of the busy loop
	TestAndSet bool
	Mutex      *psync.Mutex
	// Words are 64 words of shared memory: one is the lock, one counts who is ready, one what
	// the lock guards. They stand in cache lines of their own.
	Words *array.Array[uint64]
}

const (
	wordLock, wordReady, wordCount = 0, 16, 32
)

var fightInChild = process.Register(func(ctx context.Context, f fight) error { return f.run(ctx) })

func contention(name string, mu *psync.Mutex, words *array.Array[uint64], f fight) experiment {
	f.Mutex, f.Words = mu, words
	return experiment{name, func(ctx context.Context) (figures, error) {
		clear(words.Slice())
		p := process.New(fightInChild, f)
		if err := p.Start(); err != nil {
			return nil, err
		}
		ready := &words.Slice()[wordReady]
		for atomic.LoadUint64(ready) == 0 {
			runtime.Gosched()
		}
		ns, err := perOp(2*f.Rounds, func() error {
			if err := f.run(ctx); err != nil {
				return err
			}
			for atomic.LoadUint64(ready) != 4 {
				runtime.Gosched()
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		if err := p.Join(ctx); err != nil {
			return nil, err
		}
		if n := words.Load(wordCount); n != uint64(2*f.Rounds) {
			return nil, errCount{n, uint64(2 * f.Rounds)}
		}
		return figures{name: ns}, nil
	}}
}

func (f fight) run(ctx context.Context) error {
	words := f.Words.Slice()
	lock, ready, count := &words[wordLock], &words[wordReady], &words[wordCount]
	atomic.AddUint64(ready, 1)
	for atomic.LoadUint64(ready) < 2 {
		sys.Pause(1)
	}
	for range f.Rounds {
		if f.TestAndSet {
			for !atomic.CompareAndSwapUint64(lock, 0, 1) {
				for atomic.LoadUint64(lock) != 0 {
					sys.Pause(1)
				}
			}
		} else if err := f.Mutex.Lock(ctx); err != nil {
			return err
		}
		*count++
		spin(f.Work)
		if f.TestAndSet {
			atomic.StoreUint64(lock, 0)
		} else if err := f.Mutex.Unlock(); err != nil {
			return err
		}
		spin(f.Work)
	}
	atomic.AddUint64(ready, 1)
	return nil
}

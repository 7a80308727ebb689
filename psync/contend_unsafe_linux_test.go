package psync_test

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/go-multiproc/multiproc/internal/reexec"
	"github.com/go-multiproc/multiproc/internal/sys"
)

func init() { helpers["contend"] = helperContend }

// work spins for about half a microsecond, or not at all.
func work(rounds int) {
	for range rounds {
		sys.Pause(1)
	}
}

// halfMicrosecond is how many rounds of work that takes here.
func halfMicrosecond() int {
	const n = 100000
	best := time.Hour
	for range 5 {
		start := time.Now()
		work(n)
		best = min(best, time.Since(start))
	}
	return max(1, int(n*500/best.Nanoseconds()))
}

// A contender takes a lock, works inside, gives it back and works outside.
type contender func(rounds int)

func (s *shared) contenders() map[string]contender {
	ctx := context.Background()
	word := (*atomic.Uint32)(unsafe.Pointer(&words(s.h.Data())[4]))
	return map[string]contender{
		"Mutex": func(rounds int) {
			if err := s.Lock(ctx); err != nil {
				panic(err)
			}
			work(rounds)
			s.Unlock()
			work(rounds)
		},
		"test-and-set": func(rounds int) {
			for word.Load() != 0 || !word.CompareAndSwap(0, 1) {
				sys.Pause(1)
			}
			work(rounds)
			word.Store(0)
			work(rounds)
		},
	}
}

// helperContend contends until its input ends, and prints how often it had its turn.
func helperContend(args []string) int {
	s, err := inherited()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	f := s.contenders()[args[0]]
	rounds, _ := strconv.Atoi(args[1])
	var stop atomic.Bool
	go func() {
		reexec.WaitToBeTold()
		stop.Store(true)
	}()
	fmt.Println("ready")
	n := 0
	for ; !stop.Load(); n++ {
		f(rounds)
	}
	fmt.Println(n)
	return 0
}

// BenchmarkContended has two processes take turns, as fast as they can, and
// reports the time per turn of either; share is the slower one's part of the
// turns, 0.5 when it is fair. The plain test-and-set loop beside it knows
// neither sleep nor death.
func BenchmarkContended(b *testing.B) {
	for _, section := range []struct {
		name   string
		rounds int
	}{{"empty", 0}, {"half-microsecond", halfMicrosecond()}} {
		for _, name := range []string{"Mutex", "test-and-set"} {
			b.Run(section.name+"/"+name, func(b *testing.B) {
				s := newShared(b)
				f := s.contenders()[name]
				p := reexec.Start(b, "contend", s.file(b), name, strconv.Itoa(section.rounds))
				p.Line()
				f(section.rounds)
				n := 0
				for b.Loop() {
					f(section.rounds)
					n++
				}
				elapsed := b.Elapsed()
				p.Say("")
				m, err := strconv.Atoi(p.Line())
				if err != nil {
					b.Fatal(err)
				}
				p.Done()
				b.ReportMetric(float64(elapsed.Nanoseconds())/float64(n+m), "ns/turn")
				b.ReportMetric(float64(min(n, m))/float64(n+m), "share")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

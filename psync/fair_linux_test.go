package psync_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/reexec"
)

func init() { helpers["hog"] = helperHog }

// helperHog holds the lock for a millisecond at a time, and takes it again as
// soon as it has given it back, until its input ends.
func helperHog(args []string) int {
	s, err := inherited()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	var stop atomic.Bool
	go func() {
		reexec.WaitToBeTold()
		stop.Store(true)
	}()
	fmt.Println("hogging")
	for !stop.Load() {
		if err := s.Lock(context.Background()); err != nil {
			fmt.Println(err)
			return 1
		}
		for start := time.Now(); time.Since(start) < time.Millisecond; {
		}
		if err := s.Unlock(); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	return 0
}

// A process that leaves the lock free for some nanoseconds at a time only does
// not keep it from the others.
func TestNobodyStarves(t *testing.T) {
	s := newShared(t)
	hog := reexec.Start(t, "hog", s.file(t))
	hog.Line()
	var waits []time.Duration
	for range 30 {
		start := time.Now()
		if err := s.Lock(soon(t)); err != nil {
			t.Fatal(err)
		}
		waits = append(waits, time.Since(start))
		if err := s.Unlock(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond) // the hog takes it meanwhile
	}
	slices.Sort(waits)
	t.Logf("waited %v (median), %v (worst)", waits[len(waits)/2], waits[len(waits)-1])
	if w := waits[len(waits)/2]; w > 50*time.Millisecond {
		t.Errorf("half of the time the wait was %v and more", w)
	}
	hog.Say("")
	hog.Done()
}

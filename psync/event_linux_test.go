package psync_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/verify"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/shm"
)

func init() {
	placeables = append(placeables, placeable{
		name: "Event", size: psync.EventSize,
		at: func(s *shm.Segment, off int) (io.Closer, error) { return closer(psync.EventAt(s, off)) },
	})
}

func newEvent(t testing.TB) *psync.Event {
	t.Helper()
	e, err := psync.NewEvent()
	verify.Must(t, err)
	t.Cleanup(func() { verify.Must(t, e.Close()) })
	return e
}

func TestEvent(t *testing.T) {
	e := newEvent(t)
	if e.IsSet() {
		t.Error("a new Event is set")
	}
	wait := verify.Blocks(t, "Wait", func() error { return e.Wait(context.Background()) })
	verify.Must(t, e.Set())
	verify.Must(t, wait())
	verify.Must(t, e.Set())
	if !e.IsSet() {
		t.Error("not set after Set")
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	verify.Must(t, e.Wait(ended)) // it is set
	verify.Must(t, e.Clear())
	verify.Must(t, e.Clear())
	if e.IsSet() {
		t.Error("set after Clear")
	}
	if err := e.Wait(ended); err != context.Canceled {
		t.Errorf("Wait: %v", err)
	}
}

// Everybody in every process goes on, also when the Event is cleared at once.
func TestEventWakesAll(t *testing.T) {
	for _, pulse := range []bool{false, true} {
		t.Run(fmt.Sprintf("pulse %v", pulse), func(t *testing.T) {
			e := newEvent(t)
			var ps []*puppet
			for range 3 {
				p := newPuppet(t, gifts{Event: e})
				p.waits("event wait")
				p.waits("event wait")
				ps = append(ps, p)
			}
			const here = 50
			var all sync.WaitGroup
			for range here {
				all.Go(func() {
					if err := e.Wait(soon(t)); err != nil {
						t.Error(err)
					}
				})
			}
			settles(t, "all wait", func() bool { return verify.Waiters("psync.(*Event).Wait") == here })
			verify.Must(t, e.Set())
			if pulse {
				verify.Must(t, e.Clear()) // all were waiting, so that all are told
			}
			all.Wait()
			for _, p := range ps {
				for range 2 {
					if l := p.answer(); l != "<nil>" {
						t.Error(l)
					}
				}
				p.Done()
			}
		})
	}
}

// A watchedCtx is a context that tells when Wait has looked at it: then Wait knows what the Event was.
type watchedCtx struct {
	context.Context
	once sync.Once
	done chan struct{}
}

func (a *watchedCtx) Err() error {
	a.once.Do(func() { close(a.done) })
	return a.Context.Err()
}

// An Event that is set and cleared at once is not missed by who waited for it.
func TestEventSetAndClearedAtOnce(t *testing.T) {
	e := newEvent(t)
	for range 50 {
		ctx := &watchedCtx{Context: soon(t), done: make(chan struct{})}
		result := make(chan error, 1)
		go func() { result <- e.Wait(ctx) }()
		<-ctx.done
		verify.Must(t, e.Set())
		verify.Must(t, e.Clear())
		verify.Must(t, <-result)
	}
}

// Set comes at all moments of another process's Wait: one wake-up that is lost is a hang, or
// a slice, which the time would show.
func TestEventRaces(t *testing.T) {
	ping := newEvent(t)
	p := newPuppet(t, gifts{Event: ping})
	for i := range 200 {
		p.begins("event wait")
		if i%2 == 0 {
			time.Sleep(time.Duration(i%7) * 100 * time.Microsecond)
		}
		verify.Must(t, ping.Set())
		if l := p.answer(); l != "<nil>" {
			t.Fatal(l)
		}
		verify.Must(t, ping.Clear())
	}
	p.Done()
}

func TestEventClose(t *testing.T) {
	e := newEvent(t)
	wait := verify.Blocks(t, "Wait", func() error { return e.Wait(context.Background()) })
	verify.Must(t, e.Close())
	for what, err := range map[string]error{
		"a Wait that was on": wait(), "Wait": e.Wait(context.Background()), "Set": e.Set(), "Clear": e.Clear(),
	} {
		if !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	verify.Panics(t, "psync: use of closed Event", func() { e.IsSet() })
}

// What was written before Set can be read after Wait: the race detector looks at it.
func TestEventOrders(t *testing.T) {
	e := newEvent(t)
	n := 0
	go func() {
		n = 1
		e.Set()
	}()
	verify.Must(t, e.Wait(soon(t)))
	if n != 1 {
		t.Error(n)
	}
	for !e.IsSet() {
	}
	n++
}

package psync_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/verify"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/shm"
)

func init() {
	placeables = append(placeables, placeable{
		name: "Once", size: psync.OnceSize,
		at: func(s *shm.Segment, off int) (io.Closer, error) { return closer(psync.OnceAt(s, off)) },
	})
}

func newOnce(t testing.TB) *psync.Once {
	t.Helper()
	o, err := psync.NewOnce()
	verify.Must(t, err)
	t.Cleanup(func() { verify.Must(t, o.Close()) })
	return o
}

func TestOnce(t *testing.T) {
	o := newOnce(t)
	bg := context.Background()
	if err := o.Do(bg, func() error { return errTold }); err != errTold {
		t.Errorf("Do of a function that fails: %v", err)
	}
	verify.Panics(t, "told to panic", func() { o.Do(bg, func() error { panic("told to panic") }) })
	runs := 0
	for range 3 {
		verify.Must(t, o.Do(bg, func() error { runs++; return nil }))
	}
	if runs != 1 {
		t.Errorf("done %d times", runs)
	}
	ended, cancel := context.WithCancel(bg)
	cancel()
	verify.Must(t, o.Do(ended, nil)) // it is done
	verify.Must(t, o.Close())
	if err := o.Do(bg, nil); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Do after Close: %v", err)
	}
}

// Goroutines and processes come all at once; what the one that ran wrote, all see.
func TestOnceAmongMany(t *testing.T) {
	for range 20 {
		o := newOnce(t)
		p := newPuppet(t, gifts{Once: o})
		written, runs := 0, atomic.Int64{}
		p.begins("once do")
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				err := o.Do(soon(t), func() error {
					runs.Add(1)
					written = 1
					return nil
				})
				if err != nil {
					t.Error(err)
				}
				if runs.Load() > 0 && written != 1 {
					t.Error("Do returned before it was done")
				}
			})
		}
		all.Wait()
		there := p.answer()
		if n := runs.Load(); (n == 1) == (there == "true <nil>") || n > 1 {
			t.Errorf("done %d times here, and there: %s", n, there)
		}
		p.Done()
	}
}

// The next one runs its function when a runner failed, and when it died.
func TestOnceRunnerDies(t *testing.T) {
	o := newOnce(t)
	p := newPuppet(t, gifts{Once: o})
	p.must("once fail", "true "+errTold.Error())
	p.begins("once hang")
	if l := p.answer(); l != "hangs" {
		t.Fatal(l)
	}
	short, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	if err := o.Do(short, nil); err != context.DeadlineExceeded {
		t.Errorf("Do while another process is at it: %v", err)
	}
	ran := make(chan time.Time, 1)
	wait := verify.Blocks(t, "Do", func() error {
		return o.Do(context.Background(), func() error { ran <- time.Now(); return nil })
	})
	p.Kill()
	died := time.Now()
	verify.Must(t, wait())
	if d := (<-ran).Sub(died); d > recovery {
		t.Logf("ran %v after the death", d)
	}
}

// Close waits for a function that runs, and lets those return who wait for it.
func TestOnceClose(t *testing.T) {
	o := newOnce(t)
	began, finish := make(chan struct{}), make(chan struct{})
	run := verify.Blocks(t, "Do", func() error {
		return o.Do(context.Background(), func() error { close(began); <-finish; return nil })
	})
	<-began
	wait := verify.Blocks(t, "second Do", func() error { return o.Do(context.Background(), nil) })
	done := verify.Blocks(t, "Close", o.Close)
	if err := wait(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("a Do that waited: %v", err)
	}
	close(finish)
	verify.Must(t, run())
	verify.Must(t, done())
}

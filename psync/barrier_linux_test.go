package psync_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
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
		name: "Barrier", size: psync.BarrierSize(3),
		at:    func(s *shm.Segment, off int) (io.Closer, error) { return closer(psync.BarrierAt(s, off, 3)) },
		other: func(s *shm.Segment, off int) (io.Closer, error) { return closer(psync.BarrierAt(s, off, 2)) },
	})
}

func newBarrier(t testing.TB, parties int) *psync.Barrier {
	t.Helper()
	b, err := psync.NewBarrier(parties)
	verify.Must(t, err)
	t.Cleanup(func() { verify.Must(t, b.Close()) })
	return b
}

// waiting waits until n parties have arrived.
func waiting(t testing.TB, b *psync.Barrier, n int) {
	t.Helper()
	for start := time.Now(); b.Waiting() != n; time.Sleep(time.Millisecond) {
		if time.Since(start) > patience {
			t.Fatalf("%d parties wait, want %d", b.Waiting(), n)
		}
	}
}

// waits waits in the background. When it returns, it has arrived.
func waits(t *testing.T, b *psync.Barrier, ctx context.Context) (result func() error) {
	t.Helper()
	n := b.Waiting()
	result = verify.Blocks(t, "Wait", func() error { _, err := b.Wait(ctx); return err })
	waiting(t, b, n+1)
	return result
}

// broken checks that an error is ErrBroken and says why.
func broken(t *testing.T, err error, why string) {
	t.Helper()
	if !errors.Is(err, psync.ErrBroken) || !strings.Contains(err.Error(), why) {
		t.Errorf("%v, want one that is ErrBroken and says %q", err, why)
	}
}

const (
	becauseLost    = "died"
	becauseLeft    = "stopped waiting"
	becauseAborted = "aborted"
	becauseReset   = "reset"
)

// Nobody passes before all have come, each round's indices are all there are, and nobody runs
// ahead: goroutines, here and in other processes.
func TestBarrierRounds(t *testing.T) {
	const here, there, rounds = 4, 2, 300
	b := newBarrier(t, here+there)
	words, err := shm.New(8 * rounds)
	verify.Must(t, err)
	defer words.Close()
	var ps []*puppet
	for range there {
		p := newPuppet(t, gifts{Barrier: b, Words: words})
		p.begins(fmt.Sprintf("barrier rounds 60000 %d %d", rounds, here+there))
		ps = append(ps, p)
	}
	var all sync.WaitGroup
	for range here {
		all.Go(func() {
			if err := (&gifts{Barrier: b, Words: words}).rounds(soon(t), rounds, here+there); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, p := range ps {
		if l := p.answer(); l != "<nil>" {
			t.Error(l)
		}
		p.Done()
	}
}

func TestBarrierParties(t *testing.T) {
	for _, n := range []int{-1, 0, psync.MaxParties + 1} {
		if _, err := psync.NewBarrier(n); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%d parties: %v", n, err)
		}
	}
	b := newBarrier(t, 1)
	for range 3 {
		if i, err := b.Wait(t.Context()); i != 0 || err != nil {
			t.Errorf("alone: %d, %v", i, err)
		}
	}
	if b.Parties() != 1 || b.Waiting() != 0 || b.Broken() {
		t.Error(b.Parties(), b.Waiting(), b.Broken())
	}
	many := newBarrier(t, psync.MaxParties)
	if many.Parties() != psync.MaxParties {
		t.Error(many.Parties())
	}
}

func TestBarrierBreaks(t *testing.T) {
	tests := []struct {
		name string
		do   func(t *testing.T, b *psync.Barrier, giveUp func()) // to a Barrier at which one of two waits
		why  string
	}{
		{"Abort", func(t *testing.T, b *psync.Barrier, _ func()) { verify.Must(t, b.Abort()) }, becauseAborted},
		{"Reset", func(t *testing.T, b *psync.Barrier, _ func()) { verify.Must(t, b.Reset()) }, becauseReset},
		{"ctx ends", func(t *testing.T, b *psync.Barrier, giveUp func()) { giveUp() }, becauseLeft},
		{"Close", func(t *testing.T, b *psync.Barrier, _ func()) {
			var other *psync.Barrier
			crossing(t, b, &other)
			wait := waits(t, other, t.Context())
			verify.Must(t, other.Close())
			if err := wait(); !errors.Is(err, fs.ErrClosed) {
				t.Errorf("Wait through a closed Barrier: %v", err)
			}
		}, becauseLeft},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBarrier(t, 4)
			ctx, cancel := context.WithCancel(context.Background())
			wait := waits(t, b, context.Background())
			gaveUp := waits(t, b, ctx)
			tt.do(t, b, cancel)
			broken(t, wait(), tt.why)
			cancel()
			if err := gaveUp(); !errors.Is(err, psync.ErrBroken) && err != context.Canceled {
				t.Error(err)
			}
			if tt.why == becauseReset {
				if b.Broken() {
					t.Error("broken after Reset")
				}
			} else {
				if !b.Broken() || b.Waiting() != 0 {
					t.Errorf("broken %v, waiting %d", b.Broken(), b.Waiting())
				}
				_, err := b.Wait(context.Background())
				broken(t, err, tt.why)
			}
			verify.Must(t, b.Reset())
			again := []func() error{waits(t, b, t.Context()), waits(t, b, t.Context()), waits(t, b, t.Context())}
			if i, err := b.Wait(t.Context()); i != 3 || err != nil {
				t.Errorf("after Reset: %d, %v", i, err)
			}
			for _, wait := range again {
				verify.Must(t, wait())
			}
		})
	}
}

// What counts as losing a party.
func TestBarrierLosesParty(t *testing.T) {
	tests := []struct {
		name string
		// do is what becomes of two processes that have taken part in a round of three, the first
		// of which waits again when it is over.
		do    func(t *testing.T, b *psync.Barrier, first, second *puppet)
		holds bool // it does not break
	}{
		{"it was killed while it waited", func(t *testing.T, b *psync.Barrier, first, second *puppet) {
			second.begins("barrier wait")
			waiting(t, b, 2)
			second.Kill()
			// With one more, the round would be complete: it has arrived, after all.
			for start := time.Now(); !b.Broken() && time.Since(start) < patience; {
				time.Sleep(time.Millisecond)
			}
		}, false},
		{"it was killed before it arrived again", func(t *testing.T, b *psync.Barrier, first, second *puppet) {
			second.Kill()
		}, false},
		{"it closed the Barrier, and was killed then", func(t *testing.T, b *psync.Barrier, first, second *puppet) {
			second.must("barrier close", "<nil>")
			second.Kill()
		}, true},
		{"another process took its place, and it was killed when a round was over", func(t *testing.T, b *psync.Barrier, first, second *puppet) {
			third := newPuppet(t, gifts{Barrier: b})
			for i := range 2 {
				third.begins("barrier wait")
				waiting(t, b, 2)
				if _, err := b.Wait(soon(t)); err != nil {
					t.Fatal(i, err)
				}
				first.answer()
				third.answer()
				first.begins("barrier wait")
				waiting(t, b, 1)
			}
			second.Kill()
		}, true},
		{"it was killed and the Barrier reset", func(t *testing.T, b *psync.Barrier, first, second *puppet) {
			second.Kill()
			verify.Must(t, b.Reset())
			if l := first.answer(); !strings.Contains(l, "broken") {
				t.Fatal(l)
			}
			first.begins("barrier wait")
			waiting(t, b, 1)
		}, true},
	}
	var times []time.Duration
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBarrier(t, 3)
			first, second := newPuppet(t, gifts{Barrier: b}), newPuppet(t, gifts{Barrier: b})
			first.begins("barrier wait")
			second.begins("barrier wait")
			if _, err := b.Wait(soon(t)); err != nil {
				t.Fatal(err)
			}
			first.answer()
			second.answer()
			first.begins("barrier wait")
			waiting(t, b, 1)
			tt.do(t, b, first, second)
			began := time.Now()
			if !tt.holds {
				_, err := b.Wait(soon(t))
				times = append(times, time.Since(began))
				broken(t, err, becauseLost)
				if l := first.answer(); !strings.Contains(l, becauseLost) {
					t.Error(l)
				}
				return
			}
			// Slices go by, and it must not break. Then a party more comes.
			mine := waits(t, b, context.Background())
			time.Sleep(100 * time.Millisecond)
			if b.Broken() {
				t.Fatal("broken")
			}
			last := newPuppet(t, gifts{Barrier: b})
			last.must("barrier wait", "2 <nil>")
			verify.Must(t, mine())
		})
	}
	prompt(t, times)
}

func TestBarrierClosed(t *testing.T) {
	b := newBarrier(t, 2)
	verify.Must(t, b.Close())
	if _, err := b.Wait(t.Context()); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Wait: %v", err)
	}
	for what, err := range map[string]error{"Abort": b.Abort(), "Reset": b.Reset()} {
		if !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	verify.Panics(t, "psync: use of closed Barrier", func() { b.Waiting() })
	verify.Panics(t, "psync: use of closed Barrier", func() { b.Broken() })
}

// A placed Barrier can be closed, and joined again, while its segment stays: that is to leave
// in good order, too.
func TestBarrierPlacedLeaves(t *testing.T) {
	s := newSegment(t, psync.BarrierSize(2))
	b, err := psync.BarrierAt(s, 0, 2)
	verify.Must(t, err)
	p := newPuppet(t, gifts{Barrier: b, Words: s})
	p.begins("barrier wait")
	_, err = b.Wait(soon(t))
	verify.Must(t, err)
	p.answer()
	p.must("barrier close", "<nil>")
	wait := waits(t, b, context.Background())
	p.Kill() // it still had the segment
	time.Sleep(100 * time.Millisecond)
	if b.Broken() {
		t.Error("broken")
	}
	verify.Must(t, b.Reset())
	broken(t, wait(), becauseReset)
	verify.Must(t, b.Close())
}

// Parties wait, give up, abort and reset at random: everybody's Wait ends, and whoever passes
// does so with others whose indices are different.
func TestBarrierStress(t *testing.T) {
	b := newBarrier(t, 3)
	var passed, failed atomic.Int64
	var all sync.WaitGroup
	stop := time.Now().Add(500 * time.Millisecond)
	for g := range 7 {
		all.Go(func() {
			for i := 0; time.Now().Before(stop); i++ {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i%5*g)*50*time.Microsecond)
				_, err := b.Wait(ctx)
				cancel()
				switch {
				case err == nil:
					passed.Add(1)
				case errors.Is(err, psync.ErrBroken) || err == context.DeadlineExceeded:
					failed.Add(1)
					b.Reset()
				default:
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d passed, %d did not", passed.Load(), failed.Load())
}

// rounds takes part in a number of rounds. In each, every party adds the bit of its index to
// the round's word, and finds all of them in the word of the round before.
func (s *gifts) rounds(ctx context.Context, n, parties int) error {
	w := words(s.Words.Bytes())
	for r := range n {
		i, err := s.Barrier.Wait(ctx)
		if err != nil {
			return fmt.Errorf("round %d: %w", r, err)
		}
		if was := atomic.OrUint64(&w[r], 1<<i); was&(1<<i) != 0 {
			return fmt.Errorf("round %d: index %d twice", r, i)
		}
		if r > 0 {
			if got := atomic.LoadUint64(&w[r-1]); got != 1<<parties-1 {
				return fmt.Errorf("round %d began before all had passed round %d: %b", r, r-1, got)
			}
		}
	}
	return nil
}

// What parties wrote before Wait, the others see after it: the race detector looks at it.
func TestBarrierOrders(t *testing.T) {
	const n = 4
	b := newBarrier(t, n)
	wrote := make([]int, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			for r := 1; r <= 50; r++ {
				wrote[i] = r
				b.Wait(soon(t))
				if slices.ContainsFunc(wrote, func(got int) bool { return got != r }) {
					t.Errorf("round %d: %v", r, wrote)
				}
				b.Wait(soon(t))
			}
		})
	}
	all.Wait()
}

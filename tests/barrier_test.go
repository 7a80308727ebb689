package tests_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/psync"
)

// A guest takes part in one round, and then ends in one of several ways.
type guest struct {
	Barrier *psync.Barrier
	Fails   bool
}

var takePart = process.Register(func(ctx context.Context, g guest) error {
	if _, err := g.Barrier.Wait(ctx); err != nil {
		return err
	}
	if g.Fails {
		return errors.New("told to fail")
	}
	return nil
})

// A child that has taken part in a round and returns nil is not missed in the next one, and
// another can take its place; one that fails is.
func TestBarrierOutlivesItsParties(t *testing.T) {
	for _, fails := range []bool{false, true} {
		name := "returns nil"
		if fails {
			name = "fails"
		}
		t.Run(name, func(t *testing.T) {
			b := must(psync.NewBarrier(2))(t)
			defer b.Close()
			first := process.New(takePart, guest{b, fails})
			if err := first.Start(); err != nil {
				t.Fatal(err)
			}
			if _, err := b.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := first.Join(t.Context()); (err != nil) != fails {
				t.Fatal(err)
			}
			result := make(chan error, 1)
			go func() { _, err := b.Wait(context.Background()); result <- err }()
			if fails {
				if err := <-result; !errors.Is(err, psync.ErrBroken) {
					t.Errorf("Wait: %v", err)
				}
				return
			}
			select {
			case err := <-result:
				t.Fatalf("Wait, with nobody there: %v", err)
			case <-time.After(100 * time.Millisecond): // some slices
			}
			second := process.New(takePart, guest{b, false})
			if err := second.Start(); err != nil {
				t.Fatal(err)
			}
			if err := <-result; err != nil {
				t.Errorf("Wait with another child: %v", err)
			}
			if err := second.Join(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/go-multiproc/multiproc/pipe"
	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/value"
)

// rocket is what a countdown is given. NewRaw makes values without a lock: one writer each
// needs none.
type rocket struct {
	Stop    *value.Value[bool]  // set by the parent
	Seconds *value.Value[int32] // left, set by the child
	Cleaned *value.Value[bool]  // set by the child on its way out
	Ready   *pipe.Conn          // tells the parent that the countdown has begun
}

// launch counts down a minute, in milliseconds. It looks at the flag at every step, and at
// ctx, which ends when the parent calls Terminate.
var launch = process.Register(func(ctx context.Context, r rocket) error {
	defer r.Cleaned.Store(true)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for left := int32(60_000); left >= 0; left-- {
		r.Seconds.Store(left)
		if left == 59_990 {
			if err := r.Ready.Send("the countdown has begun"); err != nil {
				return err
			}
		}
		if r.Stop.Load() {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("stopped with %d left: %w", left, ctx.Err())
		}
	}
	return errors.New("nobody stopped the countdown")
})

// countdown stops a child in three ways: by asking, by a signal that it can act upon, and
// by one that it cannot.
func countdown(ctx context.Context, s *stage) error {
	for _, way := range []struct {
		name  string
		stop  func(p *process.Process, r rocket) error
		holds func(err error, code int, cleaned bool) bool
	}{
		{
			name:  "a shared flag",
			stop:  func(_ *process.Process, r rocket) error { r.Stop.Store(true); return nil },
			holds: func(err error, code int, cleaned bool) bool { return err == nil && code == 0 && cleaned },
		},
		{
			name: "Terminate",
			stop: func(p *process.Process, _ rocket) error { return p.Terminate() },
			holds: func(err error, code int, cleaned bool) bool {
				var exit *process.ExitError
				return errors.As(err, &exit) && exit.Code == 1 && code == 1 && cleaned
			},
		},
		{
			name: "Kill",
			stop: func(p *process.Process, _ rocket) error { return p.Kill() },
			holds: func(err error, code int, cleaned bool) bool {
				var exit *process.ExitError
				return errors.As(err, &exit) && exit.Signal == syscall.SIGKILL && code == -1 && !cleaned
			},
		},
	} {
		var all maker
		ready, childs, err := pipe.NewOneWay()
		all.made(err, func() error { return ready.Close() })
		r := rocket{rawValue[bool](&all), rawValue[int32](&all), rawValue[bool](&all), childs}
		defer all.closeAll()
		if all.err != nil {
			return all.err
		}
		p := process.New(launch, r)
		p.Name = "rocket"
		if err := p.Start(); err != nil {
			return err
		}
		var word string
		if err := ready.Recv(&word); err != nil {
			return fmt.Errorf("%w: %w", err, p.Join(ctx))
		}
		if err := way.stop(p, r); err != nil {
			return err
		}
		err = p.Join(ctx)
		s.say("%v", err)
		s.check(way.holds(err, p.ExitCode(), r.Cleaned.Load()), "%s ended the child with %d left to count: exit code %d, cleaned up: %t",
			way.name, r.Seconds.Load(), p.ExitCode(), r.Cleaned.Load())
	}
	return nil
}

func rawValue[T any](m *maker) *value.Value[T] {
	var zero T
	v, err := value.NewRaw(zero)
	m.made(err, func() error { return v.Close() })
	return v
}

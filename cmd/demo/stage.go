package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-multiproc/multiproc/process"
)

// A stage is where demonstrations say what they do and check what came of it.
type stage struct {
	out    io.Writer
	name   string // of the demonstration that is on
	talks  bool   // alone, it tells what happens; on the tour, only what was checked
	checks int
	passed int
	err    error // of printing: what nobody could read has not been shown
}

func (s *stage) printf(format string, args ...any) {
	if _, err := fmt.Fprintf(s.out, format, args...); err != nil && s.err == nil {
		s.err = err
	}
}

// say tells what happens.
func (s *stage) say(format string, args ...any) {
	if s.talks {
		s.printf("        "+format+"\n", args...)
	}
}

// check prints one line: what had to hold, and whether it did.
func (s *stage) check(holds bool, format string, args ...any) {
	s.checks++
	verdict := "FAILED"
	if holds {
		s.passed++
		verdict = "ok"
	}
	s.printf("%-6s  %-11s  %s\n", verdict, s.name, fmt.Sprintf(format, args...))
}

// works checks that something could be done: err is nil, and else said after what it was.
func (s *stage) works(err error, format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	if err != nil {
		what += ": " + err.Error()
	}
	s.check(err == nil, "%s", what)
}

// perform runs d. An error counts as a check that did not hold.
func (s *stage) perform(ctx context.Context, d demonstration) {
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not done after %v", limit))
	defer cancel()
	began := time.Now()
	if err := d.run(ctx, s); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("%w: %w", err, context.Cause(ctx))
		}
		s.check(false, "%v", err)
	}
	s.say("%v", time.Since(began).Round(time.Millisecond))
}

func (s *stage) verdict() error {
	if s.err != nil {
		return s.err
	}
	if s.passed != s.checks {
		return errDidNotHold
	}
	return nil
}

// startAll starts the processes side by side.
func startAll(ps ...*process.Process) error {
	for _, p := range ps {
		if err := p.Start(); err != nil {
			return err
		}
	}
	return nil
}

// runAll starts the processes side by side, and waits until all of them have ended.
func runAll(ctx context.Context, ps ...*process.Process) error {
	if err := startAll(ps...); err != nil {
		return err
	}
	return joinAll(ctx, ps...)
}

// joinAll waits until all of them have ended. Its error tells of all that failed.
func joinAll(ctx context.Context, ps ...*process.Process) error {
	var errs []error
	for _, p := range ps {
		errs = append(errs, p.Join(ctx))
	}
	return errors.Join(errs...)
}
